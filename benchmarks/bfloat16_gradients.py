"""Which bfloat16 gradients of torch's convolutions are wrong on this CPU: the shapes behind layers/bfloat16.py.

    OMP_NUM_THREADS=1 python benchmarks/bfloat16_gradients.py

Each shape in a process of its own, as some end in a crash; freed memory is filled with NaN before, so that a gradient
that is never written shows. After the chosen shapes come random ones, until SECONDS are over. Printed are the shapes
off by more than 2 % of the largest value from float32, and whether `wrong_in_bfloat16` names them. The exit code is 1
where it misses one.
"""

import random
import sys
import time
from collections.abc import Iterator
from itertools import chain, product
from multiprocessing import get_context
from multiprocessing.connection import Connection

import torch
from torch import nn

from excite.layers.bfloat16 import wrong_in_bfloat16

SECONDS = 180
CONTEXT = get_context("fork")  # a process that need not import torch
Case = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]  # size, kernel, stride

CASES: list[Case] = [((depth, 7, 7), (kernel, 3, 3), (stride, 1, 1)) for depth, kernel, stride in
         product((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 3, 5, 7), (1, 2))]
CASES += [((4, 1, 1), (3, 3, 3), (1, 2, 2)), ((1, 1, 1), (3, 3, 3), (2, 2, 2)), ((7, 2, 7), (3, 3, 3), (1, 1, 1)),
          ((7, 7, 2), (3, 3, 3), (1, 1, 1)), ((2, 7, 7), (3, 1, 1), (1, 1, 1)), ((7, 1, 7), (3, 3, 3), (1, 2, 2)),
          ((7, 1, 7), (1, 3, 3), (1, 2, 1)), ((5, 2, 7), (3, 7, 7), (1, 1, 1)), ((4, 2, 7), (1, 7, 3), (1, 2, 1)),
          ((8, 2, 2), (7, 7, 7), (1, 2, 2)), ((7, 1, 3), (1, 7, 1), (1, 1, 3)),
          ((7, 1, 7), (1, 1, 1), (1, 2, 1)), ((7, 2, 7), (1, 5, 5), (1, 1, 1))]
CASES += [(size, (kernel, kernel), (stride, stride)) for size, kernel, stride in
          product(((1, 1), (1, 2), (2, 1), (2, 2), (3, 3), (1, 7), (7, 1)), (1, 3, 5, 7), (1, 2, 3))]


def apart(size: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...]) -> float:
    """Return how far the gradients are from float32's, as a share of the largest; inf where they are not finite."""
    torch.manual_seed(0)
    worst, dims = 0.0, len(size)
    for _ in range(3):
        x, weight = torch.randn(4, 64, *size).bfloat16(), torch.randn(64, 64, *kernel).mul(0.02).bfloat16()
        pads, asked = [one // 2 for one in kernel], [True, True, False]
        more = (None, stride, pads, [1] * dims, False, [0] * dims, 1)
        y = torch.ops.aten.convolution(x, weight, *more)
        given = torch.randn(y.shape).bfloat16()
        right = torch.ops.aten.convolution_backward(given.float(), x.float(), weight.float(), *more, asked)
        for count in (2**18, 2**20, 2**22, 2**23):
            _freed = [torch.full((count,), float("nan")) for _ in range(3)]
            del _freed
        found = torch.ops.aten.convolution_backward(given, x, weight, *more, asked)
        for one, other in zip(found[:2], right[:2], strict=True):
            off = float(((one.float() - other).abs().max() / other.abs().max()).nan_to_num(torch.inf))
            worst = max(worst, off)
    return worst


def drawn() -> Iterator[Case]:
    """Yield random shapes, the same in every run."""
    draw = random.Random(0)
    while True:
        dims = draw.choice((2, 3, 3, 3))
        yield (tuple(draw.randint(1, 8) for _ in range(dims)), tuple(draw.choice((1, 3, 5, 7)) for _ in range(dims)),
               tuple(draw.choice((1, 1, 2, 3)) for _ in range(dims)))


def alone(case: Case) -> float | None:
    """Return how far the gradients of one shape are off, measured in a process of its own; None where it crashes."""
    here, there = CONTEXT.Pipe(duplex=False)
    child = CONTEXT.Process(target=send, args=(there, case))
    child.start()
    there.close()
    child.join()
    return here.recv() if child.exitcode == 0 else None


def send(there: Connection, case: Case) -> None:
    """Send how far the gradients of one shape are off."""
    there.send(apart(*case))


def main() -> int:
    """Print the shapes that are wrong."""
    began, missed, seen = time.monotonic(), 0, 0
    for size, kernel, stride in chain(CASES, drawn()):
        if seen >= len(CASES) and time.monotonic() - began > SECONDS:
            break
        seen += 1
        off = alone((size, kernel, stride))
        conv = (nn.Conv3d if len(size) == 3 else nn.Conv2d)(64, 64, kernel, stride, [one // 2 for one in kernel])
        named = wrong_in_bfloat16(conv, size)
        if off is None or off > 0.02:
            missed += not named
            print(f"{size!s:<12} kernel {kernel!s:<10} stride {stride!s:<10} "
                  f"{'crashes' if off is None else f'off by {off:.1e}':<18}{'named' if named else 'NOT NAMED'}",
                  flush=True)
        elif named:
            print(f"{size!s:<12} kernel {kernel!s:<10} stride {stride!s:<10} right                named all the same",
                  flush=True)
    print(f"{seen} shapes, {seen - len(CASES)} of them random, {missed} not named")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
