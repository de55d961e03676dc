"""What a set of prepared volumes is named by, how patients are known again, and what a full disk leaves."""

import errno
import os
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from excite.data.volumes import store as store_module
from excite.data.volumes.preprocess import VolumePreprocess
from excite.data.volumes.store import Reading, VolumeStore, content_of, file_hashes, open_patient, prepared
from excite.errors import EnvironmentFault
from made_up_dicom import plant_stack
from small_volumes import small_table

MAPS, PLAIN = ("t1", "adc"), Reading({})
GEOMETRY = VolumePreprocess(maps=MAPS, reference="t1", shape=(4, 16, 16), spacing=(4.0, 2.0, 2.0))


@pytest.fixture
def patients(tmp_path):
    """Files of three patients, the second without ADC."""
    folder = small_table(tmp_path, patients=3, missing=(1,)).parent / "maps"
    return [[folder / f"{number}_t1.nii.gz", None if number == 1 else folder / f"{number}_adc.nii.gz"]
            for number in range(3)]


def test_another_way_of_reading_is_another_set(patients, tmp_path):
    ways = (PLAIN, Reading({}, "unseen"), Reading({"t1": "*T1*"}))
    files = {VolumeStore.build(patients, GEOMETRY, how=how, folder=tmp_path / "cache").file for how in ways}
    assert len(files) == 3


def test_a_map_that_is_missing_is_part_of_the_content(patients):
    one = patients[0][0]
    assert content_of((one, None)) != content_of((None, one)) != content_of((one,))
    assert file_hashes((one, None)) == (content_of((one,)), None)


def test_a_patient_is_known_again_by_any_of_its_files(patients, tmp_path):
    store = VolumeStore.build(patients, GEOMETRY, how=PLAIN)
    shutil.copy(patients[2][1], tmp_path / "another_name.nii.gz")
    fewer = VolumeStore.build([[None, tmp_path / "another_name.nii.gz"]], GEOMETRY, how=PLAIN)
    assert fewer.contents[0] not in store.contents
    assert [bool(fewer.marks(0) & store.marks(row)) for row in range(3)] == [False, False, True]
    assert store.contents[2][:16] in store.marks(2) and len(store.marks(2)) == 3 and len(store.marks(1)) == 2


def test_a_folder_is_known_again_after_its_files_were_renamed(tmp_path):
    first = plant_stack(tmp_path / "a")
    (tmp_path / "b").mkdir()
    for number, file in enumerate(sorted(first.iterdir(), reverse=True)):
        shutil.copy(file, tmp_path / "b" / f"{number}.dcm")
    assert file_hashes((first,)) == file_hashes((tmp_path / "b",))
    next(first.iterdir()).unlink()
    assert file_hashes((first,)) != file_hashes((tmp_path / "b",))


def test_one_map_under_two_names_is_doubted(patients, tmp_path):
    image = nibabel.load(patients[0][0])
    nibabel.save(image, tmp_path / "copy.nii")  # other bytes, the same values
    volumes = open_patient((patients[0][0], tmp_path / "copy.nii"), MAPS, PLAIN)
    assert prepared(volumes, GEOMETRY)[2] == ["t1 and adc are the same map: one file under two names?"]
    assert prepared(open_patient(patients[0], MAPS, PLAIN), GEOMETRY)[2] == []
    store = VolumeStore.build([patients[0], [patients[2][0]] * 2], GEOMETRY, how=PLAIN)
    assert [len(doubts) for doubts in store.doubts] == [0, 1]


def test_a_full_disk_is_an_error_and_leaves_nothing(patients, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(EnvironmentFault, match="the prepared volumes cannot be written .*No space left on device"):
        VolumeStore.build(patients, GEOMETRY, how=PLAIN, folder=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot reserve room")
def test_the_room_is_taken_before_the_first_patient_is_read(patients, tmp_path, monkeypatch):
    sizes, real = [], store_module.read_volume

    def watched(file, **more):
        sizes.extend((one.stat().st_blocks * 512, one.stat().st_size) for one in (tmp_path / "cache").iterdir())
        return real(file, **more)

    monkeypatch.setattr(store_module, "read_volume", watched)
    large = VolumePreprocess(maps=MAPS, reference="t1", shape=(16, 64, 64), spacing=(1.0, 1.0, 1.0))
    VolumeStore.build(patients, large, how=PLAIN, folder=tmp_path / "cache")
    assert sizes and all(taken >= length > 3 * 2 * 16 * 64 * 64 * 4 for taken, length in sizes)


def test_a_page_that_cannot_be_written_leaves_no_draft(patients, tmp_path, monkeypatch):
    real = Path.write_text

    def full(self, text, **more):
        real(self, text[:3], **more)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(EnvironmentFault, match="the prepared volumes cannot be written"):
        VolumeStore.build(patients, GEOMETRY, how=PLAIN, folder=tmp_path / "cache")
    assert not list((tmp_path / "cache").glob(".*"))


def test_drafts_of_processes_that_ended_are_swept_before_a_set_is_written(patients, tmp_path):
    stale = tmp_path / "cache" / ".x.npy.old.1.part"
    stale.parent.mkdir()
    stale.write_bytes(bytes(1000))
    os.utime(stale, (1, 1))
    store = VolumeStore.build(patients, GEOMETRY, how=PLAIN, folder=stale.parent)
    assert not stale.exists() and np.isfinite(store.values[0]).any()
