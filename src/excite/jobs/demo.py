"""The whole job on simulated images, in minutes: simulate, check, train, evaluate, export, predict."""

from pathlib import Path

from excite.config import load_config
from excite.data.check import check
from excite.data.phantom.planes import simulate_planes
from excite.data.sections import DataSection
from excite.errors import DataError
from excite.jobs.sections import TrainConfig
from excite.progress import Progress, silent

PATIENTS = 120
RECIPE: dict[str, object] = {
    "model.name": "mobilenet_v2", "model.weights": "none", "model.options": {"width": 0.5},
    "model.attention.kind": "se", "preprocess.size": 128, "optim.lr": 3e-3, "loop.epochs": 30, "loop.batch_size": 16,
    "augment.rotation": 10.0, "loop.precision": "float32",  # not chosen by a stopwatch: the same numbers everywhere
}


def demo(folder: Path, *, seed: int = 0, progress: Progress | None = None) -> dict[str, object]:
    """Simulate ultrasound planes in `folder`, train on them and predict a few; return what was measured and where.

    The images are simulated: the numbers say that the software works, nothing about patients.
    """
    from excite.deploy.runtime import load
    from excite.jobs.train import train

    progress = progress or silent()
    progress.say("SIMULATED data: speckle images computed from a model of tissue, no patient anywhere")
    table = folder / f"data-{seed}" / "planes.csv"
    if not table.exists():
        simulate_planes(folder / f"data-{seed}", patients=PATIENTS, seed=seed, progress=progress)
    faults = check(DataSection(table=table), progress=progress).errors
    if faults:
        raise DataError("the simulated table has faults", where=table, why=faults[0].message)
    config = load_config(TrainConfig, values=RECIPE | {"data.table": table, "seed": seed})
    run = train(config, out=folder / f"run-{seed}", simulated=True, progress=progress)
    shown = [run.manifest.path(run.manifest.rows[row]) for row in run.split.test[:3]]
    predictions = load(run.folder / "bundle")(shown)
    return {"simulated": True, "data": str(table.parent), "table": str(table), "run": str(run.folder),
            "report": str(run.report), "text": run.text(), "metrics": run.summary()["metrics"],
            "predictions": [one.to_json() for one in predictions]}
