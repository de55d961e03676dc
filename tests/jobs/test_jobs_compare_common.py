"""Nothing is won in a comparison by what a network misses."""

from pathlib import Path

import numpy as np
import pytest

from excite.deploy.bundle import BundleInfo
from excite.errors import UsageError
from excite.jobs.compare import tested
from excite.jobs.compare.common import on_common
from excite.metrics.comparison import compare_sides

COUNT = 60


def answers_of(rows: list[tested.Row]) -> tested.Tested:
    names = tuple(str(place) for place in range(len(rows)))
    info = BundleInfo(name="heads", classes=("head",), preprocess={})
    return tested.Tested(name="run", folder=Path("run"), info=info, sample="image", files=names, contents=names,
                         truth=names, units=names, unit_kind="image", answers=tuple(rows))


def heads(*, found: float) -> tuple[tested.Tested, tested.Tested]:
    """Return A, which finds every head, and B, a little worse on each and blind for the harder ones."""
    hard = np.sort(np.random.default_rng(0).gamma(2, 1, COUNT))
    seen = [place < found * COUNT for place in range(COUNT)]
    return (answers_of([{"adf_mm": float(one), "found": 1.0, "dice": 0.9} for one in hard]),
            answers_of([{"adf_mm": float(one) + 0.3 if there else None, "found": float(there), "dice": 0.9 * there}
                    for one, there in zip(hard, seen, strict=True)]))


def test_who_finds_the_easy_heads_alone_is_not_better() -> None:
    a, b, notes = on_common(*heads(found=0.6), "adf_mm")
    assert notes == ["BEWARE: A has adf on 60 images, B on 36; it is compared on the 36 that both have it on, so that "
                     "nothing is won by what is missed. Who misses more is worse than this number says"]
    found = compare_sides(a.side(range(COUNT), ["head"]), b.side(range(COUNT), ["head"]), list(a.units),
                          names=("a", "b"), metric="adf_mm", unit_kind="image", resamples=200)
    assert found.verdict == "worse" and found.question.difference.value == pytest.approx(0.3)
    assert found.pairs["found"].difference.value == pytest.approx(-0.4)


def test_too_few_in_common_are_an_error() -> None:
    with pytest.raises(UsageError, match="A and B have adf on 24 images in common, too few to compare") as told:
        on_common(*heads(found=0.4), "adf_mm")
    assert told.value.why == "A has adf on 60 images, B on 24" and "--metric dice" in str(told.value.fix)


def test_the_same_misses_cost_nothing_and_say_nothing() -> None:
    _, b = heads(found=0.4)
    assert on_common(b, b, "adf_mm")[2] == []
