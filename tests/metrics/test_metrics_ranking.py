"""Ranking under many weightings equals scikit-learn under each, ties, empty sides and blocks of every length."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from excite.metrics.ranking import NARROW, STRIDE, Ranking


@pytest.mark.parametrize("digits", [1, 8])
@pytest.mark.parametrize("count", [3, STRIDE - 1, STRIDE, STRIDE + 1, 400])
def test_it_is_scikit_learn_under_each_weighting(count: int, digits: int) -> None:
    rng = np.random.default_rng(count)
    positive, score = np.r_[True, False, rng.random(count - 2) < 0.4], np.round(rng.random(count), digits)
    weights = rng.integers(0, 3, (60, count)).astype(np.float64)
    auroc, precision = Ranking(positive, score)(weights)
    for row, first, second in zip(weights, auroc, precision, strict=True):
        if not row[positive].sum() or not row[~positive].sum():
            assert np.isnan([first, second]).all()
            continue
        assert first == pytest.approx(roc_auc_score(positive, score, sample_weight=row), abs=1e-12)
        assert second == pytest.approx(average_precision_score(positive, score, sample_weight=row), abs=1e-12)


def test_weightings_do_not_depend_on_how_many_come_at_a_time() -> None:
    rng = np.random.default_rng(0)
    ranking = Ranking(rng.random(9000) < 0.4, np.round(rng.random(9000), 3))
    weights = rng.integers(0, 3, (NARROW + 3, 9000)).astype(np.float64)
    whole = np.array(ranking(weights))
    np.testing.assert_allclose(whole, np.concatenate([ranking(row[None]) for row in weights], axis=1), atol=1e-12)


def test_one_side_alone_has_no_number() -> None:
    for positive in (np.zeros(5, bool), np.ones(5, bool)):
        assert np.isnan(Ranking(positive, np.arange(5.0))(np.ones((2, 5)))).all()
    positive = np.array([True, True, False, False])
    assert np.isnan(np.array(Ranking(positive, np.arange(4.0))(np.stack([positive, ~positive]) * 1.0))).all()
