"""`excite study`: lists as they are typed, what is refused in one message, and a rehearsal that trains nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from excite.cli.main import main
from excite.cli.study import _seeds, _split
from excite.data.phantom.planes import simulate_planes
from excite.errors import UsageError

Excite = Callable[..., tuple[int, str, str]]
SMALL = ("--model", "resnet20", "--weights", "none", "--size", "32", "--epochs", "1", "--batch-size", "8")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of a few small pictures."""
    return simulate_planes(tmp_path_factory.mktemp("planes"), patients=12, size=(48, 64), seed=3)


@pytest.fixture
def excite(capsys: pytest.CaptureFixture[str]) -> Excite:
    """Run the command line in this process; return its exit code and what it wrote."""
    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as done:
            main([str(one) for one in arguments])
        return int(done.value.code or 0), *capsys.readouterr()

    return run


@pytest.mark.parametrize(("text", "expected"), [
    ("none,se,eca", ["none", "se", "eca"]), ("none, se@2,3,eca", ["none", "se@2,3", "eca"]), ("se", ["se"]),
    ("none,se:reduction=32,16,16,8,cbam@3.*,2.5:position=inner", ["none", "se:reduction=32,16,16,8",
                                                                  "cbam@3.*,2.5:position=inner"]), (None, None)])
def test_numbers_belong_to_what_stands_before_them(text: str | None, expected: list[str] | None) -> None:
    assert _split(text) == expected


def test_seeds_are_how_many_or_which() -> None:
    assert _seeds("3") == [0, 1, 2] and _seeds("5, 7") == [5, 7] and _seeds(None) is None
    for wrong in ("0", "a", "1,b", "4,"):
        with pytest.raises(UsageError, match="--seeds must be how many, or which with commas between, got"):
            _seeds(wrong)


@pytest.mark.parametrize(("arguments", "code", "message"), [
    (("--attention", "none,sse2"), 2, "sse2: unknown attention 'sse2'"),
    (("--attention", "none"), 2, "a study compares at least two arms, got none"),
    (("--attention", "none,se", "--positions", "beside"), 2, "study.positions.0: Input should be 'standard'"),
    (("--attention", "none,se", "--stages", "all;7"), 2, "1 of 3 arms cannot be trained: se@7: attention stages"),
    (("--seeds", "1,1"), 2, "study.seeds: must name each one once"),
    (("--set", "seed=3"), 2, "seed has no place in a study"),
    (("--metric", "dice"), 2, "study.metric must be a number of this work that is better one way, got 'dice'"),
    (("--metric", "balanced_acuracy", "--dry-run"), 2, "did you mean 'balanced_accuracy'?"),
])
def test_what_cannot_be_is_one_message_before_anything_is_trained(excite: Excite, table: Path, tmp_path: Path,
                                                                  arguments: tuple[str, ...], code: int,
                                                                  message: str) -> None:
    found, _, err = excite("study", table, *SMALL, "--out", tmp_path / "out", *arguments)
    assert found == code and message in err, err
    assert not list(tmp_path.glob("out/runs/*"))


def test_volumes_are_refused_with_what_to_do(excite: Excite, tmp_path: Path) -> None:
    config = tmp_path / "study.yaml"
    config.write_text("volumes: {table: kidneys.csv}\n", encoding="utf-8")
    code, _, err = excite("study", config)
    assert code == 2 and "excite study compares trainings on images; on volumes and cubes it is not built" in err
    assert "excite compare" in err


@pytest.mark.slow
def test_a_rehearsal_names_the_arms_and_their_time_and_trains_nothing(excite: Excite, table: Path,
                                                                      tmp_path: Path) -> None:
    code, told, _ = excite("study", table, *SMALL, "--attention", "none,se", "--seeds", "2", "--dry-run", "--json",
                           "--out", tmp_path / "out")
    plan = json.loads(told)
    assert code == 0 and list(plan) == ["study", "split", "seen", "none", "se", "time"]
    assert not (tmp_path / "out").exists()
    assert plan["study"] == "2 arms x 2 seeds; decides: balanced accuracy"
    assert "s an epoch" in plan["se"] and "resnet20 with se" in plan["se"] and plan["time"].startswith("at least ")
    assert " test units (patient): " in plan["seen"]
