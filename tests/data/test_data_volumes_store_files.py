"""The folder of prepared volumes: whose drafts are swept, what is counted, and what removing leaves."""

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest

from excite.data.volumes.store_files import clear_volumes, draft_of, sweep, volumes_folder, volumes_info

NAME = "0123456789abcdef" * 2


@pytest.fixture
def ended() -> int:
    """Return the number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def plant(folder: Path, name: str, *, age: float = 0) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(bytes(100))
    os.utime(file, (time.time() - age,) * 2)
    return file


@pytest.mark.skipif(os.name == "nt", reason="there it cannot be asked without harm whether a process lives")
def test_only_drafts_that_nobody_writes_are_swept(tmp_path: Path, ended: int) -> None:
    here, day = platform.node(), 25 * 3600
    gone = [plant(tmp_path, f".a.npy.{here}.{ended}.part"), plant(tmp_path, f".b.npy.{os.getpid()}.part", age=day),
            plant(tmp_path, f".c.npy.{here}.{os.getpid()}.part", age=day),
            plant(tmp_path, f"{NAME}-labels/.values.bin.7.part", age=day)]
    kept = [draft_of(tmp_path / "d.npy"), plant(tmp_path, f".e.npy.of-another-machine.{ended}.part", age=3600),
            plant(tmp_path, "f.npy", age=day), plant(tmp_path, f".g.npy.{here}.x.part")]
    kept[0].write_bytes(b"x")
    assert kept[0].name == f".d.npy.{here}.{os.getpid()}.part"
    sweep(tmp_path)
    assert not any(file.exists() for file in gone) and all(file.exists() for file in kept)


def test_sets_are_counted_and_removed_and_other_files_stay(tmp_path: Path) -> None:
    for name in (f"{NAME}.npy", f"{NAME}.json", f"pooled-{NAME}.npy", f"{NAME}-labels/values.bin", "mine.npy",
                 f"{NAME}/data.bin"):  # the last is a set of images
        plant(tmp_path, name)
    old, live = plant(tmp_path, ".x.npy.7.part", age=25 * 3600), draft_of(tmp_path / "y.npy")
    live.write_bytes(bytes(10))
    assert volumes_info(tmp_path) == {"folder": str(tmp_path), "sets": 3, "bytes": 510}
    assert clear_volumes(tmp_path) == {"folder": str(tmp_path), "removed": 3, "freed_bytes": 500}
    assert not old.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"mine.npy", NAME, live.name}
    assert clear_volumes(tmp_path / "none")["removed"] == 0


def test_the_folder_is_the_variables_or_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXCITE_CACHE", str(tmp_path))
    assert volumes_folder() == tmp_path and volumes_folder(tmp_path / "a") == tmp_path / "a"
    monkeypatch.delenv("EXCITE_CACHE")
    assert volumes_folder().parts[-2:] == ("excite", "volumes")
