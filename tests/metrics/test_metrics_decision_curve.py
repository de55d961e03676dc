"""Net benefit against counts by hand and a decision's own value; intervals over patients; what is not defined."""

import json

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from excite.errors import DataError, UsageError
from excite.metrics.decision_curve import THRESHOLDS, NetBenefit, decision_curve


def samples(count=200, seed=0, each=2):
    """Return truth, calibrated chances and patients with `each` samples."""
    rng = np.random.default_rng(seed)
    chance = np.repeat(rng.beta(1.2, 2.0, count // each), each)
    return rng.random(count) < chance, np.round(chance, 3), [f"p{row // each}" for row in range(count)]


def by_hand(truth, chance, threshold):
    called = [value >= threshold for value in chance]
    (_, false), (_, hit) = confusion_matrix(truth, called, labels=[False, True])
    return hit / len(truth) - false / len(truth) * threshold / (1 - threshold)


def test_net_benefit_is_the_papers_formula_at_every_threshold():
    truth, chance, units = samples()
    found = decision_curve(truth, chance, units, resamples=20)
    assert found.thresholds == THRESHOLDS == tuple(round(one, 2) for one in np.arange(0.01, 1, 0.01))
    everybody = np.ones(len(truth))
    for threshold, model, treat_all, advantage in zip(found.thresholds, found.model, found.treat_all, found.advantage,
                                                      strict=True):
        assert model.value == pytest.approx(by_hand(truth, chance, threshold), abs=1e-12)
        assert treat_all.value == pytest.approx(by_hand(truth, everybody, threshold), abs=1e-12)
        assert advantage.value == pytest.approx(model.value - max(treat_all.value, 0), abs=1e-12)


def test_a_published_example_by_arithmetic():
    # 1000 patients, 20 % with the disease; at a threshold of 0.1 a test finds 180 of 200 and 300 of the others.
    truth = np.r_[np.ones(200), np.zeros(800)]
    chance = np.r_[np.ones(180), np.zeros(20), np.ones(300), np.zeros(500)]
    found = decision_curve(truth, chance, [str(row) for row in range(1000)], thresholds=(0.1,), resamples=2)
    assert found.model[0].value == pytest.approx(180 / 1000 - 300 / 1000 / 9)
    assert found.treat_all[0].value == pytest.approx(0.2 - 0.8 / 9)


def test_a_chance_that_equals_the_threshold_is_acted_on():
    found = decision_curve([1, 0], [0.5, 0.1], ["a", "b"], thresholds=(0.5,), resamples=2)
    assert found.model[0].value == 0.5


def test_a_perfect_model_has_the_share_of_the_class_and_treating_all_crosses_zero_there():
    truth = np.r_[np.ones(30), np.zeros(70)]
    found = decision_curve(truth, truth, [str(row) for row in range(100)], thresholds=(0.1, 0.3, 0.6), resamples=200)
    assert [one.value for one in found.model] == pytest.approx([0.3] * 3)
    assert found.treat_all[1].value == pytest.approx(0, abs=1e-12) and found.treat_all[2].value < 0
    assert found.useful() == (0.1, 0.3, 0.6)


def test_a_model_that_knows_nothing_is_useful_nowhere():
    truth, _, units = samples(400, each=1)
    found = decision_curve(truth, np.full(400, truth.mean()), units, resamples=100)
    assert found.useful() == () and max(one.value for one in found.advantage) == pytest.approx(0, abs=1e-12)


def test_whole_patients_are_resampled_so_copies_do_not_narrow_the_interval():
    truth, chance, units = samples(60, each=1)
    one = decision_curve(truth, chance, units, thresholds=(0.3,), resamples=500)
    many = decision_curve(np.tile(truth, 5), np.tile(chance, 5), units * 5, thresholds=(0.3,), resamples=500)
    naive = decision_curve(np.tile(truth, 5), np.tile(chance, 5), [str(row) for row in range(300)], thresholds=(0.3,),
                           resamples=500)
    assert many.model[0].low == pytest.approx(one.model[0].low) and many.model[0].high == pytest.approx(
        one.model[0].high)
    assert naive.model[0].high - naive.model[0].low < 0.6 * (one.model[0].high - one.model[0].low)


def test_weights_are_samples_drawn_again():
    truth, chance, _ = samples(50)
    often = np.random.default_rng(1).integers(0, 4, 50)
    found = NetBenefit(truth, chance, (0.2, 0.7))(often[None].astype(float))
    rows = np.repeat(np.arange(50), often)
    for place, threshold in enumerate((0.2, 0.7)):
        assert found[f"model/{place}"][0] == pytest.approx(by_hand(truth[rows], chance[rows], threshold), abs=1e-12)


@pytest.mark.parametrize(("value", "word"), [(1, "every"), (0, "no")])
def test_one_class_alone_is_not_defined(value, word):
    found = decision_curve([value] * 5, [0.1, 0.2, 0.3, 0.4, 0.5], list("abcde"), thresholds=(0.1, 0.2))
    note = f"not defined: {word} sample is of the class"
    assert found.note == note and len(found.model) == 2 and found.useful() == ()
    assert all(one.value is None and one.note == note for one in (*found.model, *found.treat_all, *found.advantage))


def test_it_goes_into_json():
    found = decision_curve(*samples(40), thresholds=(0.25,), resamples=10)
    plain = json.loads(json.dumps(found.to_json()))
    assert plain["thresholds"] == [0.25] and plain["model"][0]["value"] == found.model[0].value


def test_arguments_are_checked():
    for wrong in ((), (0.0, 0.5), (0.5, 1.0), (0.5, 0.4), (0.5, 0.5)):
        with pytest.raises(UsageError, match="thresholds must be increasing, above 0 and below 1"):
            decision_curve([0, 1], [0.1, 0.2], ["a", "b"], thresholds=wrong)
    with pytest.raises(UsageError, match="must be one a sample"):
        decision_curve([0, 1], [0.1, 0.2], ["a"])
    with pytest.raises(DataError, match="a probability must be from 0 to 1"):
        decision_curve([0, 1], [0.1, 1.2], ["a", "b"])
    with pytest.raises(DataError, match="NaN or infinite") as fault:
        decision_curve([0, 1], [0.1, float("nan")], ["a", "b"])
    assert "row 1" in fault.value.message()
    with pytest.raises(DataError, match="the truth must be 0 or 1"):
        decision_curve([0, 2], [0.1, 0.2], ["a", "b"])
    with pytest.raises(DataError, match="there is no sample"):
        decision_curve([], [], [])
