"""A network for windows of a scene as it is shipped: one graph for a window, a tile or the whole scene.

Its convolutions do not pad and its dense layers become convolutions, the first as large as the map of a window. So it
gives every pixel what it gives the pixel's window, and computes each map once for all windows that share it.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from excite.deploy.export import evaluating, export
from excite.deploy.parity import Parity, compare, parity
from excite.deploy.session import open_session
from excite.errors import UsageError
from excite.machine import usable_cores
from excite.models.hybridsn import HybridSN
from excite.models.whole_scene import refuse_inexact

BATCH = 64  # windows that are compared at once


class SceneNetwork(nn.Module):
    """HybridSN over a padded scene; its dense weights are copies, the rest is the network's own.

    Args:
        network: Trained; no layer of it but the dense ones looks at a window as a whole.

    Shape:
        (N, bands, H, W), H and W at least the window -> logits (N, K, H - window + 1, W - window + 1)

    Raises:
        UsageError: a layer makes a scene differ from its windows.
    """

    def __init__(self, network: HybridSN) -> None:
        super().__init__()
        refuse_inexact(network)
        self.spectral, self.spatial = network.spectral, network.spatial
        self.dense = _as_convolution(network.dense, network.side)
        self.hidden = _as_convolution(network.hidden, 1)
        self.classifier = _as_convolution(network.classifier, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of every window."""
        maps = self.spatial(self.spectral(x.unsqueeze(1)).flatten(1, 2))
        logits: Tensor = self.classifier(self.hidden(self.dense(maps).relu()).relu())
        return logits


def whole_form(network: nn.Module) -> SceneNetwork | None:
    """Return the network as it computes a whole scene; None where it would not be exact, or is of another kind."""
    if type(network) is not HybridSN:  # one's own kind of it may compute something else
        return None
    try:
        return SceneNetwork(network)
    except UsageError:
        return None


def export_scene(network: nn.Module, file: Path, windows: NDArray[np.float32]) -> Parity:
    """Write the network as ONNX, over a whole scene where that is exact and for windows otherwise, and prove it.

    Args:
        network: (N, bands, window, window) -> logits (N, K).
        windows: Real ones, of the validation part.

    Shape:
        windows (N, bands, window, window)

    Raises:
        ParityError: the export does not compute what the network does. ModelError: it cannot be exported.
    """
    bands, window = windows.shape[1:3]
    names = [f"window {place}" for place in range(len(windows))]
    whole = whole_form(network)
    if whole is None:
        export(network, file, size=window, channels=bands)
        return parity(network, file, windows, names=names)
    export(whole, file, size=window + 4, channels=bands, maps=True, least=window)
    session = open_session(file, threads=usable_cores())
    trained, shipped = [], []
    with evaluating(network), torch.inference_mode():
        for start in range(0, len(windows), BATCH):
            some = np.ascontiguousarray(windows[start:start + BATCH])
            trained.append(network(torch.from_numpy(some)).float().numpy())
            shipped.append(session.run(["logits"], {"images": some})[0][:, :, 0, 0])
    ours, theirs = np.concatenate(trained), np.concatenate(shipped)
    return compare([ours, ours], [theirs, theirs], names)


def _as_convolution(layer: nn.Linear, side: int) -> nn.Conv2d:
    """Return a dense layer as a convolution over maps of `side` x `side`."""
    found = nn.Conv2d(layer.in_features // side**2, layer.out_features, side)
    found.weight.data = layer.weight.detach().reshape(found.weight.shape).clone()
    found.bias = nn.Parameter(layer.bias.detach().clone())
    return found
