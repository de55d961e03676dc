"""The catalog and the store: names, places, what is at hand, three ways on where it is not."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from excite.errors import EnvironmentFault, ModelError, UsageError
from excite.weights.catalog import find, recognise
from excite.weights.intake import take_in
from excite.weights.store import at_hand, digest, folder, path_of, resolve, stored_path, verify

STATE = {"features.1.conv.0.0.weight": torch.arange(4.0), "classifier.1.weight": torch.ones(3, 2)}


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EXCITE_WEIGHTS", str(tmp_path / "store"))
    return tmp_path / "store"


def test_find_and_recognise() -> None:
    row = find("mobilenet_v2", "imagenet")
    assert row is not None and row.part == "features" and find("mobilenet_v2", "imagenette") is None
    assert recognise("ab" * 32) is None


def test_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EXCITE_WEIGHTS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert folder() == tmp_path / "excite" / "weights"
    for word in ("../../etc/passwd", "a/b", "", ".hidden"):
        with pytest.raises(UsageError, match="letters, digits"):
            stored_path("mobilenet_v2", word)


@pytest.mark.parametrize("name", [None, "none", "None"])
def test_random_values_only_where_asked_for(name: str | None) -> None:
    assert resolve(name, "mobilenet_v2") is None


def test_weights_that_are_not_at_hand_name_three_ways_on() -> None:
    with pytest.raises(EnvironmentFault) as caught:
        resolve("imagenet", "mobilenet_v2")
    assert caught.value.exit_code == 5
    for way in ("excite weights get mobilenet_v2", "--weights FILE", "--weights none"):
        assert way in str(caught.value)
    with pytest.raises(EnvironmentFault, match="excite weights import FILE"):
        resolve("imagenet-cadene", "se_resnext50_32x4d")
    with pytest.raises(EnvironmentFault, match="--weights none"):
        resolve("imagenet", "a_network_of_ours")
    with pytest.raises(EnvironmentFault, match="no such weights file"):
        resolve("nowhere/x.safetensors", "mobilenet_v2")
    with pytest.raises(UsageError, match="did you mean 'imagenet'"):
        resolve("imagnet", "mobilenet_v2")


def test_an_own_import_is_found_by_its_tag_and_a_file_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "ours.safetensors"
    save_file(STATE, file)
    assert resolve(str(file), "mobilenet_v2") == resolve(file, "mobilenet_v2") == file
    entry = take_in(file, name="mobilenet_v2", tag="ours")
    assert (entry.part, entry.layout, entry.classes, entry.values) == ("all", "torchvision", 3, 10)
    assert resolve("ours", "mobilenet_v2") == entry.path == stored_path("mobilenet_v2", "ours")
    assert all(torch.equal(load_file(entry.path)[key], STATE[key]) for key in STATE)


def test_verify_tells_whole_from_damaged(tmp_path: Path) -> None:
    file = tmp_path / "ours.safetensors"
    save_file(STATE, file)
    assert not verify(file).ok and "cannot be checked" in verify(file).text
    path = take_in(file, name="mobilenet_v2", tag="ours").path
    assert verify(path).ok and digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    data = bytearray(path.read_bytes())
    data[-1] ^= 0x40
    path.write_bytes(data)
    assert not verify(path).ok and "damaged" in verify(path).text


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")
def test_the_checksum_is_one_that_sha256sum_reads(tmp_path: Path, store: Path) -> None:
    file = tmp_path / "ours.safetensors"
    save_file(STATE, file)
    path = take_in(file, name="mobilenet_v2", tag="ours").path
    done = subprocess.run(["sha256sum", "-c", path.name + ".sha256"], cwd=store, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_another_file_under_a_rows_name_is_not_that_row(tmp_path: Path, store: Path) -> None:
    row = find("mobilenet_v2", "imagenet")
    assert row is not None
    file = tmp_path / "ours.safetensors"
    save_file(STATE, file)
    ours = take_in(file, name="mobilenet_v2", tag="imagenet").path
    assert ours == at_hand(row) == path_of(row)
    verdict = verify(ours, row)
    assert not verdict.ok and "was not made from the file of" in verdict.text


def test_a_file_for_the_row_without_a_hash_is_checked_against_its_import(tmp_path: Path) -> None:
    row = find("mobilenet_v1", "imagenet-timm")
    assert row is not None and row.sha256 == ""
    file = tmp_path / "timm.safetensors"
    save_file(STATE, file)
    path = take_in(file, name="mobilenet_v1", tag="imagenet-timm", layout="timm").path
    assert path == at_hand(row) and verify(path, row).ok and "from a file of your own" in verify(path, row).text


def test_a_store_that_cannot_be_written_is_an_environment_fault(tmp_path: Path, store: Path) -> None:
    store.write_text("a file where the folder should be")
    file = tmp_path / "ours.safetensors"
    save_file(STATE, file)
    with pytest.raises(EnvironmentFault, match="EXCITE_WEIGHTS"):
        take_in(file, name="mobilenet_v2", tag="ours")


def _bad(kind: str, good: bytes) -> bytes:
    length = int.from_bytes(good[:8], "little")
    return {
        "cut": good[:-5],
        "header lies": good[:8].replace(good[:8], (length + 10_000_000).to_bytes(8, "little")) + good[8:],
        "junk tail": good + b"junk",
        "zero byte": b"",
        "header no json": good[:8] + b"x" * length + good[8 + length:],
    }[kind]


@pytest.mark.parametrize("kind", ["cut", "header lies", "junk tail", "zero byte", "header no json"])
def test_bad_safetensors_are_told_by_name(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "bad.safetensors"
    save_file(STATE, file)
    file.write_bytes(_bad(kind, file.read_bytes()))
    with pytest.raises(ModelError, match=r"bad\.safetensors: the file cannot be read as safetensors"):
        take_in(file, name="mobilenet_v2", tag="ours")
    assert not stored_path("mobilenet_v2", "ours").exists()
