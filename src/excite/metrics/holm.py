"""Several tests at a time: p-values raised so that all of them together err in 5 % of the cases at most.

Source: Holm, "A simple sequentially rejective multiple test procedure", Scand. Journal of Statistics 1979. It asks
nothing of how the tests hang together, which metrics of the same images do.
"""

from collections.abc import Sequence
from itertools import accumulate

from excite.errors import UsageError


def holm(p_values: Sequence[float]) -> list[float]:
    """Return each p-value corrected for all of them, in the order given.

    The smallest is multiplied by how many there are, the next by one less, and so on; none falls below the one before
    it, none exceeds 1.

    Args:
        p_values: The family: every test that is looked at, not only those that came out.

    Raises:
        UsageError: one is not from 0 to 1.
    """
    for place, value in enumerate(p_values):
        if not 0 <= value <= 1:
            raise UsageError(f"p_values must be from 0 to 1, got {value} at place {place}",
                             fix="leave out what was not tested")
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    raised = (min(1.0, (len(order) - rank) * p_values[place]) for rank, place in enumerate(order))
    corrected = dict(zip(order, accumulate(raised, max), strict=True))
    return [corrected[place] for place in range(len(p_values))]
