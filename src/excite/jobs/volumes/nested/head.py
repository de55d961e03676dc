"""A small head on columns of numbers: penalised multinomial logistic regression on principal components.

Columns are brought to mean 0 and standard deviation 1 of the training rows, a missing value being the training mean;
then those of one block (a map's) are divided by the root of their number, so that a block weighs as much as one
clinical column however many values a trunk gives. The penalty sees weights through their squares alone, which turning
the columns leaves as they are: all principal components are the columns themselves, a hundredth of the size where
there are few patients, and the first few of them are a choice of their own.

Source: Hastie, Tibshirani and Friedman, "The Elements of Statistical Learning", 2nd edition, section 18.3.5 (quadratic
penalties with many columns); blocks: multiple factor analysis, Escofier and Pages, CSDA 1994.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]
STILL = 1e-6    # of a column's largest value: with no more spread than this it says nothing
LEAST = -50.0   # of a logarithm of a probability


@dataclass(frozen=True, kw_only=True, eq=False)
class Columns:
    """What heads learn from, NaN where a value is missing.

    Args:
        maps: Values of maps, of which principal components are taken.
        block: Of each of these columns.
        others: Columns that weigh as one each and stay as they are: clinical values, whether a map is there.

    Shape:
        maps (N, F), block (F,), others (N, E)
    """

    maps: Float
    block: Int
    others: Float


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """Columns of all rows at the scale of the training ones: principal components of the maps, largest first."""

    maps: Float
    others: Float

    def first(self, components: int | None) -> Float:
        """Return the first components and the other columns side by side."""
        return np.hstack([self.maps[:, :components], self.others])


def scores(columns: Columns, train: Int) -> Scores:
    """Return the columns of all rows, where `train` alone has been learnt from."""
    maps = _scaled(columns.maps, train, columns.block)
    _, sizes, axes = np.linalg.svd(maps[train], full_matrices=False)
    kept = axes[sizes > 1e-9 * sizes.max(initial=0.0)]
    return Scores(maps=maps @ kept.T, others=_scaled(columns.others, train, np.arange(columns.others.shape[1])))


def log_chances(values: Float, labels: Int, train: Int, asked: Int, *, penalty: float, classes: int) -> Float:
    """Return the logarithms of the probabilities of some rows by a head that has learnt from others.

    The head minimises the sum of the training rows' negative log-likelihoods and penalty / 2 times the sum of its
    squared weights; intercepts are free. A class that no training row has gets nothing.

    Shape:
        values (N, C), labels (N,) -> (asked, classes)
    """
    from sklearn.linear_model import LogisticRegression

    found = np.full((len(asked), classes), LEAST)
    known = np.unique(labels[train])
    if len(known) == 1:
        found[:, known[0]] = 0.0
        return found
    values = values if values.shape[1] else np.zeros((len(values), 1))  # nothing to learn from but the classes' shares
    head = LogisticRegression(C=1 / penalty, tol=1e-6, max_iter=5000).fit(values[train], labels[train])
    found[:, known] = np.log(np.maximum(head.predict_proba(values[asked]), np.exp(LEAST)))
    return found


def flags(there: Sequence[NDArray[np.bool_]]) -> Float:
    """Return a column of 1 and 0 for each of some (N, G) of what is there, those that are everywhere left out."""
    every = np.hstack([one.astype(np.float64) for one in there])
    return every[:, ~every.all(axis=0)]


def _scaled(values: Float, train: Int, block: Int) -> Float:
    """Return columns at mean 0 and spread 1 of the training rows, each over the root of its block's size."""
    known = ~np.isnan(values[train])
    count = known.sum(axis=0)
    mean = np.where(known, values[train], 0.0).sum(axis=0) / np.maximum(count, 1)
    filled = np.where(np.isnan(values), mean, values)
    std = filled[train].std(axis=0)
    live = std > STILL * np.abs(filled[train]).max(axis=0, initial=0.0)
    size = np.bincount(block, weights=live, minlength=int(block.max(initial=-1)) + 1)[block]
    scale = np.where(live, std * np.sqrt(np.maximum(size, 1)), np.inf)
    scaled: Float = (filled - mean) / scale
    return scaled
