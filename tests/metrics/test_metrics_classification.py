"""Every number equals scikit-learn's, on random and on awkward inputs, weighted and not."""

import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from sklearn import metrics as sk

from excite.errors import DataError, UsageError
from excite.metrics.classification import LEAST, ClassificationMeasure, bins, measure
from excite.metrics.ranking import Ranking, roc

NEAR = {"rel": 1e-10, "abs": 1e-12}


def draw(seed: int, *, n: int = 400, k: int = 4,
         kind: str = "random") -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Truth, probabilities, classes; `kind` says what is awkward about them."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(k, n, p=rng.dirichlet(np.full(k, 3.0)))
    logits = rng.normal(0, 1, (n, k)) + 1.2 * np.eye(k)[truth]
    if kind == "constant":
        logits = np.zeros((n, k))
    elif kind == "wrong":
        logits -= 3 * np.eye(k)[truth]
    elif kind == "never":
        logits[:, 0] -= 50
    elif kind == "absent":
        truth = np.where(truth == 1, 0, truth)
    elif kind == "perfect":
        logits += 40 * np.eye(k)[truth]
    powers = np.exp(logits - logits.max(1, keepdims=True))
    chances = powers / powers.sum(1, keepdims=True)
    if kind == "ties":  # few different scores
        chances = np.round(chances * 4 + 1)
        chances /= chances.sum(1, keepdims=True)
    return truth, chances, tuple(f"c{place}" for place in range(k))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


KINDS = ("random", "ties", "constant", "wrong", "never", "absent", "perfect")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("k", "kind"), [(k, kind) for k in (2, 4) for kind in KINDS if (k, kind) != (2, "absent")])
def test_every_number_equals_scikit_learn(k: int, kind: str, weighted: bool) -> None:
    truth, chances, classes = draw(7 * k, k=k, kind=kind)
    weights = np.random.default_rng(1).integers(1, 5, len(truth)).astype(float) if weighted else np.ones(len(truth))
    found = {name: value[0] for name, value in ClassificationMeasure(truth, chances, classes)(weights[None]).items()}
    predicted, there = chances.argmax(1), np.unique(truth)
    same = {"sample_weight": weights}
    expected = {
        "accuracy": sk.accuracy_score(truth, predicted, **same),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, predicted, **same),
        "kappa": sk.cohen_kappa_score(truth, predicted, **same),
        "nll": sk.log_loss(truth, np.clip(chances, LEAST, None), labels=range(k), **same),
        "brier": sk.brier_score_loss(truth, chances, labels=range(k), scale_by_half=False, **same),
    }
    for average in ("macro", "weighted"):
        three = sk.precision_recall_fscore_support(truth, predicted, labels=there, average=average, zero_division=0,
                                                   **same)
        for name, value in zip(("precision", "recall", "f1"), three, strict=False):
            expected[f"{name}_{average}"] = value
    rest = {place: truth == place for place in there if (truth == place).sum() < len(truth)}
    rocs = {place: sk.roc_auc_score(one, chances[:, place], **same) for place, one in rest.items()}
    aps = {place: sk.average_precision_score(one, chances[:, place], **same) for place, one in rest.items()}
    expected["auroc_macro"], expected["ap_macro"] = np.mean(list(rocs.values())), np.mean(list(aps.values()))
    for place in there:
        expected[f"auroc/c{place}"], expected[f"ap/c{place}"] = rocs[place], aps[place]
        expected[f"recall/c{place}"] = sk.recall_score(truth == place, predicted == place, **same)
        expected[f"f1/c{place}"] = sk.f1_score(truth == place, predicted == place, **same)
        expected[f"specificity/c{place}"] = sk.recall_score(truth != place, predicted != place, **same)
        if (predicted == place).any():
            expected[f"precision/c{place}"] = sk.precision_score(truth == place, predicted == place, **same)
    assert len(expected) >= 11 + 5 * len(there)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, **NEAR), name


def test_macro_auroc_equals_scikit_learns_multi_class_forms() -> None:
    truth, chances, classes = draw(3, k=5)
    ours = measure(truth, chances, classes)
    assert ours["auroc_macro"] == pytest.approx(sk.roc_auc_score(truth, chances, multi_class="ovr"), **NEAR)
    truth, chances, classes = draw(3, k=2)
    chances = np.c_[1 - chances[:, 1], chances[:, 1]]
    ours = measure(truth, chances, classes)
    assert ours["auroc_macro"] == pytest.approx(sk.roc_auc_score(truth, chances[:, 1]), **NEAR)


def test_ece_equals_the_gaps_of_scikit_learns_calibration_curve() -> None:
    from sklearn.calibration import calibration_curve

    truth, chances, classes = draw(5, n=1000)
    confidence, right = chances.max(1), chances.argmax(1) == truth
    accuracy, mean = calibration_curve(right, confidence, n_bins=15, strategy="uniform")
    counts = np.histogram(confidence, np.linspace(0, 1, 16))[0]
    expected = np.sum(counts[counts > 0] * np.abs(accuracy - mean)) / len(truth)
    assert measure(truth, chances, classes)["ece"] == pytest.approx(expected, **NEAR)
    assert expected > 0.01


def test_a_confidence_on_the_edge_of_two_bins_counts_in_the_lower_one() -> None:
    from sklearn.calibration import calibration_curve

    confidence = np.repeat(np.linspace(0, 1, 16)[8:15], 4)
    right = np.random.default_rng(0).random(28) < 0.7
    chances = np.c_[confidence, 1 - confidence]
    accuracy, mean = calibration_curve(right, confidence, n_bins=15, strategy="uniform")
    assert len(mean) == 7 and bins(confidence).tolist() == np.repeat(np.arange(7, 14), 4).tolist()
    assert measure(~right, chances, ("a", "b"))["ece"] == pytest.approx(np.abs(accuracy - mean).mean(), **NEAR)


def test_a_weight_of_three_is_a_sample_three_times_and_zero_is_none() -> None:
    truth, chances, classes = draw(11, n=120, kind="ties")
    often = np.random.default_rng(2).integers(0, 4, 120)
    one = ClassificationMeasure(truth, chances, classes)(often[None].astype(float))
    other = measure(np.repeat(truth, often), np.repeat(chances, often, axis=0), classes)
    for name, value in other.items():
        assert one[name][0] == pytest.approx(value, **NEAR), name


def test_one_class_has_no_auroc_and_no_kappa() -> None:
    found = measure(np.zeros(5, int), np.tile([0.9, 0.1], (5, 1)), ("a", "b"))
    for name in ("auroc_macro", "auroc/a", "auroc/b", "ap_macro", "ap/a", "kappa", "recall/b", "f1/b", "specificity/a"):
        assert found[name] is None, name
    assert found["accuracy"] == found["recall/a"] == found["balanced_accuracy"] == found["specificity/b"] == 1


def test_an_absent_class_is_left_out_and_not_averaged_in_as_zero() -> None:
    truth, chances, classes = draw(4, kind="absent")
    found = measure(truth, chances, classes)
    assert found["recall/c1"] is None and found["auroc/c1"] is None
    kept = [found[f"auroc/c{place}"] for place in (0, 2, 3)]
    assert found["auroc_macro"] == pytest.approx(sum(kept) / 3) and found["auroc_macro"] > 0.6


def test_a_class_that_is_never_predicted_lowers_the_macro_precision() -> None:
    truth, chances, classes = draw(4, kind="never")
    found = measure(truth, chances, classes)
    assert found["precision/c0"] is None and found["recall/c0"] == 0
    assert found["precision_macro"] == pytest.approx(sum(found[f"precision/c{place}"] for place in (1, 2, 3)) / 4)


def test_without_a_class_a_macro_number_of_a_resample_is_not_defined() -> None:
    truth, chances, classes = draw(4, n=50)
    found = ClassificationMeasure(truth, chances, classes)((truth != 2)[None].astype(float))
    undefined = {name for name, value in found.items() if np.isnan(value[0])}
    assert {"balanced_accuracy", "auroc_macro", "f1_macro", "recall/c2", "auroc/c2"} <= undefined
    assert not {"accuracy", "kappa", "ece", "brier", "f1_weighted", "auroc/c1"} & undefined


def test_what_cannot_be_measured_is_refused_with_its_row() -> None:
    truth, chances, classes = draw(1, n=9)
    bad = chances.copy()
    bad[4, 2] = np.nan
    with pytest.raises(DataError, match=r"row 4 \(counted from 0\): a probability is NaN"):
        measure(truth, bad, classes)
    with pytest.raises(DataError, match=r"row 0 .*do not sum to 1.*softmax"):
        measure(truth, np.log(chances), classes)
    wrong = truth.copy()
    wrong[7] = 4
    with pytest.raises(DataError, match="row 7 .*from 0 to 3"):
        measure(wrong, chances, classes)
    with pytest.raises(DataError, match="no image"):
        measure(truth[:0], chances[:0], classes)
    with pytest.raises(UsageError, match="shapes"):
        measure(truth[:5], chances, classes)


def test_the_roc_curve_equals_scikit_learns() -> None:
    for kind in ("random", "ties", "constant", "perfect"):
        truth, chances, _ = draw(2, kind=kind)
        fpr, tpr, _ = sk.roc_curve(truth == 1, chances[:, 1], drop_intermediate=True)
        ours = roc(truth == 1, chances[:, 1])
        assert ours is not None
        np.testing.assert_allclose(ours[0], fpr)
        np.testing.assert_allclose(ours[1], tpr)
        auroc = Ranking(truth == 1, chances[:, 1])(np.ones((1, len(truth))))[0][0]
        assert sk.auc(*ours) == pytest.approx(auroc, **NEAR)
    assert roc(np.ones(3, bool), np.arange(3)) is None


def test_the_confusion_matrix_equals_scikit_learns() -> None:
    truth, chances, classes = draw(9, kind="absent")
    ours = ClassificationMeasure(truth, chances, classes).confusion()
    np.testing.assert_array_equal(ours, sk.confusion_matrix(truth, chances.argmax(1), labels=range(4)))
