"""Occlusion: how much the answer falls while a window hides a part of the input. No gradients come into it.

Source: Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, arXiv:1311.2901, section 4.2.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from math import ceil

import torch
from torch import Tensor

from excite.errors import UsageError

Value = Callable[[Tensor], Tensor]  # inputs (B, C, *S) to what is explained of each, (B,)
BATCH = 16


def occlusion(value: Value, image: Tensor, *, window: Sequence[int], stride: Sequence[int] | None = None,
              fill: float | Tensor = 0.0, channel: int | None = None, batch: int = BATCH) -> Tensor:
    """Return by how much the value falls where a window hides a place, the mean over the windows that cover it.

    Args:
        value: What is explained.
        image: One input.
        window: Its sides.
        stride: Steps between windows; None: half the window.
        fill: What the window holds: one value, or one a channel, (C, *1).
        channel: The only one that is hidden; None: all.
        batch: Inputs at once.

    Shape:
        image (C, *S) -> (*S)

    Raises:
        UsageError: window or stride do not fit the image.
    """
    sizes = image.shape[1:]
    steps = [max(1, side // 2) for side in window] if stride is None else list(stride)
    if len(window) != len(sizes) or len(steps) != len(sizes) or any(
            not 1 <= step <= side <= size for step, side, size in zip(steps, window, sizes, strict=True)):
        raise UsageError(f"window must fit the image {tuple(sizes)} and stride the window, got {tuple(window)} and "
                         f"{tuple(steps)}")
    boxes = list(_boxes(sizes, window, steps))
    total, count = (torch.zeros(sizes, dtype=torch.float64) for _ in range(2))
    hidden = slice(None) if channel is None else slice(channel, channel + 1)
    content = fill[hidden] if isinstance(fill, Tensor) else fill
    with torch.no_grad():
        whole = value(image[None])[0]
        for first in range(0, len(boxes), batch):
            some = boxes[first:first + batch]
            inputs = image[None].repeat(len(some), *[1] * image.ndim)
            for one, box in zip(inputs, some, strict=True):
                one[(hidden, *box)] = content
            for box, fall in zip(some, (whole - value(inputs)).double().tolist(), strict=True):
                total[box] += fall
                count[box] += 1
    return total / count.clamp(min=1)


def own_mean(image: Tensor) -> Tensor:
    """Return the mean of each channel of an image (C, *S), (C, *1): a fill that adds no brightness of its own."""
    return image.mean(dim=tuple(range(1, image.ndim)), keepdim=True)


def usual_window(sizes: Sequence[int]) -> tuple[int, ...]:
    """Return a window of an eighth of an image's sides, of a volume's a quarter."""
    part = 8 if len(sizes) == 2 else 4
    return tuple(max(1, size // part) for size in sizes)


def _boxes(sizes: Sequence[int], window: Sequence[int], steps: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Yield the windows; the last one along an axis reaches the border, or beyond it and is cut."""
    starts = [[place * step for place in range(ceil((size - side) / step) + 1)]
              for size, side, step in zip(sizes, window, steps, strict=True)]
    for corner in product(*starts):
        yield tuple(slice(first, first + side) for first, side in zip(corner, window, strict=True))
