"""Milliseconds: works timed in turns, so that what else the machine does falls on all of them alike."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch

from excite.errors import UsageError
from excite.machine import usable_cores

WARM_UP = 2


class Timing(NamedTuple):
    """Milliseconds of one work: median, the 10th and the 90th percentile, and of how many repeats they are."""

    median: float
    low: float
    high: float
    repeats: int

    def rounded(self) -> dict[str, float | int]:
        """Return the numbers by name, to the microsecond."""
        return {name: round(value, 3) for name, value in self._asdict().items()}

    def said(self) -> str:
        """Return "12.3 ms [11.9, 14.0]"."""
        return f"{short(self.median)} ms [{short(self.low)}, {short(self.high)}]"


def interleaved(works: Mapping[str, Callable[[], object]], *, seconds: float = 2.0, least: int = 5,
                most: int = 300) -> dict[str, Timing]:
    """Return the timings of `works`; arguments as in `repeated`."""
    return {name: summary(times)
            for name, times in repeated(works, seconds=seconds, least=least, most=most).items()}


def repeated(works: Mapping[str, Callable[[], object]], *, seconds: float = 2.0, least: int = 5,
             most: int = 300) -> dict[str, list[float]]:
    """Return the milliseconds of `works`, each called once a round, a round beginning one later than the last.

    Args:
        works: What to call, by name.
        seconds: Rounds begin until so much time is over, that of two rounds which warm up included.
        least: Rounds, however long they take.
        most: Rounds, however short they are.

    Raises:
        UsageError: `seconds` is not above 0, or `least` is below 1.
    """
    if not seconds > 0 or least < 1:
        raise UsageError(f"seconds must be above 0 and least at least 1, got {seconds!r} and {least!r}",
                         fix="2 seconds are enough for a small network")
    names, taken = list(works), {name: list[float]() for name in works}
    began = time.perf_counter()
    for name in names * WARM_UP:
        works[name]()
    for turn in range(max(least, most)):
        if turn >= least and time.perf_counter() - began >= seconds:
            break
        for place in range(len(names)):
            name = names[(place + turn) % len(names)]
            start = time.perf_counter()
            works[name]()
            taken[name].append((time.perf_counter() - start) * 1e3)
    return taken


def summary(milliseconds: list[float]) -> Timing:
    """Return the median and the percentiles of repeats."""
    low, median, high = np.percentile(milliseconds, (10, 50, 90))
    return Timing(float(median), float(low), float(high), len(milliseconds))


def short(number: float) -> str:
    """Return a positive number with three digits that count, never in powers of ten."""
    return f"{number:.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.2f}" \
        if number >= 1 else f"{number:.3f}"


@contextmanager
def using_threads(threads: int | None) -> Iterator[int]:
    """Let torch compute with so many threads inside the block; None: all cores that this process may use.

    Raises:
        UsageError: `threads` is below 1.
    """
    if threads is not None and threads < 1:
        raise UsageError(f"threads must be a whole number of at least 1, got {threads!r}",
                         fix=f"leave it out for all {usable_cores()} usable cores")
    before = torch.get_num_threads()
    torch.set_num_threads(threads or usable_cores())
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
