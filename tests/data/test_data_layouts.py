"""Folders and public data sets to manifests; the real ones where they are at hand. Cases T10, T11."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from excite.data.fault import Fault
from excite.data.layouts import LAYOUTS
from excite.data.manifest import Manifest, read_manifest, scan_manifest
from excite.data.reading import read
from excite.data.sections import DataSection
from excite.errors import DataError, UsageError


def plant(top: Path, *names: str) -> Path:
    for place, name in enumerate(names):
        file = top / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix in (".png", ".jpg", ".PNG"):
            Image.fromarray(np.full((4, 4), place, np.uint8)).save(file)
        else:
            file.write_text("x", encoding="utf-8")
    return top


def scan(table: Path, *, labelled: bool = True, **options: object) -> tuple[Manifest, list[Fault]]:
    return scan_manifest(DataSection(table=table, **options), labelled=labelled)


def kinds(faults: list[Fault]) -> list[str]:
    return sorted(fault.kind for fault in faults)


def test_class_folders(tmp_path: Path) -> None:
    plant(tmp_path, "cyst/b.png", "cyst/sub/a.PNG", "cyst/notes.txt", "normal/c.jpg", "normal/._c.jpg")
    manifest, faults = scan(tmp_path)
    assert not faults and manifest.layout == "folder" and manifest.root == tmp_path
    assert [(row.image, row.label, row.line) for row in manifest.rows] == [
        ("cyst/b.png", "cyst", 1), ("cyst/sub/a.PNG", "cyst", 2), ("normal/c.jpg", "normal", 3)]
    assert "files in 'cyst' that are no pictures were passed over: 1 .txt" in manifest.notes


def test_hidden_empty_and_stray_are_said_and_make_no_class(tmp_path: Path) -> None:
    plant(tmp_path, "cyst/a.png", "normal/b.png", ".ipynb_checkpoints/c.png", "__MACOSX/d.png", "stray.png")
    (tmp_path / "empty").mkdir()
    manifest, faults = scan(tmp_path)
    assert manifest.classes == ("cyst", "normal") and {fault.severity for fault in faults} == {"warning"}
    assert kinds(faults) == ["empty-class-folder", "hidden-folder", "hidden-folder", "stray-image"]


def test_split_folders(tmp_path: Path) -> None:
    plant(tmp_path, "Train/x/a.png", "Train/y/b.png", "valid/x/c.png", "test/y/d.png")
    manifest, faults = scan(tmp_path)
    assert not faults and [(row.label, row.split) for row in manifest.rows] == [
        ("x", "train"), ("y", "train"), ("y", "test"), ("x", "val")]


def test_a_folder_of_pictures_is_for_prediction(tmp_path: Path) -> None:
    plant(tmp_path, "a.png", "sub/b.png", "x.txt")
    _, faults = scan(tmp_path)
    assert "no-classes" not in kinds(faults) and "stray-image" in kinds(faults), "sub is a class, a.png has none"
    manifest, faults = scan(tmp_path, labelled=False)
    assert not faults and [(row.image, row.label) for row in manifest.rows] == [("a.png", None), ("sub/b.png", None)]


def test_a_folder_without_class_folders_says_what_to_do(tmp_path: Path) -> None:
    plant(tmp_path, "a.png", "b.png")
    with pytest.raises(DataError, match="holds 2 pictures and no class folders.*image,label"):
        read_manifest(DataSection(table=tmp_path))
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="no pictures of a known kind"):
        read_manifest(DataSection(table=tmp_path / "none"))
    _, faults = scan(tmp_path / "none", labelled=False)
    assert kinds(faults) == ["no-rows"]


def test_options_of_tables_are_refused_for_folders(tmp_path: Path) -> None:
    plant(tmp_path, "x/a.png")
    with pytest.raises(UsageError, match="data.label_col has no meaning"):
        scan(tmp_path, label_col="x")
    with pytest.raises(DataError, match="needs a folder"):
        scan(tmp_path / "x" / "a.png", layout="folder")
    with pytest.raises(DataError, match="needs a file"):
        scan(tmp_path, layout="table")
    manifest, _ = scan(tmp_path, patient_from=r"/(\w)\.")
    assert manifest.rows[0].patient == "a"


BUSI = ("benign/benign (1).png", "benign/benign (1)_mask.png", "benign/benign (10).png", "benign/benign (10)_mask.png",
        "benign/benign (2).png", "benign/benign (2)_mask.png", "benign/benign (2)_mask_1.png",
        "malignant/malignant (1).png", "malignant/malignant (1)_mask.png", "normal/normal (1).png",
        "normal/normal (1)_mask.png")
GROUPS = """image,class,near_duplicate_group
benign/benign (1).png,benign,4
benign/benign (2).png,benign,
benign/benign (10).png,benign,4
malignant/malignant (1).png,malignant,4
normal/normal (1).png,normal,
"""


def test_busi(tmp_path: Path) -> None:
    plant(tmp_path, *BUSI)
    (tmp_path / "groups.csv").write_text(GROUPS)
    manifest, faults = scan(tmp_path)
    assert not faults and manifest.layout == "busi"
    assert [(row.image, row.label, row.group) for row in manifest.rows] == [
        ("benign/benign (1).png", "benign", "4"), ("benign/benign (2).png", "benign", "benign/benign (2).png"),
        ("benign/benign (10).png", "benign", "4"), ("malignant/malignant (1).png", "malignant", "4"),
        ("normal/normal (1).png", "normal", "normal/normal (1).png")]
    assert manifest.rows[1].masks == ("benign/benign (2)_mask.png", "benign/benign (2)_mask_1.png")
    assert "1 pictures have more than one mask: their union counts" in manifest.notes


def test_busi_as_published_has_no_groups_and_says_so(tmp_path: Path) -> None:
    manifest, faults = scan(plant(tmp_path, *BUSI))
    assert not faults and {row.group for row in manifest.rows} == {None}
    assert any("no groups.csv" in note for note in manifest.notes)


def test_busi_with_each_fault(tmp_path: Path) -> None:
    plant(tmp_path, *BUSI, "normal/normal (7)_mask.png", "normal/normal (8).png")
    text = GROUPS.replace("malignant (1).png,malignant", "malignant (1).png,benign") + "normal/normal (9).png,normal,\n"
    (tmp_path / "groups.csv").write_text(text)
    assert kinds(scan(tmp_path)[1]) == ["conflicting-label", "mask-without-image", "missing-file", "no-group"]
    (tmp_path / "groups.csv").write_text("picture,class\na,b\n")
    assert kinds(scan(tmp_path)[1]) == ["mask-without-image", "missing-column"]


def planes(folder: Path, *rows: str) -> Path:
    file = folder / "FETAL_PLANES_DB_data.csv"
    file.write_text("\n".join(["Image_name;Patient_num;Plane;Brain_plane;Operator;US_Machine;Train ", *rows]) + "\n")
    return file


def test_fetal_planes(tmp_path: Path) -> None:
    plant(tmp_path, "Images/P1_1.png", "Images/P1_2.jpg", "Images/P2_1.png")
    file = planes(tmp_path, "P1_1;1;Fetal brain;Trans-thalamic;Op. 1;Aloka;1",
                  "P1_2;1;Fetal femur;Not A Brain;Op. 1;Aloka;1", "P2_1;02;Other;Not A Brain;Op. 1;Aloka;0")
    for table in (tmp_path, file):
        manifest, faults = scan(table)
        assert not faults and manifest.layout == "fetal_planes"
        assert [(row.image, row.label, row.patient, row.split) for row in manifest.rows] == [
            ("Images/P1_1.png", "Fetal brain", "1", "train"), ("Images/P1_2.jpg", "Fetal femur", "1", "train"),
            ("Images/P2_1.png", "Other", "02", "test")]
    assert [row.label for row in scan(tmp_path, label_col="US_Machine")[0].rows] == ["Aloka"] * 3


def test_fetal_planes_of_one_plane_are_told_by_brain_plane(tmp_path: Path) -> None:
    plant(tmp_path, "images/P1_1.png", "images/P2_1.png")
    planes(tmp_path, "P1_1;1;Fetal brain;Trans-thalamic;Op. 1;Aloka;1", "P2_1;2;Fetal brain;Other;Op. 1;Aloka;0",
           "P3_1;3;Fetal femur;Not A Brain;Op. 1;Aloka;yes")
    manifest, faults = scan(tmp_path)
    assert kinds(faults) == ["missing-file", "unknown-split"] and {fault.row for fault in faults} == {4}
    assert [row.label for row in manifest.rows[:2]] == ["Trans-thalamic", "Other"]
    assert any("not the six-class task" in note for note in manifest.notes)
    clean, faults = scan(tmp_path, existing_only=True)
    assert len(clean.rows) == 2 and any(note.startswith("1 of 3 rows") for note in clean.notes)


def test_fetal_planes_asked_for_where_they_are_not(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no table of FETAL_PLANES_DB"):
        scan(tmp_path, layout="fetal_planes")
    (tmp_path / "t.csv").write_text("Image_name;Plane\na;b\n")
    assert kinds(scan(tmp_path / "t.csv", layout="fetal_planes")[1]) == ["missing-column"]


def test_layouts_of_other_packages_come_before_the_general_ones() -> None:
    assert set(LAYOUTS) >= {"busi", "fetal_planes", "folder", "table"}
    assert {name for name in LAYOUTS if LAYOUTS[name].general} == {"folder", "table"}


@pytest.mark.real
def test_the_real_busi(real_data: Path) -> None:
    manifest, faults = scan(real_data / "busi")
    assert not faults and Counter(row.label for row in manifest.rows) == {
        "benign": 350, "malignant": 168, "normal": 106}
    assert sum(len(row.masks) for row in manifest.rows) == 639
    assert sum(len(row.masks) > 1 for row in manifest.rows) == 14
    assert not any("_mask" in row.image for row in manifest.rows)
    shared = Counter(row.group for row in manifest.rows)
    table = [line.rsplit(",", 1)[1] for line in (real_data / "busi/groups.csv").read_text().splitlines()[1:]]
    named = Counter(group for group in table if group)
    assert {group: count for group, count in shared.items() if group in named} == named
    assert len(shared) == len(named) + table.count("")
    for row in manifest.rows[::40]:
        sample = read(manifest.path(row))
        assert np.array_equal(sample.image[0], np.asarray(Image.open(manifest.path(row)).convert("L")))


@pytest.mark.real
@pytest.mark.parametrize("table", ["", "fetal_planes.csv", "metadata_full.csv"])
def test_the_real_fetal_planes(real_data: Path, table: str) -> None:
    manifest, faults = scan(real_data / "fetal_planes" / table, existing_only=table == "metadata_full.csv")
    assert not faults and len(manifest.rows) == 309 and len({row.patient for row in manifest.rows}) == 106
    assert Counter(row.label for row in manifest.rows) == {
        "Trans-thalamic": 168, "Trans-cerebellum": 80, "Trans-ventricular": 61}
    women = {part: {row.patient for row in manifest.rows if row.split == part} for part in ("train", "test")}
    assert not women["train"] & women["test"]
    assert read(manifest.path(manifest.rows[0])).image.shape == (1, 353, 512)


@pytest.mark.real
def test_the_whole_metadata_names_every_missing_file(real_data: Path) -> None:
    manifest, faults = scan(real_data / "fetal_planes" / "metadata_full.csv")
    assert len(manifest.rows) == 12_400 and Counter(kinds(faults)) == {"missing-file": 12_400 - 309}


@pytest.mark.parametrize(("names", "pairs"), [
    (("images/a.png", "images/b.png", "masks/a.png", "masks/b_mask.png"),
     {"images/a.png": "masks/a.png", "images/b.png": "masks/b_mask.png"}),
    (("img/a.jpg", "Masks/a_mask.png", "Masks/a_mask_1.png"), {"img/a.jpg": "Masks/a_mask.png|Masks/a_mask_1.png"}),
    (("a.png", "a_seg.png", "b_1.png", "b_1-mask.png"), {"a.png": "a_seg.png", "b_1.png": "b_1-mask.png"})])
def test_pictures_and_masks_in_folders(tmp_path: Path, names: tuple[str, ...], pairs: dict[str, str]) -> None:
    manifest, faults = scan(plant(tmp_path, *names))
    assert not [fault for fault in faults if fault.severity == "error"] and manifest.layout == "image_masks"
    assert {row.image: row.mask for row in manifest.rows} == pairs


def test_a_picture_without_a_mask_and_a_mask_without_a_picture_are_told(tmp_path: Path) -> None:
    top = plant(tmp_path, "images/a.png", "images/b.png", "masks/a.png", "masks/c.png")
    found = scan(top)[1]
    assert {"no-mask", "mask-without-image"} <= set(kinds(found))
    assert {fault.file for fault in found} >= {"images/b.png", "masks/c.png"}
    assert "no-mask" not in kinds(scan(top, labelled=False)[1])


def test_class_folders_called_otherwise_are_no_masks(tmp_path: Path) -> None:
    assert scan(plant(tmp_path, "images/a.png", "other/b.png"))[0].layout == "folder"
