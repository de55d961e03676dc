"""Random, given and block splits of made-up and real scenes: what leaks says so, what should not leak does not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.spatial.distance import cdist

from excite.data.scenes.block_split import block_split
from excite.data.scenes.split import PARTS, SceneSplit, given_split, random_split
from excite.errors import DataError, UsageError


def patches(size: int = 60, side: int = 12, classes: int = 3, seed: int = 0) -> NDArray[Any]:
    """Return square fields of random classes, a tenth of the pixels without a label."""
    random = np.random.default_rng(seed)
    fields = random.integers(1, classes + 1, (size // side, size // side))
    labels = np.kron(fields, np.ones((side, side), int))
    return np.where(random.random(labels.shape) < 0.1, 0, labels)


def nearest(split: SceneSplit, one: str, other: str) -> float:
    """Return the least Chebyshev distance between pixels of two parts, by comparing all with all."""
    return float(cdist(split.positions(one), split.positions(other), "chebyshev").min())


def counted(labels: NDArray[Any], split: SceneSplit, part: str) -> tuple[int, ...]:
    rows, columns = split.positions(part).T
    return tuple(np.bincount(labels[rows, columns], minlength=labels.max() + 1)[1:].tolist())


@pytest.mark.parametrize("window", [1, 2, 5, 6, 11])
@pytest.mark.parametrize(("guard", "times"), [("pixel", 1), ("window", 2)])
def test_blocks_keep_their_distance_and_every_class(window: int, guard: Any, times: int) -> None:
    labels = patches()
    split = block_split(labels, window=window, guard=guard)
    apart = times * (window // 2)
    assert split.guard == apart and split.kind == "block"
    for one, other in (("train", "test"), ("train", "val"), ("val", "test")):
        assert nearest(split, one, other) > apart, (one, other)
    assert split.overlap.inside == split.overlap.windows == 0.0
    if guard == "window" or window == 1:
        assert split.overlap.sharing == 0.0
    assert not split.parts[labels == 0].any()
    for part in PARTS:
        assert split.counts[part] == counted(labels, split, part)
    assert min(split.counts["train"]) > 0 and min(split.counts["test"]) > 0


def test_shares_come_near_the_wish_where_there_is_room() -> None:
    labels = patches(size=156, side=12, classes=4)
    split = block_split(labels, window=3, train=0.5, val=0.2)
    total = np.bincount(labels.ravel())[1:]
    for part, wish in (("train", 0.5), ("val", 0.2), ("test", 0.3)):
        assert np.array(split.counts[part]) / total == pytest.approx(np.full(4, wish), abs=0.12), part
    assert len(np.unique(split.unit[split.parts == 3])) >= 4


def test_a_block_is_one_part_and_pixels_lost_are_counted() -> None:
    labels = patches()
    split = block_split(labels, window=5, block=10)
    used = split.parts > 0
    assert split.unit[used].min() >= 1 and not split.unit[~used].any()
    for block in np.unique(split.unit[used]):
        assert len(np.unique(split.parts[split.unit == block])) == 1
        rows, columns = np.nonzero(split.unit == block)
        assert np.ptp(rows) < 10 and np.ptp(columns) < 10
    lost = np.count_nonzero(labels) - np.count_nonzero(split.parts)
    named = split.notes[0].split("dropped: ")[1].split(", ")
    assert sum(int(text.split()[0]) for text in named) == lost
    assert split.notes[0].startswith("36 blocks, parts kept more than 2 pixels apart; guard pixels dropped: ")


def test_the_same_seed_is_the_same_split_and_another_is_not() -> None:
    labels = patches()
    again = [block_split(labels, window=5, seed=seed).parts for seed in (1, 1, 2)]
    assert (again[0] == again[1]).all() and (again[0] != again[2]).any()
    drawn = [random_split(labels, window=5, seed=seed).parts for seed in (1, 1, 2)]
    assert (drawn[0] == drawn[1]).all() and (drawn[0] != drawn[2]).any()


def test_a_class_that_would_vanish_is_refused_with_a_window_that_works() -> None:
    labels = patches(size=40, side=10, classes=2)
    labels[labels == 0] = 1
    labels[4:8, 4:16] = 3  # a spot, 4 x 12 pixels
    with pytest.raises(DataError) as caught:
        block_split(labels, window=25, classes=("grass", "road", "lake"))
    text = str(caught.value)
    assert text.startswith("no blocks leave every class pixels in train and test with windows of 25: at best none of ")
    assert "class lake in t" in text
    proposed = int(text.split("use a window of ")[1].split(",")[0])
    split = block_split(labels, window=proposed)
    assert min(split.counts["train"]) > 0 and min(split.counts["test"]) > 0 and split.overlap.inside == 0
    with pytest.raises(DataError, match="at best none of class"):
        block_split(labels, window=proposed + 2)


def test_what_no_window_can_mend_says_so() -> None:
    labels = np.ones((6, 6), int)
    labels[0, 0] = 2
    with pytest.raises(DataError, match="class lake has one labelled pixel, which cannot be in train and in test; set"):
        block_split(labels, window=3, classes=("grass", "lake"))
    with pytest.raises(DataError, match="a scene of 6 x 6 pixels has no blocks that stay 7 pixels apart"):
        block_split(np.ones((6, 6), int), window=15)


def test_a_random_split_is_per_class_and_says_that_it_leaks() -> None:
    labels = patches(size=60)
    split = random_split(labels, window=11, train=0.3, val=0.1)
    total = np.bincount(labels.ravel())[1:]
    assert split.counts["train"] == tuple(np.round(0.3 * total).astype(int))
    assert sum(map(np.array, split.counts.values())).tolist() == total.tolist()
    assert split.overlap.inside == split.overlap.sharing == 1.0
    assert "windows of train and test overlap" in split.notes[0]
    assert split.notes[1].startswith("with windows of 11, 100.0% of the test pixels lie in a training window")
    assert len(np.unique(split.unit[split.parts > 0])) == np.count_nonzero(labels)


def test_a_class_of_two_pixels_is_trained_on_and_tested() -> None:
    labels = np.ones((20, 20), int)
    labels[3, 3] = labels[9, 9] = 2
    split = random_split(labels, window=3, train=0.01, val=0.3, classes=("grass", "lake"))
    assert [split.counts[part][1] for part in PARTS] == [1, 0, 1]
    assert "the val part has fewer than 10 pixels of class lake (0)" in split.notes


def test_a_given_partition_is_obeyed_and_measured() -> None:
    labels = np.ones((10, 30), int)
    labels[5:] = 2
    labels[0, 0] = 0
    train, test = np.zeros_like(labels), np.zeros_like(labels)
    train[:, :10], test[:, 14:20], test[:, 25:] = labels[:, :10], 7, 1
    train[0, 0] = 1
    split = given_split(labels, {"train": train, "test": test}, window=7)
    assert split.counts == {"train": (49, 50), "val": (0, 0), "test": (55, 55)}
    assert split.overlap.inside == 0 and split.overlap.sharing > 0
    assert len(np.unique(split.unit[split.parts == 3])) == 2
    assert "1 pixels of the train map have no label and are unused" in split.notes
    assert given_split(labels, {"train": train, "test": test}, window=11).overlap.inside == pytest.approx(10 / 110)


@pytest.mark.parametrize(("change", "text"), [
    ({"val": np.ones((6, 6))}, "36 pixels of the val map are in another part too|pixels of the val map are in another"),
    ({"train": np.ones((2, 2))}, "the train map must be of the labels' shape (6, 6), got (2, 2)"),
    ({"best": np.ones((6, 6))}, "maps must be train, test and maybe val, got best, test, train"),
    ({"test": np.zeros((6, 6))}, "the test part is empty; give it pixels with labels"),
    ({"train": np.zeros((6, 6))}, "nothing to train on for class a, b; give the train map some of it"),
])
def test_maps_that_cannot_be(change: dict[str, Any], text: str) -> None:
    labels = np.ones((6, 6), int)
    labels[:, 3:] = 2
    maps = {"train": np.zeros((6, 6)), "test": np.zeros((6, 6))}
    maps["train"][:3] = maps["test"][4:] = 1
    with pytest.raises((DataError, UsageError)) as caught:
        given_split(labels, maps | change, window=3, classes=("a", "b"))
    assert any(part in str(caught.value) for part in text.split("|"))


@pytest.mark.parametrize(("labels", "options", "text"), [
    (np.ones((4, 4, 1), int), {}, "labels must be a map (H, W) of whole numbers, got int64 of shape (4, 4, 1)"),
    (np.ones((4, 4)), {}, "labels must be a map (H, W) of whole numbers, got float64"),
    (np.full((4, 4), -1), {}, "labels must be 0 (none) or a class from 1 on, got -1 to -1"),
    (np.zeros((4, 4), int), {}, "labels must be 0 (none) or a class from 1 on, got 0 to 0"),
    (np.zeros((0, 4), int), {}, "labels must be 0 (none) or a class from 1 on, got nothing"),
    (np.ones((4, 4), int), {"train": 0.9, "val": 0.1}, "both together below 1, got 0.9 and 0.1"),
    (np.ones((4, 4), int), {"seed": -1}, "seed must be at least 0, got -1"),
    (np.ones((4, 4), int), {"window": 0}, "window must be at least 1, got 0"),
])
def test_arguments_that_cannot_be(labels: NDArray[Any], options: dict[str, Any], text: str) -> None:
    for split in (random_split, block_split):
        with pytest.raises(UsageError) as caught:
            split(labels, **{"window": 3} | options)
        assert text in str(caught.value)


def test_options_of_blocks_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="guard must be pixel or window, got 'none'"):
        block_split(patches(), window=3, guard="none")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="block must be from 1 to 60 pixels, got 61"):
        block_split(patches(), window=3, block=61)


def test_the_report_holds_all_but_the_maps() -> None:
    split = block_split(patches(), window=5)
    told = split.to_json()
    assert told["overlap"]["inside"] == 0 and told["counts"]["train"] == list(split.counts["train"])
    assert set(told) == {"kind", "guard", "window", "notes", "counts", "overlap"}


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize("name", ["jasper", "samson", "moffett", "muufl_crop"])
def test_real_scenes_with_windows_of_11(real_data: Path, name: str) -> None:
    stored = loadmat(real_data / "hsi" / f"{name}.mat")
    labels = stored["S_GT" if "S_GT" in stored else "label"].argmax(axis=-1) + 1
    total = np.bincount(labels.ravel())[1:]
    for guard in ("pixel", "window"):
        split = block_split(labels, window=11, guard=guard)  # type: ignore[arg-type]
        assert split.overlap.inside == 0 and (guard == "pixel" or split.overlap.sharing == 0)
        assert nearest(split, "train", "test") > split.guard
        assert (np.array(split.counts["train"]) > 0.1 * total).all()
        assert (np.array(split.counts["test"]) > 0.1 * total).all()
    assert random_split(labels, window=11).overlap.inside == 1.0
