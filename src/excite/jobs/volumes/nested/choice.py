"""The inner loop of a nested cross-validation: which head, chosen on training rows alone, and what the choice costs."""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from excite.jobs.volumes.nested.head import Columns, Float, Int, log_chances, scores
from excite.jobs.volumes.nested.sections import NestedSection
from excite.metrics.calibration import Temperature, fit_temperature

Candidate = tuple[int | None, float]  # components and penalty


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """The head that the inner folds chose.

    Args:
        losses: Mean negative log-likelihood of each candidate, over rows that it has not learnt from.
        temperature: Of the chosen one, fitted on the same rows.
        milliseconds: That all took.
    """

    components: int | None
    penalty: float
    losses: dict[Candidate, float]
    temperature: Temperature
    fits: int
    milliseconds: float

    @property
    def loss(self) -> float:
        """The loss of the chosen candidate, which is optimistic: it is the least of several."""
        return self.losses[self.components, self.penalty]


def choose(columns: Columns, labels: NDArray[np.int64], inner: Int, *, section: NestedSection, classes: int) -> Choice:
    """Return the candidate with the least loss; of equal ones the fewest components, then the strongest penalty.

    Args:
        inner: The inner fold of each row from 1 on, 0 for those that nothing may be learnt from.

    Shape:
        labels (N,), inner (N,)
    """
    began, heads = time.perf_counter(), candidates(columns, section)
    found = {head: np.zeros((len(labels), classes)) for head in heads}
    folds = [fold for fold in np.unique(inner) if fold]
    for fold in folds:
        train, asked = np.flatnonzero((inner > 0) & (inner != fold)), np.flatnonzero(inner == fold)
        made = scores(columns, train)
        for components, penalty in heads:
            found[components, penalty][asked] = log_chances(made.first(components), labels, train, asked,
                                                            penalty=penalty, classes=classes)
    rows = np.flatnonzero(inner)
    losses = {head: _loss(one[rows], labels[rows]) for head, one in found.items()}
    components, penalty = min(heads, key=lambda head: round(losses[head], 9))
    return Choice(components=components, penalty=penalty, losses=losses, fits=len(folds) * len(heads),
                  temperature=fit_temperature(found[components, penalty][rows], labels[rows]),
                  milliseconds=(time.perf_counter() - began) * 1e3)


def candidates(columns: Columns, section: NestedSection) -> list[Candidate]:
    """Return what there is to choose from: simplest first; as many components as there are columns are all of them."""
    width = columns.maps.shape[1]
    sizes = sorted({one for one in section.components if one is not None and one < width})
    whole: list[int | None] = [None] if None in section.components or len(sizes) < len(section.components) else []
    return [(size, penalty) for size in [*sizes, *whole] for penalty in reversed(section.penalties)]


def _loss(log_chances: Float, labels: NDArray[np.int64]) -> float:
    return float(-log_chances[np.arange(len(labels)), labels].mean())
