"""Batches prepared ahead by one thread, in their order."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
AHEAD = 2  # batches that wait for the caller


def ahead(make: Callable[[int], T], steps: range) -> Iterator[T]:
    """Yield `make(step)` of each step, a few prepared while the caller works; a fault in it is raised here."""
    with ThreadPoolExecutor(1) as thread:
        waiting: list[Future[T]] = []
        try:
            for step in steps:
                waiting.append(thread.submit(make, step))
                if len(waiting) > AHEAD:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for one in waiting:
                one.cancel()
