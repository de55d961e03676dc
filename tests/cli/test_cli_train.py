"""`excite train TABLE` of hyperspectral cubes: known by its header, parted by patient, refused in one line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from excite.cli.main import main
from excite.jobs import run_folder as files
from small_tissue import rewritten, rows_of, small_tissue

OPTIONS = ("--window", "9", "--epochs", "1", "--batch-size", "64", "--threads", "1", "--no-images", "--set",
           "loop.precision=float32", "--set", "reduction.components=13", "--set", "baselines=[]")
Excite = Callable[..., tuple[int, str, str]]


@pytest.fixture
def excite(capsys: pytest.CaptureFixture[str]) -> Excite:
    """Run the command line in this process; return its exit code and what it wrote."""
    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as done:
            main([str(one) for one in arguments])
        return int(done.value.code or 0), *capsys.readouterr()

    return run


@pytest.mark.slow
def test_a_table_of_cubes_is_trained_on_and_its_run_maps_a_new_patient(excite: Excite, tmp_path: Path) -> None:
    table, out = small_tissue(tmp_path / "tissue"), tmp_path / "run"
    code, told, err = excite("train", table, "--out", out, *OPTIONS, "--json")
    tree = json.loads(told)
    assert code == 0 and tree["unit_kind"] == "patient" and tree["test_units"] == 1
    assert "8 cubes of 4 patients side by side" in err and f"next: excite predict {out} CUBE" in err
    other = small_tissue(tmp_path / "new", seed=1, patients=5).parent / "P005_01" / "cube.hdr"
    assert excite("predict", out, other, "--out", tmp_path / "map.png", "--threads", 1)[0] == 0
    assert (tmp_path / "map.png").is_file()
    config = tmp_path / "scene.yaml"
    config.write_text(f"task: scene\nscene: {{table: '{table.as_posix()}'}}\n", encoding="utf-8")
    code, told, err = excite("train", "--config", config, "--out", out, *OPTIONS)
    assert code == 0 and f"resuming {out}" in err and (out / files.REPORT).is_file()


@pytest.mark.parametrize(("arguments", "code", "message"), [
    (("tissue/table.csv", "--labels", "l.png"), 2, "a table names its cubes and the files of their labels: leave out"),
    (("tissue/table.csv", "--set", "border=reflect"), 2, "border must be zero for a table of cubes, got reflect"),
    (("tissue/table.csv", "--set", "split.kind=given", "--set", "split.train_map=a", "--set", "split.test_map=b"), 2,
     "split.kind must be patient, block or random for a table of cubes, got given"),
    (("tissue/P001_01/cube.hdr", "--set", "split.kind=patient"), 2, "split.kind must be block, random or given for"),
    (("tissue/table.csv", "--patient-col", "patient"), 2, "--patient-col must be left out here: for images only"),
    (("tissue/two.csv",), 3, "a split by patient needs 3 patients with labels or more, there are 2"),
    (("tissue/gone.csv",), 3, "line 2: the file of the cube does not exist: gone.hdr"),
    (("images.csv", "--config", "scene.yaml"), 3, "the table has no column cube and no column labels"),
    (("images.csv", "--window", "9"), 2, "--window must be left out here: for a hyperspectral cube only"),
])
def test_what_cannot_be_is_one_message_and_its_exit_code(excite: Excite, tmp_path: Path, arguments: tuple[str, ...],
                                                         monkeypatch: pytest.MonkeyPatch, code: int,
                                                         message: str) -> None:
    monkeypatch.chdir(tmp_path)
    table = small_tissue(Path("tissue"))
    rewritten(table, rows_of(table)[:4], name="two.csv")
    rewritten(table, [rows_of(table)[0] | {"cube": "gone.hdr"}], name="gone.csv")
    Path("images.csv").write_text("image,label\na.png,x\n", encoding="utf-8")
    Path("scene.yaml").write_text("task: scene\n", encoding="utf-8")
    found, out, err = excite("train", *arguments)
    assert found == code and message in err and not out, err
    assert "Traceback" not in err and not Path("runs").exists()
