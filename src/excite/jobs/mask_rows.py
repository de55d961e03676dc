"""From a bundle and rows with masks to the numbers of each image, one after another: maps are not kept."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from excite.data.row import Row
from excite.deploy.bundle import BundleInfo
from excite.deploy.runtime import Predictor
from excite.errors import DataError
from excite.jobs.mask_truth import Truth, spacing_of, truth_of
from excite.metrics.mask_image import MILLIMETRES, PIXELS, HeadRow, MaskRow, head_row, mask_scores
from excite.outcome.heads import HeadPrediction
from excite.outcome.masks import MaskPrediction
from excite.outcome.prediction import FailedPrediction
from excite.progress import Progress, silent

Spacing = tuple[float, ...] | None
NUMBER = re.compile(r"^\d+(?= )")         # "3 regions were found" and "2 regions were found" are one remark
NO_SPACING = "no pixel spacing is known"  # the evaluation says it with how many


@dataclass(frozen=True, kw_only=True, eq=False)
class Looked:
    """One image, predicted, beside its truth.

    Args:
        place: Of the row, counted from 0.
        row: Of the table.
        spacing: Millimetres a pixel; None: not known.
        truth: What its masks say.
        prediction: With probabilities.
        inside: Pixels predicted as inside, (H, W).
    """

    place: int
    row: Row
    spacing: Spacing
    truth: Truth
    prediction: HeadPrediction | MaskPrediction
    inside: NDArray[np.bool_]


@dataclass(kw_only=True)
class Measured:
    """The images of a part, measured.

    Args:
        rows: Those that could be.
        places: Of the rows that could be, counted from 0.
        failed: {"file", "error"} of the others.
        notes: What was remarked, with how often.
    """

    rows: list[MaskRow] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def looked_at(predictor: Predictor, rows: Sequence[Row], root: Path, *, batch_size: int | None = None
              ) -> Iterator[Looked | FailedPrediction]:
    """Yield each image with its prediction and its truth, or why it cannot be used, in order.

    Args:
        predictor: Of a bundle for masks.
        rows: With masks.
        root: Folder that their paths start from.
        batch_size: Images that the network takes at once.
    """
    paths = [root / row.image for row in rows]
    spacings = [spacing_of(row, path) for row, path in zip(rows, paths, strict=True)]
    found = predictor.predict(paths, batch_size=batch_size, spacings=spacings, maps=True)
    for place, (row, one) in enumerate(zip(rows, found, strict=True)):
        if not isinstance(one, (HeadPrediction, MaskPrediction)) or one.probabilities is None:
            yield one if isinstance(one, FailedPrediction) else FailedPrediction(
                file=one.file, error=f"{one.file}: the bundle gives no mask")
            continue
        inside = inside_of(one.probabilities, predictor.info.level)
        try:
            shape = (inside.shape[0], inside.shape[1])
            truth = truth_of(row, root, shape, head=predictor.info.task == "heads", outline=rule_of(predictor.info))
        except DataError as fault:
            yield FailedPrediction(file=row.image, error=fault.message())
            continue
        yield Looked(place=place, row=row, spacing=spacings[place], truth=truth, prediction=one, inside=inside)


def measured(predictor: Predictor, rows: Sequence[Row], root: Path, units: Sequence[str], *,
             tolerance_mm: float = MILLIMETRES, tolerance_px: float = PIXELS, batch_size: int | None = None,
             progress: Progress | None = None) -> Measured:
    """Return the numbers of each image, and what gave none.

    Args:
        predictor: Of a bundle for masks.
        rows: With masks.
        root: Folder that their paths start from.
        units: What each row belongs to.
        tolerance_mm: Of the surface Dice.
        tolerance_px: Where the pixel size is not known.
        batch_size: Images that the network takes at once.
    """
    found, remarks, fitted, alike = Measured(), Counter[str](), 0, 0
    for done, one in enumerate(looked_at(predictor, rows, root, batch_size=batch_size)):
        (progress or silent()).step("evaluating", done + 1, len(rows))
        if isinstance(one, FailedPrediction):
            found.failed.append({"file": rows[done].image, "error": one.error})
            continue
        sizes, scores = mask_scores(one.inside, one.truth.mask, spacing=one.spacing, tolerance_mm=tolerance_mm,
                                    tolerance_px=tolerance_px, where=one.row.image)
        head = head_of(one)
        fitted += head is not None and not one.truth.drawn
        alike += one.truth.alike
        remarks.update(NUMBER.sub("several", note) for note in one.prediction.notes if not note.startswith(NO_SPACING))
        found.places.append(done)
        found.rows.append(MaskRow(
            file=one.row.image, line=one.row.line, unit=units[done], sizes=sizes, scores=scores, head=head,
            notes=one.prediction.notes, false_head=one.truth.ellipse is None and _has_head(one.prediction)))
    if fitted:
        found.notes.append(f"the true mask of {fitted} images is a region and no outline: its ellipse is fitted to "
                           "the region's edge, and a true circumference is that ellipse's")
    if alike:
        found.notes.append(f"the true masks of {alike} images look like outlines along an ellipse; none is filled: the "
                           "network was trained on masks that are the structure itself (data.outlines: no)")
    found.notes += [f"{note} ({count} images)" for note, count in sorted(remarks.items())]
    return found


def rule_of(info: BundleInfo) -> bool | None:
    """Return how a network's truth is read: False where it was trained on what is drawn; None: each by its pixels.

    A network of outlines draws what they enclose, which a table of regions says too; and a head is never a ring.
    """
    return False if info.task != "heads" and info.provenance.get("outlines") == "no" else None


def head_of(one: Looked) -> HeadRow | None:
    """Return the numbers of the head of one image; None where no head is there or none is looked for."""
    if one.truth.ellipse is None or not isinstance(one.prediction, HeadPrediction):
        return None
    said = one.prediction
    return head_row(one.truth.ellipse, said.ellipse, spacing=one.spacing,
                    shape=(one.inside.shape[0], one.inside.shape[1]), hc_mm=said.hc_mm, interval_mm=said.interval_mm,
                    spread_mm=said.spread_mm)


def inside_of(probabilities: NDArray[np.float32], level: float) -> NDArray[np.bool_]:
    """Return the pixels that are inside: of several classes, those of all but the first.

    Shape:
        (H, W) or (K, H, W) -> (H, W)
    """
    inside: NDArray[np.bool_] = (probabilities >= np.float32(level) if probabilities.ndim == 2
                                 else probabilities.argmax(axis=0) > 0)
    return inside


def _has_head(one: HeadPrediction | MaskPrediction) -> bool:
    return isinstance(one, HeadPrediction) and one.ellipse is not None
