"""What the masks of a table show: those that a training would refuse, and how many are empty or look like outlines."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from excite.data.fault import Fault
from excite.data.fingerprint import Fingerprint
from excite.data.masks import MaskFault, masks_of, refuse_other
from excite.data.orientation import turned_apart
from excite.data.row import Row
from excite.data.sections import Outlines
from excite.data.targets import RULES, Look, look_at, settle
from excite.errors import DataError
from excite.progress import Progress

UNREADABLE = "mask-unreadable"
TOLD = frozenset({"missing-mask", "unreadable-annotation", "not-an-outline"})  # a row with one needs no second


@dataclass(frozen=True, kw_only=True)
class MaskFindings:
    """What was found.

    Args:
        faults: Kinds mask-size, mask-value, mask-outline and mask-unreadable are errors; mixed-outlines and
            turned-apart warnings.
        counts: {"masks", "empty_masks", "outlines"}: rows with masks; of these, those in which nothing is drawn, and
            those with one that looks like an outline.
    """

    faults: list[Fault] = field(default_factory=list)
    counts: dict[str, int]


def mask_findings(rows: Sequence[Row], root: Path, prints: Mapping[int, Fingerprint], outlines: Outlines,
                  faults: Sequence[Fault], *, progress: Progress) -> MaskFindings:
    """Return what is wrong with the masks of a table, each read as a training on masks does.

    Args:
        rows: Of the manifest.
        root: Folder that their paths start from.
        prints: Row -> fingerprint, of readable pictures.
        outlines: Whether masks are outlines.
        faults: Found before; rows whose masks they tell of are passed over.
    """
    told = {(fault.row, fault.file) for fault in faults if fault.kind in TOLD}
    masked = [index for index, row in enumerate(rows) if row.masks]
    looked = [index for index in masked if (rows[index].line, rows[index].image) not in told]

    def one(index: int) -> Look | Fault:
        shape = prints[index].shape[1:] if index in prints else None
        return _look(rows[index], root, None if shape is None else (shape[0], shape[1]), outlines)

    found: list[Fault] = []
    looks: list[Look] = []
    with ThreadPoolExecutor() as pool:
        for done, seen in enumerate(pool.map(one, looked), start=1):
            progress.step("reading masks", done, len(looked))
            if isinstance(seen, Fault):
                found.append(seen)
            else:
                looks.append(seen)
    alike = sum(look.outlines > 0 for look in looks)
    if outlines == "auto" and alike and settle(looks) == "no":
        found.append(_mixed(alike, len(looks)))
    found += turned_apart([rows[index] for index in masked], root)
    empty = sum(look == (0, 0) for look in looks)
    return MaskFindings(faults=found, counts={"masks": len(masked), "empty_masks": empty, "outlines": alike})


def _look(row: Row, root: Path, shape: tuple[int, int] | None, outlines: Outlines) -> Look | Fault:
    try:
        masks = masks_of(row, root, shape)
        # With labels the table is a classifier's, which no ring disturbs; a training on masks says the same.
        if row.label is None or outlines != "auto":
            refuse_other(masks, outline=RULES[outlines])
    except DataError as fault:
        kind = fault.kind if isinstance(fault, MaskFault) else UNREADABLE
        return Fault(kind=kind, row=row.line, file=row.image, message=str(fault))
    return look_at(masks)


def _mixed(alike: int, masks: int) -> Fault:
    return Fault(kind="mixed-outlines", severity="warning", message=(
        f"{alike} of {masks} masks look like outlines along an ellipse and the others are regions: a training fills "
        "none; where they are outlines, fill them or draw all as outlines; where rings are the structure itself, all "
        "is well: --set data.outlines=no says so"))
