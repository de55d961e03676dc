"""What a head network of known maps says is what geometry says, at any size of its input and any shape of pixels."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from excite import load
from excite.deploy.measuring import STEP, head_in, spread_mm
from excite.deploy.runtime import Predictor
from excite.ellipse import Ellipse
from excite.errors import ModelError, UsageError
from excite.metrics.biometry import ellipse_of, measure
from excite.metrics.conformal import HeadInterval
from excite.outcome.heads import HeadPrediction
from excite.outcome.maps import Place, sigmoid, to_original
from excite.outcome.masks import MaskPrediction
from excite.outcome.prediction import FailedPrediction
from mask_bundles import GAIN, bright, bright_onnx, mask_bundle, saved

HEAD = Ellipse(410.3, 268.1, 250.0, 190.0, 0.35)
SHAPE = (540, 800)


def slope(radius: float, size: int = 200, width: float = 1.0) -> np.ndarray:
    """Return logits of a disc: the distance from its edge, in pixels, over `width`."""
    rows, columns = np.indices((size, size))
    middle = (size - 1) / 2
    return ((radius - np.hypot(rows - middle, columns - middle)) / width).astype(np.float32)


@pytest.mark.parametrize("size", [256, (256, 384), (128, 160), (544, 800)])
@pytest.mark.parametrize("spacing", [(0.12,), (0.12, 0.12), (0.1, 0.17)])
def test_the_circumference_is_the_closed_forms(tmp_path: Path, size: int | tuple[int, int],
                                               spacing: tuple[float, ...]) -> None:
    """T1-6: 250 x 190 pixels at 0.12 mm are 166.6 mm, whatever grid the network works on."""
    predictor = load(mask_bundle(tmp_path / "b", size=size))
    [one] = predictor(bright(HEAD, SHAPE), spacings=[spacing])
    true = HEAD.scaled(spacing[-1], spacing[0])
    assert isinstance(one, HeadPrediction) and one.notes == ()
    assert one.hc_mm == pytest.approx(true.circumference, rel=0.003)
    assert one.bpd_mm == pytest.approx(2 * true.b, rel=0.004) and one.ofd_mm == pytest.approx(2 * true.a, rel=0.004)
    if spacing == (0.12,):
        assert one.hc_mm == pytest.approx(166.6, rel=0.003)
    assert one.ellipse is not None and np.hypot(one.ellipse.x - HEAD.x, one.ellipse.y - HEAD.y) < 0.5


@pytest.mark.parametrize("shape", [(540, 800), (800, 540), (331, 517), (64, 96), (90, 33)])
def test_pictures_of_any_shape(tmp_path: Path, shape: tuple[int, int]) -> None:
    height, width = shape
    head = Ellipse(width * 0.48, height * 0.53, 0.42 * min(shape), 0.31 * min(shape), 1.0)
    [one] = load(mask_bundle(tmp_path / "b", size=(256, 384)))(bright(head, shape), spacings=[(0.2,)])
    assert one.hc_mm == pytest.approx(0.2 * head.circumference, rel=0.01 if min(shape) < 60 else 0.003)


def test_a_head_that_the_border_cuts_is_measured_by_what_is_seen(tmp_path: Path) -> None:
    """The letterbox's black must not pass for the end of the head: the picture fills the input from top to bottom."""
    head = Ellipse(400.0, 130.0, 250.0, 180.0, 0.1)
    [one] = load(mask_bundle(tmp_path / "b", size=(256, 384)))(bright(head, SHAPE), spacings=[(0.12,)])
    assert one.hc_mm == pytest.approx(0.12 * head.circumference, rel=0.003)
    assert any("cut by the image's border" in note for note in one.notes)


def test_without_a_pixel_size_nothing_is_in_millimetres(tmp_path: Path) -> None:
    predictor = load(mask_bundle(tmp_path / "b"))
    [one] = predictor(bright(HEAD, SHAPE))
    assert (one.hc_mm, one.bpd_mm, one.ofd_mm, one.interval_mm, one.spread_mm) == (None,) * 5
    assert one.ellipse is not None and "no pixel spacing is known" in one.notes[-1]
    [other] = predictor.predict(bright(HEAD, SHAPE), spacing=(0.12,))
    assert other.hc_mm is not None and other.ellipse == one.ellipse
    [bad] = predictor(bright(HEAD, SHAPE), spacings=[(0.0,)])
    assert isinstance(bad, FailedPrediction) and "spacing must be one or two positive numbers" in bad.error


def test_an_empty_map_says_so(tmp_path: Path) -> None:
    [one] = load(mask_bundle(tmp_path / "b"))(np.zeros(SHAPE, np.uint8), spacings=[(0.1,)])
    assert one.ellipse is None and one.hc_mm is None and one.interval_mm is None
    assert one.notes == ("no pixel reaches 0.5: no head was found",)


def test_the_level_is_the_bundles(tmp_path: Path) -> None:
    rows, columns = np.indices(SHAPE)
    shade = np.clip(128 - 2 * (np.hypot(rows - 270, columns - 400) - 150), 0, 255).astype(np.uint8)  # 2 a pixel
    found = {level: load(mask_bundle(tmp_path / f"b{level}", size=(544, 800), thresholds={"level": level}))(
        shade, spacings=[(1.0,)])[0].hc_mm for level in (0.2, 0.5, 0.9)}
    for level, hc in found.items():
        edge = 150 - np.log(level / (1 - level)) / GAIN * 255 / 2
        assert hc == pytest.approx(2 * np.pi * edge, rel=0.003)


def test_the_views_logits_are_averaged_after_the_mirror_image_is_mirrored_back(tmp_path: Path) -> None:
    kernel = np.zeros((1, 1, 1, 7), np.float32)
    kernel[..., 0] = GAIN  # moves the map three pixels to the right
    folder = mask_bundle(tmp_path / "b", bright_onnx(kernel), size=(96, 144))
    picture = bright(Ellipse(70.0, 45.0, 25.0, 20.0, 0.5), (96, 144))
    brightness = picture.astype(np.float32) / 255
    moved = [np.roll(brightness, step, axis=1) for step in (3, -3)]  # the mirror image's map is moved to the left
    expected = sigmoid(GAIN * (np.mean(moved, axis=0) - 0.5))
    one, both = (next(Predictor(folder, views=view).predict(picture, spacing=(1.0,), maps=True))
                 for view in ("one", "flip"))
    np.testing.assert_allclose(both.probabilities, expected, atol=1e-4)
    np.testing.assert_allclose(one.probabilities, sigmoid(GAIN * (moved[0] - 0.5)), atol=1e-4)
    assert one.ellipse.x == pytest.approx(73, abs=0.1) and both.ellipse.x == pytest.approx(70, abs=0.1)
    views = Predictor(folder, views="flip").views(Predictor(folder).prepare(picture)[0][None])
    np.testing.assert_allclose(views[:, 0, 0], [GAIN * (one_view - 0.5) for one_view in moved], atol=1e-4)


def test_spread_is_views_levels_and_misfit() -> None:
    """v and s in closed form, for discs whose logit is the distance from the edge; m is 0 for them."""
    place, spacing = Place(np.eye(2, 3), (200, 200)), (0.5,)
    views = [slope(60, width=2.0), slope(66, width=2.0)]
    mean = np.mean(views, axis=0)
    found = head_in(mean, level=0.5)
    size = measure(found.ellipse, spacing)
    assert size.hc_mm == pytest.approx(2 * np.pi * 63 * 0.5, rel=1e-3)
    v = np.pi * 6 * 0.5
    s = 2 * np.pi * 2.0 * np.log(0.7 / 0.3) * 0.5
    got = spread_mm(found, size, views, mean, place, level=0.5, spacing=spacing)
    assert found.misfit < 0.05 and got == pytest.approx(np.hypot(v, s), rel=0.01)
    alone = spread_mm(found, size, views[:1], mean, place, level=0.5, spacing=spacing)
    assert alone == pytest.approx(s, rel=0.01)
    bad = found._replace(misfit=40.0)
    assert spread_mm(bad, size, views, mean, place, level=0.5, spacing=(0.5, 0.3)) == pytest.approx(
        np.sqrt(v**2 + s**2 + (40 * np.sqrt(0.15)) ** 2), rel=0.35)  # v and s change with the spacing, m rules


def test_a_view_or_level_without_a_head_counts_with_the_whole_circumference() -> None:
    place = Place(np.eye(2, 3), (200, 200))
    views = [slope(60), np.full((200, 200), -9, np.float32)]
    found = head_in(views[0], level=0.5)
    size = measure(found.ellipse, (1.0,))
    got = spread_mm(found, size, views, views[0], place, level=0.5, spacing=(1.0,))
    assert got == pytest.approx(size.hc_mm, rel=0.01)
    faint = np.minimum(slope(60), 0.5)  # never reaches 0.7
    got = spread_mm(head_in(faint, level=0.5), size, [faint], faint, place, level=0.5, spacing=(1.0,))
    assert got == pytest.approx(size.hc_mm, rel=0.01)
    assert spread_mm(found._replace(ellipse=None), size, views, views[0], place, level=0.5, spacing=(1.0,)) is None


def test_the_misfit_in_millimetres_is_by_the_geometric_mean_of_the_pixels_sides() -> None:
    place, spacing, view = Place(np.eye(2, 3), (200, 200)), (0.1, 0.4), slope(60)
    found = head_in(view, level=0.5)
    size = measure(found.ellipse, spacing)
    without, with_it = (spread_mm(found._replace(misfit=misfit), size, [view], view, place, level=0.5, spacing=spacing)
                        for misfit in (0.0, 40.0))
    assert np.sqrt(with_it**2 - without**2) == pytest.approx(40 * 0.2, rel=1e-9)


@pytest.mark.parametrize(("step", "radius", "is_head"), [(2.1, 4.2, True), (0.5, 8.0, False)])
def test_the_smallest_head_is_in_pixels_of_the_image(step: float, radius: float, is_head: bool) -> None:
    """55 pixels of the network's grid are 240 of a larger image, 200 are 50 of a smaller one."""
    place = Place(np.array([[step, 0, step / 2 - 0.5], [0, step, step / 2 - 0.5]]), (round(200 * step),) * 2)
    views = [slope(60), slope(radius)]
    found = head_in(to_original(views[0][None], place)[0], level=0.5)
    size = measure(found.ellipse, (1.0,))
    got = spread_mm(found, size, views, views[0], place, level=0.5, spacing=(1.0,))
    assert got == pytest.approx(np.pi * (60 - radius) * step if is_head else size.hc_mm, rel=0.01)


@pytest.mark.parametrize("seed", range(3))
def test_the_networks_grid_is_fine_enough_for_the_spread(seed: int) -> None:
    """The same formula at the original pixels gives the same spread, on rough maps."""
    import cv2

    rng = np.random.default_rng(seed)
    place, spacing = Place(np.array([[2.1, 0, 0.55], [0, 2.1, 0.55]]), (420, 420)), (0.2,)
    views = [cv2.GaussianBlur(slope(55 + rng.normal(0, 3), width=2.0) + rng.normal(0, 4, (200, 200)), (0, 0), 2)
             .astype(np.float32) for _ in range(2)]
    mean = np.mean(views, axis=0)
    full = [to_original(one[None], place)[0] for one in (*views, mean)]
    found = head_in(full[2], level=0.5)
    size = measure(found.ellipse, spacing)

    def hc(logits: np.ndarray, level: float) -> float:
        return measure(head_in(logits, level=level).ellipse, spacing).hc_mm

    exact = np.sqrt(((hc(full[0], 0.5) - hc(full[1], 0.5)) / 2) ** 2
                    + ((hc(full[2], 0.5 - STEP) - hc(full[2], 0.5 + STEP)) / 2) ** 2 + (found.misfit * 0.2) ** 2)
    got = spread_mm(found, size, views, mean, place, level=0.5, spacing=spacing)
    assert got == pytest.approx(exact, abs=0.06 * exact + 0.02)


def test_outlines_fitted_together_are_those_fitted_alone() -> None:
    """Parts of an outline that no ellipse explains are left out of each; the robust fit of one outline is the judge."""
    place, spacing = Place(np.array([[2.1, 0, 0.55], [0, 2.1, 0.55]]), (420, 420)), (0.2,)
    views = [slope(70, width=2.0), slope(64, width=2.0)]
    views[0][90:105, 160:] = views[1][20:60, 95:103] = -9
    mean = np.mean(views, axis=0)
    found = head_in(to_original(mean[None], place)[0], level=0.5)
    size = measure(found.ellipse, spacing)

    def alone(logits: np.ndarray, level: float) -> float:
        return measure(ellipse_of(sigmoid(logits), level=level).ellipse.mapped(place.inverse), spacing).hc_mm

    ranges = [alone(views[0], 0.5) - alone(views[1], 0.5), alone(mean, 0.3) - alone(mean, 0.7)]
    expected = np.sqrt(sum((one / 2) ** 2 for one in ranges) + (found.misfit * 0.2) ** 2)
    got = spread_mm(found, size, views, mean, place, level=0.5, spacing=spacing)
    assert got == pytest.approx(expected, abs=0.02) and got > 3


def test_the_rectangle_around_a_head_gives_the_ellipse_of_the_whole_map() -> None:
    logits = np.full((300, 400), -6, np.float32)
    logits[:140, 100:300] = slope(60, 200)[60:]  # reaches over the upper border
    logits[250:254, 350:354] = 3.0
    found, whole = head_in(logits, level=0.4), ellipse_of(sigmoid(logits), level=0.4)
    np.testing.assert_allclose(found.ellipse[:4], whole.ellipse[:4], atol=1e-3)
    assert found.notes == whole.notes and found.misfit == pytest.approx(whole.misfit, rel=1e-3)


def test_the_interval_is_the_bundles_around_the_number(tmp_path: Path) -> None:
    interval = HeadInterval(level=0.9, quantile=2.0, base_mm=1.5, n=40)
    [one] = load(mask_bundle(tmp_path / "b", interval=interval.to_json(), views="flip"))(
        bright(HEAD, SHAPE), spacings=[(0.12,)])
    assert one.spread_mm > 0 and one.interval_mm == interval.around(one.hc_mm, one.spread_mm)
    assert one.to_json()["interval_mm"] == list(one.interval_mm) and "spread_mm" not in one.to_json()
    with pytest.raises(ModelError, match="an interval must have the numbers level"):
        load(mask_bundle(tmp_path / "c", interval={"level": 0.9}))


@pytest.mark.parametrize(("own", "other"), [("flip", "one"), ("one", "flip")])
def test_an_interval_fitted_with_other_views_is_not_stated(tmp_path: Path, own: str, other: str) -> None:
    interval = HeadInterval(level=0.9, quantile=2.0, base_mm=1.5, n=40)
    folder = mask_bundle(tmp_path / "b", interval=interval.to_json(), views=own)
    picture, spacing = bright(HEAD, SHAPE), [(0.12,)]
    as_fitted, [one] = Predictor(folder, views=own)(picture, spacings=spacing), Predictor(folder, views=other)(
        picture, spacings=spacing)
    assert as_fitted[0].interval_mm is not None and as_fitted[0].notes == ()
    assert one.interval_mm is None and one.hc_mm is not None and one.notes == (
        f"no interval is stated: the bundle's was fitted with views={own}, this is views={other}",)
    assert Predictor(mask_bundle(tmp_path / "c", views=own), views=other)(picture, spacings=spacing)[0].notes == ()


def test_a_head_of_an_image_that_the_crop_cuts_says_so(tmp_path: Path) -> None:
    whole, cut = (load(mask_bundle(tmp_path / mode, size=128, mode=mode))(bright(HEAD, SHAPE))[0]
                  for mode in ("letterbox", "crop"))
    said = "of the image are outside the network's input and count as background"
    assert [said in " ".join(one.notes) for one in (whole, cut)] == [False, True]


def test_maps_are_in_the_original_size_and_only_where_asked(tmp_path: Path) -> None:
    predictor = load(mask_bundle(tmp_path / "b", size=(256, 384)))
    [plain], [full] = predictor(bright(HEAD, SHAPE)), list(predictor.predict(bright(HEAD, SHAPE), maps=True))
    assert plain.probabilities is None and plain == full
    assert full.probabilities.shape == SHAPE and full.probabilities.dtype == np.float32
    inside = full.probabilities >= 0.5
    truth = HEAD.coverage(SHAPE) >= 0.5
    assert 2 * (inside & truth).sum() / (inside.sum() + truth.sum()) > 0.997
    with pytest.raises(UsageError, match="a network for heads has no features"):
        list(predictor.predict(bright(HEAD, SHAPE), features=True))


def test_regions_of_a_segmentation(tmp_path: Path) -> None:
    folder = mask_bundle(tmp_path / "b", size=(270, 400), task="segmentation", classes=("lesion",))
    picture = np.maximum(bright(Ellipse(200, 200, 90, 60, 0), SHAPE), bright(Ellipse(600, 400, 50, 40, 1), SHAPE))
    [one] = load(folder)(picture, spacings=[(0.1, 0.2)])
    true = np.pi * (90 * 60 + 50 * 40)
    assert isinstance(one, MaskPrediction) and one.regions == 2
    assert one.area_px == pytest.approx(true, rel=0.005) and one.area_mm2 == pytest.approx(0.02 * one.area_px)
    assert one.share == pytest.approx(one.area_px / (540 * 800))
    [none] = load(folder)(np.zeros(SHAPE, np.uint8))
    assert (none.area_px, none.area_mm2, none.regions) == (0, None, 0) and "nothing was found" in none.notes[0]


def test_several_classes_exclude_each_other(tmp_path: Path) -> None:
    kernel = np.array([0, GAIN, 2 * GAIN], np.float32).reshape(3, 1, 1, 1)  # dark, grey from 1/4 on, white from 3/4 on
    folder = mask_bundle(tmp_path / "b", bright_onnx(kernel, (0.0, -GAIN / 4, -GAIN)), size=(270, 400),
                         task="segmentation", classes=("rest", "grey", "white"))
    grey, white = Ellipse(250, 270, 120, 90, 0), Ellipse(600, 270, 80, 70, 0)
    picture = np.maximum(bright(grey, SHAPE) // 2, bright(white, SHAPE))
    [one] = list(load(folder).predict(picture, spacings=[(0.1,)], maps=True))
    assert list(one.of_classes) == ["grey", "white"]
    assert one.of_classes["white"].area_px == pytest.approx(np.pi * 80 * 70, rel=0.03)
    assert one.area_px == sum(area.area_px for area in one.of_classes.values())
    np.testing.assert_allclose(one.probabilities.sum(axis=0), 1, atol=1e-5)
    assert one.probabilities.shape == (3, *SHAPE)


def test_maps_that_are_not_finite_fail_and_the_rest_is_done(tmp_path: Path) -> None:
    predictor = load(mask_bundle(tmp_path / "b", bright_onnx(bias=(-2.0,), after="Log"), size=(64, 96)))
    white = np.full((64, 96), 255, np.uint8)
    found = list(predictor.predict([white, np.zeros((64, 96), np.uint8), white], batch_size=3))
    assert [type(one) for one in found] == [HeadPrediction, FailedPrediction, HeadPrediction]
    assert "array 1: the network's outputs are not finite" in found[1].error


def test_batches_and_order_change_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    heads = [Ellipse(400 + 30 * rng.normal(), 270, 150 + 40 * rng.random(), 120, rng.random()) for _ in range(5)]
    files = [saved(bright(head, SHAPE), tmp_path / f"{place}.png") for place, head in enumerate(heads)]
    files.insert(2, tmp_path / "none.png")
    spacings = [None if place == 4 else (0.1 + 0.01 * place,) for place in range(6)]
    predictor = load(mask_bundle(tmp_path / "b", views="flip"))
    ways = [list(predictor.predict(files, batch_size=size, spacings=spacings)) for size in (None, 2, 9)]
    assert ways[0] == ways[1] == ways[2] and isinstance(ways[0][2], FailedPrediction)
    assert ways[0][4].hc_mm is None and ways[0][5].hc_mm is not None
    for wrong in (spacings[:4], [*spacings, None]):
        with pytest.raises(UsageError, match="spacings must be one a source"):
            list(predictor.predict(files, spacings=wrong))


@pytest.mark.parametrize(("model", "changes", "message"), [
    (bright_onnx(size=(64, 64)), {}, r"takes images of shape \(1, 64, 64\), the preprocessing makes \(1, 64, 96\)"),
    (bright_onnx(), {"task": "segmentation", "classes": ("a", "b")}, "it has 1 outputs, bundle.json names 2 classes"),
    (bright_onnx(), {"task": "classification", "classes": ("a", "b")}, "outputs logits and features are needed"),
])
def test_a_network_that_does_not_fit_is_refused(tmp_path: Path, model: object, changes: dict[str, object],
                                                message: str) -> None:
    folder = mask_bundle(tmp_path / "b", model, **changes)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=message):
        Predictor(folder)
    load(mask_bundle(tmp_path / "fits", bright_onnx(size=(64, 96))))  # one size only, and the right one


def test_it_runs_where_torch_cannot_be_imported(tmp_path: Path) -> None:
    folder, file = mask_bundle(tmp_path / "b"), saved(bright(HEAD, SHAPE), tmp_path / "a.png")
    code = ("import sys\nfor name in ('torch', 'onnx', 'onnxscript', 'sklearn'): sys.modules[name] = None\n"
            f"from excite import load\nprint(load({str(folder)!r})({str(file)!r}, spacings=[(0.12,)])[0].hc_mm)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(166.6, rel=0.01)
