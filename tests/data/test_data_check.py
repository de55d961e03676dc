"""One planted fault of each kind is found, the clean table has none, and the cleaned table passes."""

import csv
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from excite.data.check import CheckReport, check
from excite.data.manifest import read_manifest
from excite.data.sections import DataSection

Rows = list[dict[str, str]]


def picture(seed: int, size: tuple[int, int] = (96, 128)) -> np.ndarray:
    random = np.random.default_rng(seed)
    total = sum(gaussian_filter(random.standard_normal(size), sigma) * sigma for sigma in (2, 5, 12))
    return np.clip(128 + 45 * total / total.std(), 0, 255).astype(np.uint8)


def clean_rows(folder: Path) -> Rows:
    """Write 24 pictures of 8 patients and return their rows, with a split by patient."""
    rows = []
    for k in range(24):
        Image.fromarray(picture(k)).save(folder / f"{k:02d}.png")
        patient = k // 3
        rows.append({"image": f"{k:02d}.png", "label": "ab"[k % 2], "patient": f"{patient:03d}", "group": "",
                     "split": ("train", "train", "val", "test")[patient % 4]})
    return rows


def look(folder: Path, rows: Rows, name: str = "table.csv") -> CheckReport:
    with (folder / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return check(DataSection(table=folder / name))


def add(folder: Path, rows: Rows, image: np.ndarray, **cells: str) -> None:
    name = f"new{len(rows)}.png"
    Image.fromarray(image).save(folder / name)
    rows.append({"image": name, "label": "a", "patient": f"new{len(rows)}", "group": "", "split": "train", **cells})


def missing(folder: Path, rows: Rows) -> None:
    (folder / rows[4]["image"]).unlink()


def unreadable(folder: Path, rows: Rows) -> None:
    path = folder / rows[4]["image"]
    path.write_bytes(path.read_bytes()[:700])


def path_twice(folder: Path, rows: Rows) -> None:
    rows.append(dict(rows[4]))


def path_with_two_labels(folder: Path, rows: Rows) -> None:
    rows.append({**rows[4], "label": "b"})


def picture_with_two_labels(folder: Path, rows: Rows) -> None:
    add(folder, rows, picture(4), label="b", patient=rows[4]["patient"], split=rows[4]["split"])


def pixels_in_two_splits(folder: Path, rows: Rows) -> None:
    add(folder, rows, picture(11), label="b")  # 11 is of patient 3: test


def near_duplicates_in_two_splits(folder: Path, rows: Rows) -> None:
    add(folder, rows, cv2.resize(picture(11), (100, 90)), label="b")


def near_duplicates_with_two_labels(folder: Path, rows: Rows) -> None:
    add(folder, rows, cv2.resize(picture(0), (100, 90)), label="b", patient="000")


def patient_in_two_splits(folder: Path, rows: Rows) -> None:
    rows[1]["split"] = "test"


def group_in_two_splits(folder: Path, rows: Rows) -> None:
    rows[0]["group"] = rows[11]["group"] = "g"


def empty_label(folder: Path, rows: Rows) -> None:
    rows[5]["label"] = " "


def empty_split(folder: Path, rows: Rows) -> None:
    rows[5]["split"] = ""


def one_sample_class(folder: Path, rows: Rows) -> None:
    add(folder, rows, picture(99), label="c")


def class_of_one_patient(folder: Path, rows: Rows) -> None:
    for seed in (98, 99):
        add(folder, rows, picture(seed), label="c", patient="x")


def class_not_in_train(folder: Path, rows: Rows) -> None:
    for seed in (98, 99):
        add(folder, rows, picture(seed), label="c", split="test")


def one_class(folder: Path, rows: Rows) -> None:
    for row in rows:
        row["label"] = "a"


def no_training_part(folder: Path, rows: Rows) -> None:
    for row in rows:
        row["split"] = "val" if row["split"] == "train" else "test"


def tiny(folder: Path, rows: Rows) -> None:
    add(folder, rows, picture(99)[:20, :20])


def constant(folder: Path, rows: Rows) -> None:
    add(folder, rows, np.full((96, 128), 7, np.uint8))


def other_depth(folder: Path, rows: Rows) -> None:
    for seed in (98, 99):
        add(folder, rows, picture(seed).astype(np.uint16) * 200)


PLANTED: dict[str, tuple[Callable[[Path, Rows], None], str, int]] = {  # kind -> how, severity, rows dropped
    "missing-file": (missing, "error", 1), "unreadable": (unreadable, "error", 1),
    "duplicate-path": (path_twice, "error", 1), "conflicting-label": (path_with_two_labels, "error", 2),
    "same-picture-two-labels": (picture_with_two_labels, "error", 2),
    "same-pixels-in-two-splits": (pixels_in_two_splits, "error", 1),
    "near-duplicates-in-two-splits": (near_duplicates_in_two_splits, "error", 1),
    "near-duplicates-two-labels": (near_duplicates_with_two_labels, "warning", 0),
    "patient-in-two-splits": (patient_in_two_splits, "error", 1),
    "group-in-two-splits": (group_in_two_splits, "error", 1),
    "empty-label": (empty_label, "error", 1), "empty-split": (empty_split, "error", 1),
    "one-sample-class": (one_sample_class, "error", 1), "class-of-one-unit": (class_of_one_patient, "warning", 0),
    "class-not-in-train": (class_not_in_train, "error", 2), "one-class": (one_class, "error", 0),
    "no-training-part": (no_training_part, "error", 0), "tiny-image": (tiny, "warning", 0),
    "constant-image": (constant, "warning", 0), "mixed-depth": (other_depth, "error", 2),
}


def test_the_clean_table_has_no_fault(tmp_path: Path) -> None:
    report = look(tmp_path, clean_rows(tmp_path))
    assert report.faults == [] and report.dropped == [] and len(report.clean.rows) == 24
    counts = report.counts
    assert counts["classes"] == {"a": 12, "b": 12} and counts["splits"] == {"test": 6, "train": 12, "val": 6}
    assert counts["patients"]["007"] == 3 and counts["patients_by_split"] == {"test": 2, "train": 4, "val": 2}
    assert counts["near_duplicate_pairs"] == counts["same_picture_pairs"] == 0


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_fault_is_found_alone_and_the_cleaned_table_passes(tmp_path: Path, kind: str) -> None:
    plant, severity, dropped = PLANTED[kind]
    rows = clean_rows(tmp_path)
    plant(tmp_path, rows)
    report = look(tmp_path, rows)
    assert {(fault.kind, fault.severity) for fault in report.faults} == {(kind, severity)}, report.faults
    assert len(report.dropped) == dropped
    if dropped or severity == "warning":
        assert all(reason for _, reason in report.dropped)
        report.clean.write_csv(tmp_path / "clean.csv")
        again = check(DataSection(table=tmp_path / "clean.csv"))
        assert again.errors == [] and len(again.clean.rows) == len(rows) - dropped
        kept = {row.image: row for row in again.clean.rows}
        assert all(kept[row["image"]].split == (row["split"] or None) and kept[row["image"]].patient == row["patient"]
                   for row in rows if row["image"] in kept)
    else:
        assert report.beyond_rows


def test_all_faults_are_found_in_one_pass_and_cleaned_away(tmp_path: Path) -> None:
    rows = clean_rows(tmp_path)
    plants = [kind for kind in PLANTED if kind not in ("one-class", "no-training-part", "missing-file", "unreadable",
                                                       "class-of-one-unit", "class-not-in-train", "conflicting-label")]
    for kind in plants:
        PLANTED[kind][0](tmp_path, rows)
    (tmp_path / rows[20]["image"]).unlink()
    (tmp_path / rows[16]["image"]).write_bytes(b"")
    report = look(tmp_path, rows)
    assert {fault.kind for fault in report.faults} == {*plants, "missing-file", "unreadable"}
    report.clean.write_csv(tmp_path / "clean.csv")
    assert check(DataSection(table=tmp_path / "clean.csv")).errors == []


def test_faults_say_row_and_file_and_what_to_do(tmp_path: Path) -> None:
    rows = clean_rows(tmp_path)
    picture_with_two_labels(tmp_path, rows)
    fault, = look(tmp_path, rows).faults
    assert fault.row == 26 and fault.file == "new24.png"
    assert "04.png [a] = new24.png [b]" in fault.message and "find out which is right" in fault.message


def test_the_copy_in_the_test_part_stays(tmp_path: Path) -> None:
    rows = clean_rows(tmp_path)
    pixels_in_two_splits(tmp_path, rows)
    report = look(tmp_path, rows)
    assert [row.image for row, _ in report.dropped] == ["new24.png"] and "11.png is in test" in report.dropped[0][1]


def test_without_a_split_column_duplicates_are_only_counted(tmp_path: Path) -> None:
    rows = clean_rows(tmp_path)
    pixels_in_two_splits(tmp_path, rows)
    near_duplicates_in_two_splits(tmp_path, rows)
    report = look(tmp_path, [{key: row[key] for key in ("image", "label", "patient")} for row in rows])
    assert report.faults == []
    assert report.counts["same_picture_pairs"] == 1 and report.counts["near_duplicate_pairs"] == 2


def test_mixed_depths_name_an_example_of_each_and_the_rarer_ones_go(tmp_path: Path) -> None:
    rows = clean_rows(tmp_path)
    other_depth(tmp_path, rows)
    report = look(tmp_path, rows)
    fault, = report.errors
    assert (fault.kind, fault.row, fault.file) == ("mixed-depth", 26, "new24.png") and report.mendable
    assert "uint8 (24 images, such as 00.png), uint16 (2 images, such as new24.png)" in fault.message
    assert "export all with one depth" in fault.message
    assert [(row.image, "not uint8" in reason) for row, reason in report.dropped] == [
        ("new24.png", True), ("new25.png", True)]


@pytest.mark.parametrize(("slip", "asked"), [("boesartig", True), ("BÖSARTIG", True), ("bös\u200bartig", True),
                                             ("gut", False), ("bösartig 2", False)])
def test_a_class_of_one_that_reads_like_another_asks_whether_it_is_meant(tmp_path: Path, slip: str,
                                                                        asked: bool) -> None:
    rows = clean_rows(tmp_path)
    for row in rows:
        row["label"] = "bösartig" if row["label"] == "a" else "kein Befund"
    rows[0]["label"] = slip
    fault, = look(tmp_path, rows).errors
    assert fault.kind == "one-sample-class" and fault.row == 2
    assert ("did you mean 'bösartig' (11 images)? then correct the label, otherwise add samples" in fault.message
            ) == asked


@pytest.mark.parametrize("slip", ["p001", "P 001", "P\u00a0001", "P001\u200b", "P001\ufeff"])
@pytest.mark.parametrize("column", ["patient", "group"])
def test_ids_that_look_the_same_are_a_warning_and_a_note_of_the_manifest(tmp_path: Path, column: str,
                                                                         slip: str) -> None:
    rows = [{"image": row["image"], "label": row["label"], column: f"P{int(row['patient']):03d}"}
            for row in clean_rows(tmp_path)]
    rows[3][column] = slip
    report = look(tmp_path, rows)
    fault, = report.faults
    assert (fault.kind, fault.severity) == (f"similar-{column}s", "warning") and len(report.clean.rows) == 24
    assert f"count as 2 {column}s" in fault.message and repr(slip) in fault.message and "'P001'" in fault.message
    notes = read_manifest(DataSection(table=tmp_path / "table.csv")).notes
    assert fault.message in notes


def test_classes_and_patients_count_readable_images(tmp_path: Path) -> None:
    rows = clean_rows(tmp_path)
    unreadable(tmp_path, rows)
    for row in rows[9:12]:
        (tmp_path / row["image"]).unlink()
    counts = look(tmp_path, rows).counts
    assert counts["rows"] == 24 and counts["readable"] == 20 and sum(counts["classes"].values()) == 20
    assert sum(map(sum, (part.values() for part in counts["classes_by_split"].values()))) == 20
    assert counts["patients"]["003"] == 0 and counts["patients"]["001"] == 2 and counts["splits"]["test"] == 3


def test_a_fault_of_the_whole_table_is_not_mended_by_dropping_rows(tmp_path: Path) -> None:
    clean_rows(tmp_path)
    (tmp_path / "t.csv").write_bytes("image,label\n00.png,Bösartig\n".encode("cp1252"))
    report = check(DataSection(table=tmp_path / "t.csv"))
    assert report.errors[0].row == 2 and report.beyond_rows == report.errors and not report.mendable


def test_a_table_that_loses_all_but_one_class_is_not_mendable(tmp_path: Path) -> None:
    rows = clean_rows(tmp_path)
    rows = [{**row, "label": "b" if place == 1 else "a"} for place, row in enumerate(rows)]
    report = look(tmp_path, rows)
    assert not report.beyond_rows and not report.mendable


@pytest.mark.real
def test_busi_has_its_conflict(real_data: Path, tmp_path: Path) -> None:
    report = check(DataSection(table=real_data / "busi"))
    fault, = report.errors
    assert fault.kind == "same-picture-two-labels"
    assert "benign/benign (433).png" in fault.message and "malignant/malignant (145).png" in fault.message
    report.clean.write_csv(tmp_path / "clean.csv")
    again = check(DataSection(table=tmp_path / "clean.csv"))
    assert again.errors == [] and len(again.clean.rows) == 622
    assert sum(row.group is not None for row in again.clean.rows) > 100


@pytest.mark.real
def test_fetal_planes_are_clean_by_woman(real_data: Path) -> None:
    report = check(DataSection(table=real_data / "fetal_planes" / "fetal_planes.csv", label_col="Brain_plane"))
    assert report.errors == [] and len(report.counts["patients"]) == 106
    assert report.counts["same_picture_pairs"] == 7
