"""Probabilities from outputs: scipy's softmax, averaged over views."""

import json

import numpy as np
import pytest
from scipy.special import softmax as reference

from excite.errors import ModelError
from excite.outcome.decode import decode, softmax
from excite.outcome.prediction import ClassPrediction, FailedPrediction


def test_softmax_equals_scipys_and_does_not_overflow() -> None:
    logits = np.random.default_rng(0).normal(0, 300, (50, 7)).astype(np.float32)
    np.testing.assert_allclose(softmax(logits), reference(logits.astype(np.float64), axis=-1), rtol=1e-12)


def test_the_views_probabilities_are_averaged_at_the_temperature() -> None:
    views = np.random.default_rng(1).normal(0, 3, (2, 9, 4)).astype(np.float32)
    found = decode(views, classes="abcd", temperature=1.7)
    expected = (reference(views[0].astype(float) / 1.7, axis=1) + reference(views[1].astype(float) / 1.7, axis=1)) / 2
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-12)
    averaged = reference(views.mean(axis=0).astype(float) / 1.7, axis=1)  # averaging outputs is something else
    assert np.abs(found - averaged).max() > 0.01


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ModelError, match=r"\(views, images, 3\), got \(1, 2, 4\)"):
        decode(np.ones((1, 2, 4)), classes="abc")
    with pytest.raises(ModelError, match="temperature must be a positive number, got 0"):
        decode(np.ones((1, 2, 3)), classes="abc", temperature=0)


def test_predictions_become_plain_data() -> None:
    one = ClassPrediction(file="a.png", label="x", probabilities={"x": 0.75, "y": 0.25},
                          features=np.array([1, 2], np.float32), notes=("grey",))
    assert json.loads(json.dumps(one.to_json())) == {"file": "a.png", "label": "x", "notes": ["grey"],
                                                     "probabilities": {"x": 0.75, "y": 0.25}, "features": [1.0, 2.0]}
    plain = ClassPrediction(file="a.png", label="x", probabilities={"x": 1.0}).to_json()
    assert set(plain) == {"file", "label", "probabilities"}
    assert FailedPrediction(file="b.png", error="cut").to_json() == {"file": "b.png", "error": "cut"}
