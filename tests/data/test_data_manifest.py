"""From tables to manifests: which column is what, all faults in one pass, and the way back to a table."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from excite.data.fault import Fault
from excite.data.manifest import Manifest, Row, read_manifest, scan_manifest
from excite.data.sections import DataSection
from excite.errors import DataError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with images a.png to f.png and one in a folder with a name of its own."""
    (tmp_path / "Bilder ü").mkdir()
    for place, name in enumerate([*"abcdef", "Bilder ü/g 1"]):
        Image.fromarray(np.full((4, 4), place, np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path


def scan(folder: Path, text: str, *, labelled: bool = True, **options: object) -> tuple[Manifest, list[Fault]]:
    (folder / "t.csv").write_text(text, encoding="utf-8")
    return scan_manifest(DataSection(table=folder / "t.csv", **options), labelled=labelled)


def kinds(faults: list[Fault]) -> list[tuple[str, int | None]]:
    return [(fault.kind, fault.row) for fault in faults]


FULL = """image,label,mask,patient,group,split,spacing
a.png,x,b.png|c.png,007,1,Train,0.2
"Bilder ü/g 1.png",y,,07,,validation,"0,2 0,3"
Bilder ü\\g 1.png#page=1,y,,08,,TEST,
"""


def test_house_columns() -> None:
    assert [name for name in Row.__dataclass_fields__ if name != "line"] == [
        "image", "label", "patient", "group", "split", "mask", "spacing"]


def test_a_full_table(folder: Path) -> None:
    manifest, faults = scan(folder, FULL)
    assert not faults
    assert manifest.rows == (
        Row(image="a.png", line=2, label="x", patient="007", group="1", split="train", mask="b.png|c.png",
            spacing=(0.2,)),
        Row(image="Bilder ü/g 1.png", line=3, label="y", patient="07", split="val", spacing=(0.2, 0.3)),
        Row(image="Bilder ü/g 1.png#page=1", line=4, label="y", patient="08", split="test"))
    assert manifest.classes == ("x", "y") and manifest.layout == "table"
    assert manifest.path(manifest.rows[0]) == folder / "a.png" and manifest.rows[0].masks == ("b.png", "c.png")
    assert [row.line for row in manifest.select([2, 0]).rows] == [4, 2]


def test_the_source_s_own_table_works_as_it_is_and_says_what_is_what(folder: Path) -> None:
    manifest, faults = scan(folder, "Image_path,Plane\na.png,1\nb.png,Fetal brain\n")
    assert not faults and [row.label for row in manifest.rows] == ["1", "Fetal brain"]
    assert "image is column 'Image_path', label is column 'Plane'" in manifest.notes


def test_options_map_other_tables_and_help_with_typos(folder: Path) -> None:
    text = "Datei;Diagnose;Fall;image;Serie\na.png;x;1;b.png;9\n"
    options = {"image_col": "Datei", "label_col": "diagnose", "patient_col": "Fall", "group_col": "Serie"}
    manifest, faults = scan(folder, text, **options)
    assert not faults and manifest.rows == (Row(image="a.png", line=2, label="x", patient="1", group="9"),)
    with pytest.raises(UsageError, match="--label-col names 'Diagnosse'.*did you mean 'Diagnose'"):
        scan(folder, text, label_col="Diagnosse")
    _, faults = scan(folder, "image,klass_label\na.png,x\n")
    assert kinds(faults) == [("missing-column", 1)] and "did you mean 'klass_label'" in faults[0].message


def test_one_of_each_fault_is_found_in_one_pass_and_nothing_else(folder: Path) -> None:
    rows = ["image,label,split,spacing,mask", "a.png,x,train,0.1,",   # 2
            "none.png,x,train,,", "B.PNG,x,train,,", "gone/C.png,x,,,",  # 3 4 5: missing; 5 has no split either
            "./b.png,x,train,,", "b.png,x,train,,",                   # 6 7: the same path
            "c.png,x,train,,", "Bilder ü/../c.png,y,train,,",             # 8 9: two labels
            "d.png, ,train,,", "e.png,x,trian,,", "e.png",            # 10 11 12: no label, no such split, ragged
            ",x,train,,", "f.png,x,train,wide,", "C:\\data\\z.png,x,train,,none.png"]  # 13 14 15
    manifest, faults = scan(folder, "\n".join(rows))
    assert sorted(kinds(faults), key=lambda pair: (pair[1] or 0, pair[0])) == [
        ("missing-file", 3), ("missing-file", 4), ("empty-split", 5), ("missing-file", 5), ("duplicate-path", 7),
        ("conflicting-label", 8), ("conflicting-label", 9), ("empty-label", 10), ("unknown-split", 11),
        ("ragged-row", 12), ("empty-image", 13), ("bad-spacing", 14), ("missing-file", 15), ("missing-mask", 15)]
    said = {(fault.kind, fault.row): fault.message for fault in faults}
    assert "did you mean 'b.png'" in said["missing-file", 4] and "--existing-only" in said["missing-file", 3]
    assert "Windows" in said["missing-file", 15] and "lines 6, 7" in said["duplicate-path", 7]
    assert "labels x, y (lines 8, 9)" in said["conflicting-label", 8]
    assert "did you mean 'train'" in said["unknown-split", 11]
    assert len(manifest.rows) == 12, "all that can be written down"


def test_reading_lists_ten_faults_and_counts_the_rest(folder: Path) -> None:
    with pytest.raises(DataError) as caught:
        (folder / "t.csv").write_text("image,label\n" + "".join(f"no{n}.png,x\n" for n in range(12)))
        read_manifest(DataSection(table=folder / "t.csv"))
    text = str(caught.value)
    assert text.startswith(str(folder / "t.csv") + ": 12 faults: line 2:") and "and 2 more" in text
    assert text.count("there is no file") == 10 and "--write-clean" in text
    (folder / "t.csv").write_bytes("image,label\nRenée.png,x\n".encode("latin-1"))
    with pytest.raises(DataError, match="line 2: byte 0xe9") as caught:
        read_manifest(DataSection(table=folder / "t.csv"))
    assert "--write-clean" not in str(caught.value), "leaving rows out does not mend the encoding"


def test_missing_files_are_left_out_when_asked_and_counted(folder: Path) -> None:
    manifest, faults = scan(folder, "image,label\na.png,x\nno.png,x\nb.png,y\n", existing_only=True)
    assert not faults and [row.line for row in manifest.rows] == [2, 4]
    assert any(note.startswith("1 of 3 rows were left out") for note in manifest.notes)
    _, faults = scan(folder, "image,label\nno.png,x\n", existing_only=True)
    assert kinds(faults) == [("no-rows", None)]


def test_a_first_row_that_looks_like_data_asks_for_a_header(folder: Path) -> None:
    _, faults = scan(folder, "a.png,x,P1\nb.png,y,P2\n")
    assert kinds(faults) == [("missing-column", 1)]
    assert "the first row looks like data: 'a.png', 'x', 'P1'" in faults[0].message
    assert "add a header such as image,label,patient" in faults[0].message
    _, faults = scan(folder, "scan,finding\na.png,x\n")
    assert not any("looks like data" in fault.message for fault in faults)


def test_patients_from_the_path(folder: Path) -> None:
    manifest, faults = scan(folder, "image,label\na.png,x\nb.png,x\n", patient_from=r"([a-z])\.png")
    assert not faults and [row.patient for row in manifest.rows] == ["a", "b"]
    _, faults = scan(folder, "image,label\na.png,x\nb.png,x\n", patient_from=r"(a)\.png")
    assert kinds(faults) == [("no-patient", 3)] and faults[0].severity == "error"
    for wrong in ("a", "(a)(b)", "(a"):
        with pytest.raises(UsageError, match="patient_from"):
            scan(folder, "image,label\na.png,x\n", patient_from=wrong)
    with pytest.raises(UsageError, match="both name the patient"):
        scan(folder, "image,label\na.png,x\n", patient_from="(a)", patient_col="label")


def test_what_may_be_meant_is_a_warning_and_becomes_a_note(folder: Path) -> None:
    text = "image,label,patient\na.png,Cyst,1\nb.png,cyst,\n"
    _, faults = scan(folder, text)
    assert [(fault.kind, fault.severity) for fault in faults] == [
        ("similar-labels", "warning"), ("no-patient", "warning")]
    manifest = read_manifest(DataSection(table=folder / "t.csv"))
    assert any("'Cyst', 'cyst' differ by case" in note for note in manifest.notes)


def test_without_labels_a_table_needs_images_only(folder: Path) -> None:
    manifest, faults = scan(folder, "image,split\na.png,part 1\na.png,\n", labelled=False)
    assert [(fault.kind, fault.severity) for fault in faults] == [("duplicate-path", "warning")]
    assert [row.label for row in manifest.rows] == [None, None]


def test_root_and_absolute_paths(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    manifest, faults = scan(other, f"image,label\na.png,x\n{folder}/b.png,y\n", root=folder)
    assert not faults and [manifest.path(row).name for row in manifest.rows] == ["a.png", "b.png"]
    with pytest.raises(UsageError, match="data.root is no folder"):
        scan(other, "image,label\n", root=folder / "none")


def test_a_written_table_reads_back_from_anywhere(folder: Path, tmp_path_factory: pytest.TempPathFactory,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, _ = scan(folder, FULL)
    away = tmp_path_factory.mktemp("away")
    for file in (folder / "clean.csv", folder.parent / "clean.csv", away / "new" / "clean.csv"):
        manifest.write_csv(file)
        assert b"\r" not in file.read_bytes() and [one.name for one in file.parent.glob(".*tmp")] == []
        again, faults = scan_manifest(DataSection(table=file))
        assert not faults
        assert [again.path(row).resolve() for row in again.rows] == [manifest.path(row).resolve()
                                                                     for row in manifest.rows]
        for old, new in zip(manifest.rows, again.rows, strict=True):
            assert (old.label, old.patient, old.group, old.split, old.spacing, len(old.masks)) == (
                new.label, new.patient, new.group, new.split, new.spacing, len(new.masks))
    below = (folder / "clean.csv").read_text(encoding="utf-8").splitlines()
    assert below[1] == "a.png,x,007,1,train,b.png|c.png,0.2", "paths below the table are relative to it"
    monkeypatch.chdir(folder)
    read_manifest(DataSection(table=Path("t.csv"))).write_csv(Path("again.csv"))
    assert Path("again.csv").read_text(encoding="utf-8") == (folder / "clean.csv").read_text(encoding="utf-8")
    with pytest.raises(UsageError, match="overwrite its own source"):
        manifest.write_csv(folder / "t.csv")


def test_a_table_that_is_none(folder: Path) -> None:
    with pytest.raises(UsageError, match="no table"):
        scan_manifest(DataSection())
    with pytest.raises(DataError, match="does not exist"):
        scan_manifest(DataSection(table=folder / "none.csv"))
    with pytest.raises(DataError, match="neither a table nor a folder"):
        scan_manifest(DataSection(table=folder / "a.png"))
    with pytest.raises(UsageError, match="unknown layout 'bussi'; did you mean 'busi'"):
        scan(folder, "image,label\n", layout="bussi")
    for text, kind in (("", "empty-table"), ("image,label\n", "empty-table")):
        _, faults = scan(folder, text)
        assert [fault.kind for fault in faults] == [kind]


def test_members_of_a_zip_are_rows(folder: Path) -> None:
    import zipfile

    with zipfile.ZipFile(folder / "scans.zip", "w") as stream:
        stream.write(folder / "a.png", "in/a.png")
    manifest, faults = scan(folder, "image,label\nscans.zip#in/a.png,x\nscans.zip#in/b.png,y\n")
    assert kinds(faults) == [("missing-file", 3)] and "no such member" in faults[0].message
    manifest.select([0]).write_csv(folder / "clean.csv")
    assert not scan_manifest(DataSection(table=folder / "clean.csv"))[1]


def test_twelve_thousand_rows_take_a_moment(folder: Path) -> None:
    import time

    began = time.monotonic()
    _, faults = scan(folder, "image,label\n" + "".join(f"no{n}.png,x\n" for n in range(12_400)))
    assert len(faults) == 12_400 and time.monotonic() - began < 5
