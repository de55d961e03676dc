"""A classifier on a frozen trunk: its vectors once, for a few views of each image; then only the head is trained.

An epoch passes over as many images as in full training, one view of each, in the same order and batches.
"""

import hashlib
import tempfile
import time
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from torch import nn

from excite.engine.features import FeatureBatches, Head
from excite.engine.loop import Fit, fit, machine_threads
from excite.engine.sections import LoopSection
from excite.engine.signals import StopFlag
from excite.errors import ModelError, UsageError
from excite.jobs.prepare import Prepared
from excite.jobs.run_folder import RunFolder
from excite.jobs.trunk_features import TrunkFeatures
from excite.models.groups import split_parameters
from excite.progress import Progress, silent

FEATURES = "features.json"  # of a run: which runtimes made its vectors, and what they are
KEY = "loop.frozen_features"


def check(prepared: Prepared) -> None:
    """Raise where a head on this network's frozen trunk is no classifier that one could want.

    Raises:
        UsageError: masks, a network without vectors, a trunk or gates of fresh values, settings that say otherwise.
    """
    loop, attention = prepared.config.loop, prepared.config.model.attention
    if prepared.targets:
        raise UsageError(f"{KEY} is for classes, the work is {prepared.kind}",
                         why="masks are drawn from maps, and their decoder is most of the work",
                         fix="train without it; loop.freeze_epochs freezes an encoder")
    for name, value in (("freeze_epochs", loop.freeze_epochs), ("budget_minutes", loop.budget_minutes)):
        if value:
            raise UsageError(f"loop.{name} must be left out with {KEY}, got {value:g}", fix="give loop.epochs",
                             why="the trunk is frozen in every epoch" if name == "freeze_epochs" else
                             "an epoch takes milliseconds")
    Head(prepared.model)
    loaded = prepared.weights
    if loaded is None and prepared.model_record:
        raise UsageError(f"{KEY}: the trunk's weights are random, and would stay so", where="model.weights is none",
                         fix="model.weights=imagenet, or a file")
    parts = split_parameters(prepared.model)
    fresh = {part: [name for name in parts[part] if loaded is not None and name not in loaded.loaded]
             for part in ("gates", "trunk")}
    if fresh["gates"]:
        start = getattr(attention, "start", None) or "open"
        raise UsageError(
            f"{KEY}: {len(fresh['gates'])} parameters of attention are fresh and would stay so: only the head learns",
            why="open gates are exactly 1 and would change nothing" if start == "open" else
            "gates of random values would only disturb the trunk",
            fix="leave --attention out, load weights that have it, or train without --frozen-features")
    if fresh["trunk"]:
        raise UsageError(f"{KEY}: {len(fresh['trunk'])} parameters of the trunk are fresh and would stay so",
                         why=", ".join(fresh["trunk"][:3]), fix="take weights of the whole trunk")


def fit_head(run: RunFolder, prepared: Prepared, *, progress: Progress | None = None,
             stop: StopFlag | None = None) -> Fit:
    """Make or read the vectors, train the head on them, and leave the whole network with it, trunk untouched.

    Raises:
        UsageError: see `check`; or a resumed run would have other vectors. Interrupted: `stop` rose.
        ModelError: the network is not its classifier on its vectors, or its trunk changed.
    """
    check(prepared)
    progress, stop, config, network = progress or silent(), stop or StopFlag(), prepared.config, prepared.model
    threads, before = machine_threads(config.loop), trunk_hash(network)
    network.eval()
    resumed = run.read_json(FEATURES) if (run.path / FEATURES).exists() else None
    features = TrunkFeatures(prepared, before, threads=threads, progress=progress, stop=stop).features(resumed)
    if resumed is None:
        run.write_json(FEATURES, features.record)
    else:
        run.refuse_changes("features", resumed, features.record)
    prepared.reasons["features"] = features.told
    progress.say(f"features: {features.told}")
    run.log({"event": "note", "topic": "features", "text": features.told})
    done = fit(Head(network), prepared.task, FeatureBatches(prepared.loader("train", train=True), features.train),
               FeatureBatches(prepared.loader("val"), features.val), optim=config.optim, schedule=config.schedule,
               loop=head_loop(config.loop), seed=config.seed, folder=run.path, log=run.log, progress=progress,
               stop=stop)
    network.eval()
    if trunk_hash(network) != before:
        raise ModelError("the trunk changed while it was frozen", why="its forward_features changes its own tensors",
                         fix="train this network without loop.frozen_features")
    return done


def head_loop(loop: LoopSection) -> LoopSection:
    """Return the loop of a head: in float32 unless told otherwise, a linear layer being too small to measure."""
    return loop.model_copy(update={"precision": "float32" if loop.precision == "auto" else loop.precision})


def trunk_hash(network: nn.Module) -> str:
    """Return the sha256 of all that is not the classifier: its build in words, and every tensor's bits."""
    found = hashlib.sha256("\n".join(f"{name} {part.extra_repr()} {type(part).__name__}" for name, part
                                     in network.named_modules() if name.split(".")[0] != "classifier").encode())
    for name, value in network.state_dict().items():
        if name.split(".")[0] != "classifier":
            found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def told_time(prepared: Prepared) -> str:
    """Return how long the run will take at most, in words: measured on a few images and on a few epochs of a head."""
    check(prepared)
    config, network, split = prepared.config, prepared.model.eval(), prepared.split
    threads, images = machine_threads(config.loop), torch.from_numpy(prepared.inputs(split.train[:8]))
    views = config.loop.feature_views if config.augment.enabled else 1
    count = views * len(split.train) + len(split.val)
    taken = []
    with torch.no_grad():
        for _ in range(3):
            began = time.perf_counter()
            width = network.forward_features(images).shape[1]  # type: ignore[operator]
            taken.append((time.perf_counter() - began) / len(images))
    epoch = _epoch_seconds(prepared, width)
    return (f"at most {count * min(taken):.0f} s for {count} vectors ({views} views of each training image), then "
            f"{epoch * 1e3:.0f} ms an epoch, {epoch * config.loop.epochs:.1f} s for {config.loop.epochs} epochs, "
            f"measured here with {threads} threads")


def _epoch_seconds(prepared: Prepared, width: int) -> float:
    """Return the seconds of an epoch of a copy of the head on made-up vectors."""
    config, parts = prepared.config, (prepared.loader("train", train=True), prepared.loader("val"))
    random = np.random.default_rng(0)
    train, val = (FeatureBatches(one, random.random((1, len(one), width), np.float32)) for one in parts)
    loop = head_loop(config.loop).model_copy(update={"epochs": 3, "early_stopping": None})
    with tempfile.TemporaryDirectory(prefix="excite-") as folder:
        began = time.perf_counter()
        fit(deepcopy(Head(prepared.model)), prepared.task, train, val, optim=config.optim, schedule=config.schedule,
            loop=loop, seed=config.seed, folder=Path(folder), log=lambda _: None)
        return (time.perf_counter() - began) / loop.epochs
