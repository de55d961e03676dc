"""Grad-CAM: the maps of a layer, each weighted by how much the answer rises with it.

It shows where the layer saw what speaks for the answer, at the resolution of that layer and no finer. Images and
volumes, classes and masks are one computation: they differ in the number that is explained.

Source: Selvaraju et al., Grad-CAM, ICCV 2017, arXiv:1610.02391, equations 1 and 2; for masks Vinogradova et al.,
Seg-Grad-CAM, arXiv:2002.11434, equation 2: the sum of the logits of the class over a region.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from excite.errors import UsageError
from excite.explain.taps import kept

Score = Callable[[Tensor], Tensor]  # outputs of the network to the number, or one a sample, that is explained
_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


class Explained(NamedTuple):
    """Maps of importance, one tensor a layer and call, none below 0, and what the network said."""

    maps: list[Tensor]   # (N, *T) each
    outputs: Tensor


def gradcam(model: nn.Module, *inputs: Tensor, score: Score, layers: Sequence[str],
            slices: int | None = None) -> Explained:
    """Return Grad-CAM of each sample at the resolution of the layers.

    Args:
        model: In eval mode; samples of a batch must not depend on each other.
        inputs: Of the network, the images first.
        score: What is explained, from the outputs: `of_classes` or `of_regions`.
        layers: Names of parts of the network.
        slices: So many maps after each other are the slices of one, and weighted alike: (N * D, C, h, w) is taken as
            (N, C, D, h, w).

    Raises:
        UsageError: a layer is unknown, gives no maps, or the answer does not depend on it.
    """
    with torch.enable_grad(), kept(model, layers) as maps:
        outputs = model(*inputs)
        number = score(outputs).sum()
    if not maps or not number.requires_grad:
        raise UsageError(f"the answer does not depend on layer {', '.join(layers)}", fix="name another layer")
    gradients = torch.autograd.grad(number, maps, materialize_grads=True)
    weighted = [_weighted(_whole(one.detach(), slices), _whole(slope, slices))
                for one, slope in zip(maps, gradients, strict=True)]
    return Explained(weighted, outputs.detach())


def of_classes(classes: Tensor) -> Score:
    """Return the score that is the logit of a class a sample, (N,)."""
    return lambda logits: logits.gather(1, classes[:, None])[:, 0]


def of_regions(region: Tensor) -> Score:
    """Return the score that is the sum of the logits where `region`, shaped as these, is true."""
    return lambda logits: (logits * region).flatten(1).sum(1)


def enlarged(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Return maps (N, *T) at another size, linearly between the middles of their cells."""
    return functional.interpolate(maps[:, None], size=tuple(size), mode=_LINEAR[len(size)])[:, 0]


def _weighted(maps: Tensor, gradients: Tensor) -> Tensor:
    """Return equation 2, with the weights of equation 1: the mean gradient of each channel."""
    weights = gradients.flatten(2).mean(2)
    return torch.einsum("nc,nc...->n...", weights, maps).relu()


def _whole(maps: Tensor, slices: int | None) -> Tensor:
    """Return the maps of volumes whose slices lie after each other."""
    return maps if slices is None else torch.unflatten(maps, 0, (-1, slices)).transpose(1, 2)
