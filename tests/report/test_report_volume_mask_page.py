"""The page on label volumes: every value escaped, what is not defined said, pictures in or left out with a word."""

import numpy as np
import pytest

from excite.metrics.volume_masks import VolumeMaskRow, evaluate_volume_masks, label_scores
from excite.report.volume_mask_page import VolumeMaskReportData, render_volume_masks
from excite.report.volume_mask_pictures import Plane, ScanPicture
from html_reader import Reader

CLASSES = ("background", "<b>cortex", "stone")


def scan(number, *, spacing=(2.0, 1.0, 1.0)):
    random = np.random.default_rng(number)
    truth = (random.random((6, 8, 10)) < 0.4).astype(int)
    found = np.where(random.random(truth.shape) < 0.9, truth, 0)
    scores = label_scores(found, truth, {"<b>cortex": 1, "stone": 2}, spacing=spacing)
    return VolumeMaskRow(file=f"a/<i>{number}.nii.gz", line=number, unit=f"u{number}", voxels=480, classes=scores,
                         voxel_ml=None if spacing is None else 0.002, notes=("an <odd> affine",))


def picture(row):
    square = np.array([[1.0, 1], [4, 1], [4, 3], [1, 3]])
    plane = Plane(name="axial", picture=np.full((6, 8), 90, np.uint8), size=(2.0, 1.0), truth=((square,), ()),
                  predicted=((square + 1,), ()))
    return ScanPicture(row=row, planes=(plane,) * 3, classes=CLASSES[1:])


@pytest.fixture
def data():
    def make(*, spacing=(2.0, 1.0, 1.0), **changes):
        rows = [scan(number, spacing=spacing) for number in range(12)]
        found = evaluate_volume_masks(rows, classes=CLASSES, part="test", unit_kind="file", resamples=100)
        return VolumeMaskReportData(**{
            "title": "unet on <x>", "simulated": False, "lead": "A lead.", "recipe": "seed: 1", "unit_kind": "file",
            "counts": {"train": {"with <b>cortex": 20, "with stone": 0}, "test": {"with <b>cortex": 12}},
            "scans": {"train": 25, "test": 12}, "evaluation": found, "worst": [picture(rows[0])],
            "grid": [picture(rows[1])],
            "curves": {"cosine": [{"epoch": 1, "train": {"loss": 1.0}, "val": {"loss": 1.0, "dice": 0.5, "iou": 0.4},
                                   "best": True}]}} | changes)

    return make


def test_the_page_is_whole_and_tells_each_class(data):
    text = render_volume_masks(data())
    page = Reader(text)
    assert "<b>cortex" not in text and "<i>" not in text.replace('<i class', '') and "an &lt;odd&gt; affine" in text
    assert "stone is not there in 12 of 12 scans" in page.text and "not defined" in page.text
    assert "all 25 12 37" in page.text
    assert "No patients are known: scans were kept together by file." in page.text
    again = [one["href"] for one in page.of("use") if one["href"].startswith(("#worst", "#grid"))]
    assert again == [f"#{one['id']}" for one in page.of("image")] and len(again) == 6
    assert [one["width"] for one in page.of("image")] == ["8.00"] * 6  # millimetres: 8 of 1, 6 of 2
    assert {one["height"] for one in page.of("image")} == {"12.00"}
    assert "M1.5 3.0L4.5 3.0L4.5 7.0L1.5 7.0Z" in {one["d"] for one in page.of("path") if one.get("d")}


def test_without_a_voxel_size_nothing_is_in_millimetres(data):
    page = Reader(render_volume_masks(data(spacing=None)))
    assert "No voxel size is known: nothing is stated in millimetres or millilitres." in page.text
    assert "HD95, voxels" in page.text and "HD95, mm" not in page.text and "Volume difference" not in page.text


def test_pictures_are_left_out_with_a_word_and_leaks_come_first(data):
    text = render_volume_masks(data(leaks=[{"kind": "same-scan-in-two-splits", "message": "line 3 is line 2"}]),
                               images=False, without="The pictures were left out as asked.")
    page = Reader(text)
    assert "The pictures were left out as asked." in page.text and not page.of("image")
    assert "The leak check found the same or nearly the same data in two parts (1 case)" in page.text
    assert "line 3 is line 2" in page.text and "lies in two parts" not in page.text
