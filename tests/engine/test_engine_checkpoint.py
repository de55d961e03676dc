"""A checkpoint is whole or does not count; a damaged one is passed over aloud; a full disk is called by its name."""

import errno
import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from excite.engine.checkpoint import Checkpoint, load_latest, save, sweep
from excite.errors import EnvironmentFault, ModelError


def state(number: int) -> Checkpoint:
    generator = torch.Generator().manual_seed(number)
    shared = torch.randn(40, 30, generator=generator)
    return Checkpoint({"a": shared, "tied": shared, "count": torch.tensor(number), "half": shared.bfloat16(),
                       "last": shared.reshape(2, 20, 5, 6).to(memory_format=torch.channels_last)},
                      {"number": number, "third": number / 3, "tiny": 5e-324, "none": None})


def same(found: Checkpoint | None, number: int) -> bool:
    wanted = state(number)
    return found is not None and dict(found.values) == dict(wanted.values) and all(
        torch.equal(found.tensors[name], value) and found.tensors[name].dtype == value.dtype
        for name, value in wanted.tensors.items())


def newest(folder: Path, suffix: str) -> Path:
    return max(folder.glob(f"*{suffix}"))


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[random.Random(len(data)).randrange(len(data))] ^= 4
    file.write_bytes(data)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def test_comes_back_bit_by_bit(tmp_path: Path) -> None:
    assert load_latest(tmp_path) is None and load_latest(tmp_path / "nowhere") is None
    save(tmp_path / "new" / "folder", state(7))
    found = load_latest(tmp_path / "new" / "folder")
    assert same(found, 7) and found is not None and found.passed_over == ()


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for number in range(12):
        save(tmp_path, state(number))
        assert same(load_latest(tmp_path), number)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        f"checkpoint-0000{number}.{kind}" for number in (11, 12) for kind in ("json", "safetensors")]


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
@pytest.mark.parametrize("harm", [flip, cut, Path.unlink, lambda file: file.write_bytes(b"")],
                         ids=["flipped bit", "cut", "gone", "empty"])
def test_a_damaged_one_is_passed_over_and_said(tmp_path: Path, harm: Callable[[Path], object], suffix: str) -> None:
    for number in range(3):
        save(tmp_path, state(number))
    harm(newest(tmp_path, suffix))
    found = load_latest(tmp_path)
    assert same(found, 1)
    if (harm, suffix) != (Path.unlink, ".json"):  # without its JSON it never was one
        assert found is not None and len(found.passed_over) == 1
        assert "checkpoint-000003.json is damaged" in found.passed_over[0]
        assert "checkpoint-000002.json, is used" in found.passed_over[0]
    save(tmp_path, state(5))
    assert same(load_latest(tmp_path), 5)
    save(tmp_path, state(6))
    flip(newest(tmp_path, ".safetensors"))
    assert same(load_latest(tmp_path), 5)  # the damaged one did not push the good ones out


def test_every_bit_of_the_json_counts(tmp_path: Path) -> None:
    save(tmp_path, state(0))
    save(tmp_path, state(1))  # its 5e-324 and 4e-324 are the same number
    file = newest(tmp_path, ".json")
    whole = file.read_bytes()
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1:])
        copy = tmp_path.parent / "copy"
        shutil.copytree(tmp_path, copy)
        found = load_latest(copy)
        assert same(found, 0) or (same(found, 1) and whole[place:place + 6] == b"5e-324"), whole[place:place + 9]
        shutil.rmtree(copy)


def test_all_damaged_is_an_error_that_names_each(tmp_path: Path) -> None:
    for number in range(2):
        save(tmp_path, state(number))
    for file in tmp_path.glob("*.safetensors"):
        cut(file)
    with pytest.raises(ModelError, match="every checkpoint.*000002.json is damaged.*cut: .*000001.json.*--out"):
        load_latest(tmp_path)
    assert len(list(tmp_path.iterdir())) == 4  # nothing is lost


def test_a_newer_format_is_refused_not_passed_over(tmp_path: Path) -> None:
    file = save(tmp_path, state(0))
    content = {name: value for name, value in json.loads(file.read_text()).items() if name != "sha256"}
    content["format"] = 99
    text = json.dumps(content, sort_keys=True).encode()
    file.write_text(json.dumps(content | {"sha256": hashlib.sha256(text).hexdigest()}))
    with pytest.raises(ModelError, match=r"000001.json: the checkpoint's format is 99, this version reads 1"):
        load_latest(tmp_path)


@pytest.mark.parametrize("moment", range(4))
def test_a_kill_at_any_moment_of_writing_leaves_the_one_before(tmp_path: Path, moment: int,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    save(tmp_path, state(0))
    with monkeypatch.context() as patch:
        if moment == 0:                     # the tensors written, perhaps not on the disk
            patch.setattr(os, "fsync", killed)
        elif moment == 1:                   # whole, but aside
            patch.setattr(Path, "replace", killed)
        else:                               # tensors in place; the JSON not written, or aside
            done: list[int] = []
            replace = Path.replace
            patch.setattr(Path, "replace", lambda file, to: (
                killed() if done and moment == 3 else (done.append(1), replace(file, to))))
            if moment == 2:
                patch.setattr(json, "dumps", lambda *a, _old=json.dumps, **k: killed() if done else _old(*a, **k))
        with pytest.raises(Killed):
            save(tmp_path, state(1))
    assert same(load_latest(tmp_path), 0)
    left = sweep(tmp_path)
    assert left and sorted(file.name for file in tmp_path.iterdir()) == ["checkpoint-000001.json",
                                                                         "checkpoint-000001.safetensors"]
    save(tmp_path, state(2))
    assert same(load_latest(tmp_path), 2)


def test_sweep_leaves_good_files_and_strangers(tmp_path: Path) -> None:
    save(tmp_path, state(0))
    (tmp_path / "notes.txt").write_text("mine")
    assert sweep(tmp_path) == [] and sweep(tmp_path / "nowhere") == []
    assert (tmp_path / "notes.txt").exists() and same(load_latest(tmp_path), 0)


@pytest.mark.parametrize(("number", "text"), [(errno.ENOSPC, r"disk full: need \d+\.\d MB, have \d+\.\d MB at .*room"),
                                              (errno.EROFS, "cannot be written.*Read-only.*writable")])
def test_a_disk_that_does_not_take_it_is_named_and_nothing_is_lost(tmp_path: Path, number: int, text: str,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, state(0))

    def refuse(_: int) -> None:
        raise OSError(number, {errno.ENOSPC: "No space left on device"}.get(number, "Read-only file system"))

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", refuse)
        with pytest.raises(EnvironmentFault, match=text) as caught:
            save(tmp_path, state(1))
    assert caught.value.exit_code == 5
    assert same(load_latest(tmp_path), 0) and sweep(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault, match="checkpoints cannot be written"):
        save(tmp_path / "file" / "checkpoints", state(0))
