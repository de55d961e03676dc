"""Depth-wise separable against dense convolution: counted, as the papers do, and timed, as nobody may leave out.

Source: Howard et al., "MobileNets", arXiv:1704.04861, section 3.1 (the ratio 1/N + 1/k^2) and table 3.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from excite.jobs.model_cost import machine
from excite.layers.dims import conv
from excite.models.cost import Cost, count
from excite.models.measure import Timing, interleaved, using_threads

KERNEL = 3


class Step(NamedTuple):
    """A row of table 3, each on top of the one before: what it says in millions, for a layer of 512 channels."""

    name: str
    separable: bool
    alpha: float  # width multiplier: of the channels
    side: int     # of the map: 14, or 14 times the resolution multiplier rho of the input
    macs: float
    parameters: float


#    name                       separable alpha side  MACs  parameters
TABLE_3 = (
    Step("convolution",            False, 1.0,  14, 462.0, 2.36),
    Step("depthwise separable",    True,  1.0,  14,  52.3, 0.27),
    Step("alpha = 0.75",           True,  0.75, 14,  29.6, 0.15),
    Step("rho = 0.714",            True,  0.75, 10,  15.1, 0.15),
)
WIDTHS = (32, 64, 128, 256, 512, 1024)


class Layer(NamedTuple):
    """A layer to be timed: of `channels` in and out, on a map of `sizes`."""

    label: str
    channels: int
    sizes: tuple[int, ...]
    batch: int


TIMED = (
    Layer("2-D", 512, (14, 14), 1),
    Layer("2-D", 512, (14, 14), 16),
    Layer("3-D", 96, (16, 32, 32), 1),
)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """A layer of table 3, counted."""

    step: Step
    parameters: int
    macs: int


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """Separable over dense at N channels: multiply-adds as counted, as the formula has them, and time."""

    channels: int
    macs: float
    formula: float
    time: float


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One way to compute a layer, timed."""

    layer: Layer
    way: str
    parameters: int
    macs: int
    time: Timing
    macs_ratio: float  # the dense layer's over this one's
    time_ratio: float

    @property
    def rate(self) -> float:
        """Achieved GMAC/s; GFLOPS, operations a second, are twice as many."""
        return self.macs / self.time.median / 1e6


@dataclass(frozen=True, kw_only=True)
class Bench:
    """All that `excite bench cost` says."""

    table_3: list[Counts]
    ratios: list[Ratio]
    measured: list[Measured]
    machine: dict[str, Any]
    channels_last: bool


def ways(channels: int, dims: int) -> dict[str, nn.Module]:
    """Return the four layers: dense, depth-wise, point-wise, and separable, which is the two in a row."""
    kind = conv(dims)
    depthwise = kind(channels, channels, KERNEL, padding=KERNEL // 2, groups=channels, bias=False)
    pointwise = kind(channels, channels, 1, bias=False)
    return {"dense": kind(channels, channels, KERNEL, padding=KERNEL // 2, bias=False), "depthwise": depthwise,
            "pointwise": pointwise, "separable": nn.Sequential(depthwise, pointwise)}


def count_table() -> list[Counts]:
    """Return table 3, counted on real layers."""
    rows = []
    for step in TABLE_3:
        channels = int(512 * step.alpha)
        cost = _counted(channels, (step.side, step.side), "separable" if step.separable else "dense")
        rows.append(Counts(step=step, parameters=cost.parameters, macs=cost.macs))
    return rows


def bench_cost(*, seconds: float = 12.0, threads: int | None = None, channels_last: bool = False) -> Bench:
    """Count and time; a third of `seconds` goes to the ratios, the rest to the layers, five rounds at least.

    Raises:
        UsageError: `seconds` or `threads` is not positive.
    """
    with using_threads(threads) as used, torch.inference_mode():
        measured = measure(TIMED, seconds=seconds * 2 / 3, channels_last=channels_last)
        ratios = measure_ratios(WIDTHS, seconds=seconds / 3, channels_last=channels_last)
    return Bench(table_3=count_table(), ratios=ratios, measured=measured, machine=machine(used),
                 channels_last=channels_last)


def measure(layers: Sequence[Layer], *, seconds: float, channels_last: bool = False) -> list[Measured]:
    """Time the four ways of each layer, all in turns."""
    works = {(layer, way): _pass(layer, way, channels_last) for layer in layers for way in ways(1, 2)}
    named = {f"{layer}{way}": work for (layer, way), work in works.items()}
    times = interleaved(named, seconds=seconds)
    rows = []
    for layer, way in works:
        cost, dense = _counted(layer.channels, layer.sizes, way), _counted(layer.channels, layer.sizes, "dense")
        time = times[f"{layer}{way}"]
        rows.append(Measured(layer=layer, way=way, parameters=cost.parameters, macs=cost.macs * layer.batch, time=time,
                             macs_ratio=dense.macs / cost.macs,
                             time_ratio=times[f"{layer}dense"].median / time.median))
    return rows


def measure_ratios(widths: Sequence[int], *, seconds: float, channels_last: bool = False) -> list[Ratio]:
    """Return separable over dense at each width, on a map of 14 x 14, batch of one."""
    layers = {width: Layer("2-D", width, (14, 14), 1) for width in widths}
    times = interleaved({f"{width}{way}": _pass(layers[width], way, channels_last)
                         for width in widths for way in ("dense", "separable")}, seconds=seconds)
    rows = []
    for width, layer in layers.items():
        dense, separable = (_counted(width, layer.sizes, way).macs for way in ("dense", "separable"))
        rows.append(Ratio(channels=width, macs=separable / dense, formula=1 / width + 1 / KERNEL**2,
                          time=times[f"{width}separable"].median / times[f"{width}dense"].median))
    return rows


def _pass(layer: Layer, way: str, channels_last: bool) -> Callable[[], object]:
    module = ways(layer.channels, len(layer.sizes))[way].eval()
    images = torch.rand(layer.batch, layer.channels, *layer.sizes)
    if channels_last:
        form = torch.channels_last if len(layer.sizes) == 2 else torch.channels_last_3d
        module, images = module.to(memory_format=form), images.contiguous(memory_format=form)  # type: ignore[call-overload]
    return lambda: module(images)


def _counted(channels: int, sizes: tuple[int, ...], way: str) -> Cost:
    with torch.device("meta"):
        return count(ways(channels, len(sizes))[way], (channels, *sizes))
