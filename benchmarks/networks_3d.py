"""3-D networks beside the same networks in plain PyTorch: forward and training step on a CPU, in float32.

    python benchmarks/networks_3d.py [NAME ...] [--threads 1] [--rounds 7] [--batch 8] [--kept]

Plain is the same network with the same weights, every convolution an nn.Conv3d in PyTorch's usual memory layout, norms
and activations in passes of their own. Both are timed in turns in one process, plain first, a fresh one for each shape:
medians and the fastest of process time, of wall time where there are more threads. After that, outputs in evaluation
and in training and the gradients of a step are held against a copy of the plain network in float64. In float32 rounding
alone moves gradients by a percent, in either network, because that of ReLU6 jumps: the bar is for ours in float64.

`--kept` lets glibc keep freed memory for both, as training with excite does (engine/memory.py); without it fresh pages
are a large part of the time, the more so of the plain network's. `--batch` is that of the volumes of 16 x 112 x 112.
The bars are 3x a forward pass and 2x a training step, and 1e-4 of the values; the exit code is 1 where mobilenet_v2_se
misses one.
"""

import argparse
import copy
import statistics
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from excite import create_model
from excite.engine.memory import keep_freed_memory
from excite.layers.conv import ConvNormAct

BARRED, BARS, CLOSE = "mobilenet_v2_se", {"forward": 3.0, "step": 2.0}, 1e-4


def network(name: str, channels: int) -> nn.Module:
    """Return a network whose norms have measured statistics, and which drops nothing, so that two can be compared."""
    torch.manual_seed(0)
    model = create_model(name, dims=3, in_channels=channels, num_classes=2, dropout=0.0).train()
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm3d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
        norm.momentum = 1.0
    with torch.no_grad():
        model(torch.randn(4, channels, 16, 64, 64))
    for norm in norms:
        norm.momentum = 0.0
    return model


def plain(model: nn.Module) -> nn.Module:
    """Return a copy of `model` in which each brick is a plain nn.Sequential around a plain nn.Conv3d."""
    model = copy.deepcopy(model)
    model.backbone.channels_last = False
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, ConvNormAct):
                old = child.conv
                child.conv = nn.Conv3d(old.in_channels, old.out_channels, old.kernel_size, old.stride, old.padding,
                                       old.dilation, old.groups, bias=old.bias is not None)
                child.conv.load_state_dict(old.state_dict())
                setattr(parent, name, nn.Sequential(OrderedDict(child.named_children())))
    return model


def forward(model: nn.Module, images: Tensor) -> list[Tensor]:
    """Return the features, of which a classifier of two classes shows little."""
    with torch.inference_mode():
        return [model.eval().forward_features(images)]


def trained(model: nn.Module, images: Tensor) -> list[Tensor]:
    """Return the features of training, where norms measure the batch."""
    return [model.train().forward_features(images).detach()]


def step(model: nn.Module, images: Tensor) -> list[Tensor]:
    """Return the gradients of a training step."""
    model.train().zero_grad()
    cross_entropy(model(images), torch.arange(len(images)) % 2).backward()
    return [one.grad for one in model.parameters()]


def distances(ours: nn.Module, theirs: nn.Module, images: Tensor) -> dict[str, tuple[float, float]]:
    """Return {what: how far plain and ours are from plain in float64, in norms of that}."""
    exact, double, found = copy.deepcopy(theirs).double(), copy.deepcopy(ours).double(), {}
    for what, work, models in (("outputs", forward, (theirs, ours)), ("outputs in training", trained, (theirs, ours)),
                               ("gradients", step, (theirs, ours)), ("gradients, float64", step, (exact, double))):
        right, *both = (torch.cat([value.double().flatten() for value in work(model, images.to(kind_of(model)))])
                        for model in (exact, *models))
        found[what] = tuple(float((one - right).norm() / right.norm()) for one in both)
    return found


def kind_of(model: nn.Module) -> torch.dtype:
    """Return the type of the model's weights."""
    return next(model.parameters()).dtype


def measure(works: list[Callable[[], object]], rounds: int, clock: Callable[[], float]) -> list[list[float]]:
    """Return the milliseconds of each work in each round, the works in turns after two rounds to warm up."""
    times: list[list[float]] = [[] for _ in works]
    for turn in range(rounds + 2):
        for work, taken in zip(works, times, strict=True):
            began = clock()
            work()
            if turn >= 2:
                taken.append(1e3 * (clock() - began))
    return times


def compare(name: str, shape: tuple[int, ...], arguments: argparse.Namespace) -> bool:
    """Print the rows of one network and one shape of input; return whether all bars are met."""
    torch.set_num_threads(arguments.threads)
    if arguments.kept:
        keep_freed_memory()
    ours, met, clock = network(name, shape[1]), True, time.process_time if arguments.threads == 1 else time.perf_counter
    theirs, images, where = plain(ours), torch.randn(shape), f"{name:<20}{'x'.join(map(str, shape)):<18}"
    for what, work in (("forward", forward), ("step", step)):
        pairs = measure([partial(work, model, images) for model in (theirs, ours)], arguments.rounds, clock)
        (usual, fast), least = map(statistics.median, pairs), [min(taken) for taken in pairs]
        met &= usual / fast >= BARS[what]
        print(f"{where}{what:<20}{usual:>8.1f} ms{fast:>8.1f} ms   {usual / fast:.2f}x, fastest {least[0]:.1f} and "
              f"{least[1]:.1f} ms, {least[0] / least[1]:.2f}x; bar {BARS[what]:g}x", flush=True)
    for what, (of_plain, of_ours) in distances(ours, theirs, images).items():
        met &= of_ours < CLOSE or what == "gradients"
        print(f"{where}{what:<20}{of_plain:>11.1e}{of_ours:>11.1e}   from float64", flush=True)
    return met


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=[BARRED])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--kept", action="store_true")
    arguments = parser.parse_args()
    print(f"{datetime.now(UTC):%Y-%m-%d}, torch {torch.__version__}, {arguments.threads} threads, "
          f"{arguments.rounds} rounds, freed memory {'kept' if arguments.kept else 'as usual'}\n"
          f"{'':<58}{'plain':>11}{'ours':>11}", flush=True)
    cases = [(name, shape) for name in arguments.names for shape in ((arguments.batch, 1, 16, 112, 112),
                                                                     (1, 1, 96, 96, 96))]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as fresh:
        missed = [name for name, shape in cases if not fresh.submit(compare, name, shape, arguments).result()]
    return int(BARRED in missed)


if __name__ == "__main__":
    sys.exit(main())
