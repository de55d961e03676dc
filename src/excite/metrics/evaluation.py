"""The evaluation of a classifier on one part of the data: every number with its interval, and what to beware of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.errors import UsageError
from excite.metrics.calibration import reliability
from excite.metrics.classification import PER_CLASS, ClassificationMeasure
from excite.metrics.intervals import Interval, bootstrap, wilson
from excite.metrics.measured import UNPROVEN, MeasuredPart
from excite.metrics.ranking import roc
from excite.metrics.table import lines
from excite.progress import Progress

FEW = 10  # units of a class below which its intervals are rough


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation(MeasuredPart):
    """What a classifier does on one part of the data.

    Args:
        per_class: Numbers of each class against the rest.
        support: Images of each class.
        confusion: Counts; a row is a true class, a column a predicted one.
        roc: Corners of each class's curve; classes that have none are left out.
        reliability: Bins of the most probable class's probability that have an image.
        sample: What is classified: "image", or "pixel" of a scene.
    """

    per_class: dict[str, dict[str, Interval]]
    support: dict[str, int]
    confusion: NDArray[np.int64]
    roc: dict[str, dict[str, list[float]]]
    reliability: dict[str, list[float] | list[int]]
    sample: str = "image"

    def to_json(self) -> dict[str, Any]:
        """Return plain data; a number that is not defined is null and has a note."""
        per_class = {name: {**{key: one.to_json() for key, one in found.items()}, "support": self.support[name]}
                     for name, found in self.per_class.items()}
        return {"part": self.part, "n": self.n, "n_units": self.n_units, "unit_kind": self.unit_kind,
                "classes": list(self.classes), "metrics": {key: one.to_json() for key, one in self.metrics.items()},
                "per_class": per_class, "confusion": self.confusion.tolist(), "roc": self.roc,
                "reliability": self.reliability, "notes": list(self.notes), "failed": list(self.failed)}

    def text(self, names: Sequence[str] = ()) -> str:
        """Return the numbers as text for a terminal: those of `names` over all classes, or every one."""
        return "\n".join(lines(self, names))


def evaluate(truth: NDArray[Any], probabilities: NDArray[Any], classes: Sequence[str], units: Sequence[str], *,
             part: str, unit_kind: str, notes: Sequence[str] = (), failed: Sequence[dict[str, str]] = (),
             sample: str = "image", resamples: int = 1000, seed: int = 0,
             progress: Progress | None = None) -> Evaluation:
    """Return every number of a classifier with a 95 % interval from a bootstrap over units.

    Args:
        truth: Index of the true class.
        probabilities: Of each class.
        classes: Their names.
        units: What each image belongs to and is not independent of.
        part: Name of the part.
        unit_kind: What a unit is.
        notes: What is known about the data already.
        failed: {"file", "error"} of the images that could not be used.
        sample: What is classified, for the notes.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Shape:
        (N,) integers, (N, K), N units.

    Raises:
        DataError: there is no image, or a row has a class or probabilities that cannot be; the row is named.
    """
    if len(units) != len(truth):
        raise UsageError(f"units must have one name an image ({len(truth)}), got {len(units)}")
    measure = ClassificationMeasure(truth, probabilities, classes)
    found = bootstrap(measure, units, resamples=resamples, seed=seed, progress=progress)
    found = {name: _explained(name, one, measure, sample) for name, one in found.items()}
    count = len(set(units))
    per_class = {label: {name: found[f"{name}/{label}"] for name in PER_CLASS} for label in measure.classes}
    overall = {name: one for name, one in found.items() if "/" not in name}
    curves = {label: roc(measure.truth == place, measure.probabilities[:, place])
              for place, label in enumerate(measure.classes)}
    said = [*_unproven(measure, overall), *notes,
            *_notes(measure, units, overall, sample=sample, unit_kind=unit_kind, resamples=resamples, seed=seed)]
    return Evaluation(
        part=part, n=len(measure.truth), n_units=count, unit_kind=unit_kind, classes=measure.classes, metrics=overall,
        per_class=per_class, support=dict(zip(measure.classes, measure.support.tolist(), strict=True)),
        confusion=measure.confusion(), reliability=reliability(measure.truth, measure.probabilities),
        roc={label: {"fpr": curve[0].tolist(), "tpr": curve[1].tolist()}
             for label, curve in curves.items() if curve is not None},
        notes=tuple(said), failed=tuple(failed), sample=sample)


def _explained(name: str, one: Interval, measure: ClassificationMeasure, sample: str) -> Interval:
    """Return a number that is not defined with the reason."""
    if one.value is not None:
        return one
    kind, _, label = name.partition("/")
    if kind == "kappa" or (not label and kind.endswith("macro")):
        reason = "only one class occurs"
    elif measure.support[measure.classes.index(label)] == 0:
        reason = f"no {sample} of this class"
    elif kind == "precision":
        reason = "this class is never predicted"
    else:
        reason = f"every {sample} is of this class"
    return Interval(value=None, low=None, high=None, note=f"not defined: {reason}")


def _unproven(measure: ClassificationMeasure, overall: dict[str, Interval]) -> list[str]:
    """Return the note that the network may be no better than one answer for every image; none where it is better."""
    there = int((measure.support > 0).sum())
    balanced, accuracy = overall["balanced_accuracy"], overall["accuracy"]
    if there < 2 or accuracy.value is None:
        return []
    share = float(measure.support.max() / measure.support.sum())
    why = []
    if balanced.low is None or balanced.low <= 1 / there:
        why.append(f"balanced accuracy {balanced.text()}, that answer's {1 / there:.3f}")
    if accuracy.value <= share:
        why.append(f"accuracy {accuracy.text()}, that answer's {share:.3f}")
    largest = measure.classes[int(measure.support.argmax())]
    return [f"{UNPROVEN} {largest}: {'; '.join(why)}"] if why else []


def _notes(measure: ClassificationMeasure, units: Sequence[str], overall: dict[str, Interval], *, sample: str,
           unit_kind: str, resamples: int, seed: int) -> list[str]:
    """Return what a reader of the numbers has to know, each a sentence."""
    names = np.array(measure.classes, dtype=object)
    predicted = np.bincount(measure.predicted, minlength=len(names))
    of_class: list[set[str]] = [set() for _ in names]
    for place, unit in zip(measure.truth, units, strict=True):
        of_class[place].add(unit)
    held = np.array([len(one) for one in of_class])
    notes = [f"intervals: 95 %, percentiles of {resamples} bootstrap resamples of {len(set(units))} whole units "
             f"({unit_kind}), seed {seed}"]
    absent = names[measure.support == 0]
    if len(absent):
        notes.append(f"no {sample} of class {', '.join(absent)} in this part: nothing is said about it, and it is left "
                     "out of macro means")
    never = names[(measure.support > 0) & (predicted == 0)]
    if len(never):
        notes.append(f"class {', '.join(never)} is never predicted: its precision is not defined, and counts as 0 in "
                     "the macro and weighted means")
    few = [f"{name} {count}" for name, count in zip(names, held, strict=True) if 0 < count < FEW]
    if few:
        notes.append(f"fewer than {FEW} units of class {', '.join(few)}: intervals that rest on them are rough, and "
                     "rather too narrow")
    right = int((measure.predicted == measure.truth).sum())
    low, high = wilson(right, len(measure.truth))
    notes.append(f"cross-check: Wilson's 95 % interval of the accuracy, which takes all {sample}s as independent, is "
                 f"[{low:.3f}, {high:.3f}]")
    flat = [name for name, one in overall.items() if one.low is not None and one.low == one.high]
    if flat:
        notes.append(f"every resample gives the same {', '.join(flat).replace('_', ' ')}: an interval without width "
                     "does not mean certainty, there are too few mistakes to learn a spread from")
    ece = overall["ece"]
    if ece.value is not None and ece.low is not None and ece.value < ece.low:
        notes.append(f"the interval of the ece lies above its value: with few {sample}s it is biased upwards, and more "
                     f"so in resamples, which repeat {sample}s")
    return notes
