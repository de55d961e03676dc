"""Scans with labels on one spacing, prepared once: two memory-mapped files that name what they are made of."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from excite import __version__
from excite.data.volumes.grid import resampled
from excite.data.volumes.label_files import read_labels
from excite.data.volumes.mask_preprocess import MaskPreprocess
from excite.data.volumes.store import Reading, content_of, open_patient
from excite.data.volumes.store_files import draft_of, sweep
from excite.data.volumes.volume import Volume
from excite.errors import DataError, EnvironmentFault
from excite.folders import own_folder
from excite.progress import Progress, silent

FORMAT = 1
SHOWN = 10
KEPT = 200   # places of each label value that training patches are put around
MOST = 64    # label values of a data set


class Entry(NamedTuple):
    """What is known of a row.

    Args:
        shape: Voxels along D, H and W on the network's spacing.
        voxels: A hash of the first map's own values, whatever file they are in.
        counts: Label value -> voxels, on the scan's own grid.
        places: Label value -> some of its voxels, as flat indices on the network's spacing.
        notes: What readers decided, each a sentence.
    """

    shape: tuple[int, int, int]
    voxels: str
    counts: dict[int, int]
    places: dict[int, list[int]]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class MaskStore:
    """Prepared scans, in the order of the table."""

    entries: tuple[Entry, ...]
    contents: tuple[str, ...]
    _values: NDArray[np.float32]
    _labels: NDArray[np.int16]
    maps: int

    @classmethod
    def build(cls, rows: Sequence[tuple[Path, ...]], masks: Sequence[Path], preprocess: MaskPreprocess, *,
              how: Reading, folder: Path | None = None, progress: Progress | None = None) -> "MaskStore":
        """Return the store, prepared now where there is none of these files and this spacing.

        Raises:
            DataError: files that cannot be used, the first ten named. EnvironmentFault: the store cannot be written.
        """
        progress = progress or silent()
        contents = tuple(content_of((*files, mask)) for files, mask in zip(rows, masks, strict=True))
        depends = [FORMAT, __version__, list(preprocess.maps), list(preprocess.spacing), how, contents]
        name = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:32]
        place = (folder or own_folder("EXCITE_CACHE", "volumes")) / f"{name}-labels"
        page = place / "page.json"
        if not page.is_file():
            try:
                place.mkdir(parents=True, exist_ok=True)
                sweep(place.parent)
                _write(place, rows, masks, preprocess, how, progress)
            except OSError as fault:
                raise EnvironmentFault("the prepared volumes cannot be written", where=place, why=str(fault),
                                       fix="free some space, or set EXCITE_CACHE to another folder") from None
        entries = tuple(map(_entry, json.loads(page.read_text(encoding="utf-8"))))
        return cls(entries=entries, contents=contents, maps=len(preprocess.maps),
                   _values=np.memmap(place / "values.bin", np.float32, "r"),
                   _labels=np.memmap(place / "labels.bin", np.int16, "r"))

    def scan(self, row: int) -> NDArray[np.float32]:
        """Return a row's maps (M, D, H, W), NaN where nothing was seen; mapped from the file."""
        first, size = self._span(row)
        values: NDArray[np.float32] = self._values[first * self.maps:(first + size) * self.maps]
        return values.reshape(self.maps, *self.entries[row].shape)

    def labels(self, row: int) -> NDArray[np.int16]:
        """Return a row's label values (D, H, W); mapped from the file."""
        first, size = self._span(row)
        values: NDArray[np.int16] = self._labels[first:first + size]
        return values.reshape(self.entries[row].shape)

    def _span(self, row: int) -> tuple[int, int]:
        sizes = [int(np.prod(entry.shape)) for entry in self.entries[:row + 1]]
        return sum(sizes[:-1]), sizes[-1]


def opened(files: Sequence[Path], mask: Path, maps: Sequence[str], how: Reading
           ) -> tuple[dict[str, Volume], NDArray[np.int16], list[str]]:
    """Return a row's volumes, its labels on the first one's grid, and what readers decided.

    Raises:
        DataError: a file cannot be used, or the mask does not fit the image.
    """
    volumes = open_patient(files, maps, how)
    labels, said = read_labels(mask, image=volumes[maps[0]])
    notes = [f"{name}: {note}" for name, volume in volumes.items() for note in volume.notes]
    return volumes, labels, [*notes, *(f"mask: {note}" for note in said)]


def _write(place: Path, rows: Sequence[tuple[Path, ...]], masks: Sequence[Path], preprocess: MaskPreprocess,
           how: Reading, progress: Progress) -> None:
    """Prepare every row; the page, written last, marks the folder as whole."""
    drafts = {name: draft_of(place / name) for name in ("values.bin", "labels.bin", "page.json")}
    entries, faults = list[dict[str, Any]](), list[str]()
    try:
        with drafts["values.bin"].open("wb") as values, drafts["labels.bin"].open("wb") as labels:
            for row, (files, mask) in enumerate(zip(rows, masks, strict=True)):
                try:
                    scan, known, entry = _prepared(files, mask, preprocess, how)
                except DataError as fault:
                    faults.append(fault.message())
                else:
                    scan.tofile(values)
                    known.tofile(labels)
                    entries.append(entry)
                progress.step("preparing volumes", row + 1, len(rows))
        if faults:
            more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
            raise DataError(f"{len(faults)} of {len(rows)} rows cannot be used: {'; '.join(faults[:SHOWN])}{more}",
                            fix="correct the files, or take the rows out of the table")
        drafts["page.json"].write_text(json.dumps(entries), encoding="utf-8")
        for name, draft in drafts.items():
            draft.replace(place / name)
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)


def _prepared(files: Sequence[Path], mask: Path, preprocess: MaskPreprocess, how: Reading
              ) -> tuple[NDArray[np.float32], NDArray[np.int16], dict[str, Any]]:
    """Return a row's maps and labels on the network's spacing, and what is known of it."""
    volumes, own, notes = opened(files, mask, preprocess.maps, how)
    first = volumes[preprocess.maps[0]]
    scan, grid = preprocess.on_grid(volumes), preprocess.grid(first)
    known = resampled(Volume(values=own.astype(np.float32), affine=first.affine, source=mask), grid, order=0,
                      outside=0.0).astype(np.int16)
    found, counts = np.unique(own, return_counts=True)
    if len(found) > MOST:
        raise DataError(f"the mask has {len(found)} different values", where=mask, why="labels have few",
                        fix="is this the image? name the column of the masks: --set volumes.mask_col=NAME")
    random = np.random.default_rng(0)
    places = {int(value): _some(np.flatnonzero(known == value), random) for value in found if value}
    entry = {"shape": list(grid.shape), "voxels": hashlib.sha256(first.values.tobytes()).hexdigest(),
             "counts": {int(value): int(count) for value, count in zip(found, counts, strict=True)},
             "places": places, "notes": notes}
    return scan.astype(np.float32), known, entry


def _some(places: NDArray[np.int64], random: np.random.Generator) -> list[int]:
    kept = places if len(places) <= KEPT else np.sort(random.choice(places, KEPT, replace=False))
    return [int(one) for one in kept]


def _entry(tree: dict[str, Any]) -> Entry:
    depth, height, width = tree["shape"]
    return Entry(shape=(depth, height, width), voxels=tree["voxels"], notes=tuple(tree["notes"]),
                 counts={int(value): count for value, count in tree["counts"].items()},
                 places={int(value): places for value, places in tree["places"].items()})
