"""How much more often B is right than A on the same samples: the score interval of two paired shares.

Source: Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
design", Statistics in Medicine 17:891, 1998.
"""

from math import sqrt

from scipy.special import ndtri

from excite.errors import UsageError

HALVINGS = 50  # of the range in which an end lies: far below what anyone reads


def tango(a_only: int, b_only: int, count: int, *, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of the share that B has right minus that of A; the samples must be independent.

    It holds every difference that a test at 1 - `level` would not reject, with the variance as it would be were that
    difference true. So it has a width also where both have the same samples right, and is lopsided as shares are.

    Args:
        a_only: Samples that A alone has right.
        b_only: That B alone has.
        count: All samples.
        level: Share of such intervals that hold the true difference.

    Raises:
        UsageError: the counts cannot be.
    """
    if min(a_only, b_only) < 0 or count < max(1, a_only + b_only) or not 0 < level < 1:
        raise UsageError(f"a_only and b_only must be counts, count their sum at least, level between 0 and 1, got "
                         f"{a_only}, {b_only}, {count} and {level}")
    squared = float(ndtri((1 + level) / 2)) ** 2

    def end(outside: float) -> float:
        inside = (b_only - a_only) / count
        for _ in range(HALVINGS):
            middle = (inside + outside) / 2
            gap = b_only - a_only - count * middle
            if gap**2 <= squared * _variance(a_only, b_only, count, middle):
                inside = middle
            else:
                outside = middle
        return inside

    return end(-1.0), end(1.0)


def _variance(a_only: int, b_only: int, count: int, difference: float) -> float:
    """Return the variance of b_only - a_only if the true difference were this: the likeliest share of `a_only` then."""
    linear = (2 * count + a_only - b_only) * difference - a_only - b_only
    constant = -a_only * difference * (1 - difference)
    share = (sqrt(linear**2 - 8 * count * constant) - linear) / (4 * count)
    return count * (2 * share + difference * (1 - difference))
