"""Numbers of masks and heads equal plain computations, and what is odd about them is said."""

import json
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from excite.ellipse import Ellipse
from excite.errors import DataError, UsageError
from excite.metrics.agreement import agreement, limits, weighted_median
from excite.metrics.heads import head_report
from excite.metrics.intervals import wilson
from excite.metrics.mask_evaluation import MaskEvaluation, evaluate_masks
from excite.metrics.mask_image import HeadRow, MaskRow, head_row, mask_scores
from excite.metrics.segmentation import scores
from excite.metrics.surface import boundary, surface_scores

SHAPE = (90, 140)
TRUTH = Ellipse(70.0, 45.0, 40.0, 30.0, 0.4)


def disc(ellipse: Ellipse) -> np.ndarray:
    return ellipse.coverage(SHAPE) >= 0.5


def made(count: int = 60, *, seed: int = 0, spacing: tuple[float, ...] | None = (0.2,), lost: int = 0,
         half_mm: float | None = 2.0) -> list[MaskRow]:
    """Return rows of heads whose predicted ellipse is the true one, a few percent off."""
    rng, rows = np.random.default_rng(seed), []
    for place in range(count):
        size = rng.uniform(15, 40)
        truth = Ellipse(70 + rng.normal(), 45 + rng.normal(), size, size * rng.uniform(0.7, 0.9), rng.uniform(0, 3))
        off = 1 + rng.normal(0.004, 0.02)
        found = None if place < lost else truth._replace(a=truth.a * off, b=truth.b * off, x=truth.x + rng.normal())
        inside = np.zeros(SHAPE, bool) if found is None else disc(found)
        sizes, numbers = mask_scores(inside, disc(truth), spacing=spacing)
        head = head_row(truth, found, spacing=spacing, shape=SHAPE, spread_mm=1.0)
        if half_mm is not None and head.hc_mm is not None:
            head = head_row(truth, found, spacing=spacing, shape=SHAPE, spread_mm=1.0,
                            interval_mm=(head.hc_mm - half_mm, head.hc_mm + half_mm))
        rows.append(MaskRow(file=f"/home/me/{place}.png", line=place + 2, unit=f"E{place // 3}", sizes=sizes,
                            scores=numbers, head=head))
    return rows


def evaluated(rows: list[MaskRow], **options: Any) -> MaskEvaluation:
    return evaluate_masks(rows, **{"task": "heads", "classes": ("head",), "part": "test", "unit_kind": "examination",
                                   "promised": 0.9, "resamples": 200, **options})


@pytest.mark.parametrize("spacing", [None, (0.25,), (0.2, 0.35)])
def test_masks_cut_to_what_is_there_have_the_numbers_of_the_whole(spacing: tuple[float, ...] | None) -> None:
    cut = Ellipse(12.0, 45.0, 40.0, 30.0, 0.4)  # over the left border
    sizes, found = mask_scores(disc(cut), disc(TRUTH), spacing=spacing)
    both = None if spacing is None else (spacing[0], spacing[-1])
    tolerance = 2.0 if spacing is None else 1.0
    whole = surface_scores(disc(cut), disc(TRUTH), tolerance=tolerance, spacing=both)
    tail = "px" if spacing is None else "mm"
    for name in ("hd", "hd95", "assd"):
        assert found[f"{name}_{tail}"] == whole[f"{name}_{'pixels' if spacing is None else 'mm'}"]
    assert found["surface_dice" + ("_px" if spacing is None else "")] == whole["surface_dice"]
    distance = distance_transform_edt(~boundary(disc(TRUTH)), sampling=both or (1, 1))
    back = distance_transform_edt(~boundary(disc(cut)), sampling=both or (1, 1))
    expected = max(distance[boundary(disc(cut))].max(), back[boundary(disc(TRUTH))].max())
    assert found[f"hd_{tail}"] == pytest.approx(expected, rel=1e-12)
    assert {name: found[name] for name in ("dice", "iou")} == pytest.approx(
        {name: value for name, value in scores(disc(cut), disc(TRUTH)).items() if name in ("dice", "iou")})
    assert sizes == (int(disc(TRUTH).sum()), int(disc(cut).sum()), SHAPE[0] * SHAPE[1])


def test_empty_masks_follow_the_rule_and_have_no_distance() -> None:
    nothing = np.zeros(SHAPE, bool)
    assert mask_scores(nothing, nothing, spacing=None)[1]["dice"] is None
    assert mask_scores(nothing, nothing, spacing=None, empty="one")[1]["dice"] == 1.0
    _, missed = mask_scores(nothing, disc(TRUTH), spacing=(0.2,))
    assert (missed["dice"], missed["hd_mm"], missed["surface_dice"]) == (0.0, None, 0.0)


def test_median_and_limits_are_those_of_the_sample_with_its_repeats() -> None:
    rng = np.random.default_rng(1)
    for count in (2, 7, 30):
        values, weights = rng.normal(size=count), rng.integers(0, 4, size=(50, count)).astype(float)
        median, (low, high) = weighted_median(values, weights), limits(values, weights)
        for place, often in enumerate(weights.astype(int)):
            sample = np.repeat(values, often)
            if not len(sample):
                assert np.isnan(median[place])
                continue
            assert median[place] == pytest.approx(np.median(sample), abs=1e-12)
            if len(sample) > 1:
                expected = sample.mean() + np.array([-1.96, 1.96]) * sample.std(ddof=1)
                assert [low[place], high[place]] == pytest.approx(expected, abs=1e-9)
            else:
                assert np.isnan(low[place])


def test_limits_of_normal_differences_have_the_interval_of_theory() -> None:
    values = np.random.default_rng(2).normal(0.5, 2.0, 400)
    found = agreement(values, [str(place) for place in range(400)])
    one = found["loa_high_mm"]
    assert one.value == pytest.approx(values.mean() + 1.96 * values.std(ddof=1))
    assert one.low is not None and one.high is not None
    expected = 2 * 1.96 * values.std(ddof=1) * np.sqrt(1 / 400 + 1.96**2 / (2 * 399))  # Bland and Altman 1999
    assert one.high - one.low == pytest.approx(expected, rel=0.15)


def test_heads_have_the_numbers_of_hc18_and_of_their_images() -> None:
    rows = made(lost=2)
    found = evaluated(rows)
    units = [row.unit for row in rows]
    reference = head_report([row.head.errors if row.head else None for row in rows], units, resamples=200)
    for ours, theirs in (("df_mm", "df_mm"), ("adf_mm", "adf_mm"), ("head_hd_mm", "hd_mm"), ("head_dice", "dice"),
                         ("found", "found")):
        one, other = found.metrics[ours], reference[theirs]
        assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high), abs=1e-12)
    df = np.array([row.head.hc_mm - row.head.true_hc_mm for row in rows[2:]])  # type: ignore[union-attr, operator]
    assert found.metrics["median_adf_mm"].value == pytest.approx(np.median(np.abs(df)))
    assert found.metrics["loa_low_mm"].value == pytest.approx(df.mean() - 1.96 * df.std(ddof=1))
    assert found.metrics["coverage"].value == pytest.approx((np.abs(df) <= 2.0).mean())
    assert found.metrics["width_mm"].value == pytest.approx(4.0)
    assert found.metrics["dice"].value == pytest.approx(np.mean([row.scores["dice"] for row in rows]))
    assert (found.n, found.n_units) == (60, 20)
    low, high = wilson(int((np.abs(df) <= 2.0).sum()), 58)
    assert any(f"{100 * low:.1f} to {100 * high:.1f} %" in note for note in found.notes)
    assert any("no head was found in 2 of 60 images (0.png, 1.png)" in note for note in found.notes)
    assert any(note.startswith("nothing was predicted in 2 of 60") for note in found.notes)


def test_thirds_are_of_the_true_size_and_together_the_whole() -> None:
    rows = made()
    found = evaluated(rows)
    sizes = np.sort([row.head.true_hc_mm for row in rows])  # type: ignore[union-attr]
    assert [one.n for one in found.slices] == [20, 20, 20]
    assert [one.low for one in found.slices] == [sizes[0], sizes[20], sizes[40]]
    assert found.slices[2].high == sizes[-1]
    largest = [row.head.errors.adf_mm for row in rows if row.head.true_hc_mm >= sizes[40]]  # type: ignore
    assert found.slices[2].metrics["adf_mm"].value == pytest.approx(np.mean(largest))
    means = [one.metrics["adf_mm"].value for one in found.slices]
    assert found.metrics["adf_mm"].value == pytest.approx(np.mean(means))  # type: ignore[arg-type]
    assert [one.n for one in found.widths] == [20, 20, 20]
    assert evaluated(made(8)).slices == ()


@pytest.mark.parametrize(("half", "verdict"), [(0.3, "less than promised"), (30.0, "more than promised")])
def test_intervals_that_do_not_hold_what_they_promise_are_told(half: float, verdict: str) -> None:
    assert any(verdict in note for note in evaluated(made(200, half_mm=half)).notes)


def test_gross_errors_are_named_and_whether_their_interval_tells() -> None:
    rows = made()
    for place, told in ((5, (100.0, 300.0)), (7, (100.0, 101.0))):
        head = head_row(TRUTH, TRUTH._replace(a=60.0), spacing=(0.2,), shape=SHAPE, interval_mm=(0.0, 1.0))
        assert head.hc_mm is not None and head.true_hc_mm is not None and head.hc_mm - head.true_hc_mm > 10
        low, high = (0.0, 300.0) if place == 5 else told
        rows[place] = MaskRow(**{**vars(rows[place]), "head": HeadRow(**{**vars(head), "interval_mm": (low, high)})})
    note = next(note for note in evaluated(rows).notes if note.startswith("largest error"))
    assert "2 of 60 are above 10 mm, and of these 1 lie in their own interval" in note
    assert rows[5].head is not None and rows[5].head.inside is True and rows[7].head is not None
    assert rows[7].head.inside is False


def test_without_a_pixel_size_nothing_is_in_millimetres_and_it_is_said() -> None:
    found = evaluated(made(spacing=None, half_mm=None))
    assert "hd_px" in found.metrics and "hd_mm" not in found.metrics and "surface_dice" not in found.metrics
    for name in ("df_mm", "adf_mm", "head_hd_mm", "median_adf_mm", "coverage", "width_mm"):
        assert found.metrics[name].value is None and found.metrics[name].note
    assert found.metrics["found"].value == 1.0 and found.metrics["head_dice"].value is not None
    assert any("no pixel size is known for 60 of 60 images" in note for note in found.notes)
    mixed = evaluated([*made(20), *made(10, spacing=None, half_mm=None)])
    assert mixed.metrics["hd_px"].note is not None and "20 of 30 images" in mixed.metrics["hd_px"].note
    assert any("for 10 of 30 images" in note for note in mixed.notes)
    assert mixed.metrics["hd_mm"].value == pytest.approx(evaluated(made(20)).metrics["hd_mm"].value)


def test_empty_true_masks_are_counted_by_what_was_predicted() -> None:
    nothing, some = np.zeros(SHAPE, bool), disc(TRUTH)
    pairs = [(some, some)] * 3 + [(nothing, nothing)] * 2 + [(some, nothing)]
    rows = []
    for place, (predicted, truth) in enumerate(pairs):
        sizes, numbers = mask_scores(predicted, truth, spacing=None)
        rows.append(MaskRow(file=f"{place}", line=place, unit=f"{place}", sizes=sizes, scores=numbers))
    found = evaluated(rows, task="segmentation", classes=("lesion",), promised=None)
    assert found.metrics["dice"].value == pytest.approx(3 / 4)
    assert any(note == "3 of 6 true masks are empty: 1 have a prediction and count as Dice 0, 2 have none, rightly, "
               "and are left out of Dice and IoU" for note in found.notes)
    assert "adf_mm" not in found.metrics and found.slices == ()


def test_one_answer_for_all_that_is_as_good_is_said_first() -> None:
    assert evaluated(made()).unproven == []
    rows = [MaskRow(**{**vars(row), "head": head_row(row.head.truth, TRUTH, spacing=(0.2,), shape=SHAPE)})
            for row in made(half_mm=None) if row.head]
    assert "always answering" in evaluated(rows).unproven[0] and "BEWARE" in evaluated(rows).text().splitlines()[1]
    whole, truth = np.ones(SHAPE, bool), disc(TRUTH)
    sizes, numbers = mask_scores(whole, truth, spacing=None)
    same = [MaskRow(file=f"{place}", line=place, unit=f"{place}", sizes=sizes, scores=numbers) for place in range(12)]
    assert "the whole image" in evaluated(same, task="segmentation").unproven[0]


def test_it_is_plain_data_and_text() -> None:
    failed = [{"file": "x.png", "error": "x.png: cannot be read"}]
    found = evaluated(made(lost=1), failed=failed, notes=["by hand"])
    stored = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert stored["metrics"]["adf_mm"]["value"] == found.metrics["adf_mm"].value and "rows" not in stored
    assert stored["slices"][0]["metrics"]["dice"]["low"] is not None and stored["promised"] == 0.9
    text = found.text()
    assert found.metrics["adf_mm"].text() in text and "note: by hand" in text and "true circumference" in text
    with pytest.raises(DataError, match="1 of 61 rows could not be used .x.png: cannot be read"):
        found.raise_failures()


def test_arguments_are_checked() -> None:
    with pytest.raises(UsageError, match="task must be segmentation or heads, got 'classification'"):
        evaluated(made(3), task="classification")
    with pytest.raises(DataError, match="no image to measure"):
        evaluated([])
    with pytest.raises(DataError, match="row 1"):
        agreement([0.0, np.nan], ["a", "b"])
    with pytest.raises(UsageError, match="one name an image"):
        agreement([0.0], ["a", "b"])
