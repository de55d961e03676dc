"""Left-out maps: a network that can be computed by hand loses what it needs, and nothing else."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, log_loss

from excite.jobs.volumes.left_out import left_out

CLASSES = ("low", "high")


class Made:
    """Logits from the first map's mean and twice the clinical value; the second map counts for nothing."""

    info = SimpleNamespace(classes=CLASSES)
    preprocess = SimpleNamespace(maps=("t1", "adc"), columns=("age",))

    def logits(self, images, clinical=None):
        score = images[:, 0].mean(axis=(1, 2, 3)) + 2 * np.nan_to_num(clinical[:, 0])
        return np.stack([-score, score], axis=1).astype(np.float32)


@pytest.fixture
def made():
    random = np.random.default_rng(4)
    truth = np.arange(40) % 2
    images = random.normal(0, 1, (40, 2, 2, 3, 3)).astype(np.float32) + 0.4 * (2 * truth - 1)[:, None, None, None, None]
    clinical = (random.normal(0, 0.3, (40, 1)) + 0.2 * (2 * truth - 1)[:, None]).astype(np.float32)
    images[3, 1] = 0
    images[5, 0] = 0
    clinical[7:10] = np.nan
    return images.astype(np.float32), clinical, truth


def found(images, clinical, truth, **more):
    whole = Made().logits(images, clinical)
    parts = [slice(start, start + 7) for start in range(0, 40, 7)]
    batches = [SimpleNamespace(images=torch.from_numpy(images[part]), beside=(torch.from_numpy(clinical[part]),))
               for part in parts]
    units = [f"P{row // 2}" for row in range(40)]
    return left_out(Made(), batches, whole, truth, units, temperature=1.5, **more)


def test_each_loss_is_the_difference_of_the_metrics_over_rows_that_have_it(made):
    images, clinical, truth = made
    t1, adc, age = found(images, clinical, truth)
    assert [(one.name, one.kind, one.n) for one in (t1, adc, age)] == [
        ("t1", "map", 38), ("adc", "map", 38), ("age", "clinical", 37)]
    rows = [row for row in range(40) if row not in (3, 5)]
    gone = images[rows].copy()
    gone[:, 0] = 0

    def shares(some, values):
        logits = Made().logits(some, values).astype(np.float64) / 1.5
        return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    full, less = shares(images[rows], clinical[rows]), shares(gone, clinical[rows])
    assert t1.loss["nll"].value == pytest.approx(log_loss(truth[rows], less) - log_loss(truth[rows], full), abs=1e-6)
    assert t1.loss["balanced_accuracy"].value == pytest.approx(
        balanced_accuracy_score(truth[rows], full.argmax(1)) - balanced_accuracy_score(truth[rows], less.argmax(1)))
    assert t1.n_units == 20 and t1.loss["nll"].low < t1.loss["nll"].value < t1.loss["nll"].high
    assert t1.loss["nll"].low > 0 and age.loss["nll"].value > 0


def test_a_map_that_counts_for_nothing_loses_exactly_nothing(made):
    _, adc, _ = found(*made)
    assert all((one.value, one.low, one.high) == (0, 0, 0) for one in adc.loss.values())
    tree = adc.to_json()
    assert tree["loss"]["nll"]["value"] == 0 and tree["kind"] == "map"


def test_what_no_row_has_is_left_out(made):
    images, clinical, truth = made
    images[:, 1] = 0
    assert [one.name for one in found(images, clinical, truth)] == ["age"]  # each patient's only map stays
