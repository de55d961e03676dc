"""What a report says of several cubes: a row a patient, right by hand count, and warnings where they are due."""

import re
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from excite.data.scenes.scene import Piece
from excite.report.scene_page import render_scene
from excite.report.scene_pieces import PatientRow, patient_rows, warnings
from excite.tiling import Tile
from html_reader import Reader
from made_up_scene import made_up_scene

Map = NDArray[np.int64]
DRAWINGS = ("scene_figures.spectra_together", "figures.class_counts", "figures.reliability")


def piece(name: str, patient: str | None, left: int) -> Piece:
    return Piece(name=name, patient=patient, place=Tile(0, left, 2, 3))


PIECES = (piece("a", "P1", 0), piece("b", "P2", 4), piece("c", "P1", 8), piece("d", "P3", 12), piece("e", "P4", 16))


def maps() -> tuple[Map, Map, Map]:
    """Return truth, predictions and parts of five cubes of six pixels, one column apart."""
    truth, predicted, parts = (np.zeros((2, 19), int) for _ in range(3))
    for one, part, wrong in zip(PIECES, (3, 1, 3, 3, 0), (1, 6, 2, 0, 0), strict=True):
        truth[one.place.inside] = 1
        predicted[one.place.inside] = np.where(np.arange(6).reshape(2, 3) < wrong, 2, 1)
        parts[one.place.inside] = part
    truth[0, 0] = parts[0, 0] = 0  # the wrong pixel of the first cube has no label
    return truth, predicted, parts


def test_rows_are_of_patients_and_the_worst_tested_one_is_first() -> None:
    truth, predicted, parts = maps()
    assert patient_rows(PIECES, truth=truth, predicted=predicted, parts=parts) == [
        PatientRow(name="P1", cubes=("a", "c"), parts=("test",), pixels=11, tested=11, right=pytest.approx(9 / 11)),
        PatientRow(name="P3", cubes=("d",), parts=("test",), pixels=6, tested=6, right=1.0),
        PatientRow(name="P2", cubes=("b",), parts=("train",), pixels=6, tested=0, right=None),
        PatientRow(name="P4", cubes=("e",), parts=(), pixels=0, tested=0, right=None)]
    parts[0, 4] = 3  # a pixel of another part, in one of the two wrongly told
    row = next(one for one in patient_rows(PIECES, truth=truth, predicted=predicted, parts=parts) if one.name == "P2")
    assert (row.parts, row.tested, row.right) == (("test", "train"), 1, 0.0)
    assert patient_rows((), truth=truth, predicted=predicted, parts=parts) == []


def test_warnings_stand_where_they_are_due() -> None:
    truth, predicted, parts = maps()
    rows = patient_rows(PIECES, truth=truth, predicted=predicted, parts=parts)
    assert warnings(PIECES, rows) == [] and warnings((), ()) == []
    parts[0, 4] = 3
    rows = patient_rows(PIECES, truth=truth, predicted=predicted, parts=parts)
    assert warnings(PIECES, rows) == ["1 of 4 patients are in training and in test: the numbers flatter, and say "
                                      "nothing about a new patient."]
    unknown = [replace(one, patient=None) for one in PIECES]
    rows = patient_rows(unknown, truth=truth, predicted=predicted, parts=parts)
    assert [row.name for row in rows] == ["b", "c", "a", "d", "e"]
    assert warnings(unknown, rows)[1].startswith("No patients are known: each cube counts as one.")


def test_the_page_has_the_table_and_escapes_the_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for drawing in DRAWINGS:
        monkeypatch.setattr(f"excite.report.{drawing}", lambda *_, **__: "")
    for drawing in ("figures.learning_curves", "scene_figures.spectra_apart"):
        monkeypatch.setattr(f"excite.report.{drawing}", lambda *_, **__: [])
    plain = made_up_scene(side=60, count=5)
    assert 'id="patients"' not in render_scene(plain, images=False)
    evil = "<b>&P1"
    pieces = (Piece(name="left", patient=evil, place=Tile(0, 0, 60, 30)),
              Piece(name="right", patient="P2", place=Tile(0, 30, 60, 30)))
    page = render_scene(replace(plain, pieces=pieces))
    text = " ".join(Reader(page).text.split())
    tested = plain.parts[:, 30:] == 3
    right = (plain.truth == plain.predicted)[:, 30:][tested].mean()
    pixels = np.count_nonzero(plain.parts[:, 30:])
    assert f"P2 right test, val, train {pixels:,} {right:.3f}" in text and "<b>&P1 left test" in text
    assert "60 x 60 pixels: 2 cubes side by side, rows from the left" in text and "<b>&P1" not in page
    assert "nothing of other sensors, hospitals or light" in text and 'href="#patients">Patients' in page
    assert "2 of 2 patients are in training and in test: the numbers flatter" in text
    without = render_scene(replace(plain, pieces=tuple(replace(one, patient=None) for one in pieces)), images=False)
    assert re.search(r"<h2>Each cube</h2>", without) and 'href="#patients">Cubes' in without
    assert "Cubes</th>" not in without and "No patients are known" in without
