"""Pooled features: what the trunk gives, kept once for its makings; simple numbers of maps beside them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bundles import linear_bundle
from excite.errors import DataError, UsageError
from excite.jobs.volumes.nested.map_statistics import NAMES, map_statistics
from excite.jobs.volumes.nested.pooled import Trunk, by_map, pooled, trained_on
from excite.jobs.volumes.prepare import prepare_volumes
from excite.models.classifier import create_model
from small_volumes import small_table, volume_config


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXCITE_CACHE", str(tmp_path_factory.mktemp("cache")))
        table = small_table(tmp_path_factory.mktemp("volumes"), patients=12, missing=(3,))
        return prepare_volumes(volume_config(table))


def test_pooled_features_are_the_networks_own_and_made_once(prepared, tmp_path, monkeypatch):
    trunk = Trunk(network=prepared.model, told="")
    found = pooled(trunk, prepared.store, prepared.preprocess, folder=tmp_path)
    with torch.no_grad():
        expected = prepared.model.eval().forward_features(torch.from_numpy(prepared.inputs(range(12)))).numpy()
    size = np.abs(expected[:, :-2]).max()  # of a random network tiny
    assert size > 0 and np.abs(found - expected)[:, :-2].max() <= 1e-4 * size and isinstance(found, np.memmap)
    monkeypatch.setattr("excite.jobs.volumes.nested.pooled._vectors", None)  # it is not asked again
    assert np.array_equal(pooled(trunk, prepared.store, prepared.preprocess, folder=tmp_path), found)


def test_other_levels_weights_or_networks_are_other_files(prepared, tmp_path):
    other = replace(prepared.preprocess, levels=(replace(prepared.preprocess.levels[0], mean=900.0),
                                                 prepared.preprocess.levels[1]))
    counted = replace(prepared.preprocess, levels=tuple(replace(one, volumes=99) for one in prepared.preprocess.levels))
    trunk = Trunk(network=prepared.model, told="")
    first = pooled(trunk, prepared.store, prepared.preprocess, folder=tmp_path)
    assert not np.array_equal(pooled(trunk, prepared.store, other, folder=tmp_path), first)
    pooled(trunk, prepared.store, counted, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2  # how many volumes levels were learnt from changes no value
    fresh = create_model("resnet18", dims=3, in_channels=2, num_classes=2)
    digests = {trunk.digest, Trunk(network=fresh, told="").digest}
    with torch.no_grad():
        next(fresh.parameters()).flatten()[0] += 1
    assert len(digests | {Trunk(network=fresh, told="").digest}) == 3


def test_features_of_a_missing_map_are_missing(prepared, tmp_path):
    trunk = Trunk(network=prepared.model, told="")
    vectors = pooled(trunk, prepared.store, prepared.preprocess, folder=tmp_path)
    values, block = by_map(trunk, vectors, prepared.store.present)
    half = values.shape[1] // 2
    assert values.shape[1] == vectors.shape[1] - 2 and block.tolist() == [0] * half + [1] * half
    gone = np.isnan(values)
    assert gone[3, half:].all() and gone.sum() == half and np.array_equal(values[0], vectors[0, :-2])
    joined = Trunk(network=create_model("resnet18", dims=3, in_channels=2, num_classes=2), told="")
    values, block = by_map(joined, vectors, prepared.store.present)
    assert not np.isnan(values).any() and not block.any()


def test_a_trunk_that_knows_the_patients_is_refused(prepared):
    known = tuple(one[:16] for one in prepared.store.contents[:5])
    trunk = Trunk(network=prepared.model, told="", trained_on=known)
    with pytest.raises(DataError, match="the trunk was trained on 5 of the 12 rows that are tested here") as fault:
        trunk.refuse_known(prepared.store)
    assert "too good" in fault.value.message()
    Trunk(network=prepared.model, told="", trained_on=("0" * 16,)).refuse_known(prepared.store)


def test_a_trunk_that_knows_one_file_of_a_patient_is_refused(prepared):
    known = tuple(one[:16] for one in (prepared.store.hashes[0][1], prepared.store.hashes[3][0]))
    with pytest.raises(DataError, match="the trunk was trained on 2 of the 12 rows that are tested here"):
        Trunk(network=prepared.model, told="", trained_on=known).refuse_known(prepared.store)


def test_a_weights_file_tells_what_its_bundle_tells(prepared, tmp_path):
    run = tmp_path / "run"
    linear_bundle(run / "bundle", task="volumes", preprocess=prepared.preprocess.to_json(),
                  provenance={"train_hashes": ["aa", "bb"], "data": {"simulated": True}})
    for place in ("bundle/weights.safetensors", "best.safetensors", "checkpoints/best.safetensors"):
        assert trained_on(run / place) == ("aa", "bb"), place
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere/link.safetensors"
    link.symlink_to(run / "bundle/weights.safetensors")
    assert trained_on(link) == ("aa", "bb") and trained_on(tmp_path / "elsewhere/own.safetensors") is None
    linear_bundle(tmp_path / "images", task="classification", provenance={"train_hashes": ["aa"]})
    assert trained_on(tmp_path / "images/weights.safetensors") is None  # hashes of images


def test_a_network_without_pooled_features_is_refused():
    with pytest.raises(UsageError, match="--frozen-features needs a network with forward_features, a Linear has none"):
        Trunk(network=torch.nn.Linear(2, 2), told="")


def test_features_that_are_not_finite_are_an_error(prepared, tmp_path):
    network = create_model("resnet18", dims=3, in_channels=2, num_classes=2)
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    with pytest.raises(DataError, match="features of a patient are not finite"):
        pooled(Trunk(network=network, told=""), prepared.store, prepared.preprocess, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_statistics_of_maps_are_numpys_own(prepared):
    found = map_statistics(prepared.store)
    seen = np.asarray(prepared.store.values[0, 1], np.float64)
    seen = seen[~np.isnan(seen)]
    assert found.shape == (12, 2, 7) and np.isnan(found[3, 1]).all() and np.isfinite(found[3, 0]).all()
    percentiles = {f"p{one}": np.percentile(seen, one) for one in (5, 25, 50, 75, 95)}
    assert dict(zip(NAMES, found[0, 1], strict=True)) == pytest.approx(
        {"mean": seen.mean(), "std": seen.std(), **percentiles})


def test_voxels_that_were_not_fitted_are_left_out(prepared):
    values = np.array(prepared.store.values)
    values[0, 0, :2] = 0
    found = map_statistics(replace(prepared.store, values=values))
    rest = values[0, 0][np.isfinite(values[0, 0]) & (values[0, 0] != 0)]
    assert found[0, 0, 0] == pytest.approx(rest.mean(dtype=np.float64))
    values[0, 0] = 0
    assert np.isnan(map_statistics(replace(prepared.store, values=values))[0, 0]).all()
