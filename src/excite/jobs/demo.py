"""The whole job on simulated images, in minutes: simulate, check, train, evaluate, export, predict."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from excite.config import load_config
from excite.data.check import check
from excite.data.phantom.heads import TABLE, simulate_heads
from excite.data.phantom.planes import simulate_planes
from excite.data.sections import DataSection
from excite.errors import DataError, UsageError
from excite.jobs.sections import TrainConfig
from excite.progress import Progress, silent
from excite.registry import nearest

SHOWN = 3  # test images that are predicted
BOTH: dict[str, object] = {"model.weights": "none",
                           "loop.precision": "float32"}  # not chosen by a stopwatch: the same numbers everywhere


@dataclass(frozen=True, kw_only=True)
class Part:
    """One half of the demo.

    Args:
        prefix: Of its files' names.
        simulate: Writes pictures and their table into a folder.
        table: Name of that table.
        recipe: Values of the config besides those of both.
        drawn: Predictions are drawn on their images.
    """

    prefix: str
    simulate: Callable[..., Path]
    table: str
    recipe: Mapping[str, object]
    drawn: bool = False


PLANES = Part(prefix="", simulate=partial(simulate_planes, patients=120), table="planes.csv", recipe={
    "model.name": "mobilenet_v2", "model.options": {"width": 0.5}, "model.attention.kind": "se",
    "preprocess.size": 128, "optim.lr": 3e-3, "loop.epochs": 30, "loop.batch_size": 16, "augment.rotation": 10.0})
# Of the two networks for heads, the one that is made to be trained whole: without pretrained weights it learns sooner.
HEADS = Part(prefix="heads-", simulate=partial(simulate_heads, patients=90, size=(270, 400)), table=TABLE, recipe={
    "model.name": "aspp_se_unet", "model.options": {"base": 8, "atrous_rates": (2, 3, 4), "min_hidden": 4},
    "preprocess.size": (96, 144), "optim.lr": 3e-3, "loop.epochs": 20}, drawn=True)


def demo(folder: Path, *, only: str | None = None, seed: int = 0, progress: Progress | None = None
         ) -> dict[str, Any]:
    """Simulate planes and heads in `folder`, train on each and predict a few; return what was measured and where.

    The images are simulated: the numbers say that the software works, nothing about patients.

    Args:
        only: "planes" or "heads"; None: both. What heads give is under the key "heads" in either case.

    Raises:
        UsageError: there is no such part.
    """
    if only not in (None, "planes", "heads"):
        raise UsageError(f"only must be planes or heads, got {only!r}",
                         fix=nearest(str(only), ["planes", "heads"]).strip() or "leave it out for both")
    progress = progress or silent()
    progress.say("SIMULATED data: speckle images computed from a model of tissue, no patient anywhere")
    found: dict[str, Any] = {"simulated": True}
    if only != "heads":
        found |= _run(PLANES, folder, seed, progress)
    if only != "planes":
        found["heads"] = _run(HEADS, folder, seed, progress)
    return found


def _run(part: Part, folder: Path, seed: int, progress: Progress) -> dict[str, Any]:
    """Take a part from nothing to predictions."""
    from excite.jobs.predict import predict
    from excite.jobs.train import train

    data = folder / f"{part.prefix}data-{seed}"
    table = data / part.table
    if not table.exists():
        part.simulate(data, seed=seed, progress=progress)
    faults = check(DataSection(table=table), progress=progress).errors
    if faults:
        raise DataError("the simulated table has faults", where=table, why=faults[0].message)
    config = load_config(TrainConfig, values={**BOTH, **part.recipe, "data.table": table, "seed": seed})
    run = train(config, out=folder / f"{part.prefix}run-{seed}", simulated=True, progress=progress)
    asked, overlays = folder / f"{part.prefix}shown-{seed}.csv", folder / f"{part.prefix}overlays-{seed}"
    run.manifest.select(run.split.test[:SHOWN]).write_csv(asked)
    predictions: list[dict[str, Any]] = []
    predict(run.folder / "bundle", [asked], overlays=overlays if part.drawn else None,
            each=lambda one: predictions.append(one.to_json()))
    return {"simulated": True, "data": str(data), "table": str(table), "run": str(run.folder),
            "report": str(run.report), "text": run.text(), "metrics": run.summary()["metrics"],
            "predictions": predictions, **({"overlays": str(overlays)} if part.drawn else {})}
