"""What a study leaves: study.json, study.csv, study.md with one table to paste, and study.html."""

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

from excite.jobs.prediction_columns import cell
from excite.jobs.run_folder import written
from excite.jobs.study.advice import advice, amount, cannot_answer, cautions, choice, number, p_text, span, told
from excite.jobs.study.plan import Planned
from excite.jobs.study.results import ArmResult, Results
from excite.jobs.study.runs import Job
from excite.jobs.study.times import BUSY, spread
from excite.metrics.direction import unit_of, words
from excite.report.study_page import ArmTold, StudyData, write_study_page

TESTED = 7  # columns of the table before single trainings and the numbers that are not tested
JSON, TABLE, TEXT, PAGE = "study.json", "study.csv", "study.md", "study.html"
CALL = ("created", "trained_seconds", "trained_processor_seconds")  # of the call that last changed anything
TERMS = (
    "An arm is one way of training, on every seed. A unit is what was kept together in the split, such as a patient; "
    "units count, not images.",
    "Best in: how often the arm would come out best if units and trainings were drawn anew. Front: the arms that no "
    "other beats in both the metric and the milliseconds.")


def write_results(planned: Planned, found: Results, *, jobs: Sequence[Job]) -> dict[str, Any]:
    """Write all files into the study's folder and return what study.json holds.

    Args:
        jobs: What was trained in this call, for the time it took.
    """
    data: dict[str, Any] = json.loads(json.dumps(to_json(planned, found)))
    before = {} if jobs else _before(planned.out / JSON)
    if before | data != before:
        before = {"created": datetime.now(UTC).isoformat(timespec="seconds"),
                  "trained_seconds": round(sum(job.seconds for job in jobs), 3),
                  "trained_processor_seconds": round(sum(job.processor_seconds for job in jobs), 3)}
    data = data | {name: before[name] for name in CALL}
    _write(planned.out / JSON, json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    _write(planned.out / TABLE, csv_text(data))
    _write(planned.out / TEXT, markdown(found))
    write_study_page(planned.out / PAGE, _page(planned, found, data["created"]))
    return data


def to_json(planned: Planned, found: Results) -> dict[str, Any]:
    """Return a study as plain data."""
    chosen = choice(found)
    return {
        "study": str(planned.out), "report": str(planned.out / PAGE), "metric": found.metric,
        "better": "more" if found.better > 0 else "less", "advice": advice(found), "cautions": cautions(found),
        "take": chosen.name if chosen else None, "seeds": list(found.seeds), "test_images": found.images,
        "test_units": found.units, "unit_kind": found.unit_kind,
        "seed_deviation": found.comparison.seed_deviation, "machine": found.machine,
        "arms": [_arm(planned, arm) for arm in found.arms], "notes": found.notes,
        "failed": [{"arm": arm, "seed": seed, "error": error} for arm, seed, error in found.failed]}


def csv_text(data: dict[str, Any]) -> str:
    """Return one row a training: arm, seed, metric, and the arm's own numbers."""
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["arm", "seed", cell(data["metric"]), "milliseconds", "parameters", "macs", "run"])
    for arm in data["arms"]:
        for seed, value, run in zip(data["seeds"], arm["seeds"], arm["runs"], strict=True):
            writer.writerow([cell(arm["name"]), seed, f"{value:.9g}", f"{arm['milliseconds']:.4g}", arm["parameters"],
                             arm["macs"], cell(run, path=True)])
    return stream.getvalue()


def markdown(found: Results) -> str:
    """Return the advice, one table ready to paste, and what it counts."""
    heads, cells = table(found)
    lines = [*told(found, "Beware: "), ""]
    lines += [f"| Arm | {' | '.join(map(_pasted, heads))} |", f"|---|{'---:|' * len(heads)}"]
    lines += [f"| {_pasted(arm.name)} | {' | '.join(row)} |" for arm, row in zip(found.arms, cells, strict=True)]
    return "\n".join([*lines, "", *counted(found)]) + "\n"


def _pasted(text: str) -> str:
    """Return a name as a cell of a table of markdown can have it."""
    return " ".join(text.split()).replace("|", "\\|")


def table(found: Results) -> tuple[list[str], list[list[str]]]:
    """Return the headings and one row of cells an arm."""
    beside = list(found.arms[0].beside)
    unit = unit_of(found.metric)[1]
    heads = [f"{words(found.metric)} [95 %]", f"difference{', ' + unit if unit else ''} [95 %]", "p (Holm)",
             "best in", "ms", "parameters", "MACs", "seeds", *map(words, beside)]
    return heads, [_cells(found, arm, beside) for arm in found.arms]


def counted(found: Results) -> list[str]:
    """Return what the numbers count, each a sentence."""
    seeds = len(found.seeds)
    chance = (f"and the training's chance ({seeds} seeds an arm; one training varies by "
              f"{amount(found, found.comparison.seed_deviation)}, standard deviation)"
              if found.comparison.seed_deviation is not None else "alone; with one seed nothing is known of the "
              "training's chance")
    return [
        f"Values are means over {seeds} {'seeds' if seeds > 1 else 'seed'} on the same {found.images} test images of "
        f"{found.units} units ({found.unit_kind}).",
        f"95 % intervals and p count the test units {chance}; p is corrected for all arms (Holm).",
        *_alike(found),
        "The metric was named before anything was trained; the other numbers of the table are not tested.",
        *TERMS,
        f"ms: what one image takes in the quickest tenth of {len(found.arms[0].turns)} turns of all arms; "
        f"{found.machine}. An arm is called faster or slower where its paired turns show it." + _busy(found),
        "Epochs, data, their order and the split are the same in every run; the best epoch of each was chosen on the "
        "validation part. What other hyperparameters or another split would show is not in these intervals."]


def _busy(found: Results) -> str:
    """Return that the machine did other work while the arms were timed."""
    widest = max(spread(arm.turns) for arm in found.arms)
    return f" The turns vary by {100 * widest:.0f} %: the machine was busy." if widest > BUSY else ""


def _alike(found: Results) -> list[str]:
    """Return what is taken for granted of the trainings' chance."""
    if found.comparison.seed_deviation is None:
        return []
    apart = [found.arms[place].name for place in found.comparison.restless]
    return ["The trainings' chance is taken to be the same in all arms, because few seeds of one arm say little of it"
            + (f"; but for {', '.join(apart)}, whose seeds differ more: its own is counted." if apart else
               f". Nothing in these {len(found.seeds)} seeds an arm speaks against it.")]


def _before(file: Path) -> dict[str, Any]:
    """Return what an earlier call left; nothing where it cannot be read."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) and set(CALL) <= set(found) else {}
    except (OSError, ValueError):
        return {}


def _cells(found: Results, arm: ArmResult, beside: list[str]) -> list[str]:
    value, difference = arm.value, arm.difference
    interval = f" [{value.low:.3f}, {value.high:.3f}]" if value.low is not None and value.high is not None else ""
    told = ["baseline", ""] if difference is None else [
        f"{number(found, difference.value, signed=True)} {span(found, difference)}",
        p_text(difference.holm) if difference.holm is not None else ""]
    return [f"{value.value:.3f}{interval}", *told, f"{100 * arm.best:.0f} %", f"{arm.milliseconds:.3g}",
            f"{arm.cost.parameters:,}", f"{arm.cost.macs / 1e6:,.1f} M",
            " ".join(f"{one:.3f}" for one in arm.seeds),
            *(f"{arm.beside[name]:.3f}" if name in arm.beside else "" for name in beside)]


def _arm(planned: Planned, arm: ArmResult) -> dict[str, Any]:
    mine = next(one for one in planned.arms if one.name == arm.name)
    return {"name": arm.name, "value": asdict(arm.value), "difference": asdict(arm.difference) if arm.difference
            else None, "best": arm.best, "ranks": list(arm.ranks), "seeds": arm.seeds, "beside": arm.beside,
            "milliseconds": arm.milliseconds, "parameters": arm.cost.parameters, "macs": arm.cost.macs,
            "train_seconds": arm.train_seconds,
            "runs": [str(planned.folder(mine, seed).relative_to(planned.out)) for seed in planned.seeds]}


def _page(planned: Planned, found: Results, created: str) -> StudyData:
    heads, cells = table(found)
    times, unit = unit_of(found.metric)
    arms = []
    for arm, row in zip(found.arms, cells, strict=True):
        one = arm.difference
        low, high = arm.ranks
        run = planned.folder(next(mine for mine in planned.arms if mine.name == arm.name), planned.seeds[0])
        arms.append(ArmTold(
            name=arm.name, value=arm.value.value, low=arm.value.low, high=arm.value.high, seeds=arm.seeds,
            milliseconds=arm.milliseconds, difference=one.value * times if one else None,
            difference_low=one.low * times if one and one.low is not None else None,
            difference_high=one.high * times if one and one.high is not None else None,
            shown=bool(one and one.shown and len(found.seeds) > 1), best=arm.best,
            ranks=str(low) if low == high else f"{low} to {high}",
            row=row, link=f"{run.relative_to(planned.out).as_posix()}/report.html"))
    warned, advised = cautions(found), advice(found)
    if cannot_answer(found):
        warned, advised = [*advised, *warned], []
    config = planned.folder(planned.arms[0], planned.seeds[0]).with_suffix(".yaml")
    return StudyData(
        title=f"Study of {len(found.arms)} arms on {planned.source}", created=created, lead=_lead(planned, found),
        advice=advised, cautions=warned, metric=words(found.metric), unit=unit, better=found.better,
        heads=heads, tested=TESTED, arms=arms, counted=counted(found), notes=found.notes,
        facts={"Times": found.machine, "Folder": str(planned.out), "Processes": str(planned.workers)},
        recipe=config.read_text(encoding="utf-8"))


def _lead(planned: Planned, found: Results) -> str:
    return (f"{len(found.arms)} arms x {len(found.seeds)} seeds, each trained on the same images with the same budget "
            f"and measured on the same {found.images} test images of {found.units} units ({found.unit_kind}).")


def _write(file: Path, text: str) -> None:
    with written(file, what="a file of the study"):
        aside = file.with_name(f".{file.name}.tmp")
        aside.write_text(text, encoding="utf-8", newline="\n")
        aside.replace(file)
