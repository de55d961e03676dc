"""What simpler methods reach on the same pixels of a scene: a support vector machine and a forest, a 2-D CNN.

They learn from the network's training pixels, choose on its validation pixels and are measured on its test pixels, so
that a reader sees what the network adds.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from excite.deploy.export import evaluating
from excite.engine.loop import fit
from excite.jobs.network import build_network
from excite.jobs.scenes.prepare import PreparedScene
from excite.machine import usable_cores
from excite.metrics.classification import ClassificationMeasure
from excite.metrics.intervals import Interval, bootstrap
from excite.progress import Progress, silent

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
COMPARED = ("accuracy", "balanced_accuracy", "kappa")
COSTS, WIDTHS = (1.0, 10.0, 100.0), (0.1, 1.0, 10.0)  # of the SVM: C, and gamma times the number of values
LEAVES = (1, 5)     # of the forest: pixels in a leaf
TREES = 300
MOST = 10_000       # training pixels that SVM and forest learn from, drawn at random; more cost minutes
CNN = "resnet20"


@dataclass(frozen=True, kw_only=True, eq=False)
class Baseline:
    """A method, its answers for the test pixels (N,), what they come to, and how long it took."""

    name: str
    predicted: Labels
    metrics: dict[str, Interval]
    seconds: float


def run_baselines(prepared: PreparedScene, folder: Path, *, progress: Progress | None = None) -> list[Baseline]:
    """Return what each of the config's baselines reaches.

    Args:
        folder: For what the 2-D CNN keeps while it trains.
    """
    progress, found = progress or silent(), []
    pixels = len(prepared.truth("train"))
    for name in prepared.config.baselines:
        progress.say(f"baseline: {NAMES[name]}" + (f", on {MOST:,} of {pixels:,} training pixels"
                                                   if pixels > MOST and name != "cnn" else ""))
        began = time.perf_counter()
        predicted = METHODS[name](prepared, folder)
        found.append(Baseline(name=NAMES[name], predicted=predicted, seconds=time.perf_counter() - began,
                              metrics=measured(prepared, predicted)))
    return found


def measured(prepared: PreparedScene, predicted: Labels) -> dict[str, Interval]:
    """Return OA, AA and kappa of answers for the test pixels, with intervals over their units."""
    measure = _measure(prepared, predicted)
    return bootstrap(lambda weights: _compared(measure, weights), units_of(prepared))


def in_pairs(prepared: PreparedScene, ours: Labels, theirs: Baseline) -> str:
    """Return in words how much more of the same test pixels the network has right, with its interval over units."""
    first, second = (_measure(prepared, one) for one in (ours, theirs.predicted))
    gap = bootstrap(lambda weights: {key: _compared(first, weights)[key] - _compared(second, weights)[key]
                                     for key in COMPARED[:1]}, units_of(prepared))["accuracy"]
    return f"network minus {theirs.name}, OA on the same pixels: {gap.text()}"


def units_of(prepared: PreparedScene) -> list[str]:
    """Return the unit of each test pixel: its block, or itself where pixels were drawn one by one."""
    rows, columns = prepared.split.positions("test").T
    return [str(one) for one in prepared.split.unit[rows, columns]]


def _measure(prepared: PreparedScene, predicted: Labels) -> ClassificationMeasure:
    return ClassificationMeasure(prepared.truth("test"), np.eye(len(prepared.classes))[predicted], prepared.classes)


def _compared(measure: ClassificationMeasure, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    found = measure(weights)
    return {key: found[key] for key in COMPARED}


def _svm(prepared: PreparedScene, _: Path) -> Labels:
    """Support vectors with a radial kernel; C and gamma are those that are best on the validation pixels."""
    from sklearn.svm import SVC

    values, truth = _learnt_from(prepared)
    options = [{"C": cost, "gamma": width / values.shape[1]} for cost, width in product(COSTS, WIDTHS)]
    return _best(prepared, [SVC(class_weight="balanced", **one).fit(values, truth).predict for one in options])


def _forest(prepared: PreparedScene, _: Path) -> Labels:
    """Random trees; the size of their leaves is that which is best on the validation pixels."""
    from sklearn.ensemble import RandomForestClassifier

    values, truth = _learnt_from(prepared)
    return _best(prepared, [RandomForestClassifier(TREES, min_samples_leaf=leaf, class_weight="balanced_subsample",
                                                   n_jobs=prepared.config.loop.threads or usable_cores(),
                                                   random_state=prepared.config.seed).fit(values, truth).predict
                            for leaf in LEAVES])


def _cnn(prepared: PreparedScene, folder: Path) -> Labels:
    """Train a 2-D residual network on the same windows by the same loop."""
    config = prepared.config
    section = config.model.model_copy(update={"name": CNN, "attention": None, "options": {}, "dropout": None})
    model, *_ = build_network(section, None, in_channels=prepared.reduction.components,
                              num_classes=len(prepared.classes), seed=config.seed)
    place = folder / "baseline-cnn"
    place.mkdir(exist_ok=True)
    fit(model, prepared.task, prepared.batches("train", train=True), prepared.batches("val"), optim=config.optim,
        schedule=config.schedule, loop=config.loop, seed=config.seed, folder=place, log=lambda event: None)
    with evaluating(model), torch.inference_mode():
        return np.concatenate([model(one.images).argmax(1).numpy() for one in prepared.batches("test").batches(0)])


def _learnt_from(prepared: PreparedScene) -> tuple[Floats, Labels]:
    """Return spectra and classes of the training pixels, of some drawn at random where there are too many."""
    values, truth = spectra(prepared, "train"), prepared.truth("train")
    some = np.random.default_rng(prepared.config.seed).permutation(len(truth))[:MOST] if len(truth) > MOST else \
        np.arange(len(truth))
    return values[some], truth[some]


def spectra(prepared: PreparedScene, part: str) -> Floats:
    """Return the reduced spectra of a part's pixels, (N, components)."""
    rows, columns = prepared.split.positions(part).T
    found: Floats = prepared.reduced[rows, columns]
    return found


def _best(prepared: PreparedScene, methods: Sequence[Callable[[Floats], NDArray[np.integer]]]) -> Labels:
    """Return the test answers of the method whose mean recall on the validation pixels is largest."""
    truth, values = prepared.truth("val"), spectra(prepared, "val")
    there = np.unique(truth)
    scores = []
    for method in methods:
        right = method(values) == truth
        scores.append(float(np.mean([right[truth == label].mean() for label in there])))
    return methods[int(np.argmax(scores))](spectra(prepared, "test")).astype(np.int64)


NAMES = {"svm": "SVM on spectra", "forest": "random forest on spectra", "cnn": "2-D CNN"}
METHODS: dict[str, Callable[[PreparedScene, Path], Labels]] = {"svm": _svm, "forest": _forest, "cnn": _cnn}
