"""The small head: equal to scikit-learn's own pipeline on the columns as they are, learnt on training rows alone."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from excite.jobs.volumes.nested.head import LEAST, Columns, flags, log_chances, scores

ROWS, MAPS = 60, (20, 50)  # more columns than rows


def made(seed=0):
    draw = np.random.default_rng(seed)
    labels = np.arange(ROWS) % 3
    maps = draw.normal(size=(ROWS, sum(MAPS))) * draw.uniform(0.5, 900, sum(MAPS)) + 40
    maps[:, 0] += 900 * labels
    maps[5, MAPS[0]:] = maps[9, :MAPS[0]] = np.nan  # a map is missing
    others = np.stack([draw.normal(60, 12, ROWS) + 4 * labels, draw.normal(90, 30, ROWS)], axis=1)
    others[[3, 17], 1] = np.nan
    columns = Columns(maps=maps, block=np.repeat([0, 1], MAPS), others=others)
    return columns, labels, np.arange(48), np.arange(48, 60)


@pytest.mark.parametrize("penalty", [0.1, 1.0, 30.0])
def test_all_components_are_the_columns_themselves_to_scikit_learn(penalty):
    columns, labels, train, test = made()
    found = log_chances(scores(columns, train).first(None), labels, train, test, penalty=penalty, classes=3)
    weigh = np.r_[np.repeat(1 / np.sqrt(MAPS), MAPS), 1, 1]
    raw = np.hstack([columns.maps, columns.others])
    steps = make_pipeline(SimpleImputer(), StandardScaler()).fit(raw[train])
    head = LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=20000).fit(steps.transform(raw[train]) * weigh,
                                                                         labels[train])
    expected = head.predict_proba(steps.transform(raw[test]) * weigh)
    assert np.abs(np.exp(found) - expected).max() < 2e-4
    plain = LogisticRegression(C=1 / penalty, max_iter=20000).fit(steps.transform(raw[train]), labels[train])
    assert np.abs(plain.predict_proba(steps.transform(raw[test])) - expected).max() > 0.01  # blocks do matter


def test_some_components_are_those_of_scikit_learn():
    columns, labels, train, test = made(1)
    steps = make_pipeline(SimpleImputer(), StandardScaler()).fit(columns.maps[train])
    weighed = steps.transform(columns.maps) * np.repeat(1 / np.sqrt(MAPS), MAPS)
    expected = PCA(4).fit(weighed[train]).transform(weighed)
    found = scores(columns, train)
    assert np.abs(np.abs(found.maps[:, :4]) - np.abs(expected)).max() < 1e-9  # up to the sign
    assert found.first(4).shape == (ROWS, 4 + 2)


def test_rows_that_are_tested_change_nothing_of_the_scale():
    columns, labels, train, test = made(2)
    before = scores(columns, train)
    for changed in (columns.maps, columns.others):
        changed[test[0]] = 1e6
    after = scores(columns, train)
    assert np.array_equal(before.first(None)[train], after.first(None)[train])
    assert np.array_equal(before.first(None)[test[1:]], after.first(None)[test[1:]])
    both = scores(columns, np.r_[train, test])  # a scale that has seen them is another one
    assert not np.allclose(np.abs(both.maps[train, :3]), np.abs(before.maps[train, :3]))


def test_a_column_that_says_nothing_adds_nothing():
    columns, labels, train, test = made(3)
    still = Columns(maps=np.hstack([columns.maps, np.full((ROWS, 1), 7.0)]), block=np.r_[columns.block, 1],
                    others=columns.others)
    unknown = Columns(maps=columns.maps, block=columns.block,
                      others=np.hstack([columns.others, np.full((ROWS, 1), np.nan)]))
    expected = log_chances(scores(columns, train).first(None), labels, train, test, penalty=1.0, classes=3)
    for other in (still, unknown):
        found = log_chances(scores(other, train).first(None), labels, train, test, penalty=1.0, classes=3)
        assert np.abs(found - expected).max() < 1e-4


def test_clinical_columns_alone_and_classes_that_are_not_trained_on():
    columns, labels, train, test = made(4)
    alone = Columns(maps=np.empty((ROWS, 0)), block=np.empty(0, int), others=columns.others)
    few = train[labels[train] != 1]
    found = log_chances(scores(alone, few).first(None), labels, few, test, penalty=1.0, classes=3)
    assert (found[:, 1] == LEAST).all() and np.allclose(softmax(found, axis=1).sum(1), 1)
    head = LogisticRegression(C=1.0, tol=1e-8).fit(scores(alone, few).others[few], labels[few])
    assert np.allclose(np.exp(found[:, [0, 2]]), head.predict_proba(scores(alone, few).others[test]), atol=1e-4)
    one = train[labels[train] == 2]
    assert log_chances(scores(alone, one).first(None), labels, one, test, penalty=1.0, classes=3).argmax(1).tolist() \
        == [2] * len(test)


def test_flags_tell_what_is_missing_somewhere():
    present, known = np.array([[1, 1], [1, 0], [1, 1]], bool), np.array([[1], [1], [0]], bool)
    assert flags([present, known]).tolist() == [[1, 1], [0, 1], [1, 0]]


def test_without_any_column_there_are_the_shares_of_the_classes():
    labels, train, test = np.arange(ROWS) % 3 // 2, np.arange(45), np.arange(45, 60)
    nothing = Columns(maps=np.ones((ROWS, 2)), block=np.zeros(2, int), others=np.empty((ROWS, 0)))
    found = log_chances(scores(nothing, train).first(None), labels, train, test, penalty=1.0, classes=2)
    assert np.allclose(np.exp(found), [2 / 3, 1 / 3], atol=1e-4)
