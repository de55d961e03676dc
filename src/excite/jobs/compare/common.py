"""Numbers of single images on the images on which both networks have them: fewer would flatter who misses most.

A head that was not found has no error in mm and no Hausdorff distance, so a network that finds the easy ones alone
would come out best.
"""

from dataclasses import replace

from excite.errors import UsageError
from excite.jobs.compare.tested import Row, Tested
from excite.metrics.direction import spoken

FEWEST = 0.5  # of the images on which either has the question's number; with fewer in common nothing is compared


def on_common(a: Tested, b: Tested, metric: str) -> tuple[Tested, Tested, list[str]]:
    """Return both with each number on the images that have it in both, and what has to be known of the question's.

    Args:
        a: Numbers of single images; classes are returned as they are.
        b: The same images in the same order.
        metric: The question.

    Raises:
        UsageError: the two have the question's number on fewer than half of the images in common.
    """
    if not (isinstance(a.answers, tuple) and isinstance(b.answers, tuple)):
        return a, b, []
    pairs = [_both(first, second) for first, second in zip(a.answers, b.answers, strict=True)]
    had = [sum(row.get(metric) is not None for row in one.answers) for one in (a, b)
           if isinstance(one.answers, tuple)]
    common = sum(first.get(metric) is not None for first, _ in pairs)
    kept = (replace(a, answers=tuple(first for first, _ in pairs)),
            replace(b, answers=tuple(second for _, second in pairs)))
    if had == [common, common]:
        return *kept, []
    told = f"A has {spoken(metric)} on {had[0]} {a.sample}s, B on {had[1]}"
    if common < max(2, FEWEST * max(had)):
        raise UsageError(f"A and B have {spoken(metric)} on {common} {a.sample}s in common, too few to compare",
                         why=told, fix="--metric dice, which counts what is missed")
    return *kept, [f"BEWARE: {told}; it is compared on the {common} that both have it on, so that nothing is won by "
                   "what is missed. Who misses more is worse than this number says"]


def _both(first: Row, second: Row) -> tuple[Row, Row]:
    """Return the numbers of one image without those that one of the two lacks."""
    lost = {name: None for name in first if (first[name] is None) != (second.get(name) is None)}
    return {**first, **lost}, {**second, **lost}
