"""What follows a training on masks: the level and the interval of heads, evaluation of what ships, report."""

from pathlib import Path

from excite.deploy.bundle import read_bundle, update_bundle
from excite.deploy.runtime import Predictor
from excite.engine.loop import Fit
from excite.errors import ModelError
from excite.jobs import run_folder as files
from excite.jobs.evaluate import evaluate
from excite.jobs.evaluation_data import part_of_run
from excite.jobs.head_calibration import choose_level, interval_of
from excite.jobs.overlays import run_overlays
from excite.jobs.prepare import Prepared
from excite.jobs.run_folder import RunFolder
from excite.jobs.shipped import cost_of, told
from excite.metrics.mask_evaluation import MaskEvaluation
from excite.models.cost import Cost
from excite.progress import Progress
from excite.report.mask_page import MaskReportData, write_mask_report


def finish_masks(run: RunFolder, prepared: Prepared, fitted: Fit, cost: Cost, *, images: bool,
                 simulated: bool | None, progress: Progress) -> tuple[MaskEvaluation, Path]:
    """Settle level and interval on the validation part, evaluate on the test part, report.

    Args:
        cost: Of the network at its input.
    """
    bundle, threads = run.path / files.BUNDLE, prepared.config.loop.threads
    level, interval = calibrate(run, prepared, progress=progress) if prepared.kind == "heads" else ("", "")
    evaluation = evaluate(run.path, split="test", threads=threads, progress=progress)
    if not isinstance(evaluation, MaskEvaluation):
        raise ModelError("the bundle is not one for masks", where=bundle, fix="train again in a new folder")
    info = update_bundle(bundle, metrics=evaluation.to_json())
    predictor = Predictor(bundle, threads=threads)
    grid, worst = run_overlays(run.path, predictor, evaluation) if images else ([], [])
    parts = prepared.split.parts
    name = f"with a {prepared.classes[0]}"
    report = write_mask_report(run.path / files.REPORT, MaskReportData(
        simulated=bool(simulated), lead=_lead(prepared, evaluation), evaluation=evaluation,
        counts={part: {name: prepared.counts(part)[0], "without": len(rows) - prepared.counts(part)[0]}
                for part, rows in parts.items()},
        level=level, interval=interval, grid=grid, worst=worst, cost=cost_of(prepared, cost, predictor),
        next_commands=[(f"excite predict {run.path} IMAGES --overlays PICTURES", "draw and measure files or folders"),
                       (f"excite evaluate {run.path / files.BUNDLE} --data TABLE", "measure it on other data")],
        **told(run, prepared, fitted, info)), images=images)
    run.log({"event": "done", "best_epoch": fitted.best_epoch, "level": info.level})
    return evaluation, report


def calibrate(run: RunFolder, prepared: Prepared, *, progress: Progress) -> tuple[str, str]:
    """Choose the level, then fit the interval at it, both on the validation part; return each in words."""
    bundle, threads = run.path / files.BUNDLE, prepared.config.loop.threads
    part = part_of_run(run.path, "val", masks=True)
    chosen = choose_level(Predictor(bundle, threads=threads), part.rows, part.root, progress=progress)
    provenance = read_bundle(bundle).provenance | {"level": chosen.text()}
    update_bundle(bundle, thresholds={"level": chosen.level}, provenance=provenance)
    interval, words = interval_of(Predictor(bundle, threads=threads), part.rows, part.root, progress=progress)
    update_bundle(bundle, interval=interval.to_json() if interval else {})
    return chosen.text(), words


def _lead(prepared: Prepared, evaluation: MaskEvaluation) -> str:
    """Return what was trained and how good it is, in two sentences."""
    name, metrics = prepared.network, evaluation.metrics
    begin = (f"{name} was trained on {len(prepared.split.train)} images to find the {prepared.classes[0]}. On "
             f"{evaluation.n} test images it has never seen, ")
    end = f" (95 % intervals over {evaluation.n_units} units: {evaluation.unit_kind})."
    dice = f"its Dice is {metrics['dice'].text()}"
    adf = metrics.get("adf_mm")
    if adf is None or adf.value is None:
        return begin + dice + end
    return begin + f"circumferences are off by {adf.text()} mm on average, and {dice}" + end
