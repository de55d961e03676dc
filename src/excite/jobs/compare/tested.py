"""What a network was tested on, and what it answered: read from its run, or measured anew where that is not its own."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.deploy.bundle import BundleInfo
from excite.errors import UsageError
from excite.jobs.compare.beware import GRAVE
from excite.metrics.side import RANKED, Side, classifier, means_of

CLOSE = 1e-5  # numbers of a table against the bundle's: six digits may change so much, and tie what is ranked
Row = Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Tested:
    """A network's answers, one a sample.

    Args:
        name: As it was asked for.
        folder: Of its bundle.
        info: What the bundle says.
        sample: What a sample is: "image".
        files: What each sample is called.
        contents: What it is: the same where and only where the sample is.
        truth: What is right; "" where the content says it already.
        units: What each belongs to and is not independent of.
        unit_kind: What a unit is.
        answers: Probabilities of the classes, (N, K), or the numbers of each image.
        graded: The classes are grades in their order.
        notes: What to beware of, each a sentence.
    """

    name: str
    folder: Path
    info: BundleInfo
    sample: str
    files: tuple[str, ...]
    contents: tuple[str, ...]
    truth: tuple[str, ...]
    units: tuple[str, ...]
    unit_kind: str
    answers: NDArray[np.float64] | tuple[Row, ...]
    graded: bool = False
    notes: tuple[str, ...] = ()

    def ordered(self, order: Sequence[int]) -> "Tested":
        """Return it with the samples in `order`."""
        def of(values: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(values[place] for place in order)

        answers = of(self.answers) if isinstance(self.answers, tuple) else self.answers[list(order)]
        return replace(self, files=of(self.files), contents=of(self.contents), truth=of(self.truth),
                       units=of(self.units), answers=answers)

    def side(self, order: Sequence[int], classes: Sequence[str]) -> Side:
        """Return its numbers, the samples in `order` and the classes in theirs."""
        if isinstance(self.answers, tuple):
            return means_of([self.answers[place] for place in order])
        columns = [self.info.classes.index(name) for name in classes]
        truth = np.array([classes.index(self.truth[place]) for place in order], np.int64)
        return classifier(truth, self.answers[list(order)][:, columns], classes, graded=self.graded)


def belongs(info: BundleInfo, numbers: Mapping[str, float | None], count: int) -> bool:
    """Return whether numbers of `count` samples are those in the bundle: of it, not of another training or view."""
    stored: dict[str, Any] = info.metrics.get("metrics", {})
    common = [name for name in numbers if name in stored and not name.startswith(RANKED)]
    return bool(common) and info.metrics.get("n") == count and all(
        _close(numbers[name], stored[name].get("value")) for name in common)


def _close(first: float | None, second: Any) -> bool:
    if first is None or not isinstance(second, int | float):
        return first is None and second is None
    return abs(first - second) <= CLOSE * (1 + abs(second))


def leaks(notes: Iterable[str]) -> tuple[str, ...]:
    """Return those notes of an evaluation that make its numbers too good."""
    return tuple(note for note in notes if note.startswith(GRAVE))


def refuse_folds(source: Path, *, several: bool) -> None:
    """Raise where a folder is a cross-validation, which has a network a fold."""
    if several:
        raise UsageError("a cross-validation has a network a fold, and no network of its own", where=source,
                         fix=f"compare one of them: {source / 'fold-1'}")
