"""How much trainings of an arm differ by their seed, from few seeds of each of several arms.

Two or three seeds of one arm say next to nothing of its variance; those of all arms together say more. So it is taken
to be the same in all arms and pooled over them. Where the arms in question spread more than the pool, their own
variance counts, with the pool's degrees of freedom: that keeps an arm twice as restless from being believed too soon.
An arm whose seeds differ so much more that chance hardly explains it is restless: it is no part of the pool, and counts
its own variance with its own few degrees of freedom.

Of the rules that were tried (the pool alone, the arms' own variances wherever larger, Bartlett's test, moderated
variances of Smyth, doi 10.2202/1544-6115.1027) this one errs in about one of twenty studies where no arm is more than
twice as restless, and sees most for it: docs/study.md, measured by benchmarks/study_rules.py.

Source: the largest of several variances, Cochran, Annals of Eugenics 11:47, 1941, as an F test with Bonferroni's bound;
Satterthwaite, Biometrics Bulletin 2:110, 1946.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f

from excite.metrics.ranking import Float

ALPHA = 0.02  # of a step at which the most restless arm is set apart
TINY = 1e-18  # a variance that is rounding


@dataclass(frozen=True, kw_only=True, eq=False)
class Chance:
    """How much trainings differ by their seed.

    Args:
        within: The variance over seeds of each arm.
        restless: Which arms count their own.
        pooled: The variance of one training in the others.
        freedom: Degrees of freedom of one arm's variance.
    """

    within: Float
    restless: NDArray[np.bool_]
    pooled: float
    freedom: int

    def variance(self, squares: Float) -> tuple[float, float]:
        """Return the variance of a weighted sum of one training an arm, and its degrees of freedom.

        Args:
            squares: Of the weights, one an arm.
        """
        own, calm = squares * self.within, ~self.restless
        pool, shared = float(squares[calm].sum()) * self.pooled, float(self.freedom * calm.sum())
        if not own[self.restless].any():
            return max(pool, float(own.sum())), shared
        parts = np.append(own[self.restless], pool)
        freedoms = np.append(np.full(len(parts) - 1, self.freedom), shared)
        return float(parts.sum()), float(parts.sum() ** 2 / (parts**2 / freedoms).sum())


def chance_of(values: Float) -> Chance | None:
    """Return how much trainings differ; None with one seed.

    Args:
        values: The number of each training.

    Shape:
        (A, S), arms and seeds
    """
    arms, seeds = values.shape
    if seeds < 2:
        return None
    within, freedom = values.var(axis=1, ddof=1), seeds - 1
    restless = np.zeros(arms, dtype=bool)
    while (others := arms - int(restless.sum()) - 1) > 0:
        largest = int(np.where(restless, -1.0, within).argmax())
        rest = (float(within[~restless].sum()) - float(within[largest])) / others
        if within[largest] <= f.isf(ALPHA / (others + 1), freedom, others * freedom) * rest + TINY:
            break
        restless[largest] = True
    return Chance(within=within, restless=restless, pooled=float(within[~restless].mean()), freedom=freedom)
