"""`check` reads masks: one planted fault of each kind is an error with its row, and what is left can be trained on."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from excite.data.check import CheckReport, check
from excite.data.manifest import scan_manifest
from excite.data.sections import DataSection

SHAPE = (80, 100)


def region(number: int) -> np.ndarray:
    picture = np.zeros(SHAPE, np.uint8)
    cv2.circle(picture, (40 + number, 40), 20, (255,), -1)
    return picture


def ring(number: int, thick: int = 2) -> np.ndarray:
    picture = np.zeros(SHAPE, np.uint8)
    cv2.ellipse(picture, (48 + number, 40), (34, 26), 0, 0, 360, (255,), thick)
    return picture


def plant(folder: Path, masks: list[np.ndarray], *, labels: bool = False) -> Path:
    rows = [["image", "mask", *(["label"] if labels else [])]]
    for place, mask in enumerate(masks):
        noise = np.random.default_rng(place).integers(0, 255, SHAPE, dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{place}.png")
        Image.fromarray(mask).save(folder / f"{place}_m.png")
        rows.append([f"{place}.png", f"{place}_m.png", *(["ab"[place % 2]] if labels else [])])
    with (folder / "table.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return folder / "table.csv"


def look(table: Path, **changes: object) -> CheckReport:
    return check(DataSection(table=table, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("labels", [False, True])
def test_each_bad_mask_is_an_error_with_its_row_and_goes(tmp_path: Path, labels: bool) -> None:
    masks = [region(place) for place in range(8)]
    masks[1], masks[2], masks[3] = masks[1][:-1], np.where(masks[2] > 0, 128, 0).astype(np.uint8), masks[3] * 0
    table = plant(tmp_path, masks, labels=labels)
    (tmp_path / "4_m.png").write_text("this is text")
    (tmp_path / "5_m.png").unlink()
    found = look(table)
    kinds = {(fault.kind, fault.row, fault.file) for fault in found.errors}
    assert kinds == {("mask-size", 3, "1.png"), ("mask-value", 4, "2.png"), ("mask-unreadable", 6, "4.png"),
                     ("missing-mask", 7, "5.png")}
    messages = {fault.kind: fault.message for fault in found.errors}
    assert "1_m.png: the mask has 100 x 79 pixels, its image 100 x 80" in messages["mask-size"]
    assert "2_m.png: the mask has the values 0, 128" in messages["mask-value"]
    assert "4_m.png: the file is no picture (it is text)" in messages["mask-unreadable"]
    assert {key: found.to_json()["counts"][key] for key in ("masks", "empty_masks", "outlines")} == {
        "masks": 8, "empty_masks": 1, "outlines": 0}
    assert found.mendable and [row.line for row, _ in found.dropped] == [3, 4, 6, 7]
    found.clean.write_csv(tmp_path / "clean.csv")
    assert not look(tmp_path / "clean.csv").errors


def test_a_table_without_masks_has_none_to_count(tmp_path: Path) -> None:
    plant(tmp_path, [region(place) for place in range(4)], labels=True)
    text = (tmp_path / "table.csv").read_text(encoding="utf-8")
    (tmp_path / "table.csv").write_text(text.replace("mask", "other"), encoding="utf-8")
    found = look(tmp_path / "table.csv")
    assert not found.errors and found.counts["masks"] == 0


def test_rings_among_regions_are_told(tmp_path: Path) -> None:
    table = plant(tmp_path, [ring(0), ring(1), ring(2, 12), ring(0) * 0])
    found = look(table)
    warnings = [fault for fault in found.faults if fault.kind == "mixed-outlines"]
    assert not found.errors and len(warnings) == 1 and found.counts["outlines"] == 2
    assert warnings[0].message.startswith("2 of 4 masks look like outlines along an ellipse and the others are regions")
    assert not look(table, outlines="no").faults
    told = look(table, outlines="yes").errors
    assert [(fault.kind, fault.row) for fault in told] == [("mask-outline", 4)]


def test_an_outline_that_is_no_ellipse_is_a_fault_where_masks_are_trained_on(tmp_path: Path) -> None:
    odd = np.zeros(SHAPE, np.uint8)
    cv2.polylines(odd, [np.array([[10, 10], [90, 15], [80, 70], [50, 30], [20, 70]])], True, (255,), 1)
    for labels, kinds in ((False, ["mask-outline"]), (True, [])):
        table = plant(tmp_path, [odd, region(1), region(2), region(3)], labels=labels)
        assert [fault.kind for fault in look(table).errors] == kinds
        assert not look(table, outlines="no").errors


def test_a_turned_picture_is_told_as_training_says_it(tmp_path: Path) -> None:
    table = plant(tmp_path, [region(place) for place in range(4)])
    exif = Image.Exif()
    exif[0x0112] = 3
    with Image.open(tmp_path / "2.png") as image:
        image.load()
        image.save(tmp_path / "2.png", exif=exif.tobytes())
    found = look(table)
    assert not found.errors
    assert [(fault.kind, fault.row) for fault in found.faults] == [("turned-apart", 4)]


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize(("name", "counts"), [
    ("hc18", {"masks": 420, "empty_masks": 0, "outlines": 420}), ("busi", {"outlines": 0})])
def test_real_masks_have_no_fault(real_data: Path, name: str, counts: dict[str, int]) -> None:
    found = look(real_data / name)
    assert not [fault for fault in found.faults if "mask" in fault.kind or fault.kind == "turned-apart"]
    assert counts.items() <= found.counts.items()
    rows = scan_manifest(DataSection(table=real_data / name))[0].rows
    assert found.counts["masks"] == sum(row.mask is not None for row in rows)
