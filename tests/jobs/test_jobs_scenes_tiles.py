"""Scenes predicted into files: killed, shared, damaged, changed."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from excite.errors import DataError, EnvironmentFault, UsageError
from excite.jobs.scenes import tiles
from excite.jobs.scenes.tiles import _claim, cube_digest, predict_into, weights_digest
from excite.models.classifier import create_model
from excite.models.scene_prediction import predict_scene
from excite.progress import Progress

SETUP = """
import sys, numpy as np, torch
from pathlib import Path
from excite.jobs.scenes.tiles import predict_into
from excite.models.classifier import create_model
torch.manual_seed(0)
model = create_model("hybridsn", in_channels=13, num_classes=4, window=9)
cube = np.load(sys.argv[2], mmap_mode="r")
done = predict_into(Path(sys.argv[1]), model, cube, tile=int(sys.argv[3]), threads=1)
print(done.computed, done.tiles)
"""


def small():
    torch.manual_seed(0)
    return create_model("hybridsn", in_channels=13, num_classes=4, window=9)


def scene(height=20, width=17):
    return np.random.default_rng(0).standard_normal((height, width, 13)).astype(np.float32)


def content(folder):
    return [(folder / name).read_bytes() for name in ("labels.npy", "probabilities.npy")]


class Stopped(Progress):
    """Ends the work after so many tiles, as Ctrl-C would."""

    def __init__(self, after):
        super().__init__(None)
        self.after = after

    def step(self, what, done, total):
        if done == self.after:
            raise KeyboardInterrupt


def test_the_files_hold_what_predict_scene_returns(tmp_path):
    found = predict_into(tmp_path / "new" / "out", small(), scene(), tile=8, threads=1)
    labels, probabilities = predict_scene(small(), scene(), tile=8, threads=1)
    assert (found.computed, found.tiles) == (9, 9)
    assert np.array_equal(found.labels, labels) and np.array_equal(found.probabilities, probabilities)
    assert np.array_equal(np.load(tmp_path / "new" / "out" / "labels.npy"), labels)
    assert not list((tmp_path / "new" / "out").glob("*.claim")) and not list((tmp_path / "new" / "out").glob(".*"))


def test_what_was_interrupted_goes_on_and_ends_with_the_same_bytes(tmp_path):
    predict_into(tmp_path / "whole", small(), scene(), tile=8, threads=1)
    with pytest.raises(KeyboardInterrupt):
        predict_into(tmp_path / "cut", small(), scene(), tile=8, threads=1, progress=Stopped(4))
    assert content(tmp_path / "cut") != content(tmp_path / "whole")
    found = predict_into(tmp_path / "cut", small(), scene(), tile=8, threads=1)
    assert found.computed == 5 and content(tmp_path / "cut") == content(tmp_path / "whole")
    assert predict_into(tmp_path / "cut", small(), scene(), tile=8).computed == 0  # threads: as the plan says


def test_a_tile_that_is_not_as_it_was_written_is_computed_again(tmp_path):
    predict_into(tmp_path, small(), scene(), tile=8, threads=1)
    before = content(tmp_path)
    labels = np.lib.format.open_memmap(tmp_path / "labels.npy", mode="r+")
    labels[10, 10] += 1
    labels.flush()
    (tmp_path / "tile-3.json").write_text('{"sha')
    assert predict_into(tmp_path, small(), scene(), tile=8, threads=1).computed == 2 and content(tmp_path) == before


def test_another_plan_is_refused_with_the_difference(tmp_path):
    predict_into(tmp_path, small(), scene(), tile=8, threads=1)
    other, moved = small(), scene()
    with torch.no_grad():
        other.classifier.bias[0] += 1
    moved[3, 4, 5] += 1
    for arguments, options, message in (
            ((other, scene()), {}, "weights: '[0-9a-f]+' -> '"), ((small(), moved), {}, "cube: '"),
            ((small(), scene()), {"border": "zero"}, "border: 'reflect' -> 'zero'; undo the change"),
            ((small(), scene()), {"threads": 2}, "threads: 1 -> 2"),
            ((small(), scene()), {"tile": 9}, "this prediction began with another plan: tile: 8 -> 9")):
        with pytest.raises(UsageError, match=message):
            predict_into(tmp_path, *arguments, **{"tile": 8, "threads": 1} | options)
    with pytest.raises(DataError, match="the model takes 13 bands, the cube has 12"):
        predict_into(tmp_path, small(), scene()[..., 1:], tile=8)


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault, match="the prediction cannot be written .*; name another folder"):
        predict_into(tmp_path / "file" / "out", small(), scene())


@pytest.mark.parametrize("reserving", ["posix_fallocate", "zeros", "unknown to the disk"])
def test_the_arrays_have_their_room_on_the_disk_from_the_start(tmp_path, monkeypatch, reserving):
    def unknown(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    if reserving == "zeros":
        monkeypatch.delattr(tiles.os, "posix_fallocate")
    elif reserving == "unknown to the disk":
        monkeypatch.setattr(tiles.os, "posix_fallocate", unknown)
    monkeypatch.setattr(tiles, "BLOCK", 1000)
    tiles._make(tmp_path / "a.npy", (300, 200, 4), np.float32)
    found = (tmp_path / "a.npy").stat()
    assert found.st_blocks * 512 >= found.st_size > 960_000
    array = np.load(tmp_path / "a.npy")
    assert array.shape == (300, 200, 4) and array.dtype == np.float32 and not array.any()


def test_a_disk_without_room_is_said_before_anything_is_computed(tmp_path, monkeypatch):
    def full(descriptor, start, size):
        if size > 5000:  # the probabilities
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tiles.os, "posix_fallocate", full)
    with pytest.raises(EnvironmentFault, match=r"disk full \(No space left on device\); make room, then the same call"):
        predict_into(tmp_path, small(), scene(), tile=8, threads=1)
    assert {file.name for file in tmp_path.iterdir()} <= {"labels.npy", "begin.claim"}
    monkeypatch.undo()
    assert predict_into(tmp_path, small(), scene(), tile=8, threads=1).computed == 9


@pytest.mark.parametrize(("name", "array", "got"), [
    ("labels.npy", np.zeros((3, 4), np.int32), r"int32 \(20, 17\), got int32 \(3, 4\)"),
    ("labels.npy", np.zeros((20, 17), np.int64), r"int32 \(20, 17\), got int64 \(20, 17\)"),
    ("probabilities.npy", np.zeros((20, 17, 5), np.float32), r"float32 \(20, 17, 4\), got float32 \(20, 17, 5\)"),
    ("labels.npy", None, r"int32 \(20, 17\), got "),
])
def test_arrays_of_another_prediction_are_refused(tmp_path, name, array, got):
    predict_into(tmp_path, small(), scene(), tile=8, threads=1)
    if array is None:
        (tmp_path / name).write_bytes(b"hello")
    else:
        np.save(tmp_path / name, array)
    with pytest.raises(DataError, match=rf"{name}: the array must be {got}.*delete the folder, or name another one"):
        predict_into(tmp_path, small(), scene(), tile=8, threads=1)


def test_threads_are_those_of_the_plan(tmp_path, monkeypatch):
    predict_into(tmp_path, small(), scene(), tile=8, threads=1)
    monkeypatch.setattr(tiles, "usable_cores", lambda: 3)
    assert predict_into(tmp_path, small(), scene(), tile=8).computed == 0
    predict_into(tmp_path / "new", small(), scene(3, 9), tile=9)
    assert json.loads((tmp_path / "new" / "plan.json").read_text())["threads"] == 3


def test_a_claim_is_held_by_one_and_let_go(tmp_path):
    with _claim(tmp_path / "a.claim") as first, _claim(tmp_path / "a.claim") as second:
        assert first and not second
    with _claim(tmp_path / "a.claim") as again:
        assert again
    assert not (tmp_path / "a.claim").exists()


def test_a_tile_that_another_computes_is_waited_for(tmp_path, monkeypatch):
    predict_into(tmp_path, small(), scene(), tile=8, threads=1)
    before = content(tmp_path)
    record = (tmp_path / "tile-2.json").read_text()
    (tmp_path / "tile-2.json").unlink()
    held = _claim(tmp_path / "tile-2.claim")
    assert held.__enter__()
    waits = []

    def finish(seconds):
        waits.append(seconds)
        if len(waits) == 2:
            (tmp_path / "tile-2.json").write_text(record)
            held.__exit__(None, None, None)

    monkeypatch.setattr(tiles.time, "sleep", finish)
    assert predict_into(tmp_path, small(), scene(), tile=8, threads=1).computed == 0
    assert len(waits) == 2 and content(tmp_path) == before


def test_digests_see_values_names_and_shapes():
    cube, model = scene(), small()
    assert cube_digest(cube) == cube_digest(cube.copy()) != cube_digest(cube.reshape(17, 20, 13))
    assert weights_digest(model) == weights_digest(small()) != weights_digest(create_model(
        "hybridsn", in_channels=13, num_classes=4, window=9))


@pytest.mark.slow
def test_killed_processes_and_several_at_once_end_with_the_same_bytes(tmp_path):
    np.save(tmp_path / "cube.npy", scene(90, 80))

    def start(folder):
        return subprocess.Popen([sys.executable, "-c", SETUP, tmp_path / folder, tmp_path / "cube.npy", "6"],
                                stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})

    assert start("whole").communicate()[0].split() == ["210", "210"]
    killed = start("shared")
    while len(list((tmp_path / "shared").glob("tile-*.json"))) < 5:
        assert killed.poll() is None
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    found = len(list((tmp_path / "shared").glob("tile-*.json")))
    assert 5 <= found < 210
    computed = [int(one.communicate()[0].split()[0]) for one in [start("shared"), start("shared")]]
    assert sum(computed) == 210 - found and content(tmp_path / "shared") == content(tmp_path / "whole")
    assert json.loads((tmp_path / "shared" / "plan.json").read_text())["tile"] == 6
