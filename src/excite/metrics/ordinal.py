"""The numbers of grades, where a far miss is worse than a near one: weighted kappa and mean grade error.

Source: Cohen, "Weighted kappa: nominal scale agreement with provision for scaled disagreement or partial credit",
Psychological Bulletin 1968; with squared distances it is an intraclass correlation (Fleiss and Cohen 1973).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.errors import UsageError
from excite.metrics.classification import checked
from excite.metrics.intervals import Interval, bootstrap
from excite.metrics.ranking import Float, ratio
from excite.progress import Progress


class OrdinalMeasure:
    """The samples of one part with their true and predicted grades; a call measures them under many weightings.

    The predicted grade is the most probable one, the first of equal ones, as in `ClassificationMeasure`.

    Args:
        truth: Index of the true grade, (N,).
        probabilities: Of each grade in their order, (N, K).

    Raises:
        DataError: there is no sample, or a row has a grade or probabilities that cannot be; the row is named.
        UsageError: there are fewer than two grades.
    """

    def __init__(self, truth: NDArray[Any], probabilities: NDArray[Any]) -> None:
        grades = np.shape(probabilities)[-1] if np.ndim(probabilities) else 0
        if grades < 2:
            raise UsageError(f"probabilities must have the shape (N, K) with K of at least 2 grades, got "
                             f"{np.shape(probabilities)}")
        self.truth, chances = checked(truth, probabilities, grades)
        self.predicted = chances.argmax(axis=1)
        self._known, self._said = (np.eye(grades)[one] for one in (self.truth, self.predicted))
        self._apart = np.abs(np.arange(grades)[:, None] - np.arange(grades)).astype(np.float64)

    def __call__(self, weights: Float) -> Mapping[str, Float]:
        """Return kappa_quadratic, kappa_linear and grade_error for each row of weights, (R, N) -> (R,) each.

        grade_error is the mean of |predicted - true| in grades. A kappa is not defined (NaN) where truth and
        prediction are one and the same grade throughout: agreement by chance is certain then.
        """
        total = weights.sum(axis=1)
        known, said = weights @ self._known / total[:, None], weights @ self._said / total[:, None]
        steps = np.abs(self.predicted - self.truth).astype(np.float64)
        found = {"grade_error": weights @ steps / total}
        for name, power in (("kappa_quadratic", 2), ("kappa_linear", 1)):
            by_chance = np.einsum("rk,kj,rj->r", known, self._apart**power, said)
            room = np.where(by_chance > 1e-12, by_chance, 0.0)
            found[name] = 1 - ratio(weights @ steps**power / total, room)
        return found


def ordinal(truth: NDArray[Any], probabilities: NDArray[Any], units: Sequence[str], *, resamples: int = 1000,
            seed: int = 0, progress: Progress | None = None) -> dict[str, Interval]:
    """Return kappa_quadratic, kappa_linear and grade_error with a 95 % interval from a bootstrap over units.

    Args:
        truth: Index of the true grade.
        probabilities: Of each grade in their order.
        units: What each sample belongs to and is not independent of: the patient.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Shape:
        (N,) integers, (N, K), N units.

    Raises:
        DataError: there is no sample, or a row has a grade or probabilities that cannot be; the row is named.
    """
    if len(units) != len(truth):
        raise UsageError(f"units must have one name a sample ({len(truth)}), got {len(units)}")
    measure = OrdinalMeasure(truth, probabilities)
    found = bootstrap(measure, units, resamples=resamples, seed=seed, progress=progress)
    note = "not defined: truth and prediction are one grade throughout"
    return {name: one if one.value is not None else Interval(value=None, low=None, high=None, note=note)
            for name, one in found.items()}
