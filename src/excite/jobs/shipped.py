"""What every training ends with, whatever its kind of work: the bundle, its cost, what a report says of the run."""

import statistics
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.config import dump_yaml
from excite.deploy.bundle import BundleInfo
from excite.deploy.decoding import SPACING
from excite.deploy.runtime import Predictor
from excite.deploy.ship import export_bundle
from excite.deploy.volume_mask_predictor import VolumeMaskPredictor
from excite.engine.loop import Fit
from excite.jobs import run_folder as files
from excite.jobs.environment import versions
from excite.jobs.prepare import Prepared
from excite.jobs.run_folder import RunFolder
from excite.models.cost import Cost
from excite.progress import Progress

TIMED = 21  # single images; the median of their milliseconds is reported


def export_run(run: RunFolder, prepared: Prepared, fitted: Fit, cost: Cost, *, simulated: bool | None,
            progress: Progress) -> None:
    """Export the network of a run to its bundle and prove it on validation images."""
    config, split = prepared.config, prepared.split
    step = max(1, len(split.val) // config.predict.parity_images)
    some = split.val[::step][: config.predict.parity_images]
    info = BundleInfo(
        name=f"{prepared.network} on {prepared.manifest.source.stem}", classes=prepared.classes,
        task=prepared.kind, model=prepared.model_record, preprocess=prepared.preprocess.to_json(),
        views=config.predict.views, created=datetime.now(UTC).isoformat(timespec="seconds"),
        provenance={
            "data": {"simulated": "not stated" if simulated is None else simulated,
                     **{f"{part} images": len(rows) for part, rows in split.parts.items()},
                     **_spacings(prepared), "kept together": split.unit_kind, "remarks": "; ".join(split.notes)},
            "weights": {"start": prepared.start, "licence": prepared.licence},
            **({"outlines": config.data.outlines} if prepared.targets else {}),  # how the truth of masks is read
            "seed": config.seed, "best_epoch": fitted.best_epoch, "parameters": cost.parameters, "macs": cost.macs,
            "versions": versions(),
            # Enough to see that a picture of another table was trained on, and too little to be a picture.
            "train_hashes": sorted(prepared.cache.fingerprints[row].content[:16] for row in split.train)})
    export_bundle(prepared.model, run.path / files.BUNDLE, info=info, images=prepared.inputs(some),
                  files=[prepared.manifest.path(prepared.manifest.rows[row]) for row in some],
                  spacings=[prepared.manifest.rows[row].spacing for row in some], progress=progress)


def _spacings(prepared: Prepared) -> dict[str, list[float]]:
    """Return the smallest and the largest pixel of the training part, in mm, where any is known."""
    rows = [prepared.manifest.rows[row] for row in prepared.split.train]
    found = [one for row in rows for one in row.spacing or ()]
    return {SPACING: [min(found), max(found)]} if found else {}


def milliseconds(predictor: Predictor | VolumeMaskPredictor, one: NDArray[np.float32], *, times: int = TIMED) -> float:
    """Return the median time of one input through the bundle's network, preprocessing left out."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        predictor.logits(one)
        taken.append((time.perf_counter() - began) * 1e3)
    return statistics.median(taken)


def cost_of(prepared: Prepared, cost: Cost, predictor: Predictor) -> dict[str, Any]:
    """Return parameters, multiply-adds and measured milliseconds, as a report shows them."""
    one = prepared.inputs(prepared.split.test[:1])
    return {"parameters": cost.parameters, "macs": cost.macs, "milliseconds": milliseconds(predictor, one),
            "threads": predictor.threads, "input": " x ".join(map(str, prepared.shape))}


def told(run: RunFolder, prepared: Prepared, fitted: Fit, info: BundleInfo) -> dict[str, Any]:
    """Return what a report says of a run, of any kind of work."""
    config, split, manifest = prepared.config, prepared.split, prepared.manifest
    return {
        "title": f"{prepared.network} on {manifest.source.stem}", "unit_kind": split.unit_kind,
        "units": {part: len({split.units[row] for row in rows}) for part, rows in split.parts.items()},
        "recipe": dump_yaml(config), "split_notes": (*split.notes, *manifest.notes),
        "leaks": [vars(fault) for fault in prepared.leaks], "reasons": prepared.reasons,
        "curves": {config.schedule.name: fitted.history},
        "weights": prepared.start,
        "environment": run.read_json(files.ENVIRONMENT), "parity": info.parity,
        "limits": limits(config.augment.enabled), "created": info.created}


def limits(augmented: bool) -> list[str]:
    """Return what every report of a training has to admit."""
    found = ["One test part, one seed: another split or seed gives other numbers inside and beyond these intervals.",
             "The best epoch was chosen on the validation part, whose own numbers are therefore optimistic."]
    if not augmented:
        found.append("The training saw every image as it is: no augmentation.")
    return found
