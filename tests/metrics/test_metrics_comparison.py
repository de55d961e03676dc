"""A comparison says in words what its numbers say, whichever way the number is better, and never more."""

from dataclasses import replace

import numpy as np
import pytest

from excite.errors import DataError, UsageError
from excite.metrics.comparison import Comparison, Price, compare_sides
from excite.metrics.direction import direction, spoken, unit_of
from excite.metrics.holm import holm
from excite.metrics.side import classifier, means_of

CLASSES = ("benign", "malignant", "normal")
NAMES = ("runs/plain", "runs/se")


def classified(better: float = 1.2, *, images: int = 1, **changes: object) -> Comparison:
    rng = np.random.default_rng(3)
    unit = np.repeat(np.arange(120), images)
    truth = rng.integers(0, 3, 120)[unit]
    shares = []
    for skill in (1.0, 1.0 + better):
        raised = np.exp(rng.normal(size=(len(unit), 3)) + skill * np.eye(3)[truth])
        shares.append(raised / raised.sum(axis=1, keepdims=True))
    options: dict[str, object] = {"metric": "balanced_accuracy", "unit_kind": "patient", "resamples": 400, **changes}
    return compare_sides(*(classifier(truth, one, CLASSES) for one in shares), [f"P{place}" for place in unit],
                         names=NAMES, **options)  # type: ignore[arg-type]


def measured(values: list[float], others: list[float], metric: str, **changes: object) -> Comparison:
    sides = (means_of([{metric: value} for value in one]) for one in (values, others))
    return compare_sides(*sides, [str(place) for place in range(len(values))], names=NAMES, metric=metric,
                         unit_kind="patient", resamples=400, **changes)  # type: ignore[arg-type]


def test_a_better_network_and_its_price_in_one_sentence() -> None:
    found = classified(prices=(Price(milliseconds=8.1), Price(milliseconds=12.1)))
    one = found.question
    low, value, high = (f"{100 * end:.1f}" for end in (one.difference.low, one.difference.value, one.difference.high))
    assert found.verdict == "better"
    assert found.sentence == (f"B (runs/se) is better than A (runs/plain) by {value} points of balanced accuracy "
                              f"[{low}, {high}], p = {one.p:.3f}; it costs 4.0 ms more an image (12.1 against 8.1, one "
                              "thread).")
    assert "trained once" in found.text().splitlines()[1]


def test_no_difference_comes_with_what_could_have_been_seen() -> None:
    found = classified(0.0, images=2)
    assert found.verdict == "no difference shown"
    assert found.sentence.startswith("No difference can be shown between A (runs/plain) and B (runs/se): ")
    least = f"{100 * found.detectable:.1f} points"
    assert f"differences under about {least} could not have been seen with 240 images of 120 patients" in found.sentence
    assert any("McNemar's and DeLong's tests in their plain form take for granted" in note for note in found.notes)
    alone = classified(0.0)
    assert found.discordant is None and alone.discordant is not None
    a_only, b_only, _ = alone.discordant
    assert (f"accuracy: A alone has {a_only} images right, B alone {b_only}, of which McNemar's p and Tango's interval "
            "of the difference are made") in alone.notes


def test_less_is_better_of_millimetres_and_the_sentence_says_so() -> None:
    rng = np.random.default_rng(0)
    errors = rng.gamma(2, 1, 60)
    found = measured(list(errors), list(errors - 0.5 + rng.normal(0, 0.1, 60)), "adf_mm", margin=0.2)
    assert found.verdict == "better" and found.question.difference.value < 0
    assert found.sentence.startswith("B (runs/se) is better than A (runs/plain) by 0.5")
    assert " mm of adf [0." in found.sentence
    assert found.non_inferior and not found.equivalent
    back = measured(list(errors), list(errors + 0.5 + rng.normal(0, 0.1, 60)), "adf_mm", margin=0.2)
    assert back.verdict == "worse" and back.non_inferior is False
    assert "That B is worse than A by no more than 0.20 mm is not shown" in back.text()


def test_a_margin_is_answered_as_non_inferior_or_equivalent() -> None:
    rng = np.random.default_rng(1)
    dice = rng.uniform(0.7, 0.95, 80)
    same = dice + rng.normal(0, 0.02, 80)
    assert "A and B are equivalent within 2.0 points" in measured(list(dice), list(same), "dice", margin=0.02).text()
    better = measured(list(dice), list(same + 0.03), "dice", margin=0.02)
    assert "B is not worse than A by more than 2.0 points (non-inferior)" in better.text()
    assert measured(list(dice), list(same), "dice").non_inferior is None


def test_a_margin_of_ranks_is_not_proved_by_few_units() -> None:
    """Average precision, and AUROC of patients with several images: what the simulation shows to be too often said."""
    doubt = "With fewer than 500 units this is not proved: intervals of "
    found = classified(metric="ap_macro", margin=0.5)
    assert found.non_inferior and f"{doubt}ap macro may end too early" in found.text()
    assert f"{doubt}auroc macro" in classified(metric="auroc_macro", margin=0.5, images=2).text()
    assert "not proved" not in classified(metric="auroc_macro", margin=0.5).text()
    assert "not proved" not in classified(metric="balanced_accuracy", margin=0.5, images=2).text()


def test_answers_that_are_all_the_same_prove_nothing() -> None:
    found = measured([0.8] * 30, [0.8] * 30, "dice", margin=0.02)
    assert (found.verdict, found.equivalent, found.non_inferior, found.detectable) == ("no difference shown", False,
                                                                                       False, None)
    assert "nothing shows how far that may be off" in found.text()
    assert "  0.000 (no interval)  " in found.text()
    assert found.question.difference.note == "no interval: all resamples give the same value"


def answers(right: list[int], classes: int = 3) -> np.ndarray:
    return 0.7 * np.eye(classes)[right] + 0.3 / classes


def test_means_over_a_class_that_one_network_never_answers_are_not_tested() -> None:
    truth = np.repeat([0, 1, 2], [60, 60, 6])
    never, now_and_then = truth.copy(), truth.copy()
    never[truth == 2] = 0
    now_and_then[:2] = 2
    sides = [classifier(truth, answers(list(one)), CLASSES) for one in (now_and_then, never)]
    units = [str(place) for place in range(len(truth))]
    found = compare_sides(*sides, units, names=NAMES, metric="precision_macro", unit_kind="image", resamples=200)
    untested = {name for name, one in found.pairs.items() if "/" not in name and one.p is None}
    assert untested == {"precision_macro", "precision_weighted", "f1_macro", "f1_weighted"}
    assert found.verdict == "no difference shown" and "not tested" in found.sentence
    assert any("precision macro" in note and "are not tested: B never answers normal" in note for note in found.notes)
    both = compare_sides(sides[1], sides[1], units, names=NAMES, metric="f1_macro", unit_kind="image", resamples=50)
    assert both.question.p == 1, "a class that neither answers counts as 0 in both"


def test_rows_whose_p_and_interval_disagree_are_marked() -> None:
    found = classified()
    one = found.question
    wide = replace(one, difference=replace(one.difference, low=-0.1))
    doubted = replace(found, pairs={**found.pairs, "balanced_accuracy": wide})
    assert not one.disputed and wide.disputed and replace(one, p=0.2).disputed and not replace(wide, p=0.2).disputed
    row = next(line for line in doubted.text().splitlines() if line.startswith("  balanced accuracy *"))
    assert f"{one.p:.3f} !" in row or "< 0.001 !" in row
    assert "! p and interval disagree" in doubted.text()
    assert doubted.text().splitlines()[1].startswith("Of balanced accuracy p and interval disagree")
    assert doubted.to_json()["metrics"]["balanced_accuracy"]["disputed"]


@pytest.mark.parametrize(("milliseconds", "ratio", "said"), [
    (53.0, (0.93, 1.31), "the cost could not be told apart on this machine just now (46.0 to 53.0 ms an image, one "),
    (53.0, (1.12, 1.31), "it costs 7.0 ms more an image (53.0 against 46.0, one thread)"),
    (40.0, (0.7, 0.88), "it saves 6.0 ms an image (40.0 against 46.0, one thread)"),
    (40.0, (1.2, 1.3), "the cost could not be told apart"),
    (47.0, (0.97, 1.08), "it takes as long: 47.0 ms an image against 46.0, one thread"),
])
def test_a_cost_is_said_where_the_turns_show_it(milliseconds: float, ratio: tuple[float, float], said: str) -> None:
    found = classified(prices=(Price(milliseconds=46.0), Price(milliseconds=milliseconds, ratio=ratio)))
    assert said in found.sentence


def test_the_question_is_not_corrected_and_both_families_are() -> None:
    found = classified()
    assert "balanced_accuracy" not in found.corrected
    for of_classes in (False, True):
        family = {name: one.p for name, one in found.pairs.items()
                  if ("/" in name) == of_classes and name != "balanced_accuracy"}
        assert {name: found.corrected[name] for name in family} == dict(
            zip(family, holm(list(family.values())), strict=True))
    assert found.to_json()["metrics"]["accuracy"]["p_holm"] == found.corrected["accuracy"]


def test_a_number_without_a_better_side_has_no_margin() -> None:
    found = measured([0.1, 0.2, 0.3, 0.4] * 8, [1.1, 1.2, 1.3, 1.5] * 8, "df_mm")
    assert found.verdict == "higher" and "is higher than A" in found.sentence
    with pytest.raises(UsageError, match="margin must be of a number that can be worse, and df mm cannot"):
        measured([0.1, 0.2], [0.3, 0.4], "df_mm", margin=1.0)


def test_what_cannot_be_asked_is_refused() -> None:
    with pytest.raises(UsageError, match="metric must be one of accuracy, balanced_accuracy, .* got 'acuracy'") as told:
        classified(metric="acuracy")
    assert "did you mean 'accuracy'?" in str(told.value)
    with pytest.raises(UsageError, match="margin must be a number above 0, got -0.1"):
        classified(margin=-0.1)
    with pytest.raises(DataError, match="dice is not defined for both models"):
        measured([None, None], [0.5, 0.6], "dice")  # type: ignore[list-item]


def test_directions_and_units() -> None:
    assert [direction(name) for name in ("auroc/ill", "ece", "hd95_px", "assd_mm", "df_mm", "dice/kidney")] == [
        1, -1, -1, -1, 0, 1]
    assert unit_of("f1_macro") == (100.0, "points") and unit_of("nll") == (1.0, "")
    assert unit_of("adf_mm") == (1.0, "mm") and unit_of("hd_px") == (1.0, "pixels")
    assert unit_of("surface_dice_px") == (100.0, "points") and spoken("recall/ill") == "recall of ill"
