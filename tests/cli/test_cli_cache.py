"""`excite cache`: what it prints and what it removes."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from excite.cli.cache import app
from excite.data.cache import ImageCache
from excite.data.preprocess import Preprocess
from excite.data.sections import CacheSection, PreprocessSection


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


@pytest.mark.parametrize("verb", ["info", "clear"])
def test_help_has_three_examples(verb: str) -> None:
    assert CliRunner().invoke(app, [verb, "--help"]).stdout.count(f"excite cache {verb}") == 3
