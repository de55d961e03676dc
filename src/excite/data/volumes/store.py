"""Patients' maps on one grid, prepared once, in one memory-mapped file that names what it is made of."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from excite import __version__
from excite.data.volumes.overlap import check_overlap
from excite.data.volumes.preprocess import VolumePreprocess
from excite.data.volumes.reading import read_volume
from excite.data.volumes.store_files import draft_of, reserve, sweep, volumes_folder
from excite.data.volumes.volume import Volume
from excite.errors import DataError, EnvironmentFault
from excite.progress import Progress, silent

FORMAT = 3
SHOWN = 10
Files = Sequence[Path | None]


class Reading(NamedTuple):
    """How files are read: of each map the pattern of its DICOM series, and whether voxels of NaN were not seen."""

    series: dict[str, str]
    gaps: str = "refuse"


@dataclass(frozen=True, kw_only=True)
class VolumeStore:
    """Prepared patients, in the order of the table.

    Args:
        values: (N, M, D, H, W) float32, NaN where nothing was seen; mapped from the file.
        present: (N, M) which maps a patient has.
        contents: sha256 of each patient's files together.
        hashes: sha256 of each of them alone, None where a map is missing.
        notes: Of each patient, what readers decided, each a sentence.
        doubts: Of each patient, what is doubtful about how the maps lie, each a sentence.
        file: Where the values lie.
    """

    values: NDArray[np.float32]
    present: NDArray[np.bool_]
    contents: tuple[str, ...]
    hashes: tuple[tuple[str | None, ...], ...]
    notes: tuple[tuple[str, ...], ...]
    doubts: tuple[tuple[str, ...], ...]
    file: Path

    @classmethod
    def build(cls, patients: Sequence[Files], preprocess: VolumePreprocess, *, how: Reading,
              folder: Path | None = None, progress: Progress | None = None) -> "VolumeStore":
        """Return the store, prepared now where there is none of these files and this grid.

        Raises:
            DataError: files that cannot be used, the first ten named. EnvironmentFault: the store cannot be written.
        """
        progress = progress or silent()
        contents = tuple(content_of(files) for files in patients)
        key = json.dumps([FORMAT, __version__, preprocess.stored_key, how, contents], sort_keys=True)
        name = hashlib.sha256(key.encode()).hexdigest()[:32]
        folder = folder or volumes_folder()
        file, page = folder / f"{name}.npy", folder / f"{name}.json"
        if not page.is_file() or not file.is_file():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                sweep(folder)
                _write(file, page, patients, preprocess, how, progress)
            except OSError as fault:
                raise EnvironmentFault("the prepared volumes cannot be written", where=folder, why=str(fault),
                                       fix="free some space, or set EXCITE_CACHE to another folder") from None
        values = np.load(file, mmap_mode="r", allow_pickle=False)
        present = np.array([[one is not None for one in files] for files in patients])
        told = json.loads(page.read_text(encoding="utf-8"))
        return cls(values=values, present=present, contents=contents,
                   hashes=tuple(map(file_hashes, patients)), notes=tuple(map(tuple, told["notes"])),
                   doubts=tuple(map(tuple, told["doubts"])), file=file)

    def marks(self, row: int) -> frozenset[str]:
        """Return by what a patient is known again: the beginnings of the hashes of all files together and of each."""
        return frozenset(one[:16] for one in (self.contents[row], *self.hashes[row]) if one)


def content_of(files: Files) -> str:
    """Return a hash of a patient's files: of the bytes of each, of a folder those of all that it holds."""
    found = hashlib.sha256()
    for file in files:
        found.update(b"\0" if file is None else b"\1")
        if file is not None:
            place, _, member = str(file).partition("#")
            found.update(member.encode())
            path = Path(place)
            for one in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if one.is_file():
                    found.update(_digest(one))
    return found.hexdigest()


def file_hashes(files: Files) -> tuple[str | None, ...]:
    """Return a hash of each file alone; that of a folder is the same whatever its files are called."""
    return tuple(None if file is None else _folder_hash(file) if file.is_dir() else content_of((file,))
                 for file in files)


def open_patient(files: Files, maps: Sequence[str], how: Reading) -> dict[str, Volume]:
    """Return the volumes of a patient that are there.

    Raises:
        DataError: one cannot be used; the map is named.
    """
    found = {}
    for name, file in zip(maps, files, strict=True):
        if file is not None:
            try:
                found[name] = read_volume(file, series=how.series.get(name), fill=nan if how.gaps == "unseen" else None)
            except DataError as fault:
                raise DataError(f"{name}: {fault.what}", where=fault.where, why=fault.why, fix=fault.fix) from None
    return found


def prepared(volumes: dict[str, Volume], preprocess: VolumePreprocess
             ) -> tuple[NDArray[np.float32], list[str], list[str]]:
    """Return a patient's maps on the grid, what readers decided, and what is doubtful about how they lie.

    Raises:
        DataError: there is no map, or one does not show where the reference is.
    """
    notes = [f"{name}: {note}" for name, volume in volumes.items() for note in volume.notes]
    reference = preprocess.reference if preprocess.reference in volumes else next(iter(volumes), "")
    doubts = check_overlap(volumes, reference=reference) if len(volumes) > 1 else []
    if refused := next((one.text for one in doubts if one.refused), None):
        raise DataError(refused, fix="check that the maps are of one patient and one session, and their headers whole")
    return preprocess.store(volumes), notes, [*(one.text for one in doubts), *same_maps(volumes)]


def same_maps(volumes: Mapping[str, Volume]) -> list[str]:
    """Return a sentence for each two maps of a patient that hold the same values at the same places."""
    return [f"{name} and {other} are the same map: one file under two names?"
            for (name, one), (other, two) in combinations(volumes.items(), 2)
            if np.array_equal(one.values, two.values, equal_nan=True) and np.allclose(one.affine, two.affine)]


_DIGESTS: dict[tuple[str, int, int], bytes] = {}


def _digest(file: Path) -> bytes:
    """Return the sha256 of a file; of one that did not change within this process only once."""
    stat = file.stat()
    key = (str(file), stat.st_size, stat.st_mtime_ns)
    if key not in _DIGESTS:
        with file.open("rb") as stream:
            _DIGESTS[key] = hashlib.file_digest(stream, "sha256").digest()
    return _DIGESTS[key]


def _folder_hash(folder: Path) -> str:
    digests = sorted(_digest(one) for one in folder.rglob("*") if one.is_file())
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _write(file: Path, page: Path, patients: Sequence[Files], preprocess: VolumePreprocess, how: Reading,
           progress: Progress) -> None:
    """Prepare every patient; the page, written last, marks the file as whole."""
    aside, draft = draft_of(file), draft_of(page)
    told: dict[str, list[list[str]]] = {"notes": [], "doubts": []}
    faults: list[str] = []
    shape = (len(patients), len(preprocess.maps), *preprocess.shape)
    try:
        values: Any = np.lib.format.open_memmap(aside, mode="w+", dtype=np.float32, shape=shape)
        reserve(aside)
        for row, files in enumerate(patients):
            try:
                values[row], notes, doubts = prepared(open_patient(files, preprocess.maps, how), preprocess)
                told["notes"].append(notes)
                told["doubts"].append(doubts)
            except DataError as fault:
                faults.append(fault.message())
            progress.step("preparing volumes", row + 1, len(patients))
        if faults:
            more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
            raise DataError(f"{len(faults)} of {len(patients)} rows cannot be used: {'; '.join(faults[:SHOWN])}{more}",
                            fix="correct the files, or take the rows out of the table")
        values.flush()
        del values
        aside.replace(file)
        draft.write_text(json.dumps(told), encoding="utf-8")
        draft.replace(page)
    finally:
        aside.unlink(missing_ok=True)
        draft.unlink(missing_ok=True)
