"""Does a picture depend on what was learned? A network of random weights must give another one.

Pictures that show edges look convincing and stay as they are when the weights are random: they explain the image, not
the network.

Source: Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, arXiv:1810.03292, section 3 (all layers at once);
SSIM: Wang et al., IEEE TIP 13 (2004), equation 13, a Gaussian of 1.5 pixels.
"""

from collections.abc import Callable
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
DRAWS = 5     # networks of random weights
ALIKE = 0.5   # rank correlation from which two pictures are alike
SIGMA = 1.5   # of SSIM's window


@dataclass(frozen=True, kw_only=True)
class Randomisation:
    """How alike a picture is to those of networks with random weights.

    Args:
        spearman: Rank correlation with each; None where one of the two is the same all over.
        ssim: Structural similarity with each, both scaled to 0..1.
    """

    spearman: tuple[float | None, ...]
    ssim: tuple[float, ...]

    @property
    def median(self) -> float | None:
        """Return the median rank correlation; None where none is known."""
        known = [one for one in self.spearman if one is not None]
        return float(np.median(known)) if known else None

    @property
    def passed(self) -> bool | None:
        """Return whether random weights give another picture; None where nothing could be compared."""
        return None if self.median is None else self.median < ALIKE

    @property
    def words(self) -> str:
        """Return what follows, in a sentence."""
        if self.median is None:
            return "random weights give an empty picture: nothing can be compared"
        numbers = f"rank correlation {self.median:.2f}, SSIM {np.median(self.ssim):.2f}"
        if self.passed:
            return f"networks with random weights give other pictures ({numbers})"
        return f"this picture does not depend on what was learned: random weights give the same ({numbers})"

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {key: list(value) for key, value in asdict(self).items()} | {
            "median": self.median, "limit": ALIKE, "passed": self.passed, "words": self.words}


def randomised(model: nn.Module, *inputs: Tensor, seed: int) -> nn.Module:
    """Return a copy in which the values of each weight tensor are shuffled: random, of the same sizes as learned.

    Args:
        model: In eval mode.
        inputs: Of the network: what batch norms measure anew. With the statistics of other weights signals would die
            on their way, and an empty picture is unlike any.
        seed: Of the shuffling.
    """
    copy = deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in copy.parameters():
            order = torch.randperm(value.numel(), generator=generator)
            value.copy_(value.flatten()[order.to(value.device)].view(value.shape))
        norms = [part.register_forward_pre_hook(_measure) for part in copy.modules() if isinstance(part, _BatchNorm)]
        copy(*inputs)
    for hook in norms:
        hook.remove()
    return copy


def _measure(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
    """Make the statistics of a batch norm those of what it is given."""
    if isinstance(norm, _BatchNorm) and norm.running_mean is not None and norm.running_var is not None:
        every = [axis for axis in range(given[0].ndim) if axis != 1]
        norm.running_mean.copy_(given[0].mean(every))
        norm.running_var.copy_(given[0].var(every, correction=0))


def randomisation(own: Picture, picture: Callable[[nn.Module], Picture], model: nn.Module, *inputs: Tensor,
                  draws: int = DRAWS, seed: int = 0) -> Randomisation:
    """Return how alike a picture is to what networks with random weights give.

    Args:
        own: Of the trained network.
        picture: Makes one with a network; the class and all else must be as for `own`.
        model: The trained network, in eval mode; it stays as it is.
        inputs: Of the network.
        draws: Networks with random weights.
    """
    others = [picture(randomised(model, *inputs, seed=seed + draw)) for draw in range(draws)]
    return Randomisation(spearman=tuple(spearman(own, other) for other in others),
                         ssim=tuple(ssim(scaled(own), scaled(other)) for other in others))


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
