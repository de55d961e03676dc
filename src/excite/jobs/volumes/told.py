"""What a training on volumes decided, and what is doubtful about its data, in words."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from excite.data.split import Split
from excite.data.volumes.preprocess import VolumePreprocess
from excite.data.volumes.store import VolumeStore
from excite.data.volumes.volume_table import VolumeTable
from excite.models.backbone import Backbone

NUMBER = re.compile(r"(?<![\w.])[0-9]+(?:[.][0-9]+)?(?![\w])")  # not that of a name, such as t1
SHOWN = 8  # lines, or doubts, that a sentence lists


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """One thing that is doubtful in the same way about some rows.

    Args:
        text: What is doubtful about the first of them.
        lines: Of the table.
    """

    text: str
    lines: tuple[int, ...]

    def told(self) -> str:
        """Return it as a sentence that names the lines."""
        shown = ", ".join(map(str, self.lines[:SHOWN]))
        more = f" and {len(self.lines) - SHOWN} more" if len(self.lines) > SHOWN else ""
        if len(self.lines) == 1:
            return f"line {shown}: {self.text}"
        return f"{len(self.lines)} rows, of the first: {self.text} (lines {shown}{more})"


def doubts_of(table: VolumeTable, store: VolumeStore, preprocess: VolumePreprocess) -> list[Doubt]:
    """Return what is doubtful about the volumes and the clinical values; what differs in its numbers only is one."""
    alike: dict[str, list[tuple[int, str]]] = {}
    for place, (row, doubts, stored) in enumerate(zip(table.manifest.rows, store.doubts, store.values, strict=True)):
        values = () if table.clinical is None else table.clinical[place].tolist()
        for doubt in (*doubts, *preprocess.doubts(np.asarray(stored), values)):
            alike.setdefault(re.sub(r"-?[0-9][0-9.,]*", "#", doubt), []).append((row.line, doubt))
    found = [Doubt(text=some[0][1], lines=tuple(dict.fromkeys(line for line, _ in some))) for some in alike.values()]
    return sorted(found, key=lambda one: (-len(one.lines), one.lines))


def doubts_told(doubts: Sequence[Doubt]) -> str:
    """Return all doubts in one line of a log."""
    more = [f"and {len(doubts) - SHOWN} more kinds, listed in the report"] if len(doubts) > SHOWN else []
    return "; ".join([*(one.told() for one in doubts[:SHOWN]), *more]) or "none"


def maps_told(table: VolumeTable) -> str:
    """Return how many rows have each map."""
    rows = len(table.files)
    return ", ".join(f"{name} of {rows - lost} of {rows} rows" for name, lost in table.missing.items())


def clinical_told(table: VolumeTable, preprocess: VolumePreprocess) -> str:
    """Return how many rows have each clinical column, and what the training part holds."""
    if table.clinical is None:
        return "none"
    known = (~np.isnan(table.clinical)).sum(axis=0).tolist()
    return ", ".join(f"{one.name} of {count} of {len(table.clinical)} rows (training part {one.low:g} to {one.high:g}, "
                     f"mean {one.mean:.4g})" for one, count in zip(preprocess.clinical, known, strict=True))


def grid_told(preprocess: VolumePreprocess, model: nn.Module) -> str:
    """Return the grid that all maps are put on, and what a network of excite's makes of a side too small for it."""
    shape, steps = (" x ".join(map("{:g}".format, one)) for one in (preprocess.shape, preprocess.spacing))
    trunk = next((part for part in model.modules() if isinstance(part, Backbone) and part.dims == 3), None)
    strides = (1, 1, 1) if trunk is None else trunk.strides[-1]
    thin = [f"the network halves the {axis} until one place stands for {stride} voxels, there are {size}: what it "
            "looks at there is mostly beyond the volume"
            for axis, size, stride in zip(("depth", "height", "width"), preprocess.shape, strides, strict=True)
            if size < stride]
    return "; ".join([f"{shape} voxels of {steps} mm around the middle of the {preprocess.reference}", *thin])


def split_told(split: Split) -> str:
    """Return the sizes of the parts and the remarks of the split."""
    sizes = " / ".join(str(len(rows)) for rows in split.parts.values())
    return f"{sizes} rows by {split.unit_kind}; {'; '.join(split.notes) or 'no remarks'}"


def readers_told(store: VolumeStore) -> str:
    """Return what readers decided, alike notes together."""
    alike: dict[str, list[str]] = {}
    for notes in store.notes:
        for note in notes:
            alike.setdefault(NUMBER.sub("#", note), []).append(note)
    told = [(max(notes, key=_largest), len(notes) - 1) for notes in alike.values()]
    return "; ".join(f"{note} (the most; {more} like it)" if more and _largest(note) else f"{note} (and {more} like it)"
                     if more else note for note, more in told) or "nothing to decide"


def _largest(note: str) -> float:
    """Return the largest number of a note."""
    return max(map(float, NUMBER.findall(note)), default=0.0)
