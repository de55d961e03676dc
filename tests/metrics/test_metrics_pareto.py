"""The front: what no other beats in both."""

from itertools import product

import numpy as np
import pytest

from excite.errors import UsageError
from excite.metrics.pareto import pareto


@pytest.mark.parametrize("better", [1, -1])
def test_it_is_what_a_look_at_every_pair_leaves(better: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        costs, worths = rng.integers(0, 6, 8).tolist(), rng.integers(0, 6, 8).tolist()
        beaten = {place for place, other in product(range(8), range(8))
                  if costs[other] <= costs[place] and better * worths[other] >= better * worths[place]
                  and (costs[other], worths[other]) != (costs[place], worths[place])}
        kept = {(costs[place], worths[place]) for place in range(8) if place not in beaten}
        found = pareto(costs, worths, better=better)
        assert {(costs[place], worths[place]) for place in found} == kept and len(found) == len(kept)
        assert [costs[place] for place in found] == sorted(costs[place] for place in found)


def test_as_many_costs_as_worths() -> None:
    with pytest.raises(UsageError, match="costs and worths must be as many, got 1 and 2"):
        pareto([1.0], [1.0, 2.0])
