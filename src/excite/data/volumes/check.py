"""All that is wrong with a table of volumes, in one pass, without a training."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from excite.data.fault import Fault
from excite.data.volumes.levels import APART, is_flat
from excite.data.volumes.overlap import check_overlap
from excite.data.volumes.sections import VolumesSection
from excite.data.volumes.store import Reading, file_hashes, open_patient, same_maps
from excite.data.volumes.twins import alike_ids, same_files
from excite.data.volumes.volume_table import VolumeTable, read_volume_table
from excite.errors import DataError
from excite.progress import Progress, silent


@dataclass(frozen=True, kw_only=True)
class VolumeCheck:
    """What a look at every volume found."""

    faults: tuple[Fault, ...]
    counts: dict[str, Any]
    notes: tuple[str, ...]

    @property
    def errors(self) -> list[Fault]:
        """Return the faults that stop a training."""
        return [fault for fault in self.faults if fault.severity == "error"]

    def to_json(self) -> dict[str, Any]:
        """Return {"faults": [...], "counts": {...}, "notes": [...]}."""
        return {"faults": [vars(fault) for fault in self.faults], "counts": self.counts, "notes": list(self.notes)}


def check_volumes(section: VolumesSection, *, progress: Progress | None = None) -> VolumeCheck:
    """Read every row and every volume of a table, and report all that is wrong or doubtful.

    Raises:
        DataError: the table itself has faults. UsageError: the section names a column that is not there.
    """
    progress, table = progress or silent(), read_volume_table(section)
    how = Reading(section.series, section.gaps)
    faults, medians, sizes = list[Fault](), dict[str, dict[int, float]](), Counter[str]()
    for place, (row, files) in enumerate(zip(table.manifest.rows, table.files, strict=True)):
        try:
            volumes = open_patient(files, table.maps, how)
        except DataError as fault:
            faults.append(Fault(kind="unusable-volume", row=row.line, file=str(fault.where), message=fault.message()))
            continue
        for name, volume in volumes.items():
            seen = volume.values[np.isfinite(volume.values)]
            if is_flat(seen):
                faults.append(Fault(kind="flat-map", row=row.line, severity="warning",
                                    message=f"the {name} has one value everywhere: it shows nothing"))
            else:
                medians.setdefault(name, {})[row.line] = float(np.median(seen[seen != 0]))
            sizes[f"{name}: {' x '.join(map(str, volume.shape))}"] += 1
        faults += [Fault(kind="same-map", row=row.line, severity="warning", message=text)
                   for text in same_maps(volumes)]
        reference = section.reference if section.reference in volumes else next(iter(volumes))
        for doubt in check_overlap(volumes, reference=reference) if len(volumes) > 1 else []:
            faults.append(Fault(kind="maps-apart", row=row.line, message=doubt.text,
                                severity="error" if doubt.refused else "warning"))
        progress.step("reading volumes", place + 1, len(table.files))
    faults += [*_levels(medians, section), *_twins(table)]
    rows = table.manifest.rows
    counts = {"rows": len(rows), "maps": {name: len(rows) - lost for name, lost in table.missing.items()},
              "classes": dict(Counter(row.label for row in rows)), "sizes": dict(sizes.most_common()),
              "patients": len({row.patient for row in rows if row.patient is not None})}
    return VolumeCheck(faults=tuple(sorted(faults, key=lambda fault: fault.row or 0)), counts=counts,
                       notes=table.manifest.notes)


def _levels(medians: dict[str, dict[int, float]], section: VolumesSection) -> list[Fault]:
    """Return a warning for each map whose level is many times the usual one: another unit, perhaps."""
    found = []
    for name, of_rows in medians.items() if section.levels == "map" else ():
        usual = float(np.median(list(of_rows.values())))
        for line, level in of_rows.items():
            if usual and not 1 / APART < level / usual < APART:
                found.append(Fault(kind="level", row=line, severity="warning", message=(
                    f"the {name}'s median value is {level:.4g}, that of the others {usual:.4g}: another unit?")))
    return found


def _twins(table: VolumeTable) -> list[Fault]:
    """Return a warning for rows of two patients with a file in common, rows that are there twice, and ids alike."""
    rows, found = table.manifest.rows, list[Fault]()
    for twin in same_files(table.maps, [file_hashes(files) for files in table.files]):
        one, other = rows[twin.row], rows[twin.other]
        same = one.patient is not None and one.patient == other.patient
        if twin.whole or not same:
            asked = "the row twice?" if same else "one patient under two names?"
            found.append(Fault(kind="same-files", row=one.line, severity="warning",
                               message=f"{twin.told(rows)}: {asked}"))
    first = {rows[place].patient: (place, other) for place, other in reversed(list(alike_ids(rows)))}
    return found + [Fault(kind="ids-alike", row=rows[place].line, severity="warning", message=(
        f"patient {rows[place].patient!r} is spelt like {rows[other].patient!r} of line {rows[other].line}: "
        "one patient under two names?")) for place, other in first.values()]
