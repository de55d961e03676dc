"""What a report says of several cubes: which patient is in which part, and how good the network is on each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.data.scenes.scene import Piece
from excite.data.scenes.split import CODES

Labels = NDArray[np.integer[Any]]
FIRST = ("test", "val", "train")  # the order of a table's rows


@dataclass(frozen=True, kw_only=True)
class PatientRow:
    """A patient, or a cube where no patients are known.

    Args:
        name: As the table of cubes has it.
        cubes: Names of the cubes.
        parts: In which pixels of them are, the first of FIRST first; none where no pixel is labelled.
        pixels: That are in a part.
        tested: That are in the test part.
        right: Share of these that are right; None where there are none.
    """

    name: str
    cubes: tuple[str, ...]
    parts: tuple[str, ...]
    pixels: int
    tested: int
    right: float | None


def patient_rows(pieces: Sequence[Piece], *, truth: Labels, predicted: Labels, parts: Labels) -> list[PatientRow]:
    """Return a row a patient, tested ones first and of these the worst first, else in the order of the cubes.

    Args:
        truth: Labels of the canvas, 0 where there is none.
        predicted: Likewise.
        parts: 0 unused, 1 training, 2 validation, 3 test.

    Shape:
        (H, W) each
    """
    of: dict[str, list[Piece]] = {}
    for piece in pieces:
        of.setdefault(piece.unit, []).append(piece)
    rows = [_row(name, own, truth, predicted, parts) for name, own in of.items()]
    return sorted(rows, key=lambda row: (FIRST.index(row.parts[0]) if row.parts else len(FIRST), row.right or 0.0))


def warnings(pieces: Sequence[Piece], rows: Sequence[PatientRow]) -> list[str]:
    """Return what has to be read before any number: patients that nobody knows, or that were trained on and tested."""
    found = []
    unknown = all(piece.patient is None for piece in pieces)
    if both := sum({"train", "test"} <= set(row.parts) for row in rows):
        found.append(f"{both} of {len(rows)} {'cubes' if unknown else 'patients'} are in training and in test: the "
                     "numbers flatter, and say nothing about a new patient.")
    if pieces and unknown:
        found.append("No patients are known: each cube counts as one. Cubes of one patient may lie in training and "
                     "test.")
    return found


def _row(name: str, pieces: Sequence[Piece], truth: Labels, predicted: Labels, parts: Labels) -> PatientRow:
    held = np.concatenate([parts[piece.place.inside].ravel() for piece in pieces])
    good = np.concatenate([(truth == predicted)[piece.place.inside].ravel() for piece in pieces])
    tested = held == CODES["test"]
    return PatientRow(name=name, cubes=tuple(piece.name for piece in pieces), pixels=int((held > 0).sum()),
                      parts=tuple(part for part in FIRST if (held == CODES[part]).any()), tested=int(tested.sum()),
                      right=float(good[tested].mean()) if tested.any() else None)
