"""Batches of volumes: each row once, the same in every process, changed in training only, missing maps stay missing."""

import numpy as np
import pytest
import torch

from excite.data.volumes.augment import VolumeAugment
from excite.data.volumes.preprocess import VolumePreprocess
from excite.engine.contracts import inputs_of
from excite.engine.loop import fit
from excite.engine.precision import choose
from excite.engine.sections import LoopSection, OptimSection, ScheduleSection
from excite.engine.volumes import VolumeBatches
from excite.losses.sections import LossSection
from excite.tasks.classification import ClassificationTask


@pytest.fixture
def stored():
    values = np.random.default_rng(0).normal(100, 10, (9, 2, 3, 8, 8)).astype(np.float32)
    values[4, 1] = np.nan
    values[2, 0, 0] = np.nan
    return values


@pytest.fixture
def preprocess(stored):
    return VolumePreprocess(maps=("a", "b"), reference="a", shape=(3, 8, 8), spacing=(4.0, 2.0, 2.0)).fit(stored)


def batches(stored, preprocess, **more):
    return VolumeBatches(stored, [8, 0, 4, 2, 6], [row % 3 for row in range(9)], preprocess,
                         **{"batch_size": 2, "seed": 1} | more)


def test_in_order_it_is_the_stored_volumes_at_their_levels(stored, preprocess):
    found = list(batches(stored, preprocess).batches(3))
    assert [one.index.tolist() for one in found] == [[8, 0], [4, 2], [6]]
    assert torch.cat([one.labels for one in found]).tolist() == [2, 0, 1, 2, 0]
    for one in found:
        for row, image in zip(one.index, one.images, strict=True):
            np.testing.assert_array_equal(image.numpy(), preprocess.normalise(stored[row]))
    assert not found[1].images[0, 1].any() and not found[1].images[1, 0, 0].any()


def test_training_depends_on_seed_and_epoch_alone_and_starts_anywhere(stored, preprocess):
    def made(epoch, *, seed=1, start=0):
        source = batches(stored, preprocess, seed=seed, sampler="shuffle", augment=VolumeAugment())
        return [(one.index.tolist(), one.images.numpy()) for one in source.batches(epoch, start=start)]

    first, again, later = made(0), made(0), made(0, start=1)
    assert sorted(sum((index for index, _ in first), [])) == [0, 2, 4, 6, 8]
    for (index, images), (same, alike) in zip(first[1:], later, strict=True):
        assert index == same and np.array_equal(images, alike)
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(first, again, strict=True))
    others = [made(1), made(0, seed=2)]
    assert all(any(not np.array_equal(a, b) for (_, a), (_, b) in zip(first, other, strict=True)) for other in others)
    [lost] = [images[index.index(4)] for index, images in first if 4 in index]
    assert not lost[1].any() and lost[0].any()  # a missing map stays missing


def test_a_last_batch_of_one_joins_the_one_before_in_training(stored, preprocess):
    source = batches(stored, preprocess, sampler="shuffle")
    assert source.steps == 2 == len(list(source.batches(0)))


def test_leaving_early_ends_the_thread(stored, preprocess):
    source = iter(batches(stored, preprocess).batches(0))
    next(source)
    source.close()
    with pytest.raises(StopIteration):
        next(source)


def test_clinical_values_stand_beside_the_images_of_their_row_in_whatever_order(stored, preprocess):
    values = np.arange(18, dtype=np.float32).reshape(9, 2)
    values[6, 1] = np.nan
    fitted = preprocess.fit_clinical(("age", "egfr"), values)
    for more in ({}, {"sampler": "shuffle", "augment": VolumeAugment()}):
        for one in batches(stored, fitted, clinical=values, **more).batches(1):
            images, beside = inputs_of(one)
            assert images is one.images and beside.dtype == torch.float32
            np.testing.assert_array_equal(beside.numpy(), fitted.scale(values)[one.index])
    assert len(inputs_of(next(batches(stored, preprocess).batches(0)))) == 1


def test_a_step_and_the_choice_of_precision_give_the_network_both(stored, preprocess, tmp_path):
    values = np.random.default_rng(3).normal(50, 9, (9, 1)).astype(np.float32)
    values[4] = np.nan
    fitted = preprocess.fit_clinical(("age",), values)
    seen = []

    class Both(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(2, 3)

        def forward(self, images, clinical):
            seen.append(clinical.clone())
            return self.linear(torch.cat((images.flatten(1).mean(1, keepdim=True), clinical.nan_to_num(0)), 1))

    source = batches(stored, fitted, clinical=values)
    task = ClassificationTask(("a", "b", "c"), LossSection(), [1, 1, 1])
    model = Both()
    choose(model, task, next(source.batches(0)))
    fit(model, task, batches(stored, fitted, clinical=values, sampler="shuffle"), source, optim=OptimSection(),
        schedule=ScheduleSection(), loop=LoopSection(epochs=1, batch_size=2, precision="float32", threads=1,
                                                     monitor="loss"), seed=0, folder=tmp_path, log=lambda _: None)
    told = torch.cat(seen).squeeze(1).numpy()
    expected = fitted.scale(values)[[8, 0, 4, 2, 6], 0]
    assert np.isnan(told).any() and set(np.round(told[~np.isnan(told)], 5)) == set(
        np.round(expected[~np.isnan(expected)], 5))
