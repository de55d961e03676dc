"""Tables of scans with masks, and the folder of the Decathlon."""

import json

import pytest

from excite.data.volumes.mask_check import check_masks
from excite.data.volumes.mask_sections import MaskedVolumesSection
from excite.data.volumes.mask_table import is_mask_table, read_mask_table
from excite.data.volumes.volume_table import is_volume_table
from excite.errors import DataError, UsageError
from small_scans import AFFINE, scan_of, small_scans, write_scan, write_table


def section(table, **more):
    return MaskedVolumesSection(table=table, **more)


def decathlon(folder, *, labels=None, pairs=2):
    for number in range(pairs):
        image, mask = scan_of(number)
        write_scan(folder / f"imagesTr/a{number}.nii.gz", image)
        write_scan(folder / f"labelsTr/a{number}.nii.gz", mask)
    tree = {"labels": labels or {"0": "background", "1": "outer", "2": "inner"}, "training": [
        {"image": f"./imagesTr/a{number}.nii.gz", "label": f"./labelsTr/a{number}.nii.gz"} for number in range(pairs)]}
    (folder / "dataset.json").write_text(json.dumps(tree), encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", ["mask", "Mask", "segmentation", "label"])
def test_the_column_of_masks_is_found_by_name_and_files(tmp_path, name):
    table = write_table(tmp_path / "t.csv", [{"t1": "a.nii.gz", name: "b.nii.gz", "note": "x"}])
    for file in ("a.nii.gz", "b.nii.gz"):
        (tmp_path / file).touch()
    assert is_mask_table(table)
    found = read_mask_table(section(table))
    assert found.maps == ("t1",) and found.files == ((tmp_path / "a.nii.gz",),)
    assert found.masks == (tmp_path / "b.nii.gz",) and found.manifest.rows[0].label is None


def test_a_table_of_grades_is_not_one_of_masks(tmp_path):
    table = write_table(tmp_path / "t.csv", [{"t1": "a.nii.gz", "label": "mild"}])
    assert is_volume_table(table) and not is_mask_table(table) and not is_mask_table(tmp_path)
    (tmp_path / "a.nii.gz").touch()
    with pytest.raises(DataError, match="no column of the table holds label volumes"):
        read_mask_table(section(table))


def test_a_column_of_grades_beside_masks_is_told_and_not_looked_at(tmp_path):
    table = small_scans(tmp_path, scans=2)
    rows = [{"patient": f"P{n}", "grade": "mild", "scan": f"scans/s{n}.nii.gz", "mask": f"masks/s{n}.nii.gz"}
            for n in range(2)]
    found = read_mask_table(section(write_table(table, rows)))
    assert "label is column 'grade', which is not looked at (task: volumes makes a classifier)" in \
        found.manifest.notes and [row.patient for row in found.manifest.rows] == ["P0", "P1"]


def test_a_row_without_a_mask_is_an_error(tmp_path):
    table = small_scans(tmp_path, scans=2)
    write_table(table, [{"scan": f"scans/s{n}.nii.gz", "mask": "masks/s0.nii.gz" if n == 0 else ""} for n in range(2)])
    with pytest.raises(DataError, match="line 3: it has no mask"):
        read_mask_table(section(table))
    with pytest.raises(UsageError, match="no column 'masks'"):
        read_mask_table(section(table, mask_col="masks"))


def test_the_decathlons_folder_says_pairs_and_names(tmp_path):
    assert is_mask_table(decathlon(tmp_path))
    found = read_mask_table(section(tmp_path))
    assert found.names == {0: "background", 1: "outer", 2: "inner"} and found.maps == ("image",)
    assert [file.name for file in found.masks] == ["a0.nii.gz", "a1.nii.gz"] and found.masks[0].is_file()
    (tmp_path / "labelsTr/a1.nii.gz").unlink()
    with pytest.raises(DataError, match="1 files of dataset.json do not exist: ./labelsTr/a1.nii.gz"):
        read_mask_table(section(tmp_path))
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(DataError, match="no dataset.json of the Decathlon that can be read"):
        read_mask_table(section(tmp_path))


def test_check_tells_all_that_is_wrong(tmp_path):
    table = small_scans(tmp_path, scans=6)
    image, labels = scan_of(0)
    write_scan(tmp_path / "masks/s1.nii.gz", labels * 0)
    write_scan(tmp_path / "masks/s2.nii.gz", labels, affine=AFFINE + [[0, 0, 0, 5], *[[0] * 4] * 3])
    write_scan(tmp_path / "masks/s3.nii.gz", labels + 5)
    write_scan(tmp_path / "scans/s4.nii.gz", image)
    far = AFFINE * [[1], [1], [3], [1]]
    write_scan(tmp_path / "scans/s5.nii.gz", scan_of(5)[0], affine=far)
    write_scan(tmp_path / "masks/s5.nii.gz", scan_of(5)[1], affine=far)
    found = check_masks(section(table, classes=("background", "outer", "inner")))
    kinds = {(fault.row, fault.kind, fault.severity) for fault in found.faults}
    assert kinds == {(3, "empty-mask", "warning"), (4, "unusable-scan", "error"), (5, "unknown-label", "error"),
                     (6, "same-scan", "warning"), (7, "other-spacing", "warning")}
    assert found.counts["labels"]["2 inner"] == 3 and found.counts["patients"] == 6


@pytest.mark.real
def test_the_hippocampus_has_no_faults(real_data):
    found = check_masks(section(real_data / "hippocampus"))
    assert not found.faults and found.counts["rows"] == 200
    assert found.counts["labels"] == {"0 background": 200, "1 Anterior": 200, "2 Posterior": 200}
