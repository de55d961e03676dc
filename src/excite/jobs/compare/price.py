"""What a prediction of each of two networks costs: milliseconds measured here and now, parameters and multiply-adds."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from excite.deploy.bundle import BundleInfo
from excite.deploy.runtime import Predictor
from excite.deploy.scene_predictor import ScenePredictor
from excite.deploy.volume_mask_predictor import VolumeMaskPredictor
from excite.deploy.volume_predictor import VolumePredictor
from excite.jobs.compare.tested import Tested
from excite.metrics.comparison import Price

ROUNDS = 31    # of each network, in turn; the fastest counts, because what disturbs can only add
SECONDS = 10.0  # after which no further round begins


def prices(a: Tested, b: Tested) -> tuple[Price, Price]:
    """Return the price of both: one input through each network in turn, on one thread, so that both meet the same load.

    Preprocessing is left out; a second view of the image is not.
    """
    runs = _once(a), _once(b)
    taken: tuple[list[float], list[float]] = [], []
    began = time.perf_counter()
    for turn in range(ROUNDS):
        for place in (turn % 2, 1 - turn % 2):
            start = time.perf_counter()
            runs[place]()
            taken[place].append((time.perf_counter() - start) * 1e3)
        if time.perf_counter() - began > SECONDS:
            break
    low, high = np.percentile(np.divide(taken[1], taken[0]), [25, 75]).tolist()
    return _price(a.info, min(taken[0])), replace(_price(b.info, min(taken[1])), ratio=(low, high))


def _once(one: Tested) -> Callable[[], object]:
    """Return what sends one input through a network."""
    task = one.info.task
    if task == "volumes":
        volumes = VolumePredictor(one.folder, threads=1)
        maps = np.zeros((1, len(volumes.preprocess.maps), *volumes.preprocess.shape), np.float32)
        return lambda: volumes.logits(maps)
    if task == "volume_masks":
        scans = VolumeMaskPredictor(one.folder, threads=1)
        patch = np.zeros((1, len(scans.preprocess.maps), *scans.preprocess.patch), np.float32)
        return lambda: scans.logits(patch)
    if task == "scene":
        scene = ScenePredictor(one.folder, threads=1)
        window = np.zeros((scene.window, scene.window, scene.reduction.components), np.float32)
        return lambda: scene.logits(window)
    images = Predictor(one.folder, threads=1)
    image = images.prepare(np.zeros((64, 64), np.uint8))[0][None]
    return lambda: images.views(image)


def _price(info: BundleInfo, milliseconds: float) -> Price:
    parameters, macs = (value if isinstance(value := info.provenance.get(name), int) else None
                        for name in ("parameters", "macs"))
    return Price(milliseconds=milliseconds, parameters=parameters, macs=macs)
