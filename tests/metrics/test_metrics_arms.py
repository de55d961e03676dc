"""Arms compared: variances against textbook formulas, errors by simulation, and differences that were planted."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import nct, norm, t, ttest_ind

from excite.errors import UsageError
from excite.metrics.arms import Comparison, Drawn, compare_arms, drawn, from_first, pair


def simulated(rng: np.random.Generator, *, arms: int = 3, seeds: int = 3, units: int = 150, better: float = 0.0,
              restless: float = 0.15, resamples: int = 200) -> Drawn:
    """Return accuracies of trainings that share how hard each unit is; the last arm is better in its logits."""
    shift = np.zeros(arms)
    shift[-1] = better
    logits = (0.8 + rng.normal(size=units) + rng.normal(size=(arms, 1, units)) * 0.2 + shift[:, None, None]
              + rng.normal(size=(arms, seeds, 1)) * restless + rng.normal(size=(arms, seeds, units)) * 0.5)
    right = (logits > 0).astype(float)
    weights = rng.multinomial(units, np.full(units, 1 / units), size=resamples) / units
    return Drawn(values=right.mean(axis=2), draws=np.einsum("asn,rn->asr", right, weights), units=units)


def repeated(times: int, **settings: float) -> list[Comparison]:
    rng = np.random.default_rng(1)
    return [compare_arms(simulated(rng, **settings)) for _ in range(times)]  # type: ignore[arg-type]


@pytest.mark.parametrize(("values", "alike"), [
    ([[0.70, 0.72, 0.75, 0.71], [0.78, 0.80, 0.77, 0.82]], True),
    ([[0.70, 0.72, 0.75, 0.71], [0.5, 0.95, 0.7, 0.9]], False)])  # the second is restless: Welch's test
def test_with_units_that_say_nothing_it_is_the_t_test_of_two_groups_of_seeds(values: list[list[float]], alike: bool
                                                                             ) -> None:
    table = np.array(values)
    found = Drawn(values=table, draws=np.repeat(table[..., None], 200, axis=2), units=10_000)
    theirs = ttest_ind(table[1], table[0], equal_var=alike)
    ours = pair(found, 0, 1)
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-6)
    low, high = theirs.confidence_interval()
    assert (ours.low, ours.high) == pytest.approx((low, high), rel=1e-6)
    assert ours.value == pytest.approx(table[1].mean() - table[0].mean())
    assert compare_arms(found).restless == ([] if alike else [1])


def test_with_one_seed_it_is_the_bootstrap_over_units_alone() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(2, 1, 400)) + [[[0.0]], [[0.3]]]
    units = [str(place) for place in range(400)]
    measures = [[lambda weights, row=row: {"mean": weights @ row[0] / weights.sum(axis=1)}] for row in scores]
    found = drawn(measures, units, ["mean"], resamples=4000)["mean"]
    one = pair(found, 0, 1)
    apart = scores[1, 0] - scores[0, 0]
    assert one.value == pytest.approx(apart.mean())
    error = apart.std(ddof=1) / np.sqrt(400)
    assert one.high is not None and one.high - one.value == pytest.approx(1.966 * error, rel=0.04)
    assert compare_arms(found).seed_deviation is None


def test_what_trainings_differ_by_on_the_units_is_not_counted_twice() -> None:
    # Seeds differ by nothing but which units they err on: the variance is that of a mean of seeds times units.
    rng = np.random.default_rng(3)
    ends = []
    for _ in range(40):
        found = simulated(rng, arms=4, restless=0.0, units=400)
        one = pair(found, 0, 1)
        assert one.high is not None
        ends.append((one.value, one.high - one.value))
    seen, told = np.std([value for value, _ in ends]), np.median([half for _, half in ends])
    assert 1.6 * seen < told < 3.4 * seen


@pytest.mark.slow
def test_intervals_hold_the_truth_and_nothing_is_found_where_nothing_is() -> None:
    found = repeated(300)
    covered = np.mean([one.low <= 0 <= one.high for each in found for one in each.differences[1:]])  # type: ignore
    wrong = np.mean([any(one is not None and one.shown for one in each.differences) for each in found])
    assert covered >= 0.93
    assert wrong <= 0.075  # 5 %, and two standard deviations of 300 studies
    truth = norm.cdf(0.8 / np.sqrt(1 + 0.04 + 0.15**2 + 0.25))
    assert np.mean([arm.low <= truth <= arm.high for each in found for arm in each.arms]) >= 0.92  # type: ignore


@pytest.mark.slow
def test_what_is_told_to_be_missed_is_missed_in_one_of_five() -> None:
    # A study that happens to find its seeds alike tells less, another more; on average of squares, as of variances:
    each_told = [each.differences[1].missed for each in repeated(100, arms=2, units=300)]  # type: ignore[union-attr]
    told = float(np.sqrt(np.mean(np.square(each_told))))  # type: ignore[arg-type]
    shown = []
    for place in range(300):
        found = simulated(np.random.default_rng(place), arms=2, units=300)
        moved = np.array([0.0, told])[:, None]
        shown.append(compare_arms(replace(found, values=found.values + moved, draws=found.draws + moved[..., None])
                                  ).differences[1].shown)  # type: ignore[union-attr]
    assert 0.72 < np.mean(shown) < 0.9


@pytest.mark.slow
def test_ten_arms_with_two_seeds_have_intervals_that_are_of_use() -> None:
    found = repeated(40, arms=10, seeds=2, units=250, restless=0.1)
    halves = [(one.high - one.low) / 2 for each in found for one in each.differences[1:]]  # type: ignore
    spread = np.std([one.value for each in found for one in each.differences[1:]])  # type: ignore[union-attr]
    assert np.median(halves) < 3 * spread and np.quantile(halves, 0.95) < 5 * spread
    covered = np.mean([one.low <= 0 <= one.high for each in found for one in each.differences[1:]])  # type: ignore
    assert covered >= 0.93


@pytest.mark.slow
def test_units_alone_would_find_differences_that_are_chance() -> None:
    rng = np.random.default_rng(2)
    wrong = [0, 0]
    for _ in range(150):
        found = simulated(rng, arms=2, seeds=3, units=600, restless=0.4)
        first = Drawn(values=found.values[:, :1], draws=found.draws[:, :1], units=found.units)
        for place, one in enumerate((found, first)):
            wrong[place] += bool(compare_arms(one).differences[1].shown)  # type: ignore[union-attr]
    assert wrong[0] / 150 <= 0.1 < 0.4 < wrong[1] / 150


@pytest.mark.slow
def test_a_planted_difference_is_found_and_ranked_first() -> None:
    found = repeated(40, better=1.2, units=300)
    assert np.mean([each.differences[-1].shown for each in found]) > 0.8  # type: ignore[union-attr]
    assert np.mean([each.best[-1] for each in found]) > 0.95
    assert all(each.ranks[-1][0] == 1 for each in found)
    nothing = repeated(40)
    assert 0.2 < np.mean([each.best[-1] for each in nothing]) < 0.5  # about one of three


def half_of(found: Drawn) -> float:
    one = pair(found, 0, 1)
    assert one.high is not None
    return one.high - one.value


def test_the_variance_over_few_units_is_not_the_bootstraps_which_is_too_small() -> None:
    draws = np.random.default_rng(0).normal(size=(2, 1, 300))
    found = Drawn(values=np.zeros((2, 1)), draws=draws, units=5)
    assert half_of(found) == pytest.approx(t.ppf(0.975, 4) * np.sqrt((draws[1, 0] - draws[0, 0]).var() * 5 / 4))


def test_trainings_that_come_out_alike_have_the_chance_of_the_units_at_least() -> None:
    draws = np.random.default_rng(1).normal(size=(2, 3, 300))  # apart in the resamples, and by luck alike as they are
    found = Drawn(values=np.array([[0.0] * 3, [1.0] * 3]), draws=draws, units=100)
    whole = (draws[1] - draws[0]).mean(axis=0).var() * 100 / 99
    assert half_of(found) >= t.ppf(0.975, 99) * np.sqrt(whole) * 0.999


def test_degrees_of_freedom_count_the_units_beside_the_seeds() -> None:
    shared = np.random.default_rng(2).normal(size=(2, 1, 400))
    values = np.array([[0.0, 0.1, 0.2], [1.0, 1.1, 1.2]])
    found = Drawn(values=values, draws=np.repeat(shared, 3, axis=1), units=4)
    common, training = (shared[1, 0] - shared[0, 0]).var() * 4 / 3, 2 * 0.01 / 3
    freedom = (common + training) ** 2 / (common**2 / 3 + training**2 / 4)  # Satterthwaite
    assert half_of(found) == pytest.approx(t.ppf(0.975, freedom) * np.sqrt(common + training))


def test_what_is_missed_counts_all_tests() -> None:
    draws = np.random.default_rng(3).normal(size=(4, 1, 300))
    one = from_first(Drawn(values=np.zeros((4, 1)), draws=draws, units=30))[1]
    assert one is not None and one.missed is not None and one.high is not None
    error = one.high / t.ppf(0.975, 29)
    assert nct.sf(t.ppf(1 - 0.05 / 2 / 3, 29), 29, one.missed / error) == pytest.approx(0.8, abs=1e-4)


def test_the_ranking_does_not_count_the_units_of_a_training_twice() -> None:
    draws = np.random.default_rng(4).normal(size=(2, 2, 4000))
    deviation = np.sqrt(draws.var() / 2)  # seeds as far apart as the units make them: nothing is left for their luck
    values = np.array([[-deviation, deviation], [-deviation, deviation]]) + [[0.0], [1.0]]
    means = draws.mean(axis=1)
    theirs = (1 + (means[1] - means[1].mean()) > means[0] - means[0].mean()).mean()
    assert compare_arms(Drawn(values=values, draws=draws, units=1000)).best[1] == pytest.approx(theirs, abs=0.02)


def test_less_is_better_turns_the_ranking_and_not_the_difference() -> None:
    found = simulated(np.random.default_rng(5), better=1.2, units=300)
    more, less = compare_arms(found), compare_arms(found, better=-1)
    assert more.best[-1] > 0.95 and less.best[-1] < 0.01 and less.ranks[-1] == (3, 3)
    assert more.differences[-1] == less.differences[-1]


def test_arms_that_are_equal_share_the_first_rank() -> None:
    values = np.full((2, 2), 0.5)
    found = compare_arms(Drawn(values=values, draws=np.full((2, 2, 100), 0.5), units=50))
    assert found.best == [1.0, 1.0] and found.ranks == [(1, 1), (1, 1)]
    assert found.differences[1] is not None and found.differences[1].p == 1.0 and not found.differences[1].shown


def test_an_interval_of_a_share_ends_where_shares_do() -> None:
    values = np.array([[0.5, 0.9], [0.9, 0.5]])
    found = Drawn(values=values, draws=np.repeat(values[..., None], 100, axis=2), units=100)
    assert compare_arms(found, share=True).arms[0].high == 1.0
    high = compare_arms(found).arms[0].high
    assert high is not None and high > 1


def test_what_is_not_defined_is_said() -> None:
    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"kappa": np.full(len(weights), np.nan)}

    with pytest.raises(UsageError, match="kappa is not defined for every training, or in too few resamples; another"):
        drawn([[measure], [measure]], ["a", "b"], ["kappa"])
    with pytest.raises(UsageError, match="better must be 1 or -1, got 0"):
        compare_arms(simulated(np.random.default_rng(0)), better=0)
