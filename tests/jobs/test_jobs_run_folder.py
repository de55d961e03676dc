"""A run folder: private, locked, and resumed only where nothing changed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from excite.errors import EnvironmentFault, UsageError
from excite.jobs.run_folder import CONFIG, RunFolder


def test_it_is_private_and_new(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "a" / "run") as run:
        assert run.is_new and run.path.stat().st_mode & 0o777 == 0o700
        run.write(CONFIG, "seed: 1\n")
        assert not run.is_new


def test_a_second_process_is_refused_and_let_in_afterwards(tmp_path: Path) -> None:
    code = f"from excite.jobs.run_folder import RunFolder; from pathlib import Path; RunFolder(Path({str(tmp_path)!r}))"
    with RunFolder(tmp_path):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "another process works in this run folder" in done.stderr
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_a_folder_of_other_files_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="holds other files and no run"):
        RunFolder(tmp_path)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(EnvironmentFault, match="file.*cannot be written"):
        RunFolder(tmp_path / "file")


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(EnvironmentFault, match="cannot be written"):
        RunFolder(tmp_path / "locked" / "run")


def test_changes_are_refused_with_the_difference(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as run:
        run.refuse_changes("config", {"a": {"b": 1}}, {"a": {"b": 1}})
        with pytest.raises(UsageError, match=r"another config: a.b: 1 -> 2; undo the change to resume, or"):
            run.refuse_changes("config", {"a": {"b": 1}}, {"a": {"b": 2}})


def test_the_log_survives_a_cut_line_and_counts_an_epoch_once(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as run:
        run.log({"event": "epoch", "epoch": 1, "x": 1})
        with (tmp_path / "log.jsonl").open("a") as stream:
            stream.write('{"event": "epoch", "epo')  # a kill in the middle of a line
        run.log({"event": "epoch", "epoch": 1, "x": 2})
        run.log({"event": "done"})
        assert run.events() == [{"event": "epoch", "epoch": 1, "x": 2}, {"event": "done"}]


def test_json_never_holds_nan(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as run, pytest.raises(ValueError, match="not JSON compliant"):
        run.write_json("a.json", {"x": float("nan")})
