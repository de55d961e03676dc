"""Batches for the loop are those of the windows, as tensors in the same memory."""

import numpy as np
import pytest
import torch

from excite.data.scenes.windows import SceneWindows
from excite.engine.windows import SceneBatches
from small_scenes import windows_of

CUBE = np.random.default_rng(0).standard_normal((12, 10, 4)).astype(np.float32)
PLACES = np.array([(row, column) for row in range(12) for column in range(10) if (row + column) % 3 == 0])
LABELS = np.arange(len(PLACES)) % 3


def batches(*, seed: int = 5) -> SceneBatches:
    return SceneBatches(SceneWindows(CUBE, PLACES, LABELS, window=5, batch_size=8, seed=seed, sampler="shuffle"))


def test_each_window_comes_once_with_its_class() -> None:
    found = list(batches().batches(3))
    assert len(found) == batches().steps
    index = np.concatenate([one.index for one in found])
    assert sorted(index) == sorted(PLACES @ [10, 1])
    rows, columns = np.divmod(index, 10)
    images, labels = (torch.cat([getattr(one, name) for one in found]) for name in ("images", "labels"))
    assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
    np.testing.assert_array_equal(images.numpy(), windows_of(CUBE, 5)[rows, columns])
    of_place = {tuple(place): label for place, label in zip(PLACES.tolist(), LABELS.tolist(), strict=True)}
    assert labels.tolist() == [of_place[place] for place in zip(rows.tolist(), columns.tolist(), strict=True)]


def test_a_resumed_epoch_goes_on_where_it_was() -> None:
    whole, rest = list(batches().batches(1)), list(batches().batches(1, start=2))
    assert [one.index.tolist() for one in rest] == [one.index.tolist() for one in whole[2:]]
    assert all(torch.equal(one.images, other.images) for one, other in zip(rest, whole[2:], strict=True))
    assert [one.index.tolist() for one in batches().batches(2)] != [one.index.tolist() for one in whole]
    assert [one.index.tolist() for one in batches(seed=6).batches(1)] != [one.index.tolist() for one in whole]


def test_a_tensor_is_the_memory_of_the_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    made = batches()
    kept = list(made.windows.batches(0))
    monkeypatch.setattr(made.windows, "batches", lambda *_, **__: iter(kept))
    for one, window in zip(made.batches(0), kept, strict=True):
        assert one.images.data_ptr() == window.images.ctypes.data
        assert one.labels.data_ptr() == window.labels.ctypes.data and one.index is window.index
