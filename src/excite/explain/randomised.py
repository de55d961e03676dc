"""Does a picture depend on what was learned? A network of random weights must give another one.

Pictures that show edges look convincing and stay as they are when the weights are random: they explain the image, not
the network. The weights become random from the output layer downwards; the last depth, all of them, decides.

Source: Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, arXiv:1810.03292, section 3 (cascading);
SSIM: Wang et al., IEEE TIP 13 (2004), equation 13, a Gaussian of 1.5 pixels.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Picture = NDArray[np.floating[Any]]
DRAWS = 3     # networks of random weights at each depth
PARTS = {1: 4, 2: 4, 3: 2}  # in which the layers below the output layer become random; a volume costs more
ALIKE = 0.5   # rank correlation from which two pictures are alike
SIGMA = 1.5   # of SSIM's window


@dataclass(frozen=True, kw_only=True)
class Depth:
    """How alike a picture is to those of networks that are random from a layer on.

    Args:
        layer: The lowest one whose weights are random.
        layers: How many are.
        spearman: Rank correlation with each network; None where one of the two pictures is the same all over.
        ssim: Structural similarity with each, both pictures scaled to 0..1.
    """

    layer: str
    layers: int
    spearman: tuple[float | None, ...]
    ssim: tuple[float, ...]

    @property
    def median(self) -> float | None:
        """Return the median rank correlation; None where none is known."""
        known = [one for one in self.spearman if one is not None]
        return float(np.median(known)) if known else None

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()} | {
            "median": self.median}


@dataclass(frozen=True, kw_only=True)
class Randomisation:
    """How alike a picture is to those of networks with random weights.

    Args:
        depths: The output layer first, all layers last.
    """

    depths: tuple[Depth, ...]

    @property
    def median(self) -> float | None:
        """Return the median rank correlation where all weights are random; None where none is known."""
        return self.depths[-1].median

    @property
    def passed(self) -> bool | None:
        """Return whether random weights give another picture; None where nothing could be compared."""
        return None if self.median is None else self.median < ALIKE

    @property
    def words(self) -> str:
        """Return what follows, in a sentence."""
        if self.median is None:
            return "random weights give an empty picture: nothing can be compared"
        numbers = f"rank correlation {self.median:.2f}, SSIM {np.median(self.depths[-1].ssim):.2f}"
        if (first := self.depths[0].median) is not None and len(self.depths) > 1:
            numbers += f"; with the output layer alone random {first:.2f}"
        if self.passed:
            return f"networks with random weights give other pictures ({numbers})"
        return f"this picture does not depend on what was learned: random weights give the same ({numbers})"

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"depths": [one.to_json() for one in self.depths], "median": self.median, "limit": ALIKE,
                "passed": self.passed, "words": self.words}


def randomised(model: nn.Module, *inputs: Tensor, seed: int, layers: Sequence[str] | None = None) -> nn.Module:
    """Return a copy in which the values of weight tensors are shuffled: random, of the same sizes as learned.

    Args:
        model: In eval mode.
        inputs: Of the network: what batch norms measure anew. With the statistics of other weights signals would die
            on their way, and an empty picture is unlike any.
        seed: Of the shuffling.
        layers: Whose own weights are shuffled, and whose statistics are measured; None: all.
    """
    copy = deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    chosen = list(copy.modules()) if layers is None else [copy.get_submodule(name) for name in layers]
    with torch.no_grad():
        for value in [value for part in chosen for value in part.parameters(recurse=False)]:
            order = torch.randperm(value.numel(), generator=generator)
            value.copy_(value.flatten()[order.to(value.device)].view(value.shape))
        norms = [part.register_forward_pre_hook(_measure) for part in chosen if isinstance(part, _BatchNorm)]
        copy(*inputs)
    for hook in norms:
        hook.remove()
    return copy


def cascade(model: nn.Module, *inputs: Tensor, parts: int) -> list[list[str]]:
    """Return the layers that are random at each depth: the output layer, then a part of the rest more at a time.

    Layers are what has weights of its own, the last to run first; what never runs comes with the last depth.

    Args:
        parts: Of the layers below the output layer; 0: all layers at once, and no other depth.
    """
    own = [name for name, part in model.named_modules() if next(part.parameters(recurse=False), None) is not None]
    order: dict[str, None] = {}

    def note(name: str) -> Any:
        return lambda part, given: order.setdefault(name)

    hooks = [model.get_submodule(name).register_forward_pre_hook(note(name)) for name in own]
    with torch.no_grad():
        model(*inputs)
    for hook in hooks:
        hook.remove()
    down = [*reversed(order), *(name for name in own if name not in order)]
    ends = {1, *(1 + round((len(down) - 1) * part / parts) for part in range(1, parts + 1))} if parts else {len(down)}
    return [down[:end] for end in sorted(ends)]


def _measure(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
    """Make the statistics of a batch norm those of what it is given."""
    if isinstance(norm, _BatchNorm) and norm.running_mean is not None and norm.running_var is not None:
        every = [axis for axis in range(given[0].ndim) if axis != 1]
        norm.running_mean.copy_(given[0].mean(every))
        norm.running_var.copy_(given[0].var(every, correction=0))


def randomisation(own: Picture, picture: Callable[[nn.Module], Picture], model: nn.Module, *inputs: Tensor,
                  draws: int = DRAWS, parts: int = PARTS[2], seed: int = 0) -> Randomisation:
    """Return how alike a picture is to what networks with random weights give, from the output layer downwards.

    Args:
        own: Of the trained network.
        picture: Makes one with a network; the class and all else must be as for `own`.
        model: The trained network, in eval mode; it stays as it is.
        inputs: Of the network.
        draws: Networks with random weights, at each depth.
        parts: Depths below the output layer; 0: all layers at once.
    """
    found = []
    for layers in cascade(model, *inputs, parts=parts):
        others = [picture(randomised(model, *inputs, seed=seed + draw, layers=layers)) for draw in range(draws)]
        found.append(Depth(layer=layers[-1], layers=len(layers), spearman=tuple(spearman(own, one) for one in others),
                           ssim=tuple(ssim(scaled(own), scaled(one)) for one in others)))
    return Randomisation(depths=tuple(found))


def spearman(one: Picture, other: Picture) -> float | None:
    """Return the rank correlation of two pictures; None where one is the same all over."""
    ranks = [rankdata(values) - (values.size + 1) / 2 for values in (one, other)]
    length = float(np.linalg.norm(ranks[0]) * np.linalg.norm(ranks[1]))
    return float(ranks[0] @ ranks[1]) / length if length else None


def ssim(one: Picture, other: Picture) -> float:
    """Return the mean structural similarity of two pictures of values from 0 to 1, of any number of axes."""
    x, y = one.astype(np.float64), other.astype(np.float64)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = gaussian_filter(values, SIGMA, truncate=3.5, mode="reflect")
        return found

    mx, my = mean(x), mean(y)
    vx, vy, shared = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    low, high = 0.01**2, 0.03**2
    found = (2 * mx * my + low) * (2 * shared + high) / ((mx**2 + my**2 + low) * (vx + vy + high))
    return float(found.mean())


def scaled(picture: Picture) -> Picture:
    """Return a picture from 0 to 1; one that is the same all over is 0."""
    low, high = float(picture.min()), float(picture.max())
    return (picture - low) / (high - low) if high > low else np.zeros_like(picture)
