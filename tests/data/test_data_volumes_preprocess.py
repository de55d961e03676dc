"""A patient's maps on one grid, levels from training patients only, prepared once."""

from dataclasses import replace

import nibabel
import numpy as np
import pytest

from excite.data.volumes import store as store_module
from excite.data.volumes.grid import Grid
from excite.data.volumes.preprocess import VolumePreprocess, usual_grid
from excite.data.volumes.store import Reading, VolumeStore, open_patient
from excite.errors import DataError, ModelError
from small_volumes import small_table, write_map

MAPS, PLAIN = ("t1", "adc"), Reading({})


@pytest.fixture
def geometry():
    return VolumePreprocess(maps=MAPS, reference="t1", shape=(4, 16, 16), spacing=(4.0, 2.0, 2.0))


@pytest.fixture
def patients(tmp_path):
    """Files of four patients, the second without ADC."""
    folder = small_table(tmp_path, patients=4, missing=(1,)).parent / "maps"
    return [[folder / f"{number}_t1.nii.gz", None if number == 1 else folder / f"{number}_adc.nii.gz"]
            for number in range(4)]


def test_levels_are_the_training_patients_own_and_missing_maps_are_zero(geometry, patients):
    stored = VolumeStore.build(patients, geometry, how=PLAIN).values
    fitted = geometry.fit([stored[0], stored[1]])
    t1 = np.concatenate([stored[0, 0], stored[1, 0]]).ravel()
    assert fitted.levels[0].mean == pytest.approx(np.clip(t1, *np.percentile(t1, (0.5, 99.5))).mean(), rel=1e-3)
    assert fitted.levels == geometry.fit([stored[1], stored[0]]).levels != geometry.fit(stored).levels
    made = fitted.normalise(stored[1])
    assert made.shape == (2, 4, 16, 16) and not made[1].any() and abs(made[0].mean()) > 0.3
    assert np.isnan(stored[1, 1]).all() and not np.isnan(stored[0, 1]).all()


def test_a_map_elsewhere_is_refused_and_the_reference_may_be_missing(geometry, patients, tmp_path):
    write_map(tmp_path / "far.nii.gz", 2000, seed=1, shift=(500, 0, 0))
    volumes = open_patient([patients[0][0], tmp_path / "far.nii.gz"], MAPS, PLAIN)
    with pytest.raises(DataError, match="the adc shows nothing of where the reference is"):
        geometry.store(volumes)
    alone = geometry.store({"adc": volumes["adc"]})
    assert np.isnan(alone[0]).all() and not np.isnan(alone[1]).all()
    with pytest.raises(DataError, match="the patient has none of the maps"):
        geometry.store({})


def test_the_grid_is_around_the_reference_and_not_the_first_map(geometry, tmp_path):
    write_map(tmp_path / "t1.nii.gz", 1000, seed=1)
    write_map(tmp_path / "adc.nii.gz", 2000, seed=2, shift=(8, 0, 0))
    volumes = open_patient([tmp_path / "t1.nii.gz", tmp_path / "adc.nii.gz"], MAPS, PLAIN)
    for reference in MAPS:
        of_reference = replace(geometry, reference=reference)
        place = MAPS.index(reference)
        alone = of_reference.store({reference: volumes[reference]})
        both = of_reference.store(volumes)
        np.testing.assert_array_equal(both[place], alone[place])
        assert np.isfinite(both[place]).all() and np.isnan(both[1 - place]).any()


def test_a_reference_that_is_smaller_than_a_voxel_says_so(geometry, tmp_path):
    write_map(tmp_path / "dot.nii.gz", 1000, seed=1, shape=(1, 1, 1), spacing=(1.0, 1.0, 1.0))
    volumes = open_patient([tmp_path / "dot.nii.gz", None], MAPS, PLAIN)
    with pytest.raises(DataError, match=r"no voxel of the grid lies in the t1 \(it reaches over 1 x 1 x 1 mm \(D x H x "
                                        r"W\), the voxels of the grid are 4 x 2 x 2 mm apart\)"):
        geometry.store(volumes)


def test_json_gives_the_same_back_and_refuses_others(geometry, patients):
    stored = VolumeStore.build(patients, geometry, how=PLAIN).values
    fitted = geometry.fit(stored)
    tree = fitted.to_json()
    assert VolumePreprocess.from_json(tree) == fitted
    for broken in ({**tree, "levels": tree["levels"][:1]}, {**tree, "shape": [4, 0, 4]}, {"maps": ["t1"]}):
        with pytest.raises(ModelError, match="stored preprocessing of volumes cannot be used"):
            VolumePreprocess.from_json(broken)


def test_the_store_is_made_once_and_anew_for_other_bytes(geometry, patients, monkeypatch, tmp_path):
    read, folder = [], tmp_path / "cache"
    real = store_module.read_volume
    monkeypatch.setattr(store_module, "read_volume", lambda file, **more: read.append(file) or real(file, **more))
    first = VolumeStore.build(patients, geometry, how=PLAIN, folder=folder)
    assert len(read) == 7 and first.present.tolist() == [[True, True], [True, False], [True, True], [True, True]]
    again = VolumeStore.build(patients, geometry, how=PLAIN, folder=folder)
    assert len(read) == 7 and again.file == first.file and again.contents == first.contents
    write_map(patients[2][0], 777, seed=9)
    other = VolumeStore.build(patients, geometry, how=PLAIN, folder=folder)
    assert len(read) == 14 and other.file != first.file and other.contents[2] != first.contents[2]
    assert np.nanmean(other.values[2, 0]) == pytest.approx(777, rel=0.05)


def test_every_unusable_file_is_named_and_nothing_is_kept(geometry, patients):
    for number in (0, 3):
        patients[number][0].write_bytes(b"no volume")
    with pytest.raises(DataError, match=r"2 of 4 rows cannot be used: .*0_t1.nii.gz: t1: .*3_t1.nii.gz: t1: "):
        VolumeStore.build(patients, geometry, how=PLAIN)
    with pytest.raises(DataError, match="2 of 4 rows"):
        VolumeStore.build(patients, geometry, how=PLAIN)


def test_the_usual_grid_covers_the_median_extent():
    def grid(shape, spacing):
        return Grid(shape, np.diag([*spacing, 1.0]))

    grids = [grid((20, 100, 90), (5.0, 1.5, 1.5)), grid((24, 96, 96), (4.0, 1.5, 1.5)),
             grid((22, 96, 90), (5.0, 1.5, 1.5))]
    shape, spacing = usual_grid(grids, shape=None, spacing=None)
    assert (shape, spacing) == ((20, 96, 96), (5.0, 1.5, 1.5))
    assert usual_grid(grids, shape=(10, 48, 48), spacing=None) == ((10, 48, 48), (10.0, 3.0, 2.8125))
    assert usual_grid(grids, shape=None, spacing=(10, 3, 3)) == ((12, 48, 48), (10, 3, 3))
    uneven = usual_grid([grid((20, 96, 96), (5.0, 1.5, 1.0))], shape=None, spacing=None)
    assert uneven == ((20, 96, 64), (5.0, 1.5, 1.5))  # square in the plane
    large, coarse = usual_grid([grid((200, 512, 512), (1.0, 0.5, 0.5))], shape=None, spacing=None)
    assert large == (64, 128, 128) and coarse == (3.125, 2.0, 2.0)


def test_voxels_of_nan_are_faults_unless_they_were_not_seen(geometry, patients, tmp_path):
    image = nibabel.load(patients[0][0])
    values = image.get_fdata()
    values[:3] = np.nan
    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), image.affine), patients[0][0])
    with pytest.raises(DataError, match=r"96 of 256 voxels are NaN.*volumes.gaps=unseen"):
        VolumeStore.build(patients, geometry, how=PLAIN)
    found = VolumeStore.build(patients, geometry, how=Reading({}, "unseen"))
    assert np.isnan(found.values[0, 0]).mean() > 0.3 and "count as not seen" in found.notes[0][0]


def test_a_map_of_nothing_is_doubted_where_a_missing_one_is_not(geometry, patients):
    stored = VolumeStore.build(patients, geometry, how=PLAIN).values
    fitted = geometry.fit(stored)
    blank = np.array(stored[1])
    assert fitted.doubts(blank) == []
    blank[0] = 0
    assert fitted.doubts(blank) == ["t1: all its values are 0: it shows nothing"]


def test_clinical_columns_go_with_the_levels(geometry, patients):
    stored = VolumeStore.build(patients, geometry, how=PLAIN).values
    values = np.array([[40, 60], [50, np.nan], [60, 90]], np.float32)
    fitted = geometry.fit(stored).fit_clinical(("age", "egfr"), values)
    assert fitted.columns == ("age", "egfr") and fitted.stored_key == geometry.stored_key
    np.testing.assert_allclose(fitted.scale(values)[:, 0], [-1.2247449, 0, 1.2247449], rtol=1e-6)
    tree = fitted.to_json()
    assert VolumePreprocess.from_json(tree) == fitted and "clinical" not in geometry.fit(stored).to_json()
    assert fitted.doubts(stored[0], [400, 70])[-1].startswith("age: 400 lies outside what the training patients have")
    with pytest.raises(ModelError, match="clinical columns cannot be used"):
        VolumePreprocess.from_json({**tree, "clinical": [{"name": "age"}]})
    with pytest.raises(ModelError, match="cannot be used"):
        VolumePreprocess.from_json({**tree, "clinical": [3]})
