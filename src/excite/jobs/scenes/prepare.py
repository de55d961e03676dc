"""From a config to everything that training on a scene needs: cube, labels, split, reduction, windows, network."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from excite.data.scenes.reduction import BandReduction, fit_reduction, nearest_bands
from excite.data.scenes.scene import Scene
from excite.data.scenes.split import SceneSplit
from excite.data.scenes.windows import SceneWindows
from excite.deploy.bundle import WEIGHTS, find_bundle
from excite.engine.windows import SceneBatches
from excite.errors import DataError
from excite.jobs import run_folder as files
from excite.jobs.network import build_network
from excite.jobs.scenes.data import fingerprint_of, scene_to_learn, sha256, split_of
from excite.jobs.scenes.measured import seen
from excite.jobs.scenes.sections import SceneConfig, with_defaults
from excite.progress import Progress, silent
from excite.tasks.classification import ClassificationTask
from excite.tiling import Border
from excite.weights.load import LoadReport
from excite.weights.store import resolve

COMPONENTS = 15  # of PCA, where the config says nothing and there are as many bands
WINDOWED = ("hybridsn",)  # networks that are built for one window


@dataclass(kw_only=True, eq=False)
class PreparedScene:
    """What a training on a scene is made of.

    Args:
        reduced: The cube as the network sees it, 0 where it holds no data.
        fingerprint: sha256 of what the run was trained on, by name.
    """

    config: SceneConfig
    scene: Scene
    split: SceneSplit
    reduction: BandReduction
    reduced: NDArray[np.float32]
    model: nn.Module
    model_record: dict[str, object]
    weights: LoadReport | None
    task: ClassificationTask
    fingerprint: dict[str, str]
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes."""
        return self.scene.labels.classes

    @property
    def network(self) -> str:
        """Return what to call the network: its name, or that of the class of one's own."""
        return self.config.model.name if self.model_record else type(self.model).__name__

    @property
    def border(self) -> Border:
        """Return what lies beyond the scene."""
        return "zero" if self.config.border == "zero" else "reflect"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the network's input, (components, window, window)."""
        return (self.reduction.components, self.config.window, self.config.window)

    def truth(self, part: str) -> NDArray[np.int64]:
        """Return the classes of a part's pixels, from 0 on, in reading order."""
        rows, columns = self.split.positions(part).T
        found: NDArray[np.int64] = self.scene.labels.values[rows, columns].astype(np.int64) - 1
        return found

    def windows(self, part: str, *, train: bool = False) -> SceneWindows:
        """Return the windows of a part, changed at random and shuffled where `train`."""
        config = self.config
        return SceneWindows(self.reduced, self.split.positions(part), self.truth(part), window=config.window,
                            batch_size=config.loop.batch_size, seed=config.seed,
                            augment=config.augment if train else None, reduction=self.reduction,
                            sampler=config.loop.sampler if train else "order", border=self.border)

    def batches(self, part: str, *, train: bool = False) -> SceneBatches:
        """Return the same as tensors."""
        return SceneBatches(self.windows(part, train=train))

    def counts(self, part: str) -> dict[str, int]:
        """Return the pixels of each class in a part."""
        return dict(zip(self.classes, self.split.counts[part], strict=True))


def prepare_scene(config: SceneConfig, *, model: nn.Module | None = None,
                  progress: Progress | None = None) -> PreparedScene:
    """Read the scene, split it, learn the reduction on the training part, build the network.

    Args:
        model: A network that takes the place of config.model; its weights stay as they are.

    Raises:
        DataError: faults of the files or the split. UsageError: arguments that do not fit. ModelError: of the weights.
    """
    progress, config = progress or silent(), with_defaults(config)
    scene = scene_to_learn(config)
    classes = scene.labels.classes
    split = split_of(config, scene)
    split = replace(split, notes=(*_seen_by_weights(config, scene), *split.notes))
    if not any(split.counts["val"]):
        raise DataError("the val part is empty", why="it chooses the best epoch and the temperature",
                        fix="set split.val above 0, or give split.val_map")
    reduction = reduction_of(config, scene, split)
    progress.say(f"reducing {scene.cube.bands} bands to {reduction.components}")
    reduced = reduction.apply(scene.cube.values)
    if scene.cube.valid is not None:
        reduced[~scene.cube.valid] = 0
    record: dict[str, object] = {}
    report, told = None, "given by the caller"
    if model is None:
        window = {"window": config.window} if config.model.name in WINDOWED else {}
        model, record, report, told = build_network(config.model, _weights(config), num_classes=len(classes),
                                                    in_channels=reduction.components, seed=config.seed, **window)
    counts = [1] * len(classes) if config.loop.sampler == "balanced" else list(split.counts["train"])
    return PreparedScene(
        config=config, scene=scene, split=split, reduction=reduction, reduced=reduced, model=model, model_record=record,
        weights=report, task=ClassificationTask(classes, config.loss, counts),
        fingerprint={**fingerprint_of(scene), "parts": sha256(split.parts)},
        reasons={"scene": "; ".join([_labelled(scene), *scene.notes]), "network": told,
                 "bands": _reduction_told(reduction),
                 "window": f"{config.window} x {config.window} pixels; beyond the border {config.border}",
                 "split": "; ".join(split.notes)})


def _labelled(scene: Scene) -> str:
    """Return how many pixels have a label: a map whose first class is 0 loses it without an error."""
    values, valid = scene.labels.values, scene.cube.valid
    held = values.size if valid is None else int(np.count_nonzero(valid))
    return f"{np.count_nonzero(values):,} of {held:,} pixels have a label, the others 0, which is none"


def reduction_of(config: SceneConfig, scene: Scene, split: SceneSplit) -> BandReduction:
    """Return the reduction, learnt on the training pixels unless the config asks for all."""
    section, cube = config.reduction, scene.cube
    chosen = section.bands
    if section.nanometres is not None:
        chosen = nearest_bands(cube.wavelengths, section.nanometres)
    components = None
    if section.kind == "pca":
        components = section.components or min(COMPONENTS, cube.bands)
    return fit_reduction(_pixels(scene, split, everything=section.fit_on == "all pixels"), kind=section.kind,
                         components=components, whiten=section.whiten, scale=section.scale, chosen=chosen,
                         fitted_on=section.fit_on)


def _pixels(scene: Scene, split: SceneSplit, *, everything: bool) -> NDArray[Any]:
    """Return the spectra that a reduction learns from."""
    if not everything:
        rows, columns = split.positions("train").T
        return np.asarray(scene.cube.values[rows, columns])
    if scene.cube.valid is not None:
        return np.asarray(scene.cube.values[scene.cube.valid])
    return np.asarray(scene.cube.values).reshape(-1, scene.cube.bands)


def _weights(config: SceneConfig) -> Path | None:
    """Return the file that the network starts from: of a bundle its weights; None where random values are asked for."""
    given = config.model.weights
    if given is not None and Path(given).is_dir():
        return find_bundle(Path(given)) / WEIGHTS
    return resolve(given, config.model.name)


def _seen_by_weights(config: SceneConfig, scene: Scene) -> list[str]:
    """Return the warning that the network starts from one that has learnt from these pixels; none where it has not."""
    given = config.model.weights
    places = [] if given is None else [Path(given), *Path(given).parents[:2]]  # a run, its bundle, its weights
    run = next((one for one in places if (one / files.HASHES).is_file()), None)
    return [] if run is None else [f"the network starts from {run.name}: {note}" for note in seen(scene, run)]


def _reduction_told(reduction: BandReduction) -> str:
    kinds = {"pca": f"{reduction.components} principal components of {reduction.bands} bands",
             "bands": f"{reduction.components} of {reduction.bands} bands", "none": f"all {reduction.bands} bands"}
    share = f", {sum(reduction.explained):.2%} of the variance" if reduction.explained else ""
    leak = "" if reduction.fitted_on == "training pixels" else ": test pixels took part, as is usual and leaky"
    return f"{kinds[reduction.kind]}{share}; learnt on {reduction.pixels} {reduction.fitted_on}{leak}"
