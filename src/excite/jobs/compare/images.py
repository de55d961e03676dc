"""Networks for images as they were tested: classes by predictions-test.csv, masks by the numbers of each image."""

import csv
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from excite.data.sections import DataSection
from excite.data.split import Split
from excite.deploy.bundle import BundleInfo
from excite.errors import EnvironmentFault, UsageError
from excite.jobs import run_folder as files
from excite.jobs.compare.tested import Row, Tested, belongs, leaks
from excite.jobs.evaluate import evaluate
from excite.jobs.evaluation_data import is_run, read_json
from excite.jobs.evaluation_files import names, read_predictions
from excite.metrics.classification import measure
from excite.metrics.mask_evaluation import ORDER
from excite.metrics.segmentation import means
from excite.progress import Progress

HEAD = "true_x_px"  # a column that only heads have, empty where the truth has none
AGAIN = "measured anew, because its table of predictions is missing, or of another bundle or view"


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """What a table of predictions says: of each image its line, name, true class, unit, and the answer."""

    lines: tuple[int, ...]
    files: tuple[str, ...]
    truth: tuple[str, ...]
    units: tuple[str, ...]
    answers: NDArray[np.float64] | tuple[Row, ...]


def tested_images(source: Path, folder: Path, info: BundleInfo, data: DataSection | None, *,
                  progress: Progress) -> Tested:
    """Return a network's answers on the test part of its run, or on all rows of another table.

    Raises:
        UsageError: a bundle comes without data. DataError: nothing can be measured. EnvironmentFault: a file of the run
            is missing or damaged.
    """
    if data is None and not is_run(source):
        raise UsageError("a bundle has no data of its own", where=source,
                         fix="name a run folder, or a table for both with --data")
    found = None if data else _stored(source / names("test", own=True)[1], info)
    kind, notes = "", leaks(info.metrics.get("notes", ()))
    if found is None:
        progress.say(f"{source}: measuring" if data else f"{source}: {AGAIN}")
        found, kind, notes = _measured(source, data, info)
    contents, truth, units = tuple(f"line {line}" for line in found.lines), found.truth, found.units
    if data is None:
        split = Split.from_json(read_json(source / files.SPLIT))
        contents, truth, rows = _known(source, found)
        units, kind = tuple(split.units[row] for row in rows), split.unit_kind
    return Tested(name=str(source), folder=folder, info=info, sample="image", files=found.files, contents=contents,
                  truth=truth, units=units, unit_kind=kind, answers=found.answers, notes=notes)


def _stored(table: Path, info: BundleInfo) -> Answers | None:
    """Return what a run's table says; None where it is none, or not of this bundle."""
    try:
        found = _read(table, info)
    except EnvironmentFault:
        return None
    if isinstance(found.answers, tuple):
        numbers = {name: one.value for name, one in means(found.answers, found.units, resamples=1).items()}
    else:
        numbers = measure(np.array([info.classes.index(name) for name in found.truth]), found.answers, info.classes)
    return found if belongs(info, numbers, len(found.lines)) else None


def _measured(source: Path, data: DataSection | None, info: BundleInfo) -> tuple[Answers, str, tuple[str, ...]]:
    """Return the answers of the bundle as it is, what a unit is, and what to beware of."""
    with tempfile.TemporaryDirectory(prefix="excite-compare-") as out:
        found = evaluate(source, data.table if data else None, out=out, columns=data, resamples=1)
        lost = [f"{len(found.failed)} rows could not be used: {found.failed[0]['error']}"] if found.failed else []
        return (_read(Path(out) / names(found.part, own=False)[1], info), found.unit_kind,
                (*leaks(found.notes), *lost))


def _known(source: Path, found: Answers) -> tuple[tuple[str, ...], tuple[str, ...], list[int]]:
    """Return content and truth of each image as the run hashed them, and its row; a mask's truth is its hash and the
    pixel size.
    """
    hashes = {int(key.partition(":")[0]): str(value) for key, value in read_json(source / files.HASHES).items()}
    place = {line: row for row, line in enumerate(hashes)}
    try:
        mine = [hashes[line] for line in found.lines]
    except KeyError as fault:
        raise EnvironmentFault(f"{files.HASHES} has no line {fault}", where=source, fix="train again in a new folder"
                               ) from None
    truth = found.truth if not isinstance(found.answers, tuple) else tuple(one.partition(" mask ")[2] for one in mine)
    return tuple(one.split()[0] for one in mine), truth, [place[line] for line in found.lines]


def _read(table: Path, info: BundleInfo) -> Answers:
    if info.of_masks:
        return _read_masks(table)
    found = read_predictions(table, info.classes)
    return Answers(lines=found.lines, files=found.files, units=found.units, answers=found.probabilities,
                   truth=tuple(found.classes[place] for place in found.truth))


def _read_masks(table: Path) -> Answers:
    """Return what `mask_table` wrote."""
    try:
        with table.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        if not rows:
            raise ValueError("it has no row")
        return Answers(lines=tuple(int(row["line"]) for row in rows), files=tuple(row["file"] for row in rows),
                       truth=("",) * len(rows), units=tuple(row["unit"] for row in rows),
                       answers=tuple(_numbers_of(row) for row in rows))
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise EnvironmentFault("the table of predictions is missing or damaged", where=table, why=str(fault),
                               fix="excite evaluate writes it again") from None


def _numbers_of(row: dict[str, str]) -> Row:
    """Return the numbers of an image by name, those of its head too, as an evaluation has them."""
    found = {name: _number(row[name]) for name in ORDER if name in row}
    if HEAD not in row:
        return found
    there, low, high = bool(row[HEAD]), _number(row["low_mm"]), _number(row["high_mm"])
    error = found["df_mm"]
    seen = bool(row["x_px"])
    return {**found, "adf_mm": None if error is None else abs(error), "found": float(seen) if there else None,
            "head_dice": 0.0 if there and not seen else found["head_dice"],
            "width_mm": None if low is None or high is None else high - low,
            "coverage": {"yes": 1.0, "no": 0.0}.get(row["inside"])}


def _number(text: str) -> float | None:
    return float(text) if text else None
