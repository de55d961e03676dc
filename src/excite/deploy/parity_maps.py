"""Does an exported network for masks draw what the trained one draws? In outputs, in masks and in millimetres."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from excite.deploy.export import evaluating, logits_of
from excite.deploy.measuring import head_in
from excite.deploy.parity import RELATIVE_LIMIT
from excite.deploy.session import open_session
from excite.errors import ModelError, ParityError, UsageError
from excite.machine import usable_cores
from excite.metrics.biometry import measure
from excite.outcome.maps import Place, cut_of, to_original
from excite.progress import Progress, silent

Float = NDArray[np.float32]
DICE_LIMIT = 0.9999                                # of two masks of one image
HC_LIMIT = 0.01                                    # mm, or pixels where a pixel's size is not known
OTHER_SIZES = ((256, 256), (544, 800), (250, 333))  # what it is proved at besides its own; the last is padded inside
AT_ONCE = 2                                        # images


@dataclass(frozen=True, kw_only=True)
class MapParity:
    """How far an exported network for masks is from the trained one.

    Args:
        n: Images compared.
        max_abs: Largest difference of a logit.
        max_rel: `max_abs` over the largest logit.
        dice: Smallest Dice of two masks of one image and class; 1 where both are empty.
        hc: Largest difference of a circumference; None where the work is not heads.
        hc_unit: "mm", or "px" where not every image's size of a pixel is known.
        sizes: "HxW" -> the same as `max_rel` for an image at another size; {} where the network takes one size.
        worst: The image of `max_abs`.
    """

    n: int
    max_abs: float
    max_rel: float
    dice: float
    hc: float | None = None
    hc_unit: str | None = None
    sizes: dict[str, float] = field(default_factory=dict)
    worst: str

    def to_json(self) -> dict[str, object]:
        """Return plain data for bundle.json; without the image's name, which may be a person's."""
        return {key: value for key, value in asdict(self).items() if key != "worst"} | {"limit": RELATIVE_LIMIT}

    def text(self) -> str:
        """Return the numbers in words."""
        hc = "" if self.hc is None else f", circumferences to {self.hc:.3g} {self.hc_unit} (limit {HC_LIMIT:g})"
        sizes = ", ".join(f"{size}: {far:.3g}" for size, far in self.sizes.items())
        return (f"largest difference {self.max_abs:.3g} = {self.max_rel:.3g} of the largest output (limit "
                f"{RELATIVE_LIMIT:g}), masks equal to a Dice of {self.dice:.6f} (limit {DICE_LIMIT:g}){hc} on "
                f"{self.n} images, worst: {self.worst}; "
                + (f"at other sizes {sizes}" if sizes else "one size only: the network takes no other"))


def map_parity(model: nn.Module, onnx: Path, images: Float, *, level: float = 0.5, heads: bool = False,
               places: Sequence[Place] | None = None, spacings: Sequence[tuple[float, ...] | None] | None = None,
               names: Sequence[str] | None = None, progress: Progress | None = None) -> MapParity:
    """Compare a network for masks with its export on prepared real images.

    Args:
        images: (N, C, H, W) float32, as the preprocessing makes them.
        level: Probability from which a pixel is inside.
        heads: Compare circumferences too.
        places: Where each image lies in its input; None: masks are compared on the network's grid.
        spacings: Millimetres a pixel of each original image; circumferences are in mm where all are known.
        names: Of the images, for the message.

    Raises:
        ParityError: outputs, masks or circumferences differ too much, or are not finite. ModelError: the network gives
            no map of logits a class. UsageError: there is no image.
    """
    progress = progress or silent()
    if not len(images):
        raise UsageError("parity needs at least one real image", fix="give some of the validation part")
    size = (int(images.shape[2]), int(images.shape[3]))
    places = places or [Place(np.eye(2, 3), size)] * len(images)
    in_mm = spacings is not None and all(one is not None for one in spacings)
    steps = [one or (1.0,) for one in spacings] if in_mm and spacings is not None else [(1.0,)] * len(images)
    names = list(names) if names is not None else [f"image {row}" for row in range(len(images))]
    far, top, dices, hcs, low, high = [], 0.0, [], [], np.inf, -np.inf
    for row, (trained, shipped) in enumerate(_pairs(model, onnx, images)):
        _check(trained, shipped, names[row], size)
        top = max(top, float(np.abs(trained).max()))
        low, high = min(low, float(trained.min())), max(high, float(trained.max()))
        far.append(float(np.abs(trained.astype(np.float64) - shipped).max()))
        both = [to_original(one, places[row]) for one in (trained, shipped)]
        dices.append(_dice(*(_masks(one, level) for one in both)))
        if heads:
            hcs.append(_apart(*(_circumference(one[0], level, steps[row]) for one in both)))
        progress.step("parity", row + 1, len(images))
    # Logits of a network that has hardly learnt lie in a narrow band, which may be between 0 and 1 too.
    if 0 <= low < 0.1 and 0.9 < high <= 1:
        raise ModelError("the network's outputs lie between 0 and 1 on every image: probabilities, it seems",
                         why="the sigmoid is taken once, outside the network", fix="let its forward return logits")
    found = MapParity(n=len(images), max_abs=max(far), max_rel=_share(max(far), top), dice=min(dices),
                      hc=max(hcs) if heads else None, hc_unit=("mm" if in_mm else "px") if heads else None,
                      sizes=_other_sizes(model, onnx, images[int(np.argmax(far))]), worst=names[int(np.argmax(far))])
    rests = [found.max_rel, *found.sizes.values()]
    if not (all(one <= RELATIVE_LIMIT for one in rests) and found.dice >= DICE_LIMIT and (found.hc or 0) <= HC_LIMIT):
        raise ParityError("the exported network does not compute what the trained one does", why=found.text(),
                          fix="nothing was written; report this network to the project, it cannot be shipped as it is")
    return found


def _pairs(model: nn.Module, onnx: Path, images: Float) -> Iterator[tuple[Float, Float]]:
    """Yield the trained and the exported network's maps of each image, (K, H, W)."""
    session = open_session(onnx, threads=usable_cores())
    source = session.get_inputs()[0].name
    for start in range(0, len(images), AT_ONCE):
        batch = np.ascontiguousarray(images[start:start + AT_ONCE], dtype=np.float32)
        with evaluating(model), torch.inference_mode():
            trained = _by_torch(model, batch)
        yield from zip(trained, session.run(["logits"], {source: batch})[0], strict=True)


def _other_sizes(model: nn.Module, onnx: Path, image: Float) -> dict[str, float]:
    """Return how far the export is from the network for an image at other sizes; sizes that it refuses are left out."""
    session = open_session(onnx, threads=usable_cores())
    entry = session.get_inputs()[0]
    if any(isinstance(one, int) for one in entry.shape[2:]):
        return {}
    found = {}
    for height, width in OTHER_SIZES:
        batch = np.stack([cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR) for one in image])[None]
        with evaluating(model), torch.inference_mode():
            try:
                trained = _by_torch(model, batch)
            except RuntimeError:
                continue
        shipped = session.run(["logits"], {entry.name: batch})[0]
        same = trained.shape == shipped.shape
        found[f"{height}x{width}"] = _share(float(np.abs(trained - shipped).max()) if same else float("inf"),
                                            float(np.abs(trained).max()))
    return found


def _by_torch(model: nn.Module, batch: Float) -> Float:
    device = next((one.device for one in model.parameters()), torch.device("cpu"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what a network says of a size was said when it was trained
        logits: Any = logits_of(model, torch.from_numpy(batch).to(device))
    if not isinstance(logits, torch.Tensor) or logits.ndim != 4:
        raise ModelError("a network for masks must give logits (N, classes, H, W), got "
                         f"{tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__}")
    found: Float = logits.float().cpu().numpy()
    return found


def _check(trained: Float, shipped: Float, name: str, size: tuple[int, int]) -> None:
    if trained.shape[1:] != size:
        raise ModelError(f"a network's maps must have the images' size {size}, got {trained.shape[1:]}",
                         fix="enlarge them inside the network")
    for kind, values in (("trained", trained), ("exported", shipped)):
        if not np.isfinite(values).all():
            raise ParityError(f"the {kind} network's outputs are not finite", where=name,
                              fix="look at the training log for a broken epoch")
    if trained.shape != shipped.shape:
        raise ParityError(f"the exported network's maps are {shipped.shape}, the trained one's {trained.shape}",
                          where=name, fix="report this network to the project")


def _masks(logits: Float, level: float) -> NDArray[np.bool_]:
    """Return the masks of the classes, (K, H, W), of several without the background."""
    if len(logits) == 1:
        return logits >= cut_of(level)
    best = logits.argmax(axis=0)
    return np.stack([best == place for place in range(1, len(logits))])


def _dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    shared, whole = (first & second).sum(axis=(1, 2)), first.sum(axis=(1, 2)) + second.sum(axis=(1, 2))
    return float(np.where(whole > 0, 2 * shared / np.maximum(whole, 1), 1.0).min())


def _circumference(logits: Float, level: float, spacing: tuple[float, ...]) -> float | None:
    ellipse = head_in(logits, level=level).ellipse
    return None if ellipse is None else measure(ellipse, spacing).hc_mm


def _apart(first: float | None, second: float | None) -> float:
    if first is None or second is None:
        return 0.0 if first is second else float("inf")
    return abs(first - second)


def _share(far: float, top: float) -> float:
    return far / top if top > 0 else (0.0 if far == 0 else float("inf"))
