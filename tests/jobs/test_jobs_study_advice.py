"""What a study says in words: what is shown, what is not, what to take, what to beware of."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from excite.jobs.study.advice import advice, amount, cautions, choice, told
from excite.jobs.study.files import counted, csv_text, markdown
from excite.jobs.study.results import ArmResult, Results
from excite.metrics.arms import Drawn, compare_arms

COST: Any = SimpleNamespace(parameters=1_234_567, macs=45_600_000)


def turns_of(milliseconds: float | list[float]) -> list[float]:
    return milliseconds if isinstance(milliseconds, list) else [milliseconds] * 20


def results(values: dict[str, tuple[list[float], float]], *, metric: str = "balanced_accuracy", better: int = 1,
            units: int = 400, spread: float = 0.004, costs: dict[str, Any] | None = None, **more: Any) -> Results:
    """Return the results of arms with these numbers a seed and these milliseconds, and little chance in the units."""
    table = np.array([numbers for numbers, _ in values.values()])
    noise = np.random.default_rng(0).normal(size=(*table.shape, 400)) * spread
    found = Drawn(values=table, draws=table[..., None] + noise, units=units)
    comparison = compare_arms(found, better=better)
    arms = [ArmResult(name=name, value=comparison.arms[place], difference=comparison.differences[place],
                      best=comparison.best[place], ranks=comparison.ranks[place], seeds=comparison.seeds[place],
                      beside={"accuracy": 0.5}, cost=(costs or {}).get(name, COST), turns=turns_of(milliseconds),
                      train_seconds=1.0)
            for place, (name, (_, milliseconds)) in enumerate(values.items())]
    return Results(metric=metric, better=better, arms=arms, drawn=found, comparison=comparison,
                   seeds=tuple(range(table.shape[1])), images=500, units=units, unit_kind="patient",
                   machine="a machine", **more)


def taken(found: Results) -> str | None:
    chosen = choice(found)
    return chosen.name if chosen else None


ALIKE = {"none": ([0.80, 0.82, 0.81], 8.1), "se": ([0.81, 0.79, 0.83], 8.9), "eca": ([0.82, 0.80, 0.81], 8.2)}
BETTER = {"none": ([0.80, 0.81, 0.80], 8.1), "se": ([0.81, 0.80, 0.80], 8.9), "cbam": ([0.88, 0.89, 0.88], 10.2)}


def test_no_difference_is_said_with_what_could_not_have_been_seen_and_the_baseline_is_taken() -> None:
    first, second = advice(results(ALIKE))
    assert first.startswith("No difference of balanced accuracy can be shown between none, se and eca (differences "
                            "under about ")
    assert first.endswith(" points could have been missed).")
    assert second == ("Take none, the baseline: no other is shown to be better, and none to be faster (8.1 ms).")


def test_many_arms_are_counted_and_not_listed() -> None:
    many = {f"arm{place}": ([0.80, 0.82, 0.81], 8.0 + place) for place in range(10)}
    assert advice(results(many))[0].startswith("No difference of balanced accuracy can be shown between the 10 arms (")
    first, second, last = advice(results({**many, "cbam": ([0.90, 0.91, 0.92], 6.0)}))
    assert first.startswith("cbam is better than arm0 by ") and last.startswith("Take cbam (6 ms)")
    assert second.startswith("No difference of balanced accuracy can be shown between arm0 and 9 of the other arms (")
    restless = {name: ([value - 0.05 * place for place, value in enumerate(numbers)], cost)
                for name, (numbers, cost) in many.items()}
    first = cautions(results(restless))[0]
    assert first.startswith("Seeds differ more than arms: the seeds of 10 of 10 arms, by up to ")


def test_where_another_arm_is_the_fastest_the_baseline_is_beside_it() -> None:
    found = results({"none": ([0.80, 0.82, 0.81], 8.1), "small": ([0.81, 0.79, 0.82], 5.0)})
    assert advice(found)[-1] == "Take small: none is shown to be better, and it is faster (5 ms; none takes 8.1 ms)."


def test_an_arm_with_more_multiply_adds_is_never_called_faster() -> None:
    more: Any = SimpleNamespace(parameters=1, macs=COST.macs + 1)
    found = results({"none": ([0.80, 0.82, 0.81], 8.1), "eca": ([0.81, 0.79, 0.82], 5.0)}, costs={"eca": more})
    assert taken(found) == "none" and "none to be faster (8.1 ms)" in advice(found)[-1]
    better = results(BETTER | {"cbam": ([0.88, 0.89, 0.88], 5.0)}, costs={"cbam": more})
    assert advice(better)[0].endswith("and is not shown to differ in time (5 ms; 8.1 ms).")


@pytest.mark.parametrize("seed", range(6))
def test_what_is_taken_does_not_turn_with_the_noise_of_the_machine(seed: int) -> None:
    rng = np.random.default_rng(seed)
    noisy = {name: (values, list(60 * (1 + rng.pareto(2.0, size=20)))) for name, (values, _) in ALIKE.items()}
    found = results(noisy)
    assert taken(found) == "none"
    assert any("The turns vary by " in text and text.endswith("the machine was busy.") for text in counted(found))
    assert not any("busy" in text for text in counted(results(ALIKE)))


def test_load_that_all_arms_meet_does_not_hide_which_is_faster() -> None:
    load = 1 + np.random.default_rng(0).pareto(2.0, size=20)
    found = results({"none": ([0.80, 0.82, 0.81], list(60 * load)), "small": ([0.81, 0.79, 0.82], list(50 * load))})
    assert taken(found) == "small"


def test_an_arm_whose_seeds_differ_more_is_named_and_does_not_hide_what_could_be_seen_of_the_others() -> None:
    found = results({**ALIKE, "cbam": ([0.5, 0.9, 0.95], 9.5), "far": ([0.81, 0.80, 0.82], 9.6)})
    first = advice(found)[0]
    assert "between the 5 arms (differences under about " in first and "however large" not in first
    assert first.endswith("; of cbam, even the largest that can be could have been missed).")
    last = cautions(found)[-1]
    assert last.startswith("The seeds of cbam (by 45.0 points) differ more than those of the other arms, so the chance "
                           "of their own 3 seeds counts")
    assert any(text.endswith("but for cbam, whose seeds differ more: its own is counted.") for text in counted(found))
    assert any("Nothing in these 3 seeds an arm speaks against it." in text for text in counted(results(ALIKE)))


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
    assert said[0].startswith("se is better than none by 1 mm of adf [")
    assert "and is not shown to differ in time (8.1 ms; 8 ms)" in said[0]
    assert said[1].startswith("cbam is worse than none by 1.07 mm of adf [") and "and takes 1 ms less." in said[1]
    assert taken(found) == "se"


def test_of_better_arms_the_fastest_is_taken() -> None:
    found = results({**BETTER, "fast": ([0.87, 0.88, 0.88], 8.3)})
    assert taken(found) == "fast"
    assert advice(found)[-1] == "Take fast: it is faster than the best of the better ones (8.3 ms)."


def test_as_fast_as_each_other_the_first_is_taken() -> None:
    found = results({"none": ([0.8, 0.81, 0.82], 8.1), "se": ([0.81, 0.8, 0.82], 8.05)})
    assert taken(found) == "none"


def test_one_seed_says_that_nothing_is_known_of_the_training() -> None:
    said = cautions(results({"none": ([0.8], 8.0), "se": ([0.82], 9.0)}))
    assert said == ["One seed: nothing is known of the training's chance. Intervals count the test units alone, and "
                    "another seed may turn the order round; --seeds 3 or more."]


def test_one_seed_is_never_better_and_nothing_is_taken() -> None:
    found = results({"none": ([0.80], 8.0), "se": ([0.95], 9.0)})
    assert found.arms[1].difference is not None and found.arms[1].difference.shown and taken(found) is None
    (said,) = advice(found)
    assert said.startswith("These two trainings differ by +15.0 points [") and "better" not in said
    assert said.endswith(" of balanced accuracy, se less none; with one seed nothing is known of the training's chance"
                         ", and nothing follows for the arms.")
    (said,) = advice(results({"none": ([0.80], 8.0), "se": ([0.95], 9.0), "eca": ([0.7], 8.5)}))
    assert said.startswith("These 3 trainings differ in balanced accuracy; from none: se +15.0 points [")


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
        "This study cannot answer: 9 of 9 trainings are not shown to be better than one answer for every image; more "
        "epochs, another learning rate or more images first, then compare."]
    assert told(found, "BEWARE: ")[0] == advice(found)[0] and markdown(found).startswith(advice(found)[0])


@pytest.mark.parametrize(("unproven", "answers"), [
    ({"se": 3, "eca": 2}, False), ({"none": 2}, False), ({"none": 1, "se": 3}, True), ({"se": 3}, True)])
def test_half_of_the_trainings_or_of_the_baselines_is_too_many(unproven: dict[str, int], answers: bool) -> None:
    found = results(ALIKE, unproven=unproven)
    assert (taken(found) == "none") is answers
    assert advice(found)[0].startswith("This study cannot answer: ") is not answers


def test_an_arm_that_learned_nothing_is_not_taken_for_being_fast() -> None:
    values = {"none": ([0.80, 0.82, 0.81], 8.1), "small": ([0.81, 0.79, 0.82], 5.0), "se": ([0.81, 0.79, 0.83], 8.9)}
    assert taken(results(values)) == "small" and taken(results(values, unproven={"small": 3})) == "none"


def test_warnings_come_before_the_advice() -> None:
    found = results(ALIKE, simulated=True)
    said = told(found, "BEWARE: ")
    assert said[0].startswith("BEWARE: All images here are SIMULATED.") and said[-1] == advice(found)[-1]
    text = markdown(found)
    assert text.startswith("Beware: All images") and text.index("Beware: Seeds") < text.index("No difference")


def test_names_are_cells_of_their_tables() -> None:
    lines = [line for line in markdown(results({"a|b": ([0.8, 0.81], 8.0), "=c": ([0.8, 0.82], 8.0)})).splitlines()
             if line.startswith("|")]
    assert lines[2].startswith("| a\\|b | ") and len({line.replace("\\|", "").count("|") for line in lines}) == 1
    arm = {"name": "=HYPERLINK(1)", "seeds": [0.5], "runs": ["runs/a/seed-0"], "milliseconds": 1.0, "parameters": 1,
           "macs": 1}
    rows = csv_text({"metric": "dice", "seeds": [0], "arms": [arm]}).splitlines()
    assert rows[1].startswith("'=HYPERLINK(1),0,0.5")


@pytest.mark.parametrize(("units", "text"), [(12, "12 test units (patient): intervals from so few are rough."),
                                             (1, "One test unit only: nothing shows how units differ")])
def test_few_units_are_told(units: int, text: str) -> None:
    assert cautions(results(BETTER, units=units))[-1].startswith(text)


@pytest.mark.parametrize(("low", "high", "text"), [
    (0.2, 0.9, "even the largest that can be could have been missed"),
    (0.50, 0.53, "differences under about 12.0 points could have been missed"),
    (0.20, 0.35, "differences under about 60.0 points could have been missed")])  # from 0.275 it is 72.5 to the top
def test_a_study_too_small_to_see_anything_says_so_and_no_other(low: float, high: float, text: str) -> None:
    found = results({"none": ([low, high], 8.0), "se": ([high, low], 9.0)})
    assert advice(found)[0].endswith(f"between none and se ({text}).")


def test_the_table_is_ready_to_paste() -> None:
    lines = [line for line in markdown(results(BETTER)).splitlines() if line.startswith("|")]
    assert lines[0].startswith("| Arm | balanced accuracy [95 %] | difference, points [95 %] | p (Holm) | best in |")
    assert len({line.count("|") for line in lines}) == 1 and len(lines) == 5
    assert "| baseline |  |" in lines[2] and "| 10.2 | 1,234,567 | 45.6 M | 0.880 0.890 0.880 |" in lines[4]


def test_amounts_have_their_unit() -> None:
    assert amount(results(BETTER), 0.0191) == "1.9 points"
    assert amount(results(BETTER, metric="nll"), -0.0123, signed=True) == "-0.0123"
