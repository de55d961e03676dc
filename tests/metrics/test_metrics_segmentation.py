"""Overlap numbers are their formulas and MONAI's; empty masks follow the rule; intervals are over units."""

import numpy as np
import pytest

from excite.errors import DataError, UsageError
from excite.metrics.segmentation import binarise, means, scores

NAMES = ("dice", "iou", "sensitivity", "specificity")


def masks(*size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random(size) > 0.6
    return truth ^ (rng.random(size) > 0.8), truth


@pytest.mark.parametrize("size", [(9, 13), (5, 6, 7)])
def test_scores_are_counted_pixel_by_pixel(size: tuple[int, ...]) -> None:
    for seed in range(5):
        predicted, truth = masks(*size, seed=seed)
        table = {(p, t): 0 for p in (0, 1) for t in (0, 1)}
        for p, t in zip(predicted.flat, truth.flat, strict=True):
            table[int(p), int(t)] += 1
        hit, false, missed, rest = table[1, 1], table[1, 0], table[0, 1], table[0, 0]
        found = scores(predicted, truth)
        assert found == pytest.approx({"dice": 2 * hit / (2 * hit + false + missed),
                                       "iou": hit / (hit + false + missed), "sensitivity": hit / (hit + missed),
                                       "specificity": rest / (rest + false)})
        swapped = scores(truth, predicted)
        assert swapped["dice"] == found["dice"] and swapped["sensitivity"] != found["sensitivity"]
        assert scores(predicted.astype(np.uint8), truth.astype(float)) == found


@pytest.mark.peers
@pytest.mark.parametrize("size", [(16, 13), (9, 8, 7)])
def test_scores_equal_monais(size):
    import torch
    from monai.metrics import compute_dice, compute_iou, get_confusion_matrix

    for seed in range(4):
        predicted, truth = masks(*size, seed=seed)
        pair = [torch.from_numpy(one)[None, None].float() for one in (predicted, truth)]
        found = scores(predicted, truth)
        assert found["dice"] == pytest.approx(float(compute_dice(*pair)), abs=1e-6)
        assert found["iou"] == pytest.approx(float(compute_iou(*pair)), abs=1e-6)
        hit, false, rest, missed = get_confusion_matrix(*pair)[0, 0].tolist()
        assert found["sensitivity"] == pytest.approx(hit / (hit + missed), abs=1e-12)
        assert found["specificity"] == pytest.approx(rest / (rest + false), abs=1e-12)


def test_empty_masks_follow_the_stated_rule() -> None:
    nothing, something, all_of_it = np.zeros((4, 5), bool), np.eye(4, 5) > 0, np.ones((4, 5), bool)
    assert scores(nothing, nothing) == {"dice": None, "iou": None, "sensitivity": None, "specificity": 1.0}
    assert scores(nothing, nothing, empty="one") == {"dice": 1.0, "iou": 1.0, "sensitivity": None, "specificity": 1.0}
    for empty in ("undefined", "one"):
        assert scores(something, nothing, empty=empty) == {"dice": 0, "iou": 0, "sensitivity": None, "specificity": 0.8}
        assert scores(nothing, something, empty=empty) == {"dice": 0, "iou": 0, "sensitivity": 0, "specificity": 1}
    assert scores(all_of_it, all_of_it) == {"dice": 1, "iou": 1, "sensitivity": 1, "specificity": None}
    with pytest.raises(UsageError, match="empty must be one of undefined, one, got 'zero'"):
        scores(nothing, nothing, empty="zero")  # type: ignore[arg-type]


def test_masks_that_cannot_be_are_refused_by_name() -> None:
    predicted, truth = masks(4, 5)
    with pytest.raises(DataError, match=r"a.png: the true mask must have the values 0 and 1 only, got 255.*mask > 127"):
        scores(predicted, truth * 255, where="a.png")
    with pytest.raises(DataError, match="the predicted mask must have the values 0 and 1 only, got 0.5"):
        scores(predicted * 0.5, truth)
    with pytest.raises(DataError, match=r"got nan"):
        scores(predicted, np.where(truth, np.nan, 0))
    with pytest.raises(DataError, match=r"a.png.*size \(4, 5\), got \(4, 4\).*original pixels"):
        scores(predicted[:, :4], truth, where="a.png")


def test_binarise_takes_probabilities_only() -> None:
    chances = np.array([[[0.2, 0.5], [0.49, 1.0]], [[0.0, 0.9], [0.7, 0.3]]])
    assert binarise(chances).tolist() == [[[False, True], [False, True]], [[False, True], [True, False]]]
    assert binarise(chances, threshold=0.3).sum() == 6
    for bad in (np.nan, np.inf):
        broken = chances.copy()
        broken[1, 0, 0] = bad
        with pytest.raises(DataError, match=r"row 1 \(counted from 0\): a probability is NaN or infinite"):
            binarise(broken)
    with pytest.raises(DataError, match=r"row 0 .*from 0 to 1, got 0.8 to 4; give the sigmoid"):
        binarise(chances * 4)
    with pytest.raises(UsageError, match="threshold must be above 0 and below 1, got 1"):
        binarise(chances, threshold=1)


def drawn(units: int = 40, each: int = 3) -> tuple[list[dict[str, float | None]], list[str]]:
    """Return numbers that differ between units and hardly within."""
    rng = np.random.default_rng(0)
    level = np.repeat(rng.normal(0.9, 0.03, units), each)
    rows: list[dict[str, float | None]] = [{"dice": float(one), "hd_mm": float(2 - one)} for one in level]
    return rows, [f"patient {place // each}" for place in range(units * each)]


def test_the_interval_of_a_mean_is_over_units() -> None:
    rows, units = drawn()
    found = means(rows, units)
    values = np.array([row["dice"] for row in rows])
    assert found["dice"].value == pytest.approx(values.mean(), rel=1e-12)
    assert found["hd_mm"].value == pytest.approx(2 - values.mean())
    per_unit = values.reshape(40, 3).mean(axis=1)
    rng = np.random.default_rng(7)
    expected = np.percentile([per_unit[rng.integers(40, size=40)].mean() for _ in range(4000)], [2.5, 97.5])
    assert [found["dice"].low, found["dice"].high] == pytest.approx(expected, abs=1.5e-3)
    alone = means(rows, [str(place) for place in range(len(rows))])["dice"]  # the trap: images as if independent
    assert alone.high - alone.low < 0.7 * (found["dice"].high - found["dice"].low)
    assert means(rows, units) == found


def test_what_is_not_defined_is_left_out_and_counted() -> None:
    rows, units = drawn()
    for place in (0, 1, 2, 50):
        rows[place]["hd_mm"] = None
    found = means(rows, units)
    kept = [row["hd_mm"] for row in rows if row["hd_mm"] is not None]
    assert found["hd_mm"].value == pytest.approx(np.mean(kept))
    assert found["hd_mm"].note == "not defined in 4 of 120 images, which are left out" and found["dice"].note is None
    assert found["hd_mm"].value != pytest.approx(np.sum(kept) / 120)  # the trap: counted as 0
    nowhere = means([row | {"hd_mm": None} for row in rows], units)["hd_mm"]
    assert (nowhere.value, nowhere.low, nowhere.note) == (None, None, "not defined in 120 of 120 images")
    assert nowhere.text() == "not defined in 120 of 120 images"
    one = means(rows[:3], units[:3])
    assert "one unit only" in str(one["dice"].note) and "not defined in 3 of 3 images" in str(one["hd_mm"].note)


def test_rows_that_cannot_be_averaged_are_refused() -> None:
    rows, units = drawn()
    with pytest.raises(DataError, match="there is no image"):
        means([], [])
    with pytest.raises(UsageError, match=r"one name an image \(120\), got 119"):
        means(rows, units[1:])
    with pytest.raises(UsageError, match=r"numbers dice, hd_mm, got dice, hd_pixels in row 1 .*with spacing"):
        means([rows[0], {"dice": 0.9, "hd_pixels": 3.0}], units[:2])
    for bad in (float("inf"), float("nan")):
        rows[5]["hd_mm"] = bad
        with pytest.raises(DataError, match=r"row 5 \(counted from 0\): hd_mm is (inf|nan)"):
            means(rows, units)
