"""What a study says in words: what is shown, what is not, what to take, what to beware of."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from excite.jobs.study.advice import advice, amount, cautions, choice
from excite.jobs.study.files import markdown
from excite.jobs.study.results import ArmResult, Results
from excite.metrics.arms import Drawn, compare_arms

COST: Any = SimpleNamespace(parameters=1_234_567, macs=45_600_000)


def results(values: dict[str, tuple[list[float], float]], *, metric: str = "balanced_accuracy", better: int = 1,
            units: int = 400, spread: float = 0.004, **more: Any) -> Results:
    """Return the results of arms with these numbers a seed and these milliseconds, and little chance in the units."""
    table = np.array([numbers for numbers, _ in values.values()])
    noise = np.random.default_rng(0).normal(size=(*table.shape, 400)) * spread
    found = Drawn(values=table, draws=table[..., None] + noise, units=units)
    comparison = compare_arms(found, better=better)
    arms = [ArmResult(name=name, value=comparison.arms[place], difference=comparison.differences[place],
                      best=comparison.best[place], ranks=comparison.ranks[place], seeds=comparison.seeds[place],
                      beside={"accuracy": 0.5}, cost=COST, milliseconds=milliseconds, train_seconds=1.0)
            for place, (name, (_, milliseconds)) in enumerate(values.items())]
    return Results(metric=metric, better=better, arms=arms, drawn=found, comparison=comparison,
                   seeds=tuple(range(table.shape[1])), images=500, units=units, unit_kind="patient",
                   machine="a machine", **more)


def taken(found: Results) -> str | None:
    chosen = choice(found)
    return chosen.name if chosen else None


ALIKE = {"none": ([0.80, 0.82, 0.81], 8.1), "se": ([0.81, 0.79, 0.83], 8.9), "eca": ([0.82, 0.80, 0.81], 8.2)}
BETTER = {"none": ([0.80, 0.81, 0.80], 8.1), "se": ([0.81, 0.80, 0.80], 8.9), "cbam": ([0.88, 0.89, 0.88], 10.2)}


def test_no_difference_is_said_with_what_could_not_have_been_seen_and_the_fastest_is_taken() -> None:
    first, second = advice(results(ALIKE))
    assert first.startswith("No difference of balanced accuracy can be shown between none, se and eca (differences "
                            "under about ")
    assert first.endswith(" points could not have been seen).")
    assert second == "Take none: it is the fastest of them (8.1 ms)."


def test_a_better_arm_is_said_with_its_interval_and_its_price() -> None:
    found = results(BETTER)
    first, second, third = advice(found)
    one = found.arms[2].difference
    assert one is not None and one.low is not None and one.high is not None and one.holm is not None
    assert first == (f"cbam is better than none by 8.0 points of balanced accuracy [{100 * one.low:.1f}, "
                     f"{100 * one.high:.1f}] (Holm p < 0.001), and costs 2.1 ms more.")
    assert second.startswith("No difference of balanced accuracy can be shown between none and se ")
    assert third == "Take cbam (10.2 ms), if the difference is worth its time."


def test_where_less_is_better_the_sentence_turns_round_and_the_unit_is_its_own() -> None:
    found = results({"none": ([3.0, 3.1, 3.0], 8.0), "se": ([2.0, 2.1, 2.0], 8.1), "cbam": ([4.0, 4.1, 4.2], 7.0)},
                    metric="adf_mm", better=-1, spread=0.02)
    said = advice(found)
    assert said[0].startswith("se is better than none by 1 mm of adf mm [0.") and "and is as fast (8.1 ms)" in said[0]
    assert said[1].startswith("cbam is worse than none by 1.07 mm of adf mm [") and "and takes 1 ms less." in said[1]
    assert taken(found) == "se"


def test_of_better_arms_the_fastest_is_taken() -> None:
    found = results({**BETTER, "fast": ([0.87, 0.88, 0.88], 8.3)})
    assert taken(found) == "fast"
    assert advice(found)[-1] == "Take fast: it is the fastest of them (8.3 ms)."


def test_as_fast_as_each_other_the_first_is_taken() -> None:
    found = results({"none": ([0.8, 0.81, 0.82], 8.1), "se": ([0.81, 0.8, 0.82], 8.05)})
    assert advice(found)[-1] == "Take none: it is as fast as any of them, and comes first (8.1 ms)."


def test_one_seed_says_that_nothing_is_known_of_the_training() -> None:
    said = cautions(results({"none": ([0.8], 8.0), "se": ([0.82], 9.0)}))
    assert said == ["One seed: nothing is known of the training's chance. Intervals count the test units alone, and "
                    "another seed may turn the order round; --seeds 3 or more."]


def test_seeds_that_differ_more_than_arms_are_told() -> None:
    said = cautions(results(ALIKE))
    assert len(said) == 1 and said[0].startswith(
        "Seeds differ more than arms: the seeds of none by 2.0 points, se by 4.0 points and eca by 2.0 points, the "
        "arms' means by 0.0 points at most.")
    assert cautions(results(BETTER)) == []


def test_what_failed_and_what_learned_nothing_is_told_first() -> None:
    found = results(BETTER, simulated=True, failed=[("eca", 2, "the loss is not finite")], unproven={"none": 1})
    said = cautions(found)
    assert said[0].startswith("All images here are SIMULATED.")
    assert said[1] == "eca, seed 2 failed, and the arm is left out: the loss is not finite"
    assert said[2].startswith("Trainings that are not shown to be better than one answer for every image: none 1 of 3.")


def test_where_no_network_has_learned_anything_nothing_is_advised() -> None:
    found = results(ALIKE, unproven={"none": 3, "se": 3, "eca": 3})
    assert taken(found) is None and advice(found) == [
        "Nothing can be advised: no training is shown to be better than one answer for every image. More epochs or "
        "more images first, then compare."]
    assert taken(results(ALIKE, unproven={"none": 3, "se": 3, "eca": 2})) == "none"


@pytest.mark.parametrize(("units", "text"), [(12, "12 test units (patient): intervals from so few are rough."),
                                             (1, "One test unit only: nothing shows how units differ")])
def test_few_units_are_told(units: int, text: str) -> None:
    assert cautions(results(BETTER, units=units))[-1].startswith(text)


def test_a_study_too_small_to_see_anything_says_so() -> None:
    found = results({"none": ([0.2, 0.9], 8.0), "se": ([0.9, 0.2], 9.0)})
    assert advice(found)[0].endswith("between none and se (and none could have been seen, however large).")


def test_the_table_is_ready_to_paste() -> None:
    lines = [line for line in markdown(results(BETTER)).splitlines() if line.startswith("|")]
    assert lines[0].startswith("| Arm | balanced accuracy [95 %] | difference, points [95 %] | p (Holm) | best in |")
    assert len({line.count("|") for line in lines}) == 1 and len(lines) == 5
    assert "| baseline |  |" in lines[2] and "| 10.2 | 1,234,567 | 45.6 M | 0.880 0.890 0.880 |" in lines[4]


def test_amounts_have_their_unit() -> None:
    assert amount(results(BETTER), 0.0191) == "1.9 points"
    assert amount(results(BETTER, metric="nll"), -0.0123, signed=True) == "-0.0123"
