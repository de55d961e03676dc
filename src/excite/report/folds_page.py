"""The report of a cross-validation: all patients together, the folds one by one, and what few patients cannot show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from excite.metrics.measured import UNPROVEN
from excite.report import figures, folds_figures, tables
from excite.report.html import filled, write_page
from excite.report.told import RunTold
from excite.report.words import DISCLAIMER, cost_rows, parity_told, plural, standing_warnings, when

GRADES = {
    "kappa_quadratic": ("Weighted kappa, quadratic", "agreement of grades beyond chance; a miss by two grades weighs "
                        "four times one by one", True),
    "kappa_linear": ("Weighted kappa, linear", "the same; a miss by two grades weighs twice", True),
    "grade_error": ("Mean error in grades", "how far answers are off; less is better", False)}
BEFORE = {"ece": "Calibration error, ECE", "nll": "Negative log-likelihood", "brier": "Brier score"}
TRUSTED = 100  # rows below which a temperature is too rough
EACH = {"balanced_accuracy": "Balanced accuracy", "auroc_macro": "AUROC", "accuracy": "Accuracy",
        "nll": "NLL"}


@dataclass(kw_only=True)
class FoldTold:
    """One fold: rows of each part, what is missing in the tested part, and what was chosen without it.

    Args:
        rows: {"trained": 40, "tested": 12}; validation where there is one.
        missing: Tested rows without each map.
        numbers: Of the tested part, without intervals.
        temperature: `Temperature.to_json()`, fitted on other rows than the tested ones.
        chosen: {"Best epoch": "12 of 30"}.
    """

    rows: Mapping[str, int]
    missing: Mapping[str, int]
    numbers: Mapping[str, float | None]
    temperature: Mapping[str, Any]
    chosen: Mapping[str, str]


@dataclass(kw_only=True)
class FoldsData(RunTold):
    """What the report of a cross-validation tells.

    Args:
        by: What predicts: "network", "head".
        sample: What a row is called: "patient", or "examination".
        evaluation: `Evaluation.to_json()` over all rows.
        grades: Of grades in order, the numbers of `GRADES`.
        answers: To the yes-or-no questions: {"name", "n", "positives", "auroc", "sensitivity", "roc", "calibration",
            "curve", "useful"}.
        specificity: At which the sensitivity is told.
        simpler: Heads that know less on the same folds: {"name", "auroc_macro", "balanced_accuracy", "nll", "gain"}.
        before: Numbers of `BEFORE` before the temperatures.
        folds: One by one.
        made: How the folds were made, each a sentence.
        drawn: A line a fold: {"lines", "marks", "title", "below", "beside", "whole"} of `folds_figures.by_fold`.
        selected: What was chosen without the tested rows: "The best epoch and the temperature of each fold".
        cautions: What has to be read before any number, beside the standing ones.
    """

    by: str
    sample: str
    classes: Sequence[str]
    evaluation: Mapping[str, Any]
    grades: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    answers: Sequence[Mapping[str, Any]]
    specificity: float
    before: Mapping[str, float | None]
    folds: Sequence[FoldTold]
    made: Sequence[str]
    selected: str
    drawn: Mapping[str, Any] = field(default_factory=dict)
    simpler: Sequence[Mapping[str, Any]] = ()
    cautions: Sequence[str] = ()


def write_folds_report(file: Path, data: FoldsData) -> Path:
    """Write the page, whole or not at all, and return its path.

    Raises:
        EnvironmentFault: it cannot be written.
    """
    return write_page(file, lambda _images, _without: render(data), images=False)


def render(data: FoldsData) -> str:
    """Return the page as text; every value from outside is escaped."""
    evaluation = data.evaluation
    columns, classes = tables.class_rows(evaluation)
    return filled(
        "folds_template.html", data=data, evaluation=evaluation, disclaimer=DISCLAIMER, created=when(data.created),
        warnings=_warnings(data), tiles=_tiles(data), baseline=tables.baseline(evaluation),
        metrics=tables.metric_rows({**data.grades, **evaluation["metrics"]}, GRADES | tables.described(data.sample)),
        notes=[note for note in evaluation["notes"] if not note.startswith(UNPROVEN)],
        confusion=tables.confusion_rows(evaluation["confusion"], evaluation["classes"]),
        class_columns=columns, class_rows=classes, roc=folds_figures.roc_of_questions(data.answers),
        questions=[_question(one, place) for place, one in enumerate(data.answers)],
        calibrated=_calibrated(data), heat=_heat(data), fold_heads=_heads(data), fold_rows=_rows(data),
        small=small_words(data), simpler=_simpler(data),
        count_rows=tables.count_rows(data.counts, data.classes),
        counts_figure=figures.class_counts(data.counts, data.classes, sample=data.sample),
        missing_rows=_missing(data), curves={"": [folds_figures.by_fold(**data.drawn)]} if data.drawn else {},
        cost=cost_rows(data.cost, sample=data.sample), parity=parity_told(data.parity, sample=data.sample),
        environment=tables.flat(data.environment), chosen=data.selected,
        grid=(), worst=(), wrong_reason="the scanner, the hospital, the age of the patients instead of their disease",
        elsewhere="other hospitals, scanners or protocols")


def small_words(data: FoldsData) -> list[str]:
    """Return what few patients do to these numbers, each a sentence with the numbers at hand."""
    found, metrics = data.evaluation, data.evaluation["metrics"]
    support = {name: int(of["support"]) for name, of in found["per_class"].items() if of["support"]}
    rare = min(support, key=lambda name: support[name])
    points = 100 / support[rare]
    said = [f"The rarest class, {rare}, has {support[rare]} {plural('row', support[rare])}: one of them more or less "
            f"that is right moves its recall by {points:.{0 if points >= 3 else 1}f} points."]
    one = metrics["balanced_accuracy"]
    if one["low"] is not None:
        said.append(f"The balanced accuracy of {one['value']:.3f} could as well be {one['low']:.3f} or "
                    f"{one['high']:.3f} for other patients like these: a method that is better by less than that "
                    "is not shown to be better.")
    areas = [value for fold in data.folds if (value := fold.numbers["auroc_macro"]) is not None]
    pooled = metrics["auroc_macro"]["value"]
    if areas and pooled is not None:
        said.append(f"AUROCs rank patients of all folds together, although each fold has a {data.by} of its own whose "
                    f"chances may lie higher or lower: {pooled:.3f} in all, {fmean(areas):.3f} as the mean of the "
                    f"folds (from {min(areas):.3f} to {max(areas):.3f}).")
    said.append("Not in the intervals: what other folds and another seed would give. They hold these "
                f"{len(data.folds)} {data.by}s as they are. To see how much that is: --set split.seed=1, and --seed "
                "1, into another folder.")
    said.append(f"The sensitivity at a specificity of {data.specificity:g} takes its threshold from the very patients "
                "it is measured on, anew in each resample: it tells how well chances rank, and is no threshold to use.")
    return said


def _warnings(data: FoldsData) -> list[str]:
    unproven = [note for note in data.evaluation["notes"] if note.startswith(UNPROVEN)]
    return [*standing_warnings(simulated=data.simulated, unproven=unproven, unit_kind=data.unit_kind, leaks=data.leaks,
                               things=f"{data.sample}s"), *data.cautions, *_beaten(data)]


def _beaten(data: FoldsData) -> list[str]:
    """Return the simpler heads that are better, the whole interval of the gain over them being below 0."""
    area, found = data.evaluation["metrics"]["auroc_macro"]["value"], list[str]()
    for one in data.simpler:
        if one["gain"]["high"] is not None and one["gain"]["high"] < 0:
            gain, interval = tables.number(one["gain"])
            found.append(f"A simpler head, on {one['name']}, is better on the same rows: its AUROC is "
                         f"{one['auroc_macro']['value']:.3f}, that of this {data.by} {area:.3f} (gained: {gain}, "
                         f"95 %: {interval}).")
    return found


def _tiles(data: FoldsData) -> list[tuple[str, str, str]]:
    """Return the key numbers: (name, value, what is below it)."""
    metrics = data.evaluation["metrics"]
    two = len(data.classes) == 2
    chosen = [("AUROC" if two else "AUROC, macro", metrics["auroc_macro"])]
    if two:
        chosen.append((f"Sensitivity at specificity {data.specificity:g}", data.answers[0]["sensitivity"]))
    if data.grades:
        chosen.append(("Weighted kappa", data.grades["kappa_quadratic"]))
    chosen.append(("Balanced accuracy", metrics["balanced_accuracy"]))
    found = []
    for name, metric in chosen:
        value, interval = tables.number(metric)
        found.append((name, value, f"95 %: {interval}" if " to " in interval else interval))
    rows, units = data.evaluation["n"], data.evaluation["n_units"]
    below = f"each predicted once, in {len(data.folds)} folds"
    found.append((plural(data.unit_kind, units).capitalize(), f"{units:,}",
                  below if rows == units else f"{rows:,} rows, {below}"))
    return found


def _question(answer: Mapping[str, Any], place: int) -> dict[str, Any]:
    curve = answer["curve"]
    helps = folds_figures.useful(curve["thresholds"], answer["useful"])
    return {"name": answer["name"], "positives": answer["positives"], "n": answer["n"],
            "auroc": tables.number(answer["auroc"]), "sensitivity": tables.number(answer["sensitivity"]),
            "helps": curve["note"] or helps,
            "figures": [] if curve["note"] else [folds_figures.calibration(answer, name=f"calibration{place}"),
                                                 folds_figures.decision(answer, name=f"decision{place}")]}


def _simpler(data: FoldsData) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return one row a method: its name, and (value, interval) of each number; what the report is of comes first."""
    keys = ("auroc_macro", "balanced_accuracy", "nll")
    own = [tables.number(data.evaluation["metrics"][key]) for key in keys]
    return [(f"this {data.by}", [*own, ("", "")]), *((str(one["name"]), [
        tables.number(one[key]) for key in (*keys, "gain")]) for one in data.simpler)] if data.simpler else []


def _calibrated(data: FoldsData) -> list[dict[str, str]]:
    """Return what the temperatures did: one row a measure, the verdict in words."""
    rows = []
    for key, name in BEFORE.items():
        before, after = data.before[key], data.evaluation["metrics"][key]["value"]
        if before is not None and after is not None:
            verdict = "worse" if after > before else "better" if after < before else "the same"
            rows.append({"name": name, "before": f"{before:.4f}", "after": f"{after:.4f}", "verdict": verdict})
    return rows


def _heat(data: FoldsData) -> list[str]:
    """Return what has to be known of the temperatures."""
    fewest = min(int(fold.temperature["n"]) for fold in data.folds)
    said = [f"fold {number}: {fold.temperature['note']}" for number, fold in enumerate(data.folds, 1)
            if fold.temperature["note"]]
    return ([f"fitted on as few as {fewest} rows, which is too few to trust a temperature"] if fewest < TRUSTED else
            []) + said


def _heads(data: FoldsData) -> list[tuple[str, bool]]:
    """Return the headings of the table of folds, and whether numbers stand below."""
    first = data.folds[0]
    return [("Fold", False), *((name.capitalize(), True) for name in first.rows),
            *((name, True) for name in EACH.values()), ("Temperature", True), *((name, True) for name in first.chosen)]


def _rows(data: FoldsData) -> list[list[str]]:
    """Return the table of folds, with mean and range of the numbers last."""
    rows = [[str(number), *map(str, fold.rows.values()), *(figures.said(fold.numbers[key]) for key in EACH),
             f"{fold.temperature['value']:.2f}", *fold.chosen.values()] for number, fold in enumerate(data.folds, 1)]
    first, told = data.folds[0], []
    for key in EACH:
        known = [value for fold in data.folds if (value := fold.numbers[key]) is not None]
        told.append(figures.said(fmean(known) if known else None))
    return [*rows, ["mean", *[""] * len(first.rows), *told, *[""] * (1 + len(first.chosen))]]


def _missing(data: FoldsData) -> list[tuple[str, list[int], int]]:
    """Return how many tested rows lack each map, fold by fold and in all."""
    return [(name, cells := [fold.missing[name] for fold in data.folds], sum(cells)) for name in data.folds[0].missing]

