"""The inner loop: it chooses what a search by hand would, on training rows alone."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from excite.jobs.volumes.nested.choice import candidates, choose
from excite.jobs.volumes.nested.head import Columns, scores
from excite.jobs.volumes.nested.sections import NestedSection

SECTION = NestedSection(penalties=(0.1, 1.0, 10.0), components=(2, None))


def made(rows=50, width=12):
    draw = np.random.default_rng(5)
    labels = np.arange(rows) % 2
    maps = draw.normal(size=(rows, width))
    maps[:, :3] += labels[:, None]
    columns = Columns(maps=maps, block=np.zeros(width, int), others=np.empty((rows, 0)))
    inner = np.r_[np.arange(40) // 2 % 4 + 1, np.zeros(10, int)]
    return columns, labels, inner


def test_the_choice_is_that_of_a_search_by_hand():
    columns, labels, inner = made()
    found = choose(columns, labels, inner, section=SECTION, classes=2)
    losses = {}
    for components in (2, None):
        for penalty in SECTION.penalties:
            chances = np.zeros(50)
            for fold in (1, 2, 3, 4):
                train, test = (inner > 0) & (inner != fold), inner == fold
                values = scores(columns, np.flatnonzero(train)).first(components)
                head = LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=9999).fit(values[train], labels[train])
                chances[test] = head.predict_proba(values[test])[:, 1]
            losses[components, penalty] = log_loss(labels[:40], chances[:40])
    assert {key: pytest.approx(loss, abs=1e-4) for key, loss in losses.items()} == found.losses
    assert (found.components, found.penalty) == min(losses, key=losses.get)
    assert found.loss == min(found.losses.values()) and found.fits == 24 and found.milliseconds > 0
    assert found.temperature.n == 40 and found.temperature.nll_before == pytest.approx(found.loss)


def test_tested_rows_choose_nothing():
    columns, labels, inner = made()
    before = choose(columns, labels, inner, section=SECTION, classes=2)
    columns.maps[40:] = 1e5
    labels = np.r_[labels[:40], 1 - labels[40:]]
    after = choose(columns, labels, inner, section=SECTION, classes=2)
    assert before.losses == after.losses and before.temperature == after.temperature
    columns.maps[0] = 1e5  # a training row does
    assert choose(columns, labels, inner, section=SECTION, classes=2).losses != before.losses


def test_of_equal_heads_the_simplest_is_chosen():
    columns, labels, inner = made()
    nothing = Columns(maps=np.ones_like(columns.maps), block=columns.block, others=columns.others)
    found = choose(nothing, labels, inner, section=SECTION, classes=2)
    assert (found.components, found.penalty) == (2, 10.0)


def test_as_many_components_as_columns_are_all_of_them():
    columns, _, _ = made(width=4)
    assert candidates(columns, NestedSection(penalties=(1.0,), components=(2, 20))) == [(2, 1.0), (None, 1.0)]
    assert candidates(columns, NestedSection(penalties=(1.0, 2.0), components=(2,))) == [(2, 2.0), (2, 1.0)]
