"""A study as a whole: the runs are those of excite train, what is killed ends the same, and the numbers add up."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml

from excite.config import load_config
from excite.errors import EnvironmentFault, UsageError
from excite.jobs.sections import TrainConfig
from excite.jobs.study.sections import StudyConfig
from excite.jobs.study.study import Study, study
from excite.jobs.train import train
from runs import simulated_table
from stand_ins import Told

SETTINGS = {"model": {"name": "resnet20", "weights": "none"}, "preprocess": {"size": 32},
            "loop": {"epochs": 1, "batch_size": 8, "precision": "float32", "threads": 1},
            "predict": {"parity_images": 2}}
LEFT = ("study.json", "study.csv", "study.md", "study.html", "times.json")
COMPARED = ("predictions-test.csv", "bundle/model.onnx")
pytestmark = pytest.mark.slow


@dataclass(frozen=True, kw_only=True)
class Made:
    """A finished study, its config file and what it said."""

    study: Study
    file: Path
    out: Path
    told: list[str]

    def config(self, **more: object) -> StudyConfig:
        return load_config(StudyConfig, self.file, values=more)

    def file_of(self, run: str, name: str) -> bytes:
        return (self.out / "runs" / run / name).read_bytes()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the images of all tests here are kept."""
    folder, before = tmp_path_factory.mktemp("cache"), os.environ.get("EXCITE_CACHE")
    os.environ["EXCITE_CACHE"] = str(folder)
    yield folder
    if before is not None:
        os.environ["EXCITE_CACHE"] = before


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Made:
    """Two arms with two seeds each, in two processes."""
    folder = tmp_path_factory.mktemp("study")
    table = simulated_table(folder)
    file = folder / "study.yaml"
    tree = {"study": {"attention": ["none", "se"], "seeds": [0, 1], "workers": 2}, "data": {"table": str(table)},
            "cache": {"folder": str(cache)}, **SETTINGS}
    file.write_text(yaml.safe_dump(tree), encoding="utf-8")
    told, out = Told(), folder / "out"
    return Made(study=study(load_config(StudyConfig, file), out=out, progress=told), file=file, out=out,
                told=told.texts)


def test_every_run_is_what_excite_train_makes_of_its_config(made: Made, tmp_path: Path) -> None:
    train(load_config(TrainConfig, made.out / "runs" / "se" / "seed-1.yaml"), out=tmp_path / "run", images=False)
    for name in COMPARED:
        assert (tmp_path / "run" / name).read_bytes() == made.file_of("se/seed-1", name)


def test_the_numbers_are_those_of_the_runs(made: Made) -> None:
    data = json.loads((made.out / "study.json").read_text(encoding="utf-8"))
    assert [arm["name"] for arm in data["arms"]] == ["none", "se"] and data["metric"] == "balanced_accuracy"
    for arm in data["arms"]:
        found = [json.loads((made.out / run / "evaluation.json").read_text(encoding="utf-8")) for run in arm["runs"]]
        values = [one["metrics"]["balanced_accuracy"]["value"] for one in found]
        assert arm["seeds"] == pytest.approx(values, abs=1e-6)
        assert arm["value"]["value"] == pytest.approx(np.mean(values), abs=1e-6)
        assert arm["beside"]["accuracy"] == pytest.approx(
            np.mean([one["metrics"]["accuracy"]["value"] for one in found]), abs=1e-6)
        assert arm["milliseconds"] > 0 and data["test_images"] == found[0]["n"]
    none, se = data["arms"]
    assert none["parameters"] < se["parameters"] and none["macs"] < se["macs"]
    assert se["difference"]["value"] == pytest.approx(se["value"]["value"] - none["value"]["value"])
    assert none["difference"] is None and 0 <= se["difference"]["holm"] <= 1
    rows = list(csv.DictReader((made.out / "study.csv").open(encoding="utf-8")))
    assert [(row["arm"], row["seed"]) for row in rows] == [("none", "0"), ("none", "1"), ("se", "0"), ("se", "1")]
    text = (made.out / "study.md").read_text(encoding="utf-8")
    assert data["advice"][0] in text and "| none |" in text and "SIMULATED" in text


def test_all_runs_saw_the_same_images_and_budget(made: Made) -> None:
    for name in ("hashes.json", "split.json"):
        first = made.file_of("none/seed-0", name)
        assert all(made.file_of(run, name) == first for run in ("none/seed-1", "se/seed-0", "se/seed-1"))
    configs = [yaml.safe_load(made.file_of(run, "config.yaml")) for run in ("none/seed-0", "se/seed-0")]
    assert configs[0].pop("model") != configs[1].pop("model") and configs[0] == configs[1]


def test_a_finished_study_trains_nothing_again_and_a_seed_may_be_added(made: Made, tmp_path: Path) -> None:
    runs = sorted(made.out.glob("runs/*/seed-*/report.html"))
    left = [(made.out / name).read_bytes() for name in LEFT]
    before = [file.stat().st_mtime_ns for file in runs]
    told = Told()
    again = study(made.config(), out=made.out, progress=told)
    assert [file.stat().st_mtime_ns for file in runs] == before and len(runs) == 4
    assert [(made.out / name).read_bytes() for name in LEFT] == left
    assert any("4 of 4 runs are there" in text for text in told.texts)
    assert [arm.value for arm in again.results.arms] == [arm.value for arm in made.study.results.arms]


@pytest.mark.parametrize(("change", "message"), [
    ({"loop.epochs": 2}, "none with seed 0 began with another config: loop.epochs: 1 -> 2"),
    ({"split.seed": 3}, "this study began with other data: "),
])
def test_another_study_does_not_go_into_the_same_folder(made: Made, change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as fault:
        study(made.config(**change), out=made.out)
    assert message in str(fault.value) and "--out ANOTHER_FOLDER" in str(fault.value)


def test_one_process_works_in_a_study(made: Made) -> None:
    from excite.jobs.study.study import _own

    with _own(made.out), pytest.raises(EnvironmentFault, match="another process works in this study"):
        study(made.config(), out=made.out)


def test_a_metric_that_is_none_of_the_work_is_refused(made: Made) -> None:
    with pytest.raises(UsageError, match=r"study\.metric must be a number of this work .* one way, got 'dice'"):
        study(made.config(**{"study.metric": "dice"}), out=made.out)


def test_an_arm_that_fails_is_named_and_the_others_are_compared(made: Made, tmp_path: Path) -> None:
    broken = {"name": "broken", "set": {"optim.lr": 1e30, "optim.name": "sgd", "loop.ema": 0}}
    config = made.config(**{"study.arms": [broken], "study.attention": ["none", "se"]})
    found = study(config, out=made.out)
    assert [arm.name for arm in found.results.arms] == ["none", "se"]
    assert {arm for arm, _, _ in found.results.failed} == {"broken"} and len(found.results.failed) == 2
    assert any(text.startswith("broken, seed 0 failed, and the arm is left out: ") for text in found.data["cautions"])


def test_a_study_that_is_killed_ends_the_same(made: Made, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "excite", "study", str(made.file), "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    deadline = time.monotonic() + 240
    while not list(out.glob("runs/*/seed-*/checkpoints/*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "the same command goes on where each training stopped" in err
    assert len(list(out.glob("runs/*/seed-*/report.html"))) < 4
    found = study(made.config(), out=out)
    for run in ("none/seed-0", "none/seed-1", "se/seed-0", "se/seed-1"):
        for name in COMPARED:
            assert (out / "runs" / run / name).read_bytes() == made.file_of(run, name), (run, name)
    assert [arm.difference for arm in found.results.arms] == [arm.difference for arm in made.study.results.arms]
