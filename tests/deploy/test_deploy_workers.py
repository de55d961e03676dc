"""Jobs run side by side, their results come in order, few are ahead, and no thread outlives them."""

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from excite.deploy.workers import in_order


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("excite-predict")]


def test_results_come_in_the_order_of_the_jobs_whichever_is_done_first() -> None:
    def job(place: int) -> int:
        time.sleep(0.03 if place % 3 == 0 else 0)
        return place

    assert list(in_order((partial(job, place) for place in range(20)), threads=4, ahead=6)) == list(range(20))
    assert list(in_order([], threads=2, ahead=2)) == [] and threads() == []


def test_jobs_meet_in_as_many_threads_as_are_asked_for() -> None:
    barrier = threading.Barrier(3, timeout=20)  # broken, and so an error, where fewer than three come at once
    assert sorted(in_order([barrier.wait] * 9, threads=3, ahead=3)) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("ahead", [1, 3])
def test_no_more_jobs_are_begun_than_may_wait(ahead: int) -> None:
    begun = 0

    def jobs() -> Iterator[Callable[[], int]]:
        nonlocal begun
        for place in range(50):
            begun += 1
            yield partial(int, place)

    for handed, _ in enumerate(in_order(jobs(), threads=2, ahead=ahead), start=1):
        assert begun <= handed + ahead
    assert begun == 50


def test_an_error_is_raised_in_its_place_and_leaves_no_thread() -> None:
    def job(place: int) -> int:
        if place == 2:
            raise ValueError("the third")
        return place

    found = []
    with pytest.raises(ValueError, match="the third"):
        for one in in_order((partial(job, place) for place in range(9)), threads=3, ahead=4):
            found.append(one)
    assert found == [0, 1] and threads() == []


def test_closed_early_it_waits_for_what_has_begun_drops_the_rest_and_leaves_no_thread() -> None:
    done = []

    def job(place: int) -> int:
        time.sleep(0.02)
        done.append(place)
        return place

    results = in_order((partial(job, place) for place in range(99)), threads=2, ahead=8)
    assert next(results) == 0 and threads()
    results.close()  # type: ignore[attr-defined]
    assert threads() == [] and len(done) < 9
    before = len(done)
    time.sleep(0.06)
    assert len(done) == before
