"""The measured tables and the pictures of docs/learn's pages on light networks and convolutions.

    python benchmarks/learn_light.py [v1 v2 v3 shufflenet convolutions] [--rounds 41] [--out docs/learn]

Prints each page's tables as the page has them and writes its picture. Times are the processor time of one thread, so
that what else the machine does counts little: works in turns, each repeated until it takes a millisecond, medians over
the rounds. Float32, one image, weights at random, freed memory kept (as training with excite does, so that no fresh
page is timed), PyTorch's usual memory layout unless a table says otherwise; networks put channels last by themselves.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional

from excite import count, create_model
from excite.compat.light import InvertedResidual
from excite.engine.memory import keep_freed_memory
from excite.layers.conv import ConvNormAct
from excite.layers.residual import Residual
from excite.layers.shuffle import ChannelShuffle

GREEN, RUST, GREY, INK = "#0b6e4f", "#b4552d", "#8a8a8a", "#222222"
STYLE = {"font.size": 9, "axes.edgecolor": "#bbbbbb", "axes.spines.top": False, "axes.spines.right": False,
         "axes.titlesize": 9.5, "axes.titlelocation": "left", "axes.labelcolor": INK, "text.color": INK,
         "legend.frameon": False, "lines.linewidth": 1.8}
LAST = torch.channels_last
Works = Mapping[str, Callable[[], object]]


def timed(works: Works, rounds: int) -> dict[str, float]:
    """Return the median milliseconds of processor time of each work, the works in turns."""
    repeats, taken = {}, {name: list[float]() for name in works}
    for name, work in works.items():
        once = min(_took(work, 1) for _ in range(3))
        repeats[name] = max(1, math.ceil(1 / max(once, 1e-3)))
    for turn in range(rounds):
        for place in range(len(works)):
            name = list(works)[(place + turn) % len(works)]
            taken[name].append(_took(works[name], repeats[name]))
    return {name: statistics.median(times) for name, times in taken.items()}


def _took(work: Callable[[], object], repeats: int) -> float:
    began = time.process_time()
    for _ in range(repeats):
        work()
    return 1e3 * (time.process_time() - began) / repeats


def passes(layers: Mapping[str, nn.Module], shapes: Mapping[str, Sequence[int]], *, last: bool = False) -> Works:
    """Return a forward pass of each layer on one image of its shape (C, H, W)."""
    form = LAST if last else torch.contiguous_format
    return {name: partial(layer.eval().to(memory_format=form),
                          torch.randn(1, *shapes[name]).contiguous(memory_format=form))
            for name, layer in layers.items()}


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table in Markdown, numbers to three digits."""
    print(f"\n{title}\n\n| {' | '.join(head)} |\n| :-- |{' --: |' * (len(head) - 1)}")
    for row in rows:
        print(f"| {' | '.join(digits(one) if isinstance(one, float) else str(one) for one in row)} |")


def digits(number: float) -> str:
    """Return a number with three digits that count."""
    return f"{number:.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else \
        f"{number:.2f}" if number >= 1 else f"{number:.3f}"


def panels(number: int, *, width: float = 4.2, height: float = 3.3) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure and its axes in a row."""
    figure = Figure(figsize=(width * number, height), layout="constrained")
    return figure, figure.subplots(1, number, squeeze=False)[0]


def macs(layer: nn.Module, shape: Sequence[int]) -> int:
    """Return the multiply-adds of a layer for one input."""
    return count(layer, tuple(shape)).macs


def network(name: str, **options: object) -> nn.Module:
    """Return a network in evaluation mode."""
    return create_model(name, **options).eval()


# ---------------------------------------------------------------------------------------------- MobileNetV1


def separable(channels: int) -> nn.Sequential:
    """Return a 3 x 3 of each channel and a 1 x 1 of all, nothing between them."""
    return nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
                         nn.Conv2d(channels, channels, 1, bias=False))


def page_v1(rounds: int, out: Path) -> None:
    """Dense and separable layers by width; the network by alpha and rho."""
    widths, sides, gains = (16, 32, 64, 128, 256, 512, 1024), (14, 56), {}
    counted = [9 * n / (9 + n) for n in widths]  # 1 / (1/n + 1/9)
    for last in (False, True):
        works: dict[str, Callable[[], object]] = {}
        for side in sides:
            for n in widths:
                layers = {f"{side} {n} dense": nn.Conv2d(n, n, 3, padding=1, bias=False),
                          f"{side} {n} separable": separable(n)}
                works |= passes(layers, dict.fromkeys(layers, (n, side, side)), last=last)
        times = timed(works, rounds)
        for side in sides:
            gains[side, last] = [times[f"{side} {n} dense"] / times[f"{side} {n} separable"] for n in widths]
        table(f"A layer of N channels, {'channels last' if last else 'usual layout'}",
              ("N", "fewer MACs", *(f"{what}, {side}" for side in sides for what in ("dense", "separable", "faster"))),
              [(n, f"{counted[row]:.1f}x",
                *(one for side in sides for one in (times[f"{side} {n} dense"], times[f"{side} {n} separable"],
                                                    f"{gains[side, last][row]:.1f}x")))
               for row, n in enumerate(widths)])
    cases = {(1.0, 224), (0.75, 224), (0.5, 224), (0.25, 224), (1.0, 192), (1.0, 160), (1.0, 128)}
    whole = {f"{alpha:g} {side}": (network("mobilenet_v1", width=alpha), (3, side, side))
             for alpha, side in sorted(cases, reverse=True)}
    times = timed({name: partial(model, torch.randn(1, *shape)) for name, (model, shape) in whole.items()}, rounds)
    costs = {name: count(*one) for name, one in whole.items()}
    first = next(iter(whole))
    table("MobileNetV1, one image", ("alpha, side", "parameters", "M MACs", "of them", "ms", "of them"),
          [(name, f"{cost.parameters:,}", f"{cost.macs / 1e6:.0f}", f"{cost.macs / costs[first].macs:.2f}", times[name],
            f"{times[name] / times[first]:.2f}") for name, cost in costs.items()])
    figure, (axes,) = panels(1, width=6.8, height=4.4)
    axes.plot(widths, counted, color=INK, label="fewer multiply-adds: 1 / (1/N + 1/9)")
    axes.axhspan(8, 9, color="#e8e3d3", lw=0, label="8 to 9 times, as often quoted")
    for (side, last), gain in gains.items():
        axes.plot(widths, gain, "o-" if last else "o--", color=GREEN if side == 14 else RUST, ms=4,
                  label=f"faster, {side} x {side}, {'channels last' if last else 'usual layout'}")
    axes.set(xscale="log", xticks=widths, xticklabels=widths, xlabel="channels N, in and out", ylim=(0, None),
             ylabel="dense 3 x 3 over separable", title="What a separable layer saves: counted and measured")
    axes.minorticks_off()
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    figure.savefig(out / "mobilenet_v1.png", dpi=130)


# ---------------------------------------------------------------------------------------------- MobileNetV2


def spiral(points: int = 400) -> np.ndarray:
    """Return a spiral in the plane, (points, 2), of mean square 1."""
    angle = np.linspace(0.5, 3 * np.pi, points)
    curve = np.stack((angle * np.cos(angle), angle * np.sin(angle)), 1)
    return curve / np.sqrt((curve**2).sum(1).mean())


def returned(curve: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the curve after ReLU and the pseudo-inverse, the same by the best linear way back, and the share lost.

    Lost is a point of which ReLU leaves fewer than two numbers: two coordinates cannot come back from one.
    """
    hidden = np.maximum(curve @ matrix.T, 0)
    back = hidden @ np.linalg.pinv(matrix).T
    back *= (back * curve).sum() / (back**2).sum()
    best = hidden @ np.linalg.lstsq(hidden, curve, rcond=None)[0]
    return back, best, float(((hidden > 0).sum(1) < 2).mean())


def page_v2(rounds: int, out: Path) -> None:
    """What ReLU loses by the width; blocks; networks beside V1."""
    curve, sizes = spiral(), (2, 3, 5, 15, 30)
    rows, shown = [], {}
    for n in sizes:
        draws = [returned(curve, np.random.default_rng(seed).normal(size=(n, 2))) for seed in range(200)]
        off = [[float(np.sqrt(((one[way] - curve)**2).sum(1).mean())) for one in draws] for way in (0, 1)]
        lost = [one[2] for one in draws]
        rows.append((n, *(f"{statistics.median(one):.2f}" for one in off), f"{100 * statistics.mean(lost):.1f} %"))
        near = int(np.argmin(np.abs(np.array(off[0]) - statistics.median(off[0]))))  # the draw of the median error
        shown[n] = draws[near][0]
    table("A spiral of mean square 1 after a random n x 2 matrix and ReLU, 200 matrices",
          ("n", "error, pseudo-inverse", "error, best linear way back", "points lost"), rows)
    _draw_spirals(curve, shown, out / "mobilenet_v2.png")

    blocks = {f"t = {t}": InvertedResidual(24, 24, 1, t) for t in (1, 3, 6)}
    times = timed(passes(blocks, dict.fromkeys(blocks, (24, 56, 56)), last=True), rounds)
    table("A block of 24 channels on 56 x 56, channels last", ("expansion", "M MACs", "ms", "GMAC/s"),
          [(name, macs(block, (24, 56, 56)) / 1e6, times[name], macs(block, (24, 56, 56)) / times[name] / 1e6)
           for name, block in blocks.items()])
    cases = {"mobilenet_v1": {}, **{f"mobilenet_v2 {w:g}": {"width": w} for w in (1.4, 1.0, 0.75, 0.5, 0.35)}}
    models = {name: network(name.split()[0], **options) for name, options in cases.items()}
    _networks("MobileNetV2 by width, one image of 224", models, rounds)


def _draw_spirals(curve: np.ndarray, shown: Mapping[int, np.ndarray], file: Path) -> None:
    figure, axes = panels(1 + len(shown), width=1.9, height=2.2)
    for axis, (name, points) in zip(axes, [("the spiral", curve), *[(f"n = {n}", p) for n, p in shown.items()]],
                                    strict=True):
        axis.scatter(*points.T, c=np.arange(len(points)), cmap="viridis", s=5)
        axis.set(title=name, aspect="equal", xlim=(-1.9, 1.9), ylim=(-1.9, 1.9))
        axis.axis("off")
    figure.savefig(file, dpi=130)


def _networks(title: str, models: Mapping[str, nn.Module], rounds: int) -> dict[str, float]:
    """Print parameters, multiply-adds and time of networks on one image of 224; return the times."""
    images = torch.randn(1, 3, 224, 224)
    times, first = timed({name: partial(model, images) for name, model in models.items()}, rounds), next(iter(models))
    rows = []
    for name, model in models.items():
        cost = count(model, (3, 224, 224))
        rows.append((name, f"{cost.parameters:,}", f"{cost.macs / 1e6:.0f}", times[name],
                     f"{times[name] / times[first]:.2f}", cost.macs / times[name] / 1e6))
    table(title, ("network", "parameters", "M MACs", "ms", "of the first's", "GMAC/s"), rows)
    return times


# ---------------------------------------------------------------------------------------------- MobileNetV3


class OldTail(nn.Module):
    """V3-Large with the last stage before its redesign, figure 5: 960 filtered, 320, 1280 at 7 x 7, then the mean."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.backbone, act = model.backbone, nn.Hardswish
        self.backbone.head = self.backbone.embedding = nn.Identity()
        self.tail = nn.Sequential(ConvNormAct(160, 960, 1, act=act), ConvNormAct(960, 960, 3, groups=960, act=act),
                                  ConvNormAct(960, 320, 1, act=None), ConvNormAct(320, 1280, 1, act=act),
                                  nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(1280, 1000))

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.backbone.features(x)[-1])


def without_se(model: nn.Module) -> nn.Module:
    """Return the network with its attention taken out of every block."""
    for block in model.modules():
        if isinstance(block, Residual):
            block.attach(None)
    return model


def page_v3(rounds: int, out: Path) -> None:
    """Activations; SE; the tail."""
    x, silu = torch.randn(1, 96, 56, 56), nn.SiLU()
    acts: dict[str, Callable[[Tensor], Tensor]] = {
        "ReLU": nn.ReLU(), "ReLU6": nn.ReLU6(), "h-swish": nn.Hardswish(), "h-swish, by its formula":
        lambda x: x * functional.relu6(x + 3) / 6, "swish (SiLU)": silu, "swish, by its formula":
        lambda x: x * torch.sigmoid(x), "h-sigmoid": nn.Hardsigmoid(), "sigmoid": nn.Sigmoid()}
    times = timed({name: partial(act, x) for name, act in acts.items()}, rounds)
    table("An activation of 96 x 56 x 56", ("activation", "ms", "of ReLU6's"),
          [(name, taken, f"{taken / times['ReLU6']:.2f}") for name, taken in times.items()])
    _draw_activations(times, out / "mobilenet_v3.png")
    for size in ("large", "small"):
        name = f"mobilenet_v3_{size}"
        models = {name: network(name), "without SE": without_se(network(name))}
        models |= {"tail before its redesign": OldTail(network(name)).eval()} if size == "large" else {}
        _networks(f"MobileNetV3-{size}, one image of 224", models, rounds)
    names = ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small")
    _networks("Three generations, one image of 224", {name: network(name) for name in names}, rounds)


def _draw_activations(times: Mapping[str, float], file: Path) -> None:
    figure, (curves, gaps, bars) = panels(3, width=3.6, height=3.1)
    x = torch.linspace(-6, 6, 481)
    hard = functional.hardswish(x)
    for name, y, color in (("ReLU", functional.relu(x), GREY), ("swish", functional.silu(x), RUST)):
        curves.plot(x, y, color=color, label=name)
        gaps.plot(x, hard - y, color=color, label=f"h-swish less {name}: {float((hard - y).abs().max()):.2f} at most")
    curves.plot(x, hard, color=GREEN, label="h-swish")
    curves.set(title="Three activations", xlim=(-5, 4), ylim=(-0.6, 4))
    gaps.set(title="How far h-swish is from each", ylim=(-0.45, 0.5))
    names = [name for name in times if "formula" not in name][::-1]
    bars.barh(names, [times[name] for name in names], color=[GREEN if one[:2] == "h-" else GREY for one in names])
    bars.set(title="One thread, 96 x 56 x 56, ms")
    for axes in (curves, gaps):
        axes.legend(fontsize=7.5, loc="upper left")
    figure.savefig(file, dpi=130)


# ---------------------------------------------------------------------------------------------- ShuffleNet

NAMED = {(True, True): "ReLU and sum", (True, False): "no sum", (False, True): "no ReLU", (False, False): "neither"}
SIDE, DEEP = 56, 10  # the maps, and how often a block is stacked: section 2 of arXiv:1807.11164


class Joined(nn.Module):
    """Branches of one input, whose outputs are put side by side."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class Summed(nn.Sequential):
    """Layers with a shortcut around them."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x


def point(channels: int, out: int, groups: int = 1) -> nn.Conv2d:
    """Return a 1 x 1 convolution."""
    return nn.Conv2d(channels, out, 1, groups=groups, bias=False)


def g1(widths: Sequence[tuple[int, int]]) -> dict[str, list[nn.Module]]:
    """Two 1 x 1, from c1 to c2 and back: ratios of about 1, 2, 6, 12."""
    return {f"{a} : {b}": [point(a, b), point(b, a)] for a, b in widths}


def g2(widths: Mapping[int, int]) -> dict[str, list[nn.Module]]:
    """A 1 x 1 in groups, the wider the more."""
    return {f"g = {g}, c = {c}": [point(c, c, g)] for g, c in widths.items()}


def g3(channels: int) -> dict[str, list[nn.Module]]:
    """The same products in one convolution, in several narrower ones in a row, or in several side by side."""
    rows = {f"{n} in a row": [point(c := round(channels / n**0.5), c) for _ in range(n)] for n in (2, 4)}
    beside = {f"{n} side by side": [Joined(*[point(channels, channels // n) for _ in range(n)])] for n in (2, 4)}
    return {"1": [point(channels, channels)], **rows, **beside}


def g4(channels: int) -> dict[str, list[nn.Module]]:
    """A bottleneck with and without ReLU and the sum."""
    found: dict[str, list[nn.Module]] = {}
    for relu in (True, False):
        for shortcut in (True, False):
            act = [nn.ReLU()] if relu else []
            layers = [point(channels, channels), *act,
                      nn.Conv2d(channels, channels, 3, padding=1, bias=False), *act, point(channels, channels)]
            found[NAMED[relu, shortcut]] = [Summed(*layers) if shortcut else nn.Sequential(*layers), *act]
    return found


WIDE = {"G1": g1([(128, 128), (90, 180), (52, 312), (36, 432)]), "G2": g2({1: 128, 2: 180, 4: 256, 8: 360}),
        "G3": g3(128), "G4": g4(128)}
NARROW = {"G1": g1([(32, 32), (22, 44), (13, 78), (9, 108)]), "G2": g2({1: 64, 2: 90, 4: 128, 8: 184}),
          "G3": g3(64), "G4": g4(32)}
# Tables 1 to 4 of the paper: images (batches) a second on the GPU and the ARM core, each at its smallest widths.
PAPER = {"G1": ((1480, 1296, 876, 748), (76.2, 72.9, 69.1, 57.6)), "G2": ((2451, 1725, 1026, 634),
                                                                          (40.0, 35.0, 32.9, 27.8)),
         "G3": ((2446, 1790, 752, 1537, 691), (40.2, 38.6, 38.4, 33.4, 35.0)),
         "G4": ((2427, 2647, 2672, 2842), (56.7, 61.9, 57.3, 66.3))}


def page_shufflenet(rounds: int, out: Path) -> None:
    """The four guidelines, and networks."""
    found: dict[str, dict[str, list[float]]] = {}
    rows: list[tuple[object, ...]] = []
    for guideline in PAPER:
        ways: dict[str, list[float]] = {"GPU, paper": [PAPER[guideline][0][0] / one for one in PAPER[guideline][0]],
                                        "ARM, paper": [PAPER[guideline][1][0] / one for one in PAPER[guideline][1]]}
        for name, cases, last in (("wide", WIDE, False), ("narrow", NARROW, False), ("wide, last", WIDE, True)):
            layers = {one: nn.Sequential(*blocks * DEEP) for one, blocks in cases[guideline].items()}
            shapes = {one: (_channels(layer), SIDE, SIDE) for one, layer in layers.items()}
            times = timed(passes(layers, shapes, last=last), rounds)
            each = [times[one] / macs(layer, shapes[one]) for one, layer in layers.items()]
            ways[name] = [one / each[0] for one in each]
            if name == "wide":
                ways["wide: ms"] = list(times.values())
        found[guideline] = ways
        rows += [(f"{guideline}: {label}",
                  *(values[row] if "ms" in way else f"{values[row]:.2f}" for way, values in ways.items()))
                 for row, label in enumerate(WIDE[guideline])]
    table("Time of as many products, the first of each guideline being 1", ("", *next(iter(found.values()))), rows)
    _draw_guidelines(found, out / "shufflenet.png")
    models = {f"shufflenet_v1, g = {g}": network("shufflenet_v1", groups=g) for g in (1, 2, 3, 4, 8)}
    models |= {f"shufflenet_v2 {w:g}": network("shufflenet_v2", width=w) for w in (0.5, 1.0, 1.5, 2.0)}
    models |= {"mobilenet_v1": network("mobilenet_v1"), "mobilenet_v1 0.5": network("mobilenet_v1", width=0.5)}
    _networks("ShuffleNets, one image of 224", models, rounds)


def _channels(layer: nn.Module) -> int:
    return next(one.in_channels for one in layer.modules() if isinstance(one, nn.Conv2d))


def _draw_guidelines(found: Mapping[str, Mapping[str, list[float]]], file: Path) -> None:
    titles = {"G1": "G1: unequal widths", "G2": "G2: groups", "G3": "G3: fragments", "G4": "G4: ReLU, sum"}
    shown = {"GPU, paper": (GREY, "o:"), "ARM, paper": ("#555555", "s:"), "wide": (RUST, "o-"),
             "narrow": (GREEN, "o-")}
    figure, axes = panels(4, width=2.9, height=3.4)
    for axis, (name, ways) in zip(axes, found.items(), strict=True):
        labels = [one.split(",")[0] for one in WIDE[name]] if name == "G2" else list(WIDE[name])
        labels = ["1:1", "1:2", "1:6", "1:12"] if name == "G1" else labels
        for way, (color, line) in shown.items():
            axis.plot(ways[way], line, color=color, ms=4, label=way if "paper" in way else f"here, {way}")
        axis.set(title=titles[name], ylim=(0, 1.1 * max(ways["GPU, paper"])))
        axis.set_xticks(range(len(labels)), labels, rotation=0 if len(max(labels, key=len)) < 5 else 40,
                        ha="center" if len(max(labels, key=len)) < 5 else "right", fontsize=7.5)
    axes[0].set_ylabel("time of as many products, the first = 1")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(file, dpi=130)


# ---------------------------------------------------------------------------------------------- convolutions


def grouped(channels: int, groups: int) -> nn.Conv2d:
    """Return a 3 x 3 in groups."""
    return nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False)


def page_convolutions(rounds: int, out: Path) -> None:
    """Groups at equal products, and at equal shape."""
    side, channels, groups = 14, 128, (1, 2, 4, 8, 16, 32, 128)
    doubled = {g: int(math.log2(g)) for g in groups}
    shapes = {g: (channels, side * 2**(n // 2), side * 2**((n + 1) // 2)) for g, n in doubled.items()}
    found = {}
    for last in (False, True):
        same = passes({str(g): grouped(channels, g) for g in groups}, {str(g): (channels, 28, 28) for g in groups},
                      last=last)
        equal = passes({f"={g}": grouped(channels, g) for g in groups}, {f"={g}": shapes[g] for g in groups}, last=last)
        found[last] = timed({**same, **equal}, rounds)
    rows = []
    for g in groups:
        of = macs(grouped(channels, g), (channels, 28, 28))
        rows.append((g, of / 1e6, *(found[last][str(g)] for last in (False, True)),
                     of / found[True][str(g)] / 1e6, f"{shapes[g][1]} x {shapes[g][2]}",
                     *(found[last][f"={g}"] for last in (False, True))))
    table(f"A 3 x 3 of {channels} channels in groups",
          ("groups", "M MACs at 28 x 28", "ms", "ms, channels last", "GMAC/s, last", "map of equal MACs", "ms",
           "ms, channels last"), rows)
    _draw_paths(out / "convolutions.png")


def reach(layers: nn.Module, channels: int) -> Tensor:
    """Return whether output channel (row) feels input channel (column): the gradient is not exactly zero."""
    x = torch.randn(1, channels, 1, 1)
    return (torch.autograd.functional.jacobian(layers, x).reshape(channels, channels) != 0).float()


def _draw_paths(file: Path) -> None:
    torch.manual_seed(0)
    first, second = point(12, 12, 3), point(12, 12, 3)
    with torch.enable_grad():
        shown = {"one 1 x 1 in 3 groups": reach(first, 12),
                 "two of them": reach(nn.Sequential(first, second), 12),
                 "a shuffle between them": reach(nn.Sequential(first, ChannelShuffle(3), second), 12)}
    figure, axes = panels(3, width=2.6, height=3.1)
    for axis, (name, matrix) in zip(axes, shown.items(), strict=True):
        axis.pcolormesh(matrix, cmap=matplotlib.colors.ListedColormap(["#eeeeee", GREEN]), vmin=0, vmax=1,
                        edgecolors="white", lw=1)
        axis.set(title=f"{name}:\n{int(matrix.sum())} of 144 paths", aspect="equal", xlabel="input channel",
                 xticks=(0, 4, 8, 12), yticks=(0, 4, 8, 12))
        axis.invert_yaxis()
    axes[0].set_ylabel("output channel")
    figure.savefig(file, dpi=130)


PAGES = {"v1": page_v1, "v2": page_v2, "v3": page_v3, "shufflenet": page_shufflenet, "convolutions": page_convolutions}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", choices=[*PAGES, []], default=[])
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--out", type=Path, default=Path("docs/learn"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    print(f"{datetime.now(UTC):%Y-%m-%d}, torch {torch.__version__}, one thread, processor time, medians of "
          f"{arguments.rounds} rounds")
    for page in arguments.pages or PAGES:
        torch.manual_seed(0)
        with torch.no_grad(), matplotlib.rc_context(STYLE):
            PAGES[page](arguments.rounds, arguments.out)


if __name__ == "__main__":
    main()
