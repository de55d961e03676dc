"""From a table to a bundle that predicts, through the front door and through the command line."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import excite
from excite.errors import EnvironmentFault, UsageError
from excite.jobs.train import Run, train
from excite.models.classifier import create_model
from runs import SETTINGS, command_line, simulated_table, small_config

pytestmark = pytest.mark.slow
EXCITE = [sys.executable, "-m", "excite"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated_table(tmp_path_factory.mktemp("planes"))


@pytest.fixture(scope="module")
def run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(small_config(table), out=tmp_path_factory.mktemp("runs") / "first", simulated=True)


def excite_cli(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*EXCITE, *arguments], capture_output=True, text=True, timeout=300, **options)  # type: ignore[call-overload,no-any-return]


def test_a_run_folder_holds_what_the_contract_says(run: Run) -> None:
    names = {path.name for path in run.folder.iterdir()}
    assert {"config.yaml", "environment.json", "manifest.csv", "split.json", "hashes.json", "log.jsonl", "checkpoints",
            "evaluation.json", "predictions-test.csv", "report.html", "bundle"} <= names
    assert run.folder.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in (run.folder / "bundle").iterdir()} >= {"weights.safetensors", "model.onnx",
                                                                        "bundle.json", "card.md"}


def test_the_report_says_that_the_data_are_simulated(run: Run) -> None:
    page = run.report.read_text(encoding="utf-8")
    assert "simulated" in page.lower() and "http://" not in page.replace("http://www.w3.org", "")
    assert run.report.stat().st_size < 5_000_000


def test_no_patient_is_in_two_parts(run: Run) -> None:
    patients = {part: {run.manifest.rows[row].patient for row in rows} for part, rows in run.split.parts.items()}
    assert run.split.unit_kind == "patient"
    assert not patients["train"] & patients["test"] and not patients["train"] & patients["val"]
    assert not patients["val"] & patients["test"]


def test_the_bundle_predicts_what_the_trained_network_does(run: Run) -> None:
    """The ONNX path, files and all, against torch on the same weights: nobody's shortcut is trusted."""
    import torch
    from safetensors.torch import load_file

    from excite.data.preprocess import Preprocess
    from excite.data.reading import read

    info = json.loads((run.folder / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    model = excite.create_model("mobilenet_v2", num_classes=len(info["classes"]), width=0.25).eval()
    model.load_state_dict(load_file(run.folder / "bundle" / "weights.safetensors"))
    files = [run.manifest.path(run.manifest.rows[row]) for row in run.split.test[:4]]
    prepare = Preprocess.from_json(info["preprocess"])
    images = torch.from_numpy(np.stack([prepare(read(file).image) for file in files]))
    with torch.no_grad():
        views = torch.stack([model(images), model(images.flip(3))])
    expected = (views / info["temperature"]).softmax(2).mean(0).numpy()
    got = [list(one.probabilities.values()) for one in excite.load(run.folder / "bundle")(files)]
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert np.abs(expected[0] - expected[1]).max() > 0  # it sees its input


def test_the_same_call_again_only_reports(run: Run, table: Path) -> None:
    before = (run.folder / "bundle" / "weights.safetensors").read_bytes()
    again = train(small_config(table), out=run.folder, simulated=True)
    assert (run.folder / "bundle" / "weights.safetensors").read_bytes() == before
    assert again.fit.epochs_done == 2 and again.fit.history == run.fit.history


@pytest.mark.parametrize(("change", "message"), [
    ({"optim.lr": 0.5}, r"another config: optim.lr: 0.001 -> 0.5"),
    ({"loop.epochs": 3}, r"another config: loop.epochs: 2 -> 3"),
    ({"loop.threads": 2}, r"another (config|environment): .*threads: 1 -> 2"),
    ({"seed": 1}, r"another config: seed: 42 -> 1"),
])
def test_a_changed_run_is_refused_with_the_difference(run: Run, table: Path, change: dict[str, object],
                                                      message: str) -> None:
    with pytest.raises(UsageError, match=message):
        train(small_config(table, **change), out=run.folder)


def test_changed_data_are_refused(run: Run, table: Path, tmp_path: Path) -> None:
    text = table.read_text(encoding="utf-8")
    first, second = text.splitlines()[1].split(","), text.splitlines()[2].split(",")
    assert first[1] != second[1]
    changed = table.with_name("changed.csv")
    changed.write_text(text.replace(",".join(first), ",".join([first[0], second[1], *first[2:]])), encoding="utf-8")
    with pytest.raises(UsageError, match=r"another data: .*" + first[1] + ".*" + second[1]):
        train(small_config(changed), out=run.folder)


def test_evaluate_again_gives_the_same_numbers(run: Run) -> None:
    assert excite.evaluate(run.folder).to_json()["metrics"] == run.evaluation.to_json()["metrics"]


def test_evaluation_of_the_training_data_is_called_a_leak(run: Run, table: Path) -> None:
    found = excite.evaluate(run.folder / "bundle", table)
    assert any("trained on" in note or "training" in note for note in found.notes), found.notes


def test_predict_prints_one_json_object_a_line_and_goes_on_after_a_bad_file(run: Run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_text("no picture")
    good = run.manifest.path(run.manifest.rows[run.split.test[0]])
    done = excite_cli("predict", str(run.folder), str(bad), str(good), "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 3 and "Traceback" not in done.stderr
    assert lines[0]["file"].endswith("bad.png") and "error" in lines[0]
    assert set(lines[1]) >= {"file", "label", "probabilities"}
    assert sum(lines[1]["probabilities"].values()) == pytest.approx(1, abs=1e-6)


def test_the_snippet_of_the_readme_runs(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = _snippets()
    first = table.read_text(encoding="utf-8").splitlines()[1].split(",")[0]
    for written, here in (('"table.csv"', repr(str(table))), ('"new.png"', repr(str(table.parent / first))),
                          ("values={", "values=SETTINGS | {"), ('weights="imagenet"', "weights=None")):
        assert written in code
        code = code.replace(written, here)
    monkeypatch.chdir(tmp_path)
    exec(code, {"SETTINGS": SETTINGS})
    said = capsys.readouterr().out
    assert "balanced accuracy" in said and "ClassPrediction" in said


def test_the_networks_of_the_readme_are_built(capsys: pytest.CaptureFixture[str]) -> None:
    _, code = _snippets()
    assert 'weights="imagenet"' in code
    exec(code.replace('weights="imagenet"', "weights=PLAIN"), {"PLAIN": create_model("resnet50").state_dict()})
    assert int(capsys.readouterr().out) > 144_000_000


def _snippets() -> list[str]:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", readme, re.S)


def test_without_weights_at_hand_training_stops_and_says_what_to_do(table: Path, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match=r"excite weights get mobilenet_v2.*--weights FILE.*--weights none"):
        train(small_config(table, **{"model.weights": "imagenet"}), out=tmp_path / "run")
    done = excite_cli("train", str(table), "--out", str(tmp_path / "cli"))
    assert done.returncode == 5 and "excite weights get mobilenet_v2" in done.stderr


def test_a_dry_run_gives_reasons_and_a_time_and_leaves_nothing(table: Path, tmp_path: Path) -> None:
    done = excite_cli(*command_line(table, tmp_path / "run", "--dry-run", "--json"))
    plan = json.loads(done.stdout)
    assert done.returncode == 0 and not (tmp_path / "run").exists()
    assert {"task", "network", "size", "split", "recipe", "time"} <= set(plan)
    assert "measured" in plan["time"] and "patient" in plan["split"]


def test_a_budget_fits_the_epochs(table: Path, tmp_path: Path) -> None:
    run = train(small_config(table, **{"loop.budget_minutes": 0.05}), out=tmp_path / "run")
    assert run.fit.epochs_done >= 1
    again = train(small_config(table, **{"loop.budget_minutes": 0.05}), out=tmp_path / "run")
    assert again.fit.epochs_done == run.fit.epochs_done


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_the_same_command_ends_bit_equal(run: Run, table: Path, tmp_path: Path,
                                                            number: signal.Signals) -> None:
    process = subprocess.Popen([*EXCITE, *command_line(table, tmp_path / "run")], stderr=subprocess.PIPE, text=True)
    checkpoints = tmp_path / "run" / "checkpoints"
    _wait_for(lambda: checkpoints.exists() and any(checkpoints.iterdir()))
    began = time.monotonic()
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number, said
    assert time.monotonic() - began < 10 and "excite train" in said
    assert excite_cli(*command_line(table, tmp_path / "run")).returncode == 0
    assert _weights(tmp_path / "run") == _weights(run.folder)


def test_kill_9_at_random_moments_ends_bit_equal(run: Run, table: Path, tmp_path: Path) -> None:
    rng = random.Random(7)
    for _ in range(3):
        process = subprocess.Popen([*EXCITE, *command_line(table, tmp_path / "run")], stderr=subprocess.DEVNULL)
        folder = tmp_path / "run" / "checkpoints"
        _wait_for(lambda folder=folder: folder.exists() and any(folder.iterdir()))  # type: ignore[misc]
        time.sleep(rng.uniform(0, 3))
        process.kill()
        process.wait()
    done = excite_cli(*command_line(table, tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert _weights(tmp_path / "run") == _weights(run.folder)


def _weights(run: Path) -> bytes:
    return (run / "bundle" / "weights.safetensors").read_bytes()


def _wait_for(condition: object, seconds: float = 120.0) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


@pytest.mark.skipif(os.name == "nt", reason="POSIX locks")
def test_two_processes_do_not_share_a_run(table: Path, tmp_path: Path) -> None:
    process = subprocess.Popen([*EXCITE, *command_line(table, tmp_path / "run")], stderr=subprocess.DEVNULL)
    try:
        _wait_for(lambda: (tmp_path / "run" / ".lock").exists())
        second = excite_cli(*command_line(table, tmp_path / "run"))
        assert second.returncode == 5 and "another process works in this run folder" in second.stderr
    finally:
        process.kill()
        process.wait()
