"""Masks go where their images go: outlines exactly, regions by the same warp; faults are all told at once."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from excite.data.augment import Augmentation
from excite.data.preprocess import Preprocess
from excite.data.row import Row
from excite.data.sections import Outlines, PreprocessSection
from excite.data.targets import Outline, Region, read_targets
from excite.ellipse import Ellipse
from excite.errors import DataError

SHAPE = (270, 400)
ELLIPSE = Ellipse(190.0, 140.0, 90.0, 60.0, 0.4)
CHANGE = Augmentation(horizontal_flip=True, rotation=17.0, scale=1.1, shift=(0.05, -0.08))


def row(name: str, line: int = 2) -> Row:
    return Row(image="a.png", line=line, mask=name)


def write(folder: Path, name: str, pixels: np.ndarray) -> Row:
    Image.fromarray(np.asarray(pixels, np.uint8)).save(folder / name)
    return row(name)


def stroke() -> np.ndarray:
    """Return the outline of ELLIPSE, three pixels wide."""
    y, x = np.indices(SHAPE)
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    return 255 * (np.abs(ELLIPSE.distances(points)).reshape(SHAPE) <= 1.45)


def preprocess(size: int | tuple[int, int] = (128, 192)) -> Preprocess:
    return Preprocess(PreprocessSection(size=size, channels=1, mean=(0.0,), std=(1.0,)))


@pytest.mark.parametrize("size", [128, (128, 192), (96, 224)])
@pytest.mark.parametrize("change", [None, CHANGE], ids=["as it is", "changed"])
def test_the_mask_lies_on_the_image_wherever_it_goes(tmp_path: Path, size: int | tuple[int, int],
                                                     change: Augmentation | None) -> None:
    """The picture is the filled ellipse itself, so its warp says where the mask must be."""
    ready = preprocess(size)
    picture = np.rint(255 * ELLIPSE.coverage(SHAPE)).astype(np.uint8)
    stored = ready.store(picture[None])
    rendered = np.zeros((ready.height, ready.width, 1), np.uint8)
    ready.render(stored, out=rendered, augmentation=change)
    rows = [write(tmp_path, "outline.png", stroke()), write(tmp_path, "region.png", 255 * (picture > 127))]
    targets = [read_targets([one], tmp_path, [SHAPE], ready.stored_shape).targets[0] for one in rows]
    assert [type(one) for one in targets] == [Outline, Region]
    matrix = ready.matrix(stored.shape, change)
    for target in targets:
        found = target.render(matrix, (ready.height, ready.width))
        seen = rendered[..., 0] / 255.0
        assert 2 * np.minimum(found, seen).sum() / (found.sum() + seen.sum()) > 0.985
        assert np.abs(np.argwhere(found > 0.5).mean(axis=0) - np.argwhere(seen > 0.5).mean(axis=0)).max() < 0.25
    moved = targets[0].render(ready.matrix(stored.shape, None), (ready.height, ready.width))
    if change is not None:  # a mask that stayed behind would be found
        assert 2 * np.minimum(moved, seen).sum() / (moved.sum() + seen.sum()) < 0.95


def test_an_outline_is_drawn_from_its_ellipse_with_covered_areas(tmp_path: Path) -> None:
    ready = preprocess()
    target = read_targets([write(tmp_path, "o.png", stroke())], tmp_path, [SHAPE], ready.stored_shape).targets[0]
    height, width = ready.stored_shape(SHAPE)
    matrix = ready.matrix((height, width), CHANGE)
    found = target.render(matrix, (128, 192))
    area = np.pi * ELLIPSE.a * ELLIPSE.b * (height / SHAPE[0]) * (width / SHAPE[1]) * abs(np.linalg.det(matrix[:, :2]))
    assert found.sum() == pytest.approx(area, rel=2e-3)  # no pixel is rounded, the whole ellipse is in the picture


def test_an_empty_mask_is_one_and_several_are_their_union(tmp_path: Path) -> None:
    left, right = np.zeros(SHAPE), np.zeros(SHAPE)
    left[50:150, 40:140], right[60:200, 220:330] = 255, 255
    for name, pixels in (("l.png", left), ("r.png", right), ("n.png", np.zeros(SHAPE))):
        write(tmp_path, name, pixels)
    both, none = read_targets([row("l.png|r.png"), row("n.png")], tmp_path, [SHAPE] * 2, lambda shape: shape).targets
    assert none.kind == "empty" and not none.render(np.eye(2, 3), SHAPE).any()
    np.testing.assert_array_equal(both.render(np.eye(2, 3), SHAPE) > 0.5, (left + right) > 0)


def test_every_bad_mask_is_told_before_the_training(tmp_path: Path) -> None:
    rows = [write(tmp_path, "good.png", stroke()), write(tmp_path, "small.png", stroke()[::2, ::2]),
            write(tmp_path, "grey.png", cv2.GaussianBlur(stroke().astype(np.uint8), (9, 9), 3)), row("gone.png")]
    with pytest.raises(DataError, match=r"3 of 4 masks cannot be used.*small.png.*grey.png.*gone.png"):
        read_targets(rows, tmp_path, [SHAPE] * 4, lambda shape: shape)


def rings(folder: Path) -> list[Row]:
    """Write the walls of three vessels: a thin one, a thick one, and one that is not there."""
    thick = np.zeros(SHAPE, np.uint8)
    cv2.circle(thick, (200, 130), 60, (255,), 30)
    return [write(folder, "thin.png", stroke()), write(folder, "thick.png", thick),
            write(folder, "none.png", np.zeros(SHAPE))]


def test_rings_of_which_some_look_like_outlines_are_not_filled(tmp_path: Path) -> None:
    rows = rings(tmp_path)
    found = read_targets(rows, tmp_path, [SHAPE] * 3, lambda shape: shape)
    assert (found.outlines, found.alike) == ("no", 1)
    assert [one.kind for one in found.targets] == ["region", "region", "empty"]
    for target, name in zip(found.targets, ("thin.png", "thick.png", "none.png"), strict=True):
        drawn = cv2.imread(str(tmp_path / name), cv2.IMREAD_GRAYSCALE)
        np.testing.assert_array_equal(target.render(np.eye(2, 3), SHAPE), drawn / np.float32(255))


@pytest.mark.parametrize(("outlines", "settled", "kind"), [("auto", "yes", "ellipse"), ("yes", "yes", "ellipse"),
                                                           ("no", "no", "region")])
def test_where_all_look_like_outlines_the_config_decides(tmp_path: Path, outlines: Outlines, settled: str,
                                                         kind: str) -> None:
    rows = [one for one in rings(tmp_path) if one.mask != "thick.png"]
    found = read_targets(rows, tmp_path, [SHAPE] * 2, lambda shape: shape, outlines=outlines)
    assert (found.outlines, found.alike, [one.kind for one in found.targets]) == (settled, 1, [kind, "empty"])


def test_a_mask_that_is_no_outline_is_named_where_all_must_be(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 of 3 masks cannot be used.*thick.png: the mask is no outline"):
        read_targets(rings(tmp_path), tmp_path, [SHAPE] * 3, lambda shape: shape, outlines="yes")


def test_a_union_counts_by_each_of_its_masks(tmp_path: Path) -> None:
    rings(tmp_path)
    mixed, both = row("thin.png|thick.png"), row("thin.png|none.png")
    assert read_targets([mixed], tmp_path, [SHAPE], lambda shape: shape).outlines == "no"
    found = read_targets([both], tmp_path, [SHAPE], lambda shape: shape)
    inside = found.targets[0].render(np.eye(2, 3), SHAPE)
    assert found.outlines == "yes" and inside.sum() == pytest.approx(np.pi * ELLIPSE.a * ELLIPSE.b, rel=0.01)
