"""The vectors of a frozen trunk: made once for a few views of each image, or read where an earlier run made them."""

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from excite import __version__
from excite.data.sections import AugmentSection
from excite.deploy.export import evaluating
from excite.engine.loader import Batch, Loader
from excite.engine.signals import StopFlag
from excite.engine.state import prefers_last
from excite.errors import Interrupted, ModelError, UsageError
from excite.jobs.feature_cache import FeatureCache, digest
from excite.jobs.prepare import Prepared
from excite.jobs.trunk_runtime import EXACT, ROUNDED, RUNTIMES, Choice, TrunkRuntimes, worst
from excite.progress import Progress

BATCH = 8  # images through the trunk at once, see deploy/runtime.py
Float = NDArray[np.float32]


@dataclass(frozen=True)
class Wanted:
    """One view of a part's images.

    Args:
        view: 0 is the image itself, 1 its mirror image where the augmentation mirrors at all, each other one a change
            drawn for it. The mirror image is what a bundle looks at too.
    """

    part: str
    view: int

    def change(self, augment: AugmentSection) -> Literal["none", "mirror", "drawn"]:
        """Return what is done to the images."""
        return "none" if not self.view else "mirror" if self.view == 1 and augment.horizontal_flip else "drawn"


@dataclass(frozen=True, kw_only=True)
class Features:
    """The vectors of a run.

    Args:
        train: (views, images, F). val: (1, images, F), always in float32.
        record: Which runtime made them, and what they are; a resumed run must have the same.
        told: How they were made, in words.
    """

    train: Float
    val: Float
    record: dict[str, Any]
    told: str


class TrunkFeatures:
    """Makes the vectors of a run, or reads those that an earlier one made of the same images by the same trunk."""

    def __init__(self, prepared: Prepared, trunk: str, *, threads: int, progress: Progress, stop: StopFlag) -> None:
        self.prepared, self.trunk, self.threads = prepared, trunk, threads
        self.progress, self.stop = progress, stop
        self.cache = FeatureCache(prepared.config.cache, progress=progress)
        config = prepared.config
        self.views = config.loop.feature_views if config.augment.enabled else 1
        self.wanted = [Wanted("val", 0), *(Wanted("train", view) for view in range(self.views))]

    def features(self, record: Mapping[str, Any] | None) -> Features:
        """Return the vectors, by the runtimes of `record` where a run has begun."""
        prepared, shape = self.prepared, self.prepared.shape
        with TrunkRuntimes(prepared.model, shape=shape, threads=self.threads,
                           channels_last=prefers_last(prepared.model, prepared.config.loop)) as runtimes:
            self._refuse_more_than_its_parts()
            probes = {one: self._probe(runtimes, one) for one in self.wanted}
            found, told = {}, ""
            chosen = _recorded(record) if record else self._at_hand()
            if chosen is not None:
                found, told = self._stored(chosen, probes), chosen.reason
            if len(found) < len(self.wanted):
                if chosen is None:
                    self.progress.say("features: measuring the runtimes")
                    chosen = runtimes.choose(self._images("train"), total=self._total())
                    told = chosen.reason
                    self.progress.say(f"features: {told}")
                began, count = time.perf_counter(), sum(self._count(one) for one in self.wanted if one not in found)
                self._extract(runtimes, chosen, found, probes, count)
                told += f"; {count} vectors made in {time.perf_counter() - began:.1f} s"
            assert chosen is not None
        train, val = np.stack([found[one] for one in self.wanted if one.part == "train"]), found[Wanted("val", 0)][None]
        return Features(train=train, val=val, record={
            "train": chosen.train, "val": chosen.val, "views": self.views, "trunk": self.trunk,
            "vectors": {"train": digest(train), "val": digest(val)}},
            told=f"{self.views} views of {train.shape[1]} training images, 1 of {val.shape[1]} for validation, "
                 f"{train.shape[2]} numbers each; {told}; only the head learns")

    def _at_hand(self) -> Choice | None:
        """Return the runtimes of an earlier run that made all that is wanted; None where there is no such run."""
        for train, val in (("onnxruntime", "onnxruntime"), ("float32", "float32"), ("bfloat16", "onnxruntime"),
                           ("bfloat16", "float32")):
            choice = Choice(train=train, val=val, reason=f"read from {self.cache.folder} ({train})", milliseconds={},
                            errors={})
            if all(self.cache.file(self._facts(one, _runtime(choice, one))).exists() for one in self.wanted):
                return choice
        return None

    def _stored(self, choice: Choice, probes: Mapping[Wanted, Float]) -> dict[Wanted, Float]:
        """Return the vectors that are kept, as far as the network here gives the same."""
        found = {}
        for one in self.wanted:
            facts = self._facts(one, _runtime(choice, one))
            vectors = self.cache.load(facts, count=self._count(one))
            if vectors is not None and not self._agrees(vectors, one, choice, probes):
                self.progress.say(f"features: those kept of {one.part}, view {one.view}, are not this network's: "
                                  "made again")
                self.cache.drop(facts)
            elif vectors is not None:
                found[one] = vectors
        return found

    def _extract(self, runtimes: TrunkRuntimes, choice: Choice, found: dict[Wanted, Float],
                 probes: Mapping[Wanted, Float], count: int) -> None:
        """Add to `found` what is missing; each view is kept as soon as it is whole."""
        done = 0
        for one in self.wanted:
            if one in found:
                continue
            name, rows = _runtime(choice, one), []
            run, batches = runtimes.run(name), self._batches(one)
            try:
                for batch in batches:
                    if self.stop.signal is not None:
                        raise Interrupted(self.stop.signal, fix="the same command goes on; whole views are kept")
                    rows.append(run(batch.images))
                    done += len(batch.index)
                    self.progress.step("extracting features", done, count)
            finally:
                batches.close()
            found[one] = np.concatenate(rows)
            if not self._agrees(found[one], one, choice, probes):
                raise ModelError(f"the trunk's vectors by {name} are not those of the network",
                                 where=f"{one.part}, view {one.view}", fix="train without loop.frozen_features")
            self.cache.save(self._facts(one, name), found[one])

    def _agrees(self, vectors: Float, one: Wanted, choice: Choice, probes: Mapping[Wanted, Float]) -> bool:
        """Return whether the first vectors of a view are what the network here computes of its images."""
        own, limit = probes[one], ROUNDED if _runtime(choice, one) == "bfloat16" else EXACT
        return vectors.shape[1] == own.shape[1] and worst(vectors[:len(own)], own) <= limit

    def _probe(self, runtimes: TrunkRuntimes, one: Wanted) -> Float:
        """Return the network's own vectors, in float32, of the first images of a view."""
        with closing(self._batches(one)) as batches:
            found = runtimes.run("float32")(next(batches).images)
        if not np.isfinite(found).all():
            raise ModelError("the trunk's outputs are not finite", where=f"the first images of {one.part}",
                             fix="take other weights")
        return found

    def _refuse_more_than_its_parts(self) -> None:
        """Raise a ModelError where the network does more than its vectors and its classifier say."""
        network, images = self.prepared.model, self._images("val")
        with evaluating(network), torch.no_grad():
            whole: Tensor = network(images)
            parts: Tensor = network.classifier(network.forward_features(images))  # type: ignore[operator]
        if whole.shape != parts.shape or float((whole - parts).abs().max()) > EXACT * float(whole.abs().max()):
            raise ModelError("the network is not classifier(forward_features(x)): their outputs differ",
                             fix="let its forward do just that, or train without loop.frozen_features")

    def _images(self, part: str) -> Tensor:
        return torch.from_numpy(self.prepared.inputs(self._rows(part)[:BATCH]))

    def _rows(self, part: str) -> Sequence[int]:
        return self.prepared.split.parts[part]

    def _count(self, one: Wanted) -> int:
        return len(self._rows(one.part))

    def _total(self) -> int:
        return sum(self._count(one) for one in self.wanted)

    def _batches(self, one: Wanted) -> Generator[Batch]:
        """Yield the images of a view in the order of the part's rows."""
        prepared, change = self.prepared, one.change(self.prepared.config.augment)
        loader = Loader(prepared.cache, prepared.preprocess, self._rows(one.part), prepared.labels, batch_size=BATCH,
                        seed=prepared.config.seed, augment=prepared.config.augment if change == "drawn" else None)
        with closing(loader.batches(one.view)) as batches:  # type: ignore[type-var]
            for batch in batches:
                yield replace(batch, images=batch.images.flip(3)) if change == "mirror" else batch

    def _facts(self, one: Wanted, runtime: str) -> dict[str, Any]:
        """Return all that decides the vectors of a view."""
        prepared, rows, change = self.prepared, self._rows(one.part), one.change(self.prepared.config.augment)
        drawn = {**prepared.config.augment.model_dump(mode="json"), "seed": prepared.config.seed, "epoch": one.view,
                 "rows": list(map(int, rows))}
        return {"excite": __version__, "runtime": runtime, "trunk": self.trunk, "threads": self.threads,
                "channels_last": prefers_last(prepared.model, prepared.config.loop),
                "stored": prepared.preprocess.stored_key, "preprocess": prepared.preprocess.to_json(),
                "images": [prepared.cache.contents[row] for row in rows],
                "change": drawn if change == "drawn" else change}


def _runtime(choice: Choice, one: Wanted) -> str:
    return choice.train if one.part == "train" else choice.val


def _recorded(record: Mapping[str, Any]) -> Choice:
    """Return the runtimes that a run began with."""
    train, val = str(record.get("train")), str(record.get("val"))
    if train not in RUNTIMES or val not in RUNTIMES:
        raise UsageError(f"the run's record of its vectors names no runtimes: {train}, {val}",
                         fix="start again in a new folder with --out")
    return Choice(train=train, val=val, reason=f"as the run began ({train})", milliseconds={}, errors={})
