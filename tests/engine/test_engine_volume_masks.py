"""Batches of patches: the same in every process, image and labels moved alike, labelled voxels often in the middle."""

import numpy as np
import pytest

from excite.data.volumes.augment import VolumeAugment
from excite.data.volumes.levels import Levels
from excite.data.volumes.mask_preprocess import MaskPreprocess
from excite.data.volumes.mask_sections import MaskedVolumesSection
from excite.data.volumes.mask_store import MaskStore
from excite.data.volumes.mask_table import read_mask_table
from excite.data.volumes.store import Reading
from excite.engine.ahead import ahead
from excite.engine.volume_masks import MaskedBatches
from excite.errors import DataError
from small_scans import scan_of, small_scans, write_scan

MOVES = VolumeAugment(turn=(0, 1, 2), rotation=25, scale=0.2, bias=0.0, contrast=0.0, noise=0.0)


def stored(folder, patch=(8, 16, 16), **more):
    table = read_mask_table(MaskedVolumesSection(table=small_scans(folder, scans=5)))
    process = MaskPreprocess(maps=("scan",), spacing=(1.5, 1.0, 1.0), patch=patch, levels=(Levels(kind="volume"),),
                             values=(0, 1, 2), **more)
    return MaskStore.build(table.files, table.masks, process, how=Reading({}), folder=folder / "cache"), process


def batches(found, **more):
    store, process = found
    return MaskedBatches(store, range(5), process, batch_size=2, seed=1, **more)


def test_a_scan_and_its_labels_are_stored_as_they_are(tmp_path):
    store, _ = stored(tmp_path)
    for number in range(5):
        image, labels = scan_of(number)
        np.testing.assert_array_equal(store.scan(number)[0], image[::-1].T)  # the file's first axis runs to the left
        np.testing.assert_array_equal(store.labels(number), labels[::-1].T)
        assert store.entries[number].counts == dict(zip(*map(np.ndarray.tolist, np.unique(labels, return_counts=True)),
                                                        strict=True))
    again, _ = stored(tmp_path)
    assert again.entries == store.entries


def test_files_that_do_not_fit_are_named(tmp_path):
    table = read_mask_table(MaskedVolumesSection(table=small_scans(tmp_path, scans=3)))
    image, labels = scan_of(1)
    write_scan(tmp_path / "masks/s1.nii.gz", labels[:-2])
    write_scan(tmp_path / "masks/s2.nii.gz", np.round(image))
    process = MaskPreprocess(maps=("scan",), spacing=(1.5, 1.0, 1.0), patch=(8, 8, 8))
    with pytest.raises(DataError, match="2 of 3 rows cannot be used: .*16 voxels, its image.*different values"):
        MaskStore.build(table.files, table.masks, process, how=Reading({}), folder=tmp_path / "cache")


def test_epochs_are_the_same_in_every_process_and_begin_anywhere(tmp_path):
    found = stored(tmp_path)
    first, again = (list(batches(found, sampler="shuffle", augment=MOVES).batches(3)) for _ in range(2))
    later = list(batches(found, sampler="shuffle", augment=MOVES).batches(3, start=1))
    assert len(first) == len(again) == 2 and sorted(np.concatenate([one.index for one in first])) == [0, 1, 2, 3, 4]
    for one, other in (*zip(first, again, strict=True), *zip(first[1:], later, strict=True)):
        assert one.images.equal(other.images) and one.labels.equal(other.labels)
    fresh = list(batches(found, sampler="shuffle", augment=MOVES).batches(4))
    assert not first[0].images.equal(fresh[0].images)


def test_labels_move_with_the_image(tmp_path):
    """The image is the labels themselves, so that after any move its bright voxels must be those labelled."""
    _, process = stored(tmp_path)
    for number in range(5):
        write_scan(tmp_path / f"scans/s{number}.nii.gz", scan_of(number)[1].astype(np.float32) * 100 + 1)
    table = read_mask_table(MaskedVolumesSection(table=tmp_path / "scans.csv"))
    store = MaskStore.build(table.files, table.masks, process, how=Reading({}), folder=tmp_path / "cache")
    moved = MaskedBatches(store, range(5), process, batch_size=5, seed=1, sampler="shuffle", augment=MOVES)
    still = MaskedBatches(store, range(5), process, batch_size=5, seed=1)
    (one,), (other,) = moved.batches(0), still.batches(0)
    for batch, least in ((other, 1.0), (one, 0.85)):
        images, labels = batch.images[:, 0].numpy(), batch.labels.numpy()
        inner = images > (images.min() + 3 * images.max()) / 4
        both = (inner & (labels == 2)).sum()
        assert 2 * both / (inner.sum() + (labels == 2).sum()) >= least
    assert not other.labels.equal(one.labels[np.argsort(one.index)])


def test_a_patch_around_a_label_holds_it_and_validation_stands_still(tmp_path):
    found = stored(tmp_path, patch=(4, 4, 4))
    train = batches(found, sampler="shuffle", foreground=1.0)
    held = [train.patch(row, epoch)[1] for row in range(5) for epoch in range(8)]
    assert all(one[2, 2, 2] > 0 or one.any() for one in held) and {1, 2} <= set(np.unique(held))
    anywhere = [batches(found, sampler="shuffle").patch(row, epoch)[1] for row in range(5) for epoch in range(8)]
    assert sum(one.any() for one in anywhere) < len(anywhere)
    one, other = (batches(found).patch(2, epoch) for epoch in (0, 5))
    np.testing.assert_array_equal(one[0], other[0])
    assert one[1].any()


def test_a_fault_while_preparing_ahead_is_raised_where_it_is_waited_for():
    def make(step):
        if step == 3:
            raise DataError("the third")
        return step

    found = ahead(make, range(5))
    assert [next(found) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DataError, match="the third"):
        next(found)
    assert list(ahead(lambda step: step, range(2, 7))) == [2, 3, 4, 5, 6]
