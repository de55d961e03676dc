"""Jobs done side by side in threads, a little ahead of whoever takes their results, which come in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def in_order(jobs: Iterable[Callable[[], Result]], *, threads: int, ahead: int) -> Iterator[Result]:
    """Yield the result of each job, in the order of the jobs; what one raises is raised in its place.

    Jobs are taken from their iterable as they are begun, by whoever asks for the next result. Once this ends, early or
    not, no thread is left: jobs that have begun are waited for, others are dropped.

    Args:
        jobs: Called in a thread each.
        threads: How many work.
        ahead: How many jobs are begun or wait beside the one whose result is asked for.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="excite-predict") as pool:
        try:
            for job in jobs:
                waiting.append(pool.submit(job))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
