"""The files of an evaluation: evaluation.json, and a table with one row an image."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from excite.errors import EnvironmentFault
from excite.jobs.prediction_table import cell
from excite.metrics.evaluation import Evaluation
from excite.metrics.mask_evaluation import MaskEvaluation

FIRST, LAST = ("file", "line", "truth", "label", "probability"), ("unit",)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The predictions behind an evaluation, one an image.

    Args:
        files: As the table names them.
        lines: Of the table; row i of a manifest is on line i + 2.
        truth: Index of the true class, (N,).
        probabilities: Of each class, (N, K).
        units: What each image belongs to.
        classes: In the order of the network's outputs.
    """

    files: tuple[str, ...]
    lines: tuple[int, ...]
    truth: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    units: tuple[str, ...]
    classes: tuple[str, ...]


def names(part: str, *, own: bool) -> tuple[str, str]:
    """Return the names of the two files; `own`: in the run folder, where evaluation.json is that of the test part."""
    plain = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in part)
    return ("evaluation.json" if part == "test" or not own else f"evaluation-{plain}.json"), f"predictions-{plain}.csv"


def write(folder: Path, evaluation: Evaluation | MaskEvaluation, table_text: str, *, own: bool) -> tuple[Path, Path]:
    """Write both files, each whole or not at all, and return where they are.

    Args:
        folder: Made if missing.
        evaluation: Becomes evaluation.json.
        table_text: Becomes predictions-PART.csv: `class_table` or `mask_table`.
        own: In the run folder, where evaluation.json is that of the test part.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    numbers, table = (folder / name for name in names(evaluation.part, own=own))
    text = json.dumps(evaluation.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in ((table, table_text), (numbers, text)):
            aside = file.with_name(f".{file.name}.tmp")
            aside.write_text(content, encoding="utf-8", newline="\n")
            aside.replace(file)
    except OSError as fault:
        raise EnvironmentFault("the evaluation cannot be written", where=folder, why=fault.strerror or str(fault),
                               fix="choose another folder with --out") from None
    return numbers, table


def read_predictions(file: Path, classes: Sequence[str]) -> Predictions:
    """Return what `class_table` wrote for a network of these classes.

    Raises:
        EnvironmentFault: the file is missing, or is none of these classes.
    """
    known = {cell(name): place for place, name in enumerate(classes)}
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            header, *rows = list(csv.reader(stream))
        if header != _header(classes):
            raise ValueError(f"its columns are {', '.join(header)}")
        begin = len(FIRST)
        return Predictions(
            files=tuple(row[0] for row in rows), lines=tuple(int(row[1]) for row in rows),
            truth=np.array([known[row[2]] for row in rows], np.int64), units=tuple(row[-1] for row in rows),
            probabilities=np.array([[float(value) for value in row[begin:-1]] for row in rows]).reshape(-1, len(known)),
            classes=tuple(classes))
    except (OSError, ValueError, KeyError, IndexError) as fault:
        raise EnvironmentFault("the table of predictions is missing or damaged", where=file, why=str(fault),
                               fix="excite evaluate writes it again") from None


def class_table(found: Predictions) -> str:
    """Return one row an image: its truth, its label, the probability of each class."""
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_header(found.classes))
    for place, chances in enumerate(found.probabilities):
        best = int(chances.argmax())
        writer.writerow([
            cell(found.files[place], path=True), found.lines[place], cell(found.classes[found.truth[place]]),
            cell(found.classes[best]), f"{chances[best]:.9g}", *(f"{value:.9g}" for value in chances),
            cell(found.units[place])])
    return stream.getvalue()


def _header(classes: Sequence[str]) -> list[str]:
    """Return the columns; a class that has a fixed column's name, or that a spreadsheet would run, is p(NAME)."""
    taken = {*FIRST, *LAST}
    return [*FIRST, *(f"p({name})" if name in taken or name.startswith(_FORMULA) else name for name in classes), *LAST]
