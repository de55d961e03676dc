"""The temperature is found where it is known, harms nowhere, and is the one that predictions are made with."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from excite.errors import DataError, UsageError
from excite.metrics.calibration import fit_temperature, reliability
from excite.outcome.decode import decode


def drawn(seed: int, *, n: int = 20000, k: int = 5, temperature: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from their softmax; then the logits are multiplied by the temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, k))
    truth = (softmax(logits, axis=1).cumsum(1) > rng.random((n, 1))).argmax(1)
    return logits * temperature, truth


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_a_known_temperature_is_found(temperature: float) -> None:
    logits, truth = drawn(0, temperature=temperature)
    found = fit_temperature(logits, truth)
    assert found.value == pytest.approx(temperature, rel=0.04)
    assert found.nll_after == pytest.approx(log_loss(truth, softmax(logits / found.value, axis=1)), rel=1e-9)
    assert found.nll_before == pytest.approx(log_loss(truth, softmax(logits, axis=1)), rel=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_the_fit_is_never_worse_and_no_temperature_is_better(seed: int) -> None:
    rng = np.random.default_rng(seed)
    views, truth = rng.normal(0, rng.uniform(0.1, 9), (2, 40, 3)), rng.integers(3, size=40)
    found = fit_temperature(views, truth)
    assert found.nll_after <= found.nll_before
    others = [log_loss(truth, decode(views, classes="abc", temperature=float(one)), labels=range(3))
              for one in np.geomspace(0.06, 19, 200)]
    assert found.nll_after <= min(others) + 1e-6


def test_what_is_calibrated_already_stays_as_it_is() -> None:
    for share in (0.6, 0.7, 0.75, 0.8, 0.9):
        logits = np.tile([np.log(share / (1 - share)), 0.0], (20, 1))
        found = fit_temperature(logits, (np.arange(20) >= round(20 * share)).astype(int))
        assert found.value == pytest.approx(1, abs=1e-3) and found.nll_after <= found.nll_before


def test_it_is_fitted_on_what_the_bundle_will_predict() -> None:
    logits, truth = drawn(3, n=500, temperature=2)
    views = np.stack([logits, logits + np.random.default_rng(1).normal(0, 2, logits.shape)])
    found = fit_temperature(views, truth)
    chances = decode(views, classes="abcde", temperature=found.value)
    assert found.nll_after == pytest.approx(log_loss(truth, chances), rel=1e-9)
    assert found.value != pytest.approx(fit_temperature(logits, truth).value, rel=0.01)


def test_all_right_leaves_nothing_to_fit() -> None:
    found = fit_temperature(np.array([[9.0, 0], [0, 3]]), np.array([0, 1]))
    assert found.value == 1 and found.nll_after == found.nll_before and "stays 1" in str(found.note)


def test_a_network_that_is_surely_wrong_ends_at_the_limit_and_it_is_said() -> None:
    found = fit_temperature(np.array([[9.0, 0], [0, 3], [4, 0]]), np.array([1, 0, 0]))
    assert found.value == pytest.approx(20, rel=0.01) and "limit" in str(found.note)


def test_large_outputs_do_not_overflow() -> None:
    found = fit_temperature(np.array([[9000.0, 0], [0, 3000], [4000, 0]]), np.array([1, 1, 0]))
    assert np.isfinite([found.value, found.nll_before, found.nll_after]).all()
    assert found.nll_before == pytest.approx(3000)


def test_nonsense_is_refused() -> None:
    with pytest.raises(DataError, match="row 1 .*NaN"):
        fit_temperature(np.array([[1.0, 0], [np.nan, 0]]), np.array([1, 0]))
    with pytest.raises(UsageError, match="shapes"):
        fit_temperature(np.ones((3, 2)), np.array([0, 1]))
    with pytest.raises(DataError, match="no image"):
        fit_temperature(np.ones((0, 2)), np.array([], int))


def test_reliability_equals_scikit_learns_curve() -> None:
    logits, truth = drawn(2, n=600)
    chances = softmax(logits, axis=1)
    accuracy, confidence = calibration_curve(chances.argmax(1) == truth, chances.max(1), n_bins=15, strategy="uniform")
    found = reliability(truth, chances)
    np.testing.assert_allclose(found["accuracy"], accuracy)
    np.testing.assert_allclose(found["confidence"], confidence)
    assert sum(found["count"]) == 600
