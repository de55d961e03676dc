"""Pairs of models: numbers and intervals equal a plain loop, p an enumeration, and no difference is rarely seen."""

import itertools

import numpy as np
import pytest
from scipy.stats import t

from excite.errors import UsageError
from excite.metrics.classification import ClassificationMeasure, measure
from excite.metrics.intervals import wilson
from excite.metrics.mcnemar import mcnemar
from excite.metrics.ordinal import OrdinalMeasure
from excite.metrics.paired import paired, widened
from excite.metrics.side import classifier, means_of
from excite.metrics.tango import tango

CLASSES = ("benign", "malignant", "normal")


def chances(rng: np.random.Generator, truth: np.ndarray, skill: float = 1.0) -> np.ndarray:
    raised = np.exp(rng.normal(size=(len(truth), 3)) + skill * np.eye(3)[truth])
    return raised / raised.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("classes", [CLASSES, (*CLASSES, "never there")])
def test_a_side_has_every_number_of_a_classifier(classes: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 90)
    shares = np.pad(chances(rng, truth), ((0, 0), (0, len(classes) - 3)))
    weights = rng.integers(0, 3, (20, 90)).astype(np.float64)
    weights[:3] = truth == np.arange(3)[:, None]  # draws in which classes are missing
    found = classifier(truth, shares, classes, graded=True).measure()(weights)
    slow = ClassificationMeasure(truth, shares, classes)(weights) | dict(OrdinalMeasure(truth, shares)(weights))
    absent = {name for name in slow if np.isnan(slow[name]).all()}
    assert set(found) >= set(slow) - absent
    for name in found:
        np.testing.assert_allclose(found[name], slow[name], atol=1e-9, err_msg=name)


def test_the_difference_and_its_interval_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(1)
    unit = np.repeat(np.arange(25), 4)
    truth = rng.integers(0, 3, 100)
    one, two = chances(rng, truth), chances(rng, truth, 1.5)
    found = paired(classifier(truth, one, CLASSES), classifier(truth, two, CLASSES), [f"P{place:02}" for place in unit],
                   resamples=300, seed=5)
    drawn = np.random.default_rng(5).integers(25, size=(300, 25))
    for name in ("balanced_accuracy", "auroc_macro", "ap/normal", "nll"):
        values = []
        for units in drawn:
            rows = np.concatenate([np.flatnonzero(unit == place) for place in units])
            first, second = (measure(truth[rows], shares[rows], CLASSES)[name] for shares in (one, two))
            values.append(second - first)
        outside = (1 - widened(25)) / 2
        low, high = np.quantile(values, [outside, 1 - outside])
        seen = measure(truth, two, CLASSES)[name] - measure(truth, one, CLASSES)[name]
        beside = t.interval(0.95, 24, seen, np.std(values) * (25 / 24) ** 0.5)
        ends = min(low, beside[0]), max(high, beside[1])
        assert (found[name].difference.low, found[name].difference.high) == pytest.approx(ends, abs=1e-9), name
        assert found[name].difference.value == pytest.approx(seen)


def test_p_is_the_share_of_all_swaps_that_differ_as_much() -> None:
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 3, 24)
    one, two = chances(rng, truth), chances(rng, truth, 1.6)
    unit = np.repeat(np.arange(8), 3)
    found = paired(classifier(truth, one, CLASSES), classifier(truth, two, CLASSES), list(map(str, unit)),
                   resamples=20_000, seed=0)
    for name in ("balanced_accuracy", "f1_macro", "kappa", "brier"):
        seen = abs(measure(truth, two, CLASSES)[name] - measure(truth, one, CLASSES)[name])
        reached = []
        for swap in itertools.product((False, True), repeat=8):
            swapped = np.array(swap)[unit][:, None]
            first, second = np.where(swapped, two, one), np.where(swapped, one, two)
            change = measure(truth, second, CLASSES)[name] - measure(truth, first, CLASSES)[name]
            reached.append(abs(change) >= seen - 1e-9)
        assert found[name].p == pytest.approx(np.mean(reached), abs=0.012), name
        assert found[name].test == "swaps"


def test_where_every_unit_is_one_image_accuracy_is_tested_by_mcnemar_and_swaps_agree() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 3, 80)
    a, b = (classifier(truth, chances(rng, truth, skill), CLASSES) for skill in (0.8, 1.4))
    found = paired(a, b, [str(place) for place in range(80)], resamples=20_000)
    a_only, b_only, exact = mcnemar(a.right, b.right)
    assert (found["accuracy"].p, found["accuracy"].test) == (exact, "McNemar, exact")
    assert (found["accuracy"].difference.low, found["accuracy"].difference.high) == tango(a_only, b_only, 80)
    assert found["recall_weighted"].p == pytest.approx(exact, abs=0.01), "the same number, tested by swaps"
    assert found["auroc_macro"].test == "DeLong"


def test_means_leave_out_images_without_the_number() -> None:
    first = [{"dice": 0.8}, {"dice": None}, {"dice": 0.6}, {"dice": 0.7}]
    second = [{"dice": 0.9}, {"dice": 0.5}, {"dice": 0.7}, {"dice": None}]
    found = paired(means_of(first), means_of(second), list("abcd"), resamples=200)["dice"]
    assert (found.a.value, found.b.value) == pytest.approx((0.7, 0.7))


def test_an_interval_is_wider_than_percentiles_where_units_are_few() -> None:
    assert widened(10_000) == pytest.approx(0.95, abs=1e-4)
    assert widened(8) > 0.98 > widened(30) > 0.955


def test_sides_of_other_lengths_are_refused() -> None:
    one = means_of([{"dice": 0.8}, {"dice": 0.9}])
    with pytest.raises(UsageError, match="both sides and the units must be one a sample, got 2, 2 and 3"):
        paired(one, one, list("abc"))


@pytest.mark.slow
def test_models_without_a_difference_are_rarely_told_apart_and_patients_count() -> None:
    """300 pairs, 24 patients with 4 images each; tests that take images as independent cry wolf far more often."""
    hits = {name: 0 for name in ("accuracy", "balanced_accuracy", "auroc_macro", "by image")}
    for seed in range(300):
        rng = np.random.default_rng([seed, 3])
        unit = np.repeat(np.arange(24), 4)
        truth = (np.arange(24) % 2)[unit]
        scores = [1.0 * (2 * truth - 1) + rng.normal(0, 1.2, 24)[unit] + rng.normal(0, 0.4, 96) for _ in range(2)]
        shares = [1 / (1 + np.exp(-one)) for one in scores]
        a, b = (classifier(truth, np.stack([1 - one, one], axis=1), ("no", "yes")) for one in shares)
        found = paired(a, b, [str(place) for place in unit], resamples=199, seed=seed)
        for name in ("accuracy", "balanced_accuracy", "auroc_macro"):
            hits[name] += found[name].p < 0.05
        hits["by image"] += mcnemar(a.right, b.right).p < 0.05
    for name in ("accuracy", "balanced_accuracy", "auroc_macro"):
        assert wilson(hits[name], 300)[0] <= 0.05, (name, hits[name])
    assert wilson(hits["by image"], 300)[0] > 0.1, "the planted fault of the test by image is not seen"
