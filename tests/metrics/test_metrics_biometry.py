"""Ellipses, contours and millimetres against formulas, OpenCV and ellipses of known size. Traps T1-6, T1-8."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ellipe

from excite.ellipse import Ellipse, circumference, fit_ellipse
from excite.errors import DataError
from excite.metrics.biometry import contour, ellipse_of, measure, robust_ellipse
from excite.metrics.heads import HeadErrors, ellipse_dice, hausdorff, head_errors, head_report

Float = NDArray[np.float64]
SHAPE = (200, 280)


def drawn(seed: int, *, low: float = 40, high: float = 70) -> Ellipse:
    random = np.random.default_rng(seed)
    a = random.uniform(low, high)
    return Ellipse(140 + random.uniform(-20, 20), 100 + random.uniform(-10, 10), a, a * random.uniform(0.6, 0.95),
                   random.uniform(0, np.pi))


def same(found: Ellipse, true: Ellipse, within: float) -> None:
    assert np.abs(np.subtract(found[:4], true[:4])).max() < within, (found, true)
    turn = (found.angle - true.angle + np.pi / 2) % np.pi - np.pi / 2
    assert abs(turn) * (true.a - true.b) < 2 * within, (found, true)


@pytest.mark.parametrize("seed", range(8))
def test_the_fit_finds_known_ellipses_from_all_or_a_third_of_the_outline(seed: int) -> None:
    true = drawn(seed)
    points = true.points(400)
    same(fit_ellipse(points), true, 1e-8)
    same(fit_ellipse(np.roll(points, 100 * seed, axis=0)[:133]), true, 1e-5)
    same(fit_ellipse(points * 1e-3 + 5e3), true.scaled(1e-3, 1e-3)._replace(x=5e3 + true.x / 1e3, y=5e3 + true.y / 1e3),
         1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_the_fit_agrees_with_opencv_on_noisy_points(seed: int) -> None:
    true = drawn(seed)
    points = (true.points(300) + np.random.default_rng(seed).normal(0, 0.8, (300, 2))).astype(np.float32)
    found = fit_ellipse(points)
    (x, y), (wide, high), degrees = cv2.fitEllipseDirect(points)
    theirs = Ellipse(x, y, max(wide, high) / 2, min(wide, high) / 2, np.radians(degrees + (90 if high > wide else 0)))
    same(found, theirs, 2e-3)
    same(found, true, 0.4)


def test_weights_leave_points_out() -> None:
    true = drawn(3)
    points = np.concatenate([true.points(100), true.points(100)[:30] + 25])
    weights = np.r_[np.ones(100), np.zeros(30)]
    same(fit_ellipse(points, weights), true, 1e-8)
    assert abs(fit_ellipse(points).a - true.a) > 2


@pytest.mark.parametrize(("points", "message"), [
    (np.zeros((5, 2)), "points must be at least 6 pairs"), (np.zeros((20, 3)), "points must be at least 6 pairs"),
    (np.full((9, 2), np.nan), "points must be finite"), (np.ones((9, 2)), "lie on no ellipse"),
    (np.stack([np.arange(9.0), 2 * np.arange(9.0)], axis=1), "lie on no ellipse")])
def test_what_is_no_ellipse_is_refused(points: Float, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit_ellipse(points)


@pytest.mark.parametrize("seed", range(6))
def test_the_robust_fit_passes_over_a_quarter_of_the_outline_where_the_plain_one_fails(seed: int) -> None:
    true = drawn(seed)
    random = np.random.default_rng(seed)
    points = true.points(600) + random.normal(0, 0.3, (600, 2))
    points[100:250] += random.uniform(10, 25, 2)
    found = robust_ellipse(points)
    same(found, true, 0.2)
    assert found == robust_ellipse(points)
    assert abs(fit_ellipse(points).circumference - true.circumference) > 3


def test_a_flat_side_is_not_taken_for_the_arc_of_a_huge_ellipse() -> None:
    """Six tenths of the points lie exactly on a circle six times as large as the whole outline."""
    reach, half = 55.0, np.radians(10)
    radius = reach / np.sin(half)
    turn, rest = np.linspace(-half, half, 240), np.linspace(np.pi, 2 * np.pi, 160)
    flat = np.stack([radius * np.sin(turn), radius * (np.cos(turn) - np.cos(half))], axis=1)
    round_side = reach * np.stack([np.cos(rest), np.sin(rest)], axis=1)
    assert robust_ellipse(np.concatenate([flat, round_side])).a < 2 * reach < radius / 2


def test_the_circumference_is_the_integral() -> None:
    for a, b in ((1, 1), (1.3, 1), (2, 1), (250, 190)):
        assert circumference(a, b) == pytest.approx(4 * a * ellipe(1 - (b / a) ** 2), rel=1e-9)
    polygon = np.diff(drawn(1).points(20001), axis=0)
    assert drawn(1).circumference == pytest.approx(np.hypot(*polygon.T).sum(), rel=1e-3)


def test_measurements_of_the_worked_example() -> None:
    found = measure(Ellipse(400, 270, 250, 190, 0.3), (0.12, 0.12))
    assert found.hc_mm == pytest.approx(166.6, abs=0.05)
    assert found.bpd_mm == pytest.approx(45.6) and found.ofd_mm == pytest.approx(60.0) and found.note is None


@pytest.mark.parametrize("seed", range(4))
def test_pixels_that_are_not_square_are_measured_exactly(seed: int) -> None:
    true = drawn(seed)  # in millimetres
    spacing = (0.31, 0.17)
    pixels = fit_ellipse(true.points(200) / [spacing[1], spacing[0]])
    found = measure(pixels, spacing)
    assert found.hc_mm == pytest.approx(true.circumference, rel=1e-9)
    assert (found.bpd_mm, found.ofd_mm) == pytest.approx((2 * true.b, 2 * true.a), rel=1e-9)
    planted = measure(pixels, (float(np.mean(spacing)),)).hc_mm
    assert planted is not None and abs(planted - true.circumference) > 0.005 * true.circumference


def test_without_spacing_there_are_no_millimetres() -> None:
    found = measure(drawn(0), None)
    assert found[:3] == (None, None, None) and "no pixel spacing" in (found.note or "")
    for spacing in ((), (0.1, 0.1, 0.1), (0.0,), (-1.0, 1.0), (float("nan"),)):
        with pytest.raises(DataError, match="spacing must be one or two positive numbers"):
            measure(drawn(0), spacing)


@pytest.mark.parametrize("seed", range(12))
def test_a_drawn_ellipse_measures_what_it_is(seed: int) -> None:
    true = drawn(seed)
    covered = true.coverage(SHAPE)
    assert covered.sum(dtype=np.float64) == pytest.approx(np.pi * true.a * true.b, rel=5e-5)
    found = ellipse_of(covered)
    assert found.ellipse is not None and found.notes == () and found.misfit is not None and found.misfit < 0.1
    same(found.ellipse, true, 0.02)
    whole = ellipse_of((covered >= 0.5).astype(np.float32)).ellipse  # a mask without shades: within a tenth of a pixel
    assert whole is not None
    same(whole, true, 0.1)


def test_a_drawn_ellipse_has_no_bias() -> None:
    bias = []
    for seed in range(30):
        found = ellipse_of(drawn(seed).coverage(SHAPE)).ellipse
        assert found is not None
        bias.append(found.a + found.b - drawn(seed).a - drawn(seed).b)
    assert abs(np.mean(bias)) < 0.01


def test_coverage_is_that_of_a_fine_raster() -> None:
    true, fine = drawn(5)._replace(x=3.3), 16
    y, x = ((np.indices((SHAPE[0] * fine, 120 * fine)) + 0.5) / fine) - 0.5
    local = np.stack([x - true.x, y - true.y], axis=-1) @ np.linalg.inv(true.axes).T
    counted = (np.hypot(local[..., 0], local[..., 1]) <= 1).reshape(SHAPE[0], fine, 120, fine).mean(axis=(1, 3))
    assert np.abs(true.coverage((SHAPE[0], 120)) - counted).max() < 0.07
    assert not Ellipse(-300, 20, 50, 40, 0).coverage(SHAPE).any()


def test_the_contour_is_where_the_map_crosses_the_level() -> None:
    y, x = np.indices((80, 90))
    cone = np.clip(1.5 - np.hypot(x - 44.2, y - 39.6) / 30, 0, 1)  # 0.5 at a radius of 30, 0.75 at 22.5
    for level, radius in ((0.5, 30.0), (0.75, 22.5)):
        found = contour(cone, level=level)
        reach = np.hypot(*(found.points - [44.2, 39.6]).T)
        assert np.abs(reach - radius).max() < 0.02 and not found.cut
        assert len(found.points) > 4 * radius and found.regions == 1


def test_the_largest_region_counts_and_holes_do_not() -> None:
    true = drawn(2)
    picture = true.coverage(SHAPE)
    picture[95:105, 130:150] = 0
    small = Ellipse(20, 20, 12, 10, 0)
    found = ellipse_of(np.maximum(picture, small.coverage(SHAPE)))
    assert found.ellipse is not None and found.notes == ("2 regions were found, the largest counts",)
    same(found.ellipse, true, 0.02)


def test_a_head_cut_by_the_border_is_fitted_to_the_rest() -> None:
    true = Ellipse(140, 40, 90, 70, 0.2)  # the top 30 rows are missing
    found = ellipse_of(true.coverage(SHAPE))
    assert found.ellipse is not None and "cut by the image's border" in found.notes[0]
    same(found.ellipse, true, 0.05)
    planted = np.concatenate([contour(true.coverage(SHAPE)).points, [[x, 0.0] for x in range(90, 190)]])
    assert abs(fit_ellipse(planted).b - true.b) > 2
    guess = ellipse_of(Ellipse(140, -40, 90, 70, 0.2).coverage(SHAPE))
    assert any("its size is a guess" in note for note in guess.notes)


@pytest.mark.parametrize(("x", "y"), [(20, 100), (SHAPE[1] - 20, 100), (140, 20), (140, SHAPE[0] - 20)])
def test_every_border_cuts(x: float, y: float) -> None:
    assert contour(Ellipse(x, y, 60, 50, 0).coverage(SHAPE)).cut
    assert not contour(Ellipse(140, 100, 60, 50, 0).coverage(SHAPE)).cut


def test_a_gap_that_opens_at_a_corner_is_no_hole() -> None:
    """Regions are joined by sides, so what is around them is joined by corners too."""
    ring = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], np.float32)
    opened = ring.copy()
    opened[2, 2] = 0
    assert [contour(np.pad(one, 2)).pixels for one in (ring, opened)] == [9, 7]


@pytest.mark.parametrize(("picture", "note"), [
    (np.zeros(SHAPE), "no pixel reaches 0.5"), (np.full(SHAPE, 0.4), "no pixel reaches 0.5"),
    (Ellipse(50, 50, 4, 4, 0).coverage(SHAPE), "the largest region has 4"),
    (np.ones(SHAPE), "the outline is no ellipse")])
def test_where_there_is_no_head_the_reason_is_said(picture: Float, note: str) -> None:
    found = ellipse_of(picture)
    assert found.ellipse is None and note in found.notes[-1]


def test_maps_that_cannot_be_measured() -> None:
    with pytest.raises(DataError, match="got NaN"):
        contour(np.full(SHAPE, np.nan))
    with pytest.raises(DataError, match="two axes"):
        contour(np.zeros((1, *SHAPE)))
    with pytest.raises(DataError, match="level must be between 0 and 1"):
        contour(np.zeros(SHAPE), level=1.0)


def test_a_mask_measured_in_a_small_grid_is_wrong_in_millimetres() -> None:
    """The worked example: 800 x 540 measured at 256 x 256 with a mean scale is 3 % short, with one axis' 20 % long."""
    true = Ellipse(400, 270, 250, 190, 0.0)
    small = true.scaled(256 / 800, 256 / 540)
    mean = measure(small, (0.12 / np.mean([256 / 800, 256 / 540]),)).hc_mm
    across = measure(small, (0.12 * 800 / 256,)).hc_mm
    assert mean == pytest.approx(161.6, abs=0.1) and across == pytest.approx(200.5, abs=0.1)
    right = measure(small, (0.12 * 540 / 256, 0.12 * 800 / 256)).hc_mm
    assert right == pytest.approx(measure(true, (0.12,)).hc_mm, rel=1e-9)


def test_hausdorff_is_that_of_dense_outlines() -> None:
    for seed in range(5):
        one, two = drawn(seed), drawn(seed + 50)
        p, q = one.points(3000), two.points(3000)
        apart = np.hypot(p[:, None, 0] - q[None, :, 0], p[:, None, 1] - q[None, :, 1])
        dense = max(apart.min(axis=0).max(), apart.min(axis=1).max())
        assert hausdorff(one, two) == pytest.approx(dense, abs=0.05)
    assert hausdorff(Ellipse(0, 0, 5, 5, 0), Ellipse(3, 4, 7, 7, 0)) == pytest.approx(7.0, abs=1e-4)


def test_errors_of_a_head() -> None:
    truth = Ellipse(140, 100, 60, 50, 0.4)
    wider = truth._replace(a=62.0, b=52.0)
    found = head_errors(wider, truth, (0.2, 0.2))
    assert found.df_mm == pytest.approx(2 * np.pi * 2 * 0.2, rel=3e-3) and found.adf_mm == found.df_mm
    assert found.hd_mm == pytest.approx(0.4, rel=1e-3)
    assert found.dice == pytest.approx(2 * 60 * 50 / (60 * 50 + 62 * 52), rel=1e-4)
    smaller = head_errors(truth, wider, (0.2,), hc_mm=70.0)
    assert smaller.df_mm == pytest.approx(truth.circumference * 0.2 - 70) and smaller.adf_mm == -(smaller.df_mm or 0)
    blind = head_errors(wider, truth, None)
    assert blind[:3] == (None, None, None) and blind.dice == found.dice
    assert ellipse_dice(truth, truth) == 1 and ellipse_dice(truth, truth._replace(x=500.0)) == 0
    half = ellipse_dice(truth, truth._replace(y=90.0), shape=(100, 280))
    assert half != pytest.approx(ellipse_dice(truth, truth._replace(y=90.0)), abs=1e-3)


def test_a_distance_to_the_right_is_in_millimetres_of_columns() -> None:
    truth = Ellipse(100, 100, 40, 40, 0)
    assert head_errors(truth._replace(x=110.0), truth, (0.1, 0.3)).hd_mm == pytest.approx(3.0, abs=1e-4)
    assert head_errors(truth._replace(y=110.0), truth, (0.1, 0.3)).hd_mm == pytest.approx(1.0, abs=1e-4)


def test_the_report_counts_missed_heads_and_resamples_examinations() -> None:
    errors = [HeadErrors(-1.0, 1.0, 0.5, 0.9), HeadErrors(3.0, 3.0, 1.5, 0.8), None, HeadErrors(1.0, 1.0, 1.0, 0.7)]
    found = head_report(errors, ["1", "1", "2", "3"])
    assert {name: found[name].value for name in found} == pytest.approx(
        {"df_mm": 1.0, "adf_mm": 5 / 3, "hd_mm": 1.0, "dice": 0.6, "found": 0.75})
    assert found["adf_mm"].low == 1.0 and found["adf_mm"].high == 2.0  # 1 and 3 never come apart
    with pytest.raises(DataError, match="units must name the examination"):
        head_report(errors, ["1"])
