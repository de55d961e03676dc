"""`excite cache`: what it prints and what it removes."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from excite.cli.cache import app
from excite.data.cache import ImageCache
from excite.data.preprocess import Preprocess
from excite.data.sections import CacheSection, PreprocessSection
from excite.data.volumes.preprocess import VolumePreprocess
from excite.data.volumes.store import Reading, VolumeStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.fromarray(np.arange(2500, dtype=np.uint8).reshape(50, 50)).save(tmp_path / "a.png")
    ImageCache.build([tmp_path / "a.png"], Preprocess(PreprocessSection()), CacheSection(folder=tmp_path / "cache"))
    return tmp_path / "cache"


def test_info_tells_the_sets_in_words_and_in_json(folder: Path) -> None:
    facts = json.loads(CliRunner().invoke(app, ["info", "--folder", str(folder), "--json"]).stdout)
    on_disk = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert facts["folder"] == str(folder) and facts["bytes"] == on_disk and facts["limit_gb"] == 20.0
    assert [(found["images"], found["state"]) for found in facts["sets"]] == [(1, "ok")]
    text = CliRunner().invoke(app, ["info", "--folder", str(folder)]).stdout
    assert str(folder) in text and "1 images" in text and "ok" in text


def test_info_names_a_damaged_set(folder: Path) -> None:
    next(folder.glob("*/index.json")).write_text("{", encoding="utf-8")
    assert "damaged" in CliRunner().invoke(app, ["info", "--folder", str(folder)]).stdout


def test_clear_removes_and_counts(folder: Path) -> None:
    done = json.loads(CliRunner().invoke(app, ["clear", "--folder", str(folder), "--json"]).stdout)
    assert done["removed"] == 1 and done["freed_bytes"] > 2500 and not list(folder.iterdir())
    assert "0 sets removed" in CliRunner().invoke(app, ["clear", "--folder", str(folder)]).stdout


def test_prepared_volumes_are_told_and_removed_in_either_folder(tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    files = [tmp_path / "t1.nii"]
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 8, 8), np.float32), np.eye(4)), files[0])  # type: ignore[attr-defined]
    preprocess = VolumePreprocess(maps=("t1",), reference="t1", shape=(4, 8, 8), spacing=(1.0, 1.0, 1.0))
    for own in (str(tmp_path / "own"), None):
        monkeypatch.setenv("EXCITE_CACHE", own) if own else monkeypatch.delenv("EXCITE_CACHE")
        store = VolumeStore.build([files], preprocess, how=Reading({}))
        found = json.loads(CliRunner().invoke(app, ["info", "--json"]).stdout)["volumes"]
        assert (found["folder"], found["sets"]) == (str(store.file.parent), 1) and found["bytes"] > 1024
        assert "1 sets of prepared volumes" in CliRunner().invoke(app, ["info"]).stdout
        done = json.loads(CliRunner().invoke(app, ["clear", "--json"]).stdout)["volumes"]
        assert done == {"folder": found["folder"], "removed": 1, "freed_bytes": found["bytes"]}
        assert not store.file.exists() and not list(store.file.parent.iterdir())
        assert "0 sets of prepared volumes removed" in CliRunner().invoke(app, ["clear"]).stdout


@pytest.mark.parametrize("verb", ["info", "clear"])
def test_help_has_three_examples(verb: str) -> None:
    assert CliRunner().invoke(app, [verb, "--help"]).stdout.count(f"excite cache {verb}") == 3
