"""Cross-validation on volumes: every patient predicted once by a network that has not seen them."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from excite.config import dump_yaml
from excite.data.volumes.store import file_hashes
from excite.data.volumes.volume_table import VolumeTable, read_volume_table
from excite.deploy.bundle import BundleInfo, read_bundle
from excite.errors import DataError, UsageError
from excite.jobs import run_folder as files
from excite.jobs.run_folder import read_events
from excite.jobs.shipped import limits
from excite.jobs.volumes.finish import PREDICTIONS
from excite.jobs.volumes.folds.bundles import PAGE, write_summary
from excite.jobs.volumes.folds.numbers import FoldNumbers, Predicted, measured
from excite.jobs.volumes.folds.report import made_by, missing_of, told_of
from excite.jobs.volumes.nested.data import nested_data
from excite.jobs.volumes.nested.loop import Simpler, as_nested, simpler_heads
from excite.jobs.volumes.prepare import prepare_volumes
from excite.jobs.volumes.sections import VolumeConfig
from excite.jobs.volumes.tested_table import read_tested
from excite.jobs.volumes.train import VolumeRun, train_volumes
from excite.metrics.evaluation import Evaluation
from excite.outcome.decode import softmax
from excite.progress import Progress, silent
from excite.report.folds_page import FoldsData, FoldTold, write_folds_report

OWN = ("split", "doubts")  # reasons of one fold alone


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossValidated:
    """Finished trainings, one a fold, and what they say of all patients together.

    Args:
        numbers: Over all rows, each predicted by the network that was not trained on its unit.
        simpler: Heads that know less, on the same folds.
    """

    folder: Path
    runs: tuple[VolumeRun, ...]
    numbers: FoldNumbers
    simpler: tuple[Simpler, ...]
    report: Path

    @property
    def evaluation(self) -> Evaluation:
        """The numbers of a classifier over all rows."""
        return self.numbers.evaluation

    def summary(self) -> dict[str, Any]:
        """Return the numbers as plain data."""
        return {"folder": str(self.folder), "report": str(self.report), **self.numbers.to_json(),
                "simpler": [one.to_json() for one in self.simpler], "runs": [run.summary() for run in self.runs]}

    def text(self) -> str:
        """Return the few numbers that matter, with their intervals, as lines."""
        return "\n".join([self.numbers.text(), *(one.text(than="networks") for one in self.simpler),
                          f"report: {self.report}", f"runs: {self.folder}"])


def cross_validate(config: VolumeConfig, *, out: str | Path | None = None, simulated: bool | None = None,
                   images: bool = True, progress: Progress | None = None) -> CrossValidated:
    """Train once a fold of `config.split.folds`, each in its own folder; the same call again resumes.

    All folds are prepared before the first is trained, so that what one of them lacks is told at once. Each network's
    temperature is its own validation part's. The intervals are over patients and hold the networks as they are: they do
    not contain what other folds or seeds would give.

    Raises:
        UsageError: the folder holds a run of its own. DataError: what a fold lacks. Others as `train_volumes`.
    """
    progress, count = progress or silent(), config.split.folds or 5
    folder = Path(out) if out else Path("runs") / config.name
    if (folder / files.CONFIG).exists():
        raise UsageError("the folder holds a run of its own", where=folder, fix="choose another folder with --out")
    each = [config.model_copy(update={"split": config.split.model_copy(update={"folds": count, "fold": number})})
            for number in range(1, count + 1)]
    _check(each, progress)
    runs = []
    for number, one in enumerate(each, 1):
        progress.say(f"fold {number} of {count}")
        runs.append(train_volumes(one, out=folder / f"fold-{number}", simulated=simulated, images=images,
                                  progress=progress))
    table = read_volume_table(config.volumes)
    infos = [read_bundle(run.folder / files.BUNDLE) for run in runs]
    predicted = _predicted(table, runs, infos, graded=config.volumes.classes is not None)
    progress.say("simpler heads on the same folds")
    simpler = _simpler(config, predicted, progress)
    numbers = measured(predicted, by="network", progress=progress)
    report = write_folds_report(folder / PAGE, _page(config, table, runs, infos, numbers, simpler, simulated=bool(
        table.simulated if simulated is None else simulated)))
    found = CrossValidated(folder=folder, runs=tuple(runs), numbers=numbers, simpler=tuple(simpler), report=report)
    write_summary(folder, found.summary())
    return found


def _check(each: list[VolumeConfig], progress: Progress) -> None:
    """Prepare every fold, the patients themselves only once."""
    for number, one in enumerate(each, 1):
        try:
            prepare_volumes(one, progress=progress)
        except DataError as fault:
            raise DataError(f"fold {number} of {len(each)}: {fault.what}", where=fault.where, why=fault.why,
                            fix=fault.fix) from None


def _predicted(table: VolumeTable, runs: list[VolumeRun], infos: list[BundleInfo], *, graded: bool) -> Predicted:
    """Return the predictions that the trainings wrote, in the order of the table."""
    classes, rows = runs[0].classes, table.manifest.rows
    place = {row.line: index for index, row in enumerate(rows)}
    truth, fold = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    shares, raw = np.zeros((len(rows), len(classes))), np.zeros((len(rows), len(classes)))
    for number, (run, info) in enumerate(zip(runs, infos, strict=True), 1):
        tested = read_tested(run.folder / PREDICTIONS, classes)
        of = [place[line] for line in tested.lines.tolist()]
        fold[of], truth[of] = number, tested.truth
        shares[of], raw[of] = softmax(tested.logits / info.temperature), softmax(tested.logits)
    split = runs[0].split
    return Predicted(classes=classes, graded=graded, rows=rows, units=split.units, unit_kind=split.unit_kind,
                     fold=fold, truth=truth, shares=shares, raw=raw)


def _simpler(config: VolumeConfig, predicted: Predicted, progress: Progress) -> list[Simpler]:
    """Return what simpler heads reach on the same folds; none where maps have no unit and there are no columns.

    What hinders them is told and stops nothing: the networks are trained.
    """
    features = "levels" if config.volumes.levels == "map" else "none"
    if features == "none" and not config.volumes.clinical:
        return []
    try:
        data = nested_data(as_nested(config.model_dump(), features), silent())
        return simpler_heads(data, predicted, progress, than="network")
    except DataError as fault:
        progress.say(f"no simpler heads to compare with: {fault.message()}")
        return []


def _page(config: VolumeConfig, table: VolumeTable, runs: list[VolumeRun], infos: list[BundleInfo],
          numbers: FoldNumbers, simpler: list[Simpler], *, simulated: bool) -> FoldsData:
    first, folder, provenance = runs[0], runs[0].folder, infos[0].provenance
    notes = [note for note in first.split.notes if not note.startswith("fold ")]
    network = config.model.name
    proofs = [info.parity for info in infos if info.parity]
    told = told_of(numbers, table, [file_hashes(row) for row in table.files])
    return FoldsData(
        title=f"{network} on {table.manifest.source.stem}, {len(runs)} folds", by="network", simulated=simulated,
        simpler=[one.to_json() for one in simpler],
        lead=_lead(network, table, numbers), recipe=dump_yaml(config), reasons=_reasons(runs),
        made=[*made_by(config.split, table, first.split.unit_kind, len(runs)),
              f"out of the other folds, {100 * config.split.val:.0f} % of all units are the validation part of each, "
              "which chose the best epoch and the temperature", *notes],
        selected="The best epoch and the temperature of each fold",
        folds=[_fold(config, run, info, numbers, table, number)
               for number, (run, info) in enumerate(zip(runs, infos, strict=True), 1)],
        drawn=_learning(runs), cost={"parameters": provenance["parameters"], "macs": provenance["macs"]},
        weights=provenance["weights"]["start"], limits=limits(config.augment.enabled)[1:],
        environment=json.loads((folder / files.ENVIRONMENT).read_text(encoding="utf-8")),
        parity={"max_abs": max(one["max_abs"] for one in proofs), "n": sum(one["n"] for one in proofs),
                "agreement": min(one["agreement"] for one in proofs)} if proofs else None,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        next_commands=[(f"excite predict {folder.parent} TABLE", "predict other patients as the mean of the networks")],
        **told)


def _fold(config: VolumeConfig, run: VolumeRun, info: BundleInfo, numbers: FoldNumbers, table: VolumeTable,
          number: int) -> FoldTold:
    split = run.split
    return FoldTold(
        rows={"trained": len(split.train), "validation": len(split.val), "tested": len(split.test)},
        missing=missing_of(numbers, table, number), numbers=numbers.each[number - 1],
        temperature=info.provenance["temperature"],
        chosen={"Best epoch": f"{run.fit.best_epoch} of {run.fit.epochs_done}"})


def _lead(network: str, table: VolumeTable, numbers: FoldNumbers) -> str:
    found, classes = numbers.evaluation, numbers.predicted.classes
    one = found.metrics["auroc_macro"]
    return (f"{len(numbers.each)} networks, {network} with the maps {', '.join(table.maps)}, tell {', '.join(classes)} "
            f"apart. Each of {found.n} rows was predicted once, by the network that has not seen its unit: the AUROC "
            f"is {one.text()} (95 % interval over {found.n_units} units: {found.unit_kind}).")


def _reasons(runs: list[VolumeRun]) -> dict[str, str]:
    """Return why the trainings are as they are: what all share, and the doubts of each where they differ."""
    notes = [{str(event["topic"]): str(event["text"]) for event in read_events(run.folder / files.LOG)
              if event.get("event") == "note"} for run in runs]
    found = {topic: text for topic, text in notes[0].items() if topic not in OWN}
    doubts = {f"doubts, fold {number}": one.get("doubts", "none") for number, one in enumerate(notes, 1)}
    return found | ({"doubts": next(iter(doubts.values()))} if len(set(doubts.values())) == 1 else doubts)


def _learning(runs: list[VolumeRun]) -> dict[str, Any]:
    """Return the validation loss of each fold by epoch, for a drawing."""
    lines = {f"fold {number}": {float(epoch["epoch"]): epoch.get("val", {}).get("loss") for epoch in run.fit.history}
             for number, run in enumerate(runs, 1)}
    marks = {f"fold {number}": float(run.fit.best_epoch) for number, run in enumerate(runs, 1)}
    return {"lines": lines, "marks": marks, "title": "Validation loss; the dot is the best epoch", "below": "epoch",
            "beside": "loss a row", "whole": True}
