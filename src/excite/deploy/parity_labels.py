"""Does an exported network for label volumes label patches as the trained one does?"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from excite.deploy.export import evaluating, logits_of
from excite.deploy.parity import RELATIVE_LIMIT
from excite.deploy.parity_maps import DICE_LIMIT, MapParity
from excite.deploy.session import open_session
from excite.errors import ModelError, ParityError, UsageError
from excite.machine import usable_cores
from excite.progress import Progress, silent

Float = NDArray[np.float32]


def label_parity(model: nn.Module, onnx: Path, patches: Float, *, names: Sequence[str],
                 progress: Progress | None = None) -> MapParity:
    """Compare a network with its export on prepared real patches.

    Args:
        patches: (N, M, D, H, W) float32, as the preprocessing makes them.
        names: Of the patches, for the message.

    Raises:
        ParityError: outputs or labels differ too much, or are not finite. ModelError: the network gives no map of
            logits a class. UsageError: there is no patch.
    """
    progress = progress or silent()
    if not len(patches):
        raise UsageError("parity needs at least one real scan", fix="give some of the validation part")
    session, far, top, dices = open_session(onnx, threads=usable_cores()), list[float](), 0.0, list[float]()
    for row, patch in enumerate(patches):
        with evaluating(model), torch.inference_mode():
            trained = logits_of(model, torch.from_numpy(patch[None])).float().numpy()[0]
        shipped = session.run(["logits"], {"images": patch[None]})[0][0]
        _check(trained, shipped, patch.shape[1:], names[row])
        top = max(top, float(np.abs(trained).max()))
        far.append(float(np.abs(trained.astype(np.float64) - shipped).max()))
        dices.append(_dice(trained.argmax(axis=0), shipped.argmax(axis=0), len(trained)))
        progress.step("parity", row + 1, len(patches))
    share = max(far) / top if top > 0 else float(max(far) > 0)
    found = MapParity(n=len(patches), max_abs=max(far), max_rel=share, dice=min(dices),
                      worst=names[int(np.argmax(far))])
    if not (share <= RELATIVE_LIMIT and found.dice >= DICE_LIMIT):
        raise ParityError("the exported network does not compute what the trained one does", why=found.text(),
                          fix="nothing was written; report this network to the project, it cannot be shipped as it is")
    return found


def _check(trained: Float, shipped: Float, size: tuple[int, ...], name: str) -> None:
    if trained.ndim != 4 or trained.shape[1:] != size or len(trained) < 2:
        raise ModelError(f"a network for label volumes must give logits (N, classes, {', '.join(map(str, size))}), got "
                         f"{('N', *trained.shape)}", fix="enlarge them inside the network, a map for each class")
    if trained.shape != shipped.shape:
        raise ParityError(f"the exported network's maps are {shipped.shape}, the trained one's {trained.shape}",
                          where=name, fix="report this network to the project")
    for kind, values in (("trained", trained), ("exported", shipped)):
        if not np.isfinite(values).all():
            raise ParityError(f"the {kind} network's outputs are not finite", where=name,
                              fix="look at the training log for a broken epoch")


def _dice(first: NDArray[np.int64], second: NDArray[np.int64], classes: int) -> float:
    """Return the smallest Dice of a class but the background; 1 where both have nothing of it."""
    found = []
    for place in range(1, classes):
        one, other = first == place, second == place
        whole = int(one.sum()) + int(other.sum())
        found.append(2 * int((one & other).sum()) / whole if whole else 1.0)
    return min(found)
