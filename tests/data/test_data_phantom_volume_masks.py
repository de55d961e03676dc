"""Simulated label volumes: on the T1's own grid, the tissues that were painted."""

import nibabel
import numpy as np

from excite.data.phantom.kidneys import LABELS
from excite.data.phantom.volumes import simulate_volumes
from excite.data.volumes.label_files import read_labels
from excite.data.volumes.mask_sections import MaskedVolumesSection
from excite.data.volumes.mask_table import read_mask_table
from excite.data.volumes.reading import read_volume


def test_label_volumes_lie_on_the_maps_and_say_which_tissue_is_where(tmp_path):
    simulate_volumes(tmp_path, patients=6, missing=0.9, seed=3, masks=True)
    table = read_mask_table(MaskedVolumesSection(table=tmp_path / "masks.csv"))
    assert table.simulated and 0 < len(table.masks) < 6
    for (file,), mask in zip(table.files, table.masks, strict=True):
        image = read_volume(file)
        labels, _ = read_labels(mask, image=image)
        levels = {name: np.median(image.values[labels == value]) for name, value in LABELS.items()}
        assert levels["cortex"] < levels["medulla"] < levels["pelvis"]
        np.testing.assert_array_equal(nibabel.load(mask).affine, nibabel.load(file).affine)


def test_masks_change_no_other_file(tmp_path):
    for name, masks in (("a", False), ("b", True)):
        simulate_volumes(tmp_path / name, patients=3, seed=1, masks=masks)
    for file in (tmp_path / "a").rglob("*"):
        if file.is_file():
            assert (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes() == file.read_bytes()
    assert not (tmp_path / "a" / "masks.csv").exists()
