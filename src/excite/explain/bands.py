"""What each band of a spectrum gives to a class. Maps over a window of a few pixels would say little.

The network sees components, which are a linear reduction of the bands: so gradients and hidden bands are computed in
the components and brought to the bands exactly, without a network of the bands.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from excite.explain.integrated import STEPS, mean_gradient

CHUNK = 64  # windows at once


@dataclass(frozen=True, kw_only=True, eq=False)
class BandWindows:
    """Windows of a scene, as the network takes them, and the spectra they come from.

    Args:
        reduced: As the network takes them.
        apart: Spectra minus the mean spectrum; 0 where the window shows no data.
        weight: Of the reduction: what a band gives to each component.

    Shape:
        reduced (N, C, w, w), apart (N, B, w, w), weight (C, B)
    """

    reduced: Tensor
    apart: Tensor
    weight: Tensor

    def without(self, gone: Tensor) -> Tensor:
        """Return the windows with some bands (B,) at their mean, (N, C, w, w)."""
        return self.reduced - torch.einsum("cb,nb...->nc...", self.weight[:, gone], self.apart[:, gone])


def integrated_bands(model: nn.Module, windows: BandWindows, *, classes: Tensor, steps: int = STEPS) -> Tensor:
    """Return what each band of each window adds to the logit of its class, from the mean spectrum on, (N, B).

    It is integrated gradients of reduction and network together, summed over the window; the bands' parts sum to the
    difference of the two logits.
    """
    baseline = windows.without(torch.ones(windows.weight.shape[1], dtype=torch.bool))
    found = []
    for first in range(0, len(classes), CHUNK):
        some = slice(first, first + CHUNK)
        slope = mean_gradient(model, windows.reduced[some], classes=classes[some], baseline=baseline[some], steps=steps)
        of_bands = torch.einsum("cb,nc...->nb...", windows.weight, slope)
        found.append((of_bands * windows.apart[some]).flatten(2).sum(2))
    return torch.cat(found)


def hidden_bands(model: nn.Module, windows: BandWindows, *, classes: Tensor) -> Tensor:
    """Return by how much the logit of its class falls for each window where a band is at its mean, (N, B)."""
    rows, found = torch.arange(len(classes)), []
    with torch.no_grad():
        whole = model(windows.reduced)[rows, classes]
        for band in range(windows.weight.shape[1]):
            gone = torch.zeros(windows.weight.shape[1], dtype=torch.bool)
            gone[band] = True
            found.append(whole - model(windows.without(gone))[rows, classes])
    return torch.stack(found, dim=1)
