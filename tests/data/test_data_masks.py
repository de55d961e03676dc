"""Masks: regions, unions, outlines; rules M1-M4 of bad masks; traps T1-5 and T1-13 on the real outlines."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from excite.data.layouts.hc18 import circumferences
from excite.data.manifest import scan_manifest
from excite.data.masks import MaskFault, hollow, outline_of, read_drawn, read_mask
from excite.data.phantom.heads import draw_outline
from excite.data.row import Row
from excite.data.sections import DataSection
from excite.ellipse import Ellipse
from excite.errors import DataError
from excite.metrics.biometry import ellipse_of, measure

SHAPE = (120, 160)
HEAD = Ellipse(78.3, 61.7, 55.2, 41.9, 0.4)


def put(folder: Path, *pictures: NDArray[np.uint8]) -> Row:
    names = [f"m{place}.png" for place in range(len(pictures))]
    for name, picture in zip(names, pictures, strict=True):
        Image.fromarray(picture).save(folder / name)
    return Row(image="a.png", line=1, mask="|".join(names))


def box(top: int, left: int, value: int = 255) -> NDArray[np.uint8]:
    picture = np.zeros(SHAPE, np.uint8)
    picture[top:top + 30, left:left + 40] = value
    return picture


@pytest.mark.parametrize("value", [1, 255])
def test_a_region_is_what_is_drawn(tmp_path: Path, value: int) -> None:
    found = read_mask(put(tmp_path, box(10, 20, value)), tmp_path, SHAPE)
    assert found.dtype == np.float32 and np.array_equal(found, (box(10, 20) > 0).astype(np.float32))


def test_several_masks_are_one_union(tmp_path: Path) -> None:
    found = read_mask(put(tmp_path, box(10, 20), box(25, 40, 1)), tmp_path, SHAPE)
    assert np.array_equal(found, np.maximum(box(10, 20), box(25, 40)) / 255)
    assert found.sum() == 30 * 40 * 2 - 15 * 20


def test_an_empty_mask_is_empty(tmp_path: Path) -> None:
    assert not read_mask(put(tmp_path, np.zeros(SHAPE, np.uint8)), tmp_path, SHAPE).any()


def test_bad_masks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the mask has 160 x 120 pixels, its image 120 x 160"):
        read_mask(put(tmp_path, box(1, 1)), tmp_path, SHAPE[::-1])
    for value in (128, 2):
        with pytest.raises(DataError, match=rf"m0.png: the mask has the values 0, {value} \(a mask has two"):
            read_mask(put(tmp_path, box(1, 1, value)), tmp_path, SHAPE)
    soft = cv2.GaussianBlur(box(10, 10), (0, 0), 3)
    with pytest.raises(DataError, match=r"the values 0, 1, .* and \d+ more .*not as JPEG"):
        read_mask(put(tmp_path, soft), tmp_path, SHAPE)
    colour = np.stack([box(1, 1), box(5, 5), box(9, 9)], axis=-1)
    with pytest.raises(DataError, match="colour picture"):
        read_mask(put(tmp_path, colour), tmp_path, SHAPE)
    with pytest.raises(DataError, match="the row has no mask"):
        read_mask(Row(image="a.png", line=1), tmp_path, SHAPE)
    with pytest.raises(DataError, match=r"gone\.png"):
        read_mask(Row(image="a.png", line=1, mask="gone.png"), tmp_path, SHAPE)


def test_an_outline_is_the_ellipse_through_its_middle(tmp_path: Path) -> None:
    stroke = draw_outline(HEAD, SHAPE)
    found = read_mask(put(tmp_path, stroke), tmp_path, SHAPE)
    assert np.abs(found - HEAD.coverage(SHAPE)).max() < 0.15
    measured = ellipse_of(found).ellipse
    assert measured is not None and abs(measured.circumference - HEAD.circumference) < 0.2
    whole = ellipse_of(np.maximum(HEAD.coverage(SHAPE), stroke / 255)).ellipse  # planted: the fill takes in half of it
    assert whole is not None and whole.circumference - HEAD.circumference > 7
    as_region = read_mask(put(tmp_path, stroke), tmp_path, SHAPE, outline=False)
    assert np.array_equal(as_region, stroke / 255)


def test_an_outline_among_several_masks_adds_its_ellipse(tmp_path: Path) -> None:
    other = Ellipse(40, 30, 30, 20, 0.1)
    row = put(tmp_path, box(80, 110), draw_outline(HEAD, SHAPE), draw_outline(other, SHAPE))
    found = read_mask(row, tmp_path, SHAPE)
    expected = np.maximum(np.maximum(box(80, 110) / 255, HEAD.coverage(SHAPE)), other.coverage(SHAPE))
    assert np.abs(found - expected).max() < 0.25 and np.array_equal(found[box(80, 110) > 0], np.ones(30 * 40))


def test_an_outline_cut_by_the_border(tmp_path: Path) -> None:
    head = Ellipse(80, 30, 60, 45, 0.1)
    found = read_mask(put(tmp_path, draw_outline(head, SHAPE)), tmp_path, SHAPE)
    assert np.abs(found - head.coverage(SHAPE)).max() < 0.2 and found[0, 80] == 1


@pytest.mark.parametrize("name", ["disc", "bar", "ring", "crescent", "specks", "box"])
def test_regions_are_not_taken_for_outlines(name: str) -> None:
    disc = HEAD.coverage(SHAPE) > 0.5
    thick = disc & ~(HEAD._replace(a=42.0, b=29.0).coverage(SHAPE) > 0.5)
    half = draw_outline(HEAD, SHAPE) > 0
    half[45:] = False
    specks = np.zeros(SHAPE, bool)
    specks[::23, ::17] = True
    bar = np.zeros(SHAPE, bool)
    bar[60:63, 10:150] = True
    region = {"disc": disc, "bar": bar, "ring": thick, "crescent": half, "specks": specks, "box": box(5, 5) > 0}[name]
    assert outline_of(region) is None and not hollow(region)


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("end", [(140, 100), (120, 20), (60, 110), (50, 50)])
def test_a_thin_line_is_no_outline_of_a_flat_ellipse(end: tuple[int, int], width: int) -> None:
    picture = np.zeros(SHAPE, np.uint8)
    cv2.line(picture, (20, 10), end, (255,), width)
    assert outline_of(picture > 0) is None


def test_an_outline_that_is_no_ellipse_is_refused_not_taken_for_a_thin_region(tmp_path: Path) -> None:
    picture = np.zeros(SHAPE, np.uint8)
    cv2.polylines(picture, [np.array([[20, 20], [140, 25], [120, 100], [80, 50], [30, 100]])], True, (255,), 2)
    row = put(tmp_path, picture)
    with pytest.raises(DataError, match=r"the mask is an outline, and no ellipse.*fill it"):
        read_mask(row, tmp_path, SHAPE)
    assert np.array_equal(read_mask(row, tmp_path, SHAPE, outline=False), picture / 255)
    with pytest.raises(DataError, match=r"m0.png: the mask is no outline along an ellipse .*data.outlines=no"):
        read_mask(put(tmp_path, box(1, 1)), tmp_path, SHAPE, outline=True)
    empty = put(tmp_path, np.zeros(SHAPE, np.uint8))
    assert not read_mask(empty, tmp_path, SHAPE, outline=True).any()


def test_faults_of_masks_say_their_kind(tmp_path: Path) -> None:
    soft = cv2.GaussianBlur(box(10, 10), (0, 0), 3)
    for picture, shape, kind in ((soft, SHAPE, "mask-value"), (box(1, 1), (9, 9), "mask-size")):
        with pytest.raises(MaskFault) as told:
            read_mask(put(tmp_path, picture), tmp_path, shape)
        assert told.value.kind == kind


@pytest.mark.real
@pytest.mark.slow
def test_all_real_outlines_give_the_circumference_of_the_table(real_data: Path) -> None:
    top = real_data / "hc18"
    manifest, _ = scan_manifest(DataSection(table=top), labelled=False)
    truth = circumferences(top / "training_set_pixel_size_and_HC.csv")
    errors, planted, cut = [], [], []
    for row in manifest.rows:
        name = Path(row.image).name
        drawn = read_drawn(top / str(row.mask))
        head = ellipse_of(read_mask(row, top, drawn.shape))
        assert head.ellipse is not None
        errors.append((measure(head.ellipse, row.spacing).hc_mm or 0) - truth[name])
        if not hollow(drawn):
            cut.append(name)
            continue
        around = np.pad(drawn.astype(np.uint8), 1)
        cv2.floodFill(around, None, (0, 0), 2, flags=4)
        filled = ellipse_of((around[1:-1, 1:-1] != 2).astype(np.float32)).ellipse
        assert filled is not None
        planted.append((measure(filled, row.spacing).hc_mm or 0) - truth[name])
    assert len(errors) == 420 and abs(np.mean(errors)) < 0.005 and np.abs(errors).max() < 0.06
    assert cut == ["186_HC.png", "346_HC.png"]
    assert np.mean(planted) == pytest.approx(1.13, abs=0.02) and max(planted) > 2.5


@pytest.mark.real
@pytest.mark.slow
def test_real_lesion_masks_are_regions(real_data: Path) -> None:
    manifest, _ = scan_manifest(DataSection(table=real_data / "busi"))
    for row in manifest.rows[::6]:
        drawn = [read_drawn(real_data / "busi" / mask) for mask in row.masks]
        found = read_mask(row, real_data / "busi", drawn[0].shape)
        assert np.array_equal(found, np.any(drawn, axis=0).astype(np.float32))
        assert bool(found.any()) == (row.label != "normal")
