"""Which of several choices no other beats in both: the front of cost against worth."""

from collections.abc import Sequence

from excite.errors import UsageError


def pareto(costs: Sequence[float], worths: Sequence[float], *, better: int = 1) -> list[int]:
    """Return the places of those that no other beats, the cheapest first.

    One beats another that is at most as cheap and at most as good; of equal ones the first stays.

    Args:
        costs: Less is better.
        worths: As many.
        better: 1 where more worth is better, -1 where less is.

    Raises:
        UsageError: there are not as many costs as worths.
    """
    if len(costs) != len(worths):
        raise UsageError(f"costs and worths must be as many, got {len(costs)} and {len(worths)}")
    front: list[int] = []
    for place in sorted(range(len(costs)), key=lambda place: (costs[place], -better * worths[place])):
        if not front or better * worths[place] > better * worths[front[-1]]:
            front.append(place)
    return front
