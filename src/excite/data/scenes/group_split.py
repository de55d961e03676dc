"""The split of several cubes: whole patients to train, val and test, because cubes of one patient resemble each other.

A few draws are judged by what each part has of every class, and only roughly: where many were tried or every pixel
counted, the same patients would be tested on whatever the seed, and repeats would hide how much it matters who is.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.data.scenes.scene import Piece
from excite.data.scenes.split import CODES, PARTS, SceneSplit, check_shares, class_totals, describe, name_of
from excite.errors import DataError

DRAWS = 20      # that are judged
MOST = 2000     # that are made where no earlier one has every class in train
ENOUGH = 5      # patients in the test part below which intervals say little
Loss = tuple[int, int, int, float]


def patient_split(labels: NDArray[Any], pieces: Sequence[Piece], *, window: int, train: float = 0.6, val: float = 0.15,
                  seed: int = 345, classes: Sequence[str] = ()) -> SceneSplit:
    """Return parts made of whole patients, at least one each, with every class in train.

    Where no patients are known each cube counts as one, and a note says so. Patients without a label are left out.

    Args:
        labels: (H, W) of the canvas: 0 no label, classes from 1 on.
        pieces: The cubes on it.
        window: Pixels; for the overlap that is reported.
        train: Share of the patients.
        val: Likewise; the rest is tested on.
        seed: Another seed, another draw; the order of the cubes does not matter.
        classes: Names of the classes 1, 2, ... for messages.

    Raises:
        UsageError: an argument that cannot be.
        DataError: fewer patients than parts, or no draw has every class in train.
    """
    check_shares(train=train, val=val, seed=seed)
    class_totals(labels, classes)
    kind, counts = _kind(pieces), _counts(labels, pieces)
    names = sorted(counts)
    _check_enough(names, kind, parts=3 if val else 2)
    part = _drawn(np.stack([counts[name] for name in names]), shares=(train, val, 1 - train - val), seed=seed)
    held = {one: tuple(name for name, place in zip(names, part, strict=True) if PARTS[place] == one) for one in PARTS}
    _check_trained(counts, held, kind, classes)
    parts, unit = np.zeros(labels.shape, np.uint8), np.zeros(labels.shape, np.int32)
    for piece in pieces:
        if piece.unit in counts:
            number = names.index(piece.unit)
            parts[piece.place.inside], unit[piece.place.inside] = part[number] + 1, number + 1
    parts[labels == 0] = 0
    split = describe(labels, parts, unit, kind=kind, guard=0, window=window, classes=classes,
                     notes=_notes(pieces, held, kind))
    return replace(split, members=held)


def seen_before(split: SceneSplit, pieces: Sequence[Piece]) -> list[str]:
    """Return the warning that patients, or cubes, are in training and in test; none where none is."""
    parts: dict[str, set[int]] = {}
    for piece in pieces:
        parts.setdefault(piece.unit, set()).update(np.unique(split.parts[piece.place.inside]).tolist())
    both = sum({CODES["train"], CODES["test"]} <= found for found in parts.values())
    kind = _kind(pieces)
    return [f"{both} of {len(parts)} {kind}s are in training and in test: numbers say nothing about a new {kind}"
            ] if both else []


def numbers_of(patients: int, *, shares: tuple[float, float, float]) -> tuple[int, int, int]:
    """Return how many patients each part gets: at least one, halves to test and val; none where val has no share."""
    least = 1 if shares[1] else 0
    test = min(max(1, _rounded(shares[2] * patients)), patients - 1 - least)
    val = min(max(least, _rounded(shares[1] * patients)), patients - 1 - test)
    return patients - val - test, val, test


def _kind(pieces: Sequence[Piece]) -> str:
    return "patient" if any(piece.patient is not None for piece in pieces) else "cube"


def _rounded(number: float) -> int:
    return int(number + 0.5 + 1e-9)


def _counts(labels: NDArray[Any], pieces: Sequence[Piece]) -> dict[str, NDArray[np.int64]]:
    """Return the pixels of each class of each patient that has any."""
    found: dict[str, NDArray[np.int64]] = {}
    for piece in pieces:
        held = np.bincount(labels[piece.place.inside].ravel(), minlength=int(labels.max()) + 1)[1:]
        if held.any():
            found[piece.unit] = found.get(piece.unit, 0) + held
    return found


def _drawn(counts: NDArray[np.int64], *, shares: tuple[float, float, float], seed: int) -> NDArray[np.int64]:
    """Return the part of each patient, 0 to 2, of the best of some draws."""
    random = np.random.default_rng([seed, len(counts)])
    dealt = np.repeat(np.arange(3), numbers_of(len(counts), shares=shares))
    best = random.permutation(dealt)
    for drawn in range(1, MOST):
        if drawn >= DRAWS and not _loss(counts, best, shares)[0]:
            break
        best = min(best, random.permutation(dealt), key=lambda part: _loss(counts, part, shares))
    return best


def _loss(counts: NDArray[np.int64], part: NDArray[np.int64], shares: tuple[float, float, float]) -> Loss:
    """Return how many classes lack train, test and val, and how far the parts are short of their shares."""
    there = counts.sum(axis=0) > 0
    held = np.stack([counts[part == place].sum(axis=0) for place in range(3)])[:, there]
    wanted = np.array(shares)[:, None] * counts.sum(axis=0)[there]
    train, val, test = (held == 0).sum(axis=1).tolist()
    short = np.maximum(0, 1 - held / np.maximum(wanted, 1e-9)) ** 2
    return train, test, val, round(float(short.mean()), 2)  # draws that differ by less are as good: the first stays


def _check_enough(names: Sequence[str], kind: str, *, parts: int) -> None:
    if len(names) < parts:
        raise DataError(f"a split by {kind} needs {parts} {kind}s with labels or more, there "
                        f"{'is' if len(names) == 1 else 'are'} {len(names)}",
                        why="each part gets whole ones", fix=f"add cubes of other {kind}s; split.kind=block parts "
                        "pixels instead, and says nothing of new patients")


def _check_trained(counts: dict[str, NDArray[np.int64]], held: dict[str, tuple[str, ...]], kind: str,
                   classes: Sequence[str]) -> None:
    trained = sum(counts[name] for name in held["train"])
    total = np.sum(list(counts.values()), axis=0)
    if gone := [name_of(place + 1, classes) for place in np.flatnonzero((total > 0) & (trained == 0)).tolist()]:
        raise DataError(f"no split by {kind} was found that has every class in train: at best none of class "
                        f"{', '.join(gone)}", why=f"{len(held['train'])} of {len(counts)} {kind}s are trained on",
                        fix=f"raise split.train, add {kind}s that have it, or drop or merge the class")


def _notes(pieces: Sequence[Piece], held: dict[str, tuple[str, ...]], kind: str) -> tuple[str, ...]:
    """Return what was given to which part, and what to beware of."""
    tested, known = len(held["test"]), {unit for names in held.values() for unit in names}
    dealt = ", ".join(f"{len(names)} to {part}" for part, names in held.items())
    notes = [f"whole {kind}s were given away: {dealt}"]
    if kind == "cube":
        notes.append("the table names no patients: each cube counts as one, so cubes of one patient may be in training "
                     "and test")
    if left := Counter(piece.unit in known for piece in pieces)[False]:
        notes.append(f"{left} cube{'s' if left > 1 else ''} without a label {'are' if left > 1 else 'is'} in no part")
    if tested < ENOUGH:
        notes.append(f"the test part has {tested} {kind}{'s' if tested > 1 else ''}: fewer than {ENOUGH} say little "
                     f"about other {kind}s, and so do intervals over them")
    return tuple(notes)
