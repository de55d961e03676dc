"""A bundle with fewer gates: chosen within a promise, folded, exported, proved, and timed beside the old one."""

import re
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from excite.deploy.bundle import ONNX, WEIGHTS, BundleInfo
from excite.deploy.export import export
from excite.deploy.session import open_session
from excite.deploy.ship import export_bundle
from excite.errors import ExciteError, UsageError
from excite.explain.fold import Folded, fold_gates
from excite.explain.fold_choice import Promise, apart, broken, choose
from excite.explain.gate_ablation import GateCost, lost_intervals, scores_of
from excite.explain.gate_statistics import LayerGates
from excite.jobs.export import rebuild
from excite.jobs.gates.inputs import GateInputs
from excite.layers.gate import Gate
from excite.metrics.intervals import Interval
from excite.models.classifier import own_attention
from excite.models.measure import Timing, interleaved
from excite.progress import Progress

BUSY = 2.0                                             # 90th over 10th percentile of a quiet machine is less
PROOF = 16                                             # images that prove the export
SAME_DATA = ("chosen and measured on the same data, so the loss is a little too low: measure the new bundle on other "
             "data with excite evaluate")
NO_PLAN = ("no attention plan says which gates are left, so the new bundle predicts and cannot be rebuilt in torch: "
           "explain and export the old one")
BLOCK = re.compile(r"(?:.*\.)?stages\.(\d+\.\d+)\.attention")


@dataclass(frozen=True, kw_only=True)
class FoldTold:
    """What folding did.

    Args:
        promise: What it may change.
        into: Where the gates of each folded layer went.
        left: Why the others are as they were.
        difference: Largest difference of a probability on the data.
        lost: Of each score, with its interval.
        before: Milliseconds of one input in ONNX Runtime with one thread.
        after: The same of the folded network.
        parameters: Before and after.
        bundle: The new bundle; None where nothing was folded.
        notes: What to know of it.
    """

    promise: Promise
    into: dict[str, str]
    left: dict[str, str]
    difference: float
    lost: dict[str, Interval]
    before: Timing | None
    after: Timing | None
    parameters: tuple[int, int]
    bundle: Path | None
    notes: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"promise": asdict(self.promise), "into": self.into, "left": self.left, "difference": self.difference,
                "lost": {key: one.to_json() for key, one in self.lost.items()},
                "before": self.before and self.before.rounded(), "after": self.after and self.after.rounded(),
                "parameters": list(self.parameters), "bundle": self.bundle and str(self.bundle),
                "notes": list(self.notes)}


def fold_bundle(inputs: GateInputs, layers: Sequence[LayerGates], costs: Sequence[GateCost], promise: Promise,
                out: Path, *, units: Sequence[str], resamples: int, seed: int, progress: Progress) -> FoldTold:
    """Fold what may be folded, and write the new bundle to `out` where anything was.

    Raises:
        UsageError: the bundle is one for volumes. ParityError: the export does not compute what the network does.
    """
    if inputs.info.task == "volumes":
        raise UsageError("bundles for volumes are not folded", where=inputs.folder,
                         fix="leave --fold out; excite.explain.fold.fold_gates folds the network in Python")
    model = inputs.model
    chosen = choose(model, inputs, layers, costs, promise, score=inputs.score, answer=inputs.answer, progress=progress)
    images = _proof(inputs)
    means = {layer.name: torch.from_numpy(layer.mean) for layer in layers if layer.name in chosen.names}
    folded = fold_gates(model, {name: means[name] for name in chosen.names}, torch.from_numpy(images[:2]))
    sizes = tuple(sum(one.numel() for one in network.parameters()) for network in (model, folded.model))
    left = {layer.name: {**chosen.left, **folded.left}[layer.name] for layer in layers
            if layer.name not in folded.into}
    far = apart(model, inputs, other=folded.model, score=inputs.score, answer=inputs.answer)
    if breach := broken(far, promise):  # by the rounding of the folded weights
        left |= dict.fromkeys(folded.into, breach)
    if breach or not folded.into:
        return FoldTold(promise=promise, into={}, left=left, difference=0.0, lost={}, before=None, after=None,
                        parameters=(sizes[0], sizes[0]), bundle=None, notes=["nothing was folded, no bundle written"])
    before, after = _timed(model, folded.model, images[:1], inputs.info)
    record, notes = _record(inputs.info, folded.model)
    _ship(inputs, folded, record, images, out, progress)
    return FoldTold(promise=promise, into=folded.into, left=left, difference=far.difference,
                    lost=_lost(inputs, folded, units, resamples, seed), before=before, after=after,
                    parameters=(sizes[0], sizes[1]), bundle=out, notes=[SAME_DATA, *notes, *_busy(before, after)])


def _proof(inputs: GateInputs) -> NDArray[np.float32]:
    places = inputs.good
    chosen = np.unique(np.linspace(0, len(places) - 1, min(PROOF, len(places))).round().astype(int))
    return np.stack([inputs.one(places[place])[0] for place in chosen])


def _lost(inputs: GateInputs, folded: Folded, units: Sequence[str], resamples: int, seed: int) -> dict[str, Interval]:
    """Return what each score loses, paired, with its interval."""
    own, changed = (scores_of(model, inputs, {}, inputs.score)[""] for model in (inputs.model, folded.model))
    found = lost_intervals({("", key): own[key] - changed[key] for key in own}, units, resamples=resamples, seed=seed)
    return {key: one for (_, key), one in found.items()}


def _timed(model: nn.Module, other: nn.Module, image: NDArray[np.float32], info: BundleInfo) -> tuple[Timing, Timing]:
    """Return the milliseconds of one input through both, in turns, in ONNX Runtime with one thread."""
    with tempfile.TemporaryDirectory(prefix="excite-fold-") as place:
        works = {}
        for name, network in (("before", model), ("after", other)):
            file = Path(place) / f"{name}-{ONNX}"
            export(network, file, size=(int(image.shape[2]), int(image.shape[3])), channels=int(image.shape[1]),
                   **({"maps": True} if info.of_masks else {}))
            session = open_session(file, threads=1)
            works[name] = (lambda one, given: lambda: one.run(None, given))(
                session, {session.get_inputs()[0].name: image})
        taken = interleaved(works, seconds=4)
    return taken["before"], taken["after"]


def _busy(before: Timing, after: Timing) -> list[str]:
    """Return a note where the machine did other work besides, which makes medians say little."""
    if max(one.high / one.low for one in (before, after)) < BUSY:
        return []
    return [f"the machine was busy while this was timed: of the passes the slowest tenth took {before.high:.2f} ms and "
            f"more, so medians say little; the fastest tenth took up to {before.low:.3f} ms before and {after.low:.3f} "
            "ms after"]


def _record(info: BundleInfo, folded: nn.Module) -> tuple[dict[str, Any], list[str]]:
    """Return how to build the network without the gates that went; {} where no plan says it."""
    kept = [name for name, part in folded.named_modules() if isinstance(part, Gate)]
    blocks = tuple(match[1] for name in kept if (match := BLOCK.fullmatch(name)))
    plan = info.model.get("attention") or _own(info)
    record = info.model | {"attention": plan | {"stages": None, "blocks": blocks} if blocks else None}
    with tempfile.TemporaryDirectory(prefix="excite-fold-") as place:
        save_file({key: value.contiguous() for key, value in folded.state_dict().items()}, Path(place) / WEIGHTS)
        try:
            rebuild(replace(info, model=record), Path(place) / WEIGHTS)
        except ExciteError:
            return {}, [NO_PLAN]
    return record, []


def _own(info: BundleInfo) -> dict[str, Any]:
    """Return the plan that a network has of its own."""
    own = own_attention(info.model["name"], dims=info.model.get("dims", 2), **info.model.get("options", {}))
    return {} if own is None else own.record()


def _ship(inputs: GateInputs, folded: Folded, record: dict[str, Any], images: NDArray[np.float32], out: Path,
          progress: Progress) -> None:
    info = replace(inputs.info, model=record, metrics={}, provenance=inputs.info.provenance | {"folded": {
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "gates": folded.into, "data": inputs.part}})
    export_bundle(folded.model, out, info=info, images=images, progress=progress)
