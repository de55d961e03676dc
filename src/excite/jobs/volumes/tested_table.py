"""The table of rows that a network was tested on: of each its truth, its probabilities, the network's own outputs.

A column of a class has the class's name, or p(NAME) where that is another column's or one that a spreadsheet would run.
"""

import csv
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from excite.errors import EnvironmentFault
from excite.jobs.prediction_columns import cell

FIRST = ("line", "fold", "truth", "label")


class Tested(NamedTuple):
    """Lines of a table, (N,), the true classes of their rows, (N,), and the network's outputs for them, (N, K)."""

    lines: NDArray[np.int64]
    truth: NDArray[np.int64]
    logits: NDArray[np.float64]


def class_columns(classes: Sequence[str]) -> list[str]:
    """Return the name of each class's column of probabilities."""
    return [f"p({name})" if name in FIRST or cell(name) != name else name for name in classes]


def table_of_tested(classes: Sequence[str], lines: Sequence[int], truth: NDArray[np.int64], shares: NDArray[np.float64],
                logits: NDArray[np.float32]) -> str:
    """Return the table as text; outputs have the digits that give the same float32 again.

    Shape:
        truth (N,); shares, logits (N, K)
    """
    stream = StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(_header(classes))
    for line, true, found, outputs in zip(lines, truth, shares, logits, strict=True):
        table.writerow([line, cell(classes[true]), cell(classes[int(found.argmax())]),
                        *(f"{value:.6f}" for value in found), *(f"{value:.9g}" for value in outputs)])
    return stream.getvalue()


def read_tested(file: Path, classes: Sequence[str]) -> Tested:
    """Return what `table_of_tested` wrote of a network of these classes.

    Raises:
        EnvironmentFault: the file is missing, damaged, or of other classes.
    """
    known, count = {cell(name): place for place, name in enumerate(classes)}, len(classes)
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            header, *rows = csv.reader(stream)
        if header != _header(classes):
            raise ValueError(f"its columns are {', '.join(header)}")
        logits = np.array([[float(value) for value in row[-count:]] for row in rows if len(row) == len(header)])
        if len(logits) < len(rows):
            raise ValueError("a line is cut")
        return Tested(np.array([int(row[0]) for row in rows], np.int64),
                      np.array([known[row[1]] for row in rows], np.int64), logits.reshape(-1, count))
    except (OSError, ValueError, KeyError) as fault:
        raise EnvironmentFault("the table of predictions is missing or damaged", where=file, why=str(fault),
                               fix="the same training again writes it anew") from None


def _header(classes: Sequence[str]) -> list[str]:
    return ["line", "truth", "label", *class_columns(classes), *(f"logit({name})" for name in classes)]
