"""Orders of an epoch: complete, balanced, repeatable."""

import numpy as np
import pytest

from excite.data.sampling import batch_edges, epoch_order, repeats
from excite.errors import UsageError

ROWS = np.arange(100, 200)
LABELS = np.repeat([0, 2, 5], [70, 25, 5])


def test_shuffled_epochs_hold_every_row_once_in_another_order() -> None:
    epochs = [epoch_order(ROWS, LABELS, sampler="shuffle", seed=1, epoch=epoch) for epoch in (0, 0, 1)]
    assert (epochs[0] == epochs[1]).all() and (epochs[0] != epochs[2]).any()
    assert (np.sort(epochs[2]) == ROWS).all()
    assert epoch_order(ROWS, LABELS, sampler="order", seed=1, epoch=0) is ROWS


def test_balanced_epochs_use_all_of_a_class_before_any_again() -> None:
    order = epoch_order(ROWS, LABELS, sampler="balanced", seed=1, epoch=0)
    drawn = LABELS[order - 100]
    assert sorted(np.bincount(drawn)[[0, 2, 5]].tolist()) == [33, 33, 34]
    times = np.bincount(order - 100, minlength=100)
    assert set(times[95:]) <= {6, 7} and set(times[70:95]) <= {1, 2} and set(times[:70]) == {0, 1}


def test_repeats_count_what_came_before() -> None:
    assert repeats(np.array([4, 2, 4, 4, 2])).tolist() == [0, 0, 1, 2, 1]


def test_edges() -> None:
    assert batch_edges(10, 4, sampler="shuffle") == [0, 4, 8, 10]
    assert batch_edges(9, 4, sampler="shuffle") == [0, 4, 9]
    assert batch_edges(9, 4, sampler="order") == [0, 4, 8, 9]
    assert batch_edges(1, 4, sampler="balanced") == [0, 1]
    assert batch_edges(8, 4, sampler="balanced") == [0, 4, 8]


def test_what_cannot_be() -> None:
    with pytest.raises(UsageError, match="sampler must be shuffle, balanced or order, got 'random'"):
        epoch_order(ROWS, LABELS, sampler="random", seed=0, epoch=0)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="seed must be at least 0, got -1"):
        epoch_order(ROWS, LABELS, sampler="shuffle", seed=-1, epoch=0)
