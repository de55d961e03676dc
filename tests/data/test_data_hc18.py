"""The layout hc18: groups, spacing, outlines, and each fault of the table against the outlines. Trap T1-5."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from excite.data.fault import Fault
from excite.data.layouts.hc18 import circumferences
from excite.data.manifest import Manifest, scan_manifest
from excite.data.phantom.heads import draw_outline
from excite.data.sections import DataSection
from excite.ellipse import Ellipse
from excite.errors import DataError, UsageError

SHAPE = (90, 120)
HEAD = Ellipse(60, 45, 40, 31, 0.3)
HEADER = "filename,pixel size(mm),head circumference (mm)"
TABLE = "training_set_pixel_size_and_HC.csv"


def line(name: str, *, pixel: float = 0.2, factor: float = 1.0) -> str:
    return f"{name},{pixel},{HEAD.circumference * pixel * factor:.2f}"


def plant(top: Path, *lines: str, header: str = HEADER, outlines: bool = True) -> Path:
    folder = top / "training_set"
    folder.mkdir(exist_ok=True)
    for text in lines:
        name = text.partition(",")[0]
        Image.fromarray(np.full(SHAPE, len(list(folder.iterdir())), np.uint8)).save(folder / name)
        if outlines:
            Image.fromarray(draw_outline(HEAD, SHAPE)).save(folder / name.replace(".png", "_Annotation.png"))
    (top / TABLE).write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return top


def scan(table: Path, *, labelled: bool = True, **options: object) -> tuple[Manifest, list[Fault]]:
    """Return the manifest and its faults but those of empty labels, which a segmentation has none of."""
    manifest, faults = scan_manifest(DataSection(table=table, **options), labelled=labelled)
    return manifest, [fault for fault in faults if fault.kind != "empty-label"]


def test_the_folder_and_its_table_are_known(tmp_path: Path) -> None:
    plant(tmp_path, line("001_HC.png"), line("010_HC.png", pixel=0.1), line("010_2HC.png"))
    for table in (tmp_path, tmp_path / TABLE):
        manifest, faults = scan(table)
        assert manifest.layout == "hc18" and not faults and manifest.root == tmp_path
        assert [(row.image, row.mask, row.group, row.spacing) for row in manifest.rows] == [
            ("training_set/001_HC.png", "training_set/001_HC_Annotation.png", "001", (0.2, 0.2)),
            ("training_set/010_HC.png", "training_set/010_HC_Annotation.png", "010", (0.1, 0.1)),
            ("training_set/010_2HC.png", "training_set/010_2HC_Annotation.png", "010", (0.2, 0.2))]
    assert any("masks are outlines" in note and "2 of 3 pictures" in note for note in manifest.notes)
    assert circumferences(tmp_path / TABLE)["001_HC.png"] == pytest.approx(HEAD.circumference * 0.2, abs=0.01)


def test_the_test_set_has_no_outlines_and_needs_none(tmp_path: Path) -> None:
    (tmp_path / "test_set").mkdir()
    Image.fromarray(np.ones(SHAPE, np.uint8)).save(tmp_path / "test_set/000_HC.png")
    (tmp_path / "test_set_pixel_size.csv").write_text("filename,pixel size(mm)\n000_HC.png,0.23\n")
    manifest, faults = scan(tmp_path, labelled=False)
    assert manifest.layout == "hc18" and not faults
    assert manifest.rows[0].image == "test_set/000_HC.png" and manifest.rows[0].mask is None
    assert manifest.rows[0].spacing == (0.23, 0.23)
    assert [fault.kind for fault in scan(tmp_path)[1]] == ["missing-annotation"]
    with pytest.raises(DataError, match="no column 'head circumference"):
        circumferences(tmp_path / "test_set_pixel_size.csv")


def test_each_fault_is_named_with_its_line(tmp_path: Path) -> None:
    plant(tmp_path, line("001_HC.png"), line("002_HC.png", factor=1.006), line("003_HC.png", factor=1.004),
          "004_HC.png,0,50", "005_HC.png,-0.1,50", line("006_HC.png"), line("007_HC.png"), "008_HC.png,0.2,",
          line("009_HC.png"), line("nine.png"))
    folder = tmp_path / "training_set"
    (folder / "006_HC_Annotation.png").unlink()
    (folder / "007_HC.png").unlink()
    Image.fromarray(np.full(SHAPE, 255, np.uint8)).save(folder / "009_HC_Annotation.png")
    Image.fromarray(np.ones(SHAPE, np.uint8)).save(folder / "011_HC.png")
    found = {(fault.kind, fault.row) for fault in scan(tmp_path)[1]}
    assert found == {("other-circumference", 3), ("bad-spacing", 5), ("bad-spacing", 6), ("missing-annotation", 7),
                     ("missing-file", 8), ("bad-circumference", 9), ("not-an-outline", 10), ("unknown-name", 11),
                     ("missing-row", None)}
    by_kind = {fault.kind: fault for fault in scan(tmp_path)[1]}
    assert f"{HEAD.circumference * 0.2 * 1.006:.2f} mm" in by_kind["other-circumference"].message
    assert by_kind["missing-row"].severity == "warning" and by_kind["missing-row"].file == "011_HC.png"
    unasked = {fault.kind for fault in scan(tmp_path, labelled=False)[1]}
    assert not unasked & {"other-circumference", "missing-annotation", "not-an-outline"}


def test_a_table_of_another_form_is_not_taken_for_it(tmp_path: Path) -> None:
    plant(tmp_path, line("001_HC.png"), header=HEADER.replace("size(mm)", "size (mm)"))
    assert [fault.kind for fault in scan(tmp_path, layout="hc18")[1]] == ["missing-column"]
    assert scan(tmp_path / TABLE, labelled=False)[0].layout == "table"
    with pytest.raises(UsageError, match="data.label_col has no meaning"):
        scan(tmp_path, layout="hc18", label_col="x")
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match="no table of HC18"):
        scan(tmp_path / "other", layout="hc18")
    assert scan(tmp_path / "training_set", labelled=False)[0].layout == "folder"


@pytest.mark.parametrize("place", ["training_set", "link", "."])
def test_the_folder_of_pictures_is_known_by_the_table_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                                place: str) -> None:
    plant(tmp_path, line("001_HC.png"), line("010_HC.png", pixel=0.1), line("010_2HC.png", factor=1.006))
    (tmp_path / "apart").mkdir()
    (tmp_path / "apart/link").symlink_to(tmp_path / "training_set")
    monkeypatch.chdir({"training_set": tmp_path, "link": tmp_path / "apart", ".": tmp_path / "training_set"}[place])
    manifest, faults = scan(Path(place))
    assert manifest.layout == "hc18" and manifest.root == Path(place)
    assert [(fault.kind, fault.row) for fault in faults] == [("other-circumference", 4)]
    assert [(row.image, row.mask, row.group, row.spacing) for row in manifest.rows] == [
        ("001_HC.png", "001_HC_Annotation.png", "001", (0.2, 0.2)),
        ("010_HC.png", "010_HC_Annotation.png", "010", (0.1, 0.1)),
        ("010_2HC.png", "010_2HC_Annotation.png", "010", (0.2, 0.2))]
    assert all(manifest.path(row).is_file() for row in manifest.rows)


def test_a_table_of_the_other_folder_is_none_of_this(tmp_path: Path) -> None:
    plant(tmp_path, line("001_HC.png"))
    (tmp_path / TABLE).rename(tmp_path / "test_set_pixel_size.csv")
    with pytest.raises(DataError, match="put training_set_pixel_size_and_HC.csv into the folder"):
        scan(tmp_path / "training_set")


@pytest.mark.parametrize("inner", ["training_set", "mine", "."])
def test_pictures_without_their_table_are_predicted_and_not_learned_from(tmp_path: Path, inner: str) -> None:
    """Words on class folders would send the user the wrong way: the table is what is missing."""
    plant(tmp_path, line("001_HC.png"), line("010_2HC.png"))
    (tmp_path / TABLE).unlink()
    folder = tmp_path / inner
    if inner == "mine":
        (tmp_path / "training_set").rename(folder)
    with pytest.raises(DataError) as refused:
        scan(folder)
    assert refused.value.message() == (
        f"{folder}: the folder has no table of HC18 (nothing says how large a pixel is, so no head can be measured in "
        f"millimetres); put {TABLE} into the folder, or beside a folder training_set, or write a table with the "
        "columns image,mask")
    Image.fromarray(np.ones(SHAPE, np.uint8)).save(tmp_path / ("training_set" if inner != "mine" else inner) / "x.png")
    manifest, faults = scan(folder, labelled=False)
    inside = "training_set/" if inner == "." else ""
    assert not faults and [(row.image, row.mask, row.group, row.spacing) for row in manifest.rows] == [
        (f"{inside}001_HC.png", f"{inside}001_HC_Annotation.png", "001", None),
        (f"{inside}010_2HC.png", f"{inside}010_2HC_Annotation.png", "010", None), (f"{inside}x.png", None, None, None)]
    assert any("pixel sizes are not known" in note for note in manifest.notes)


def test_a_written_table_keeps_outline_group_and_spacing(tmp_path: Path) -> None:
    manifest, _ = scan(plant(tmp_path, line("001_HC.png"), line("001_2HC.png")))
    manifest.write_csv(tmp_path / "clean.csv")
    again, _ = scan(tmp_path / "clean.csv", labelled=False)
    assert [(row.image, row.mask, row.group, row.spacing) for row in again.rows] == [
        (row.image, row.mask, row.group, row.spacing) for row in manifest.rows]


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("inside", [".", "training_set"])
def test_the_real_hc18(real_data: Path, inside: str) -> None:
    manifest, faults = scan(real_data / "hc18" / inside)
    assert manifest.layout == "hc18" and not faults
    assert len(manifest.rows) == 420 and all(row.mask for row in manifest.rows)
    groups = Counter(row.group for row in manifest.rows)
    assert len(groups) == 344 and max(groups.values()) == 4
    spacings = [row.spacing[0] for row in manifest.rows if row.spacing]
    assert all(manifest.path(row).is_file() for row in manifest.rows)
    assert len(spacings) == 420 and 0.05 < min(spacings) < max(spacings) < 0.33
