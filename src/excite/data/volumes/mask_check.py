"""All that is wrong with a table of scans and their masks, in one pass, without a training."""

import hashlib
from collections import Counter

import numpy as np

from excite.data.fault import Fault
from excite.data.volumes.check import VolumeCheck
from excite.data.volumes.mask_sections import MaskedVolumesSection
from excite.data.volumes.mask_store import MOST, opened
from excite.data.volumes.mask_table import MaskTable, read_mask_table
from excite.data.volumes.store import Reading
from excite.errors import DataError
from excite.progress import Progress, silent

FAR = 2.0  # times that the spacing of a scan may be another than the usual one, without a word


def check_masks(section: MaskedVolumesSection, *, progress: Progress | None = None) -> VolumeCheck:
    """Read every scan and mask of a table, and report all that is wrong or doubtful.

    Raises:
        DataError: the table itself has faults. UsageError: the section names a column that is not there.
    """
    progress, table = progress or silent(), read_mask_table(section)
    how, faults, values = Reading(section.series, section.gaps), list[Fault](), dict[int, set[int]]()
    spacings, sizes, seen = dict[int, tuple[float, ...]](), Counter[str](), dict[str, list[int]]()
    for place, (row, files) in enumerate(zip(table.manifest.rows, table.files, strict=True)):
        try:
            volumes, labels, _ = opened(files, table.masks[place], table.maps, how)
        except DataError as fault:
            faults.append(Fault(kind="unusable-scan", row=row.line, file=str(fault.where), message=fault.message()))
            continue
        first = volumes[table.maps[0]]
        values[row.line], spacings[row.line] = {int(one) for one in np.unique(labels)}, first.spacing
        sizes[" x ".join(map(str, first.shape))] += 1
        seen.setdefault(hashlib.sha256(first.values.tobytes()).hexdigest(), []).append(row.line)
        progress.step("reading volumes", place + 1, len(table.files))
    faults += [*_labels(values, table, section), *_spacings(spacings), *_same(seen)]
    rows = table.manifest.rows
    counts = {"rows": len(rows), "labels": _named(table, section, Counter(one for of in values.values() for one in of)),
              "sizes": dict(sizes.most_common()),
              "patients": len({row.patient for row in rows if row.patient is not None})}
    return VolumeCheck(faults=tuple(sorted(faults, key=lambda fault: fault.row or 0)), counts=counts,
                       notes=table.manifest.notes)


def _names(table: MaskTable, section: MaskedVolumesSection) -> dict[int, str]:
    return dict(enumerate(section.classes)) if section.classes else dict(table.names or {})


def _named(table: MaskTable, section: MaskedVolumesSection, counts: Counter[int]) -> dict[str, int]:
    names = _names(table, section)
    return {f"{value} {names[value]}" if value in names else str(value): counts[value] for value in sorted(counts)}


def _labels(values: dict[int, set[int]], table: MaskTable, section: MaskedVolumesSection) -> list[Fault]:
    """Return faults of masks with labels that nobody named, or far too many, and warnings of empty ones."""
    known, found = _names(table, section), list[Fault]()
    for line, held in values.items():
        if known and held - set(known):
            found.append(Fault(kind="unknown-label", row=line, message=(
                f"the mask has the labels {', '.join(map(str, sorted(held - set(known))))}, which no class has")))
        elif len(held) > MOST:
            found.append(Fault(kind="many-labels", row=line, message=(
                f"the mask has {len(held)} different values: is this the image?")))
        elif held == {0}:
            found.append(Fault(kind="empty-mask", row=line, severity="warning", message="the mask is empty"))
    if values and not set().union(*values.values()) - {0}:
        found.append(Fault(kind="no-labels", message="all masks are empty: there is nothing to learn"))
    return found


def _spacings(spacings: dict[int, tuple[float, ...]]) -> list[Fault]:
    """Return warnings of scans whose voxels are far from the usual size."""
    if not spacings:
        return []
    usual = np.median(list(spacings.values()), axis=0)
    return [Fault(kind="other-spacing", row=line, severity="warning", message=(
        f"voxels of {' x '.join(f'{one:g}' for one in spacing)} mm, the usual ones are "
        f"{' x '.join(f'{one:g}' for one in usual)} mm: it is resampled"))
        for line, spacing in spacings.items() if max(np.maximum(spacing / usual, usual / spacing)) > FAR]


def _same(seen: dict[str, list[int]]) -> list[Fault]:
    return [Fault(kind="same-scan", row=line, severity="warning", message=(
        f"its voxels are those of line {lines[0]}: keep one of the two, or give both one patient"))
        for lines in seen.values() for line in lines[1:]]
