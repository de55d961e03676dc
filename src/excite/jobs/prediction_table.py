"""Predictions as files: CSV for a spreadsheet, JSON lines for a program, feature vectors for data mining.

A spreadsheet runs a cell that begins with =, +, - or @ as a formula. In CSV such a file name gets "./" in front, which
is the same file, and other text an apostrophe; a class whose name begins so, or is that of a fixed column, has the
column p(NAME). JSON lines hold every text as it is.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from excite.errors import EnvironmentFault, UsageError
from excite.outcome.prediction import ClassPrediction, FailedPrediction

FIXED = ("file", "label", "probability", "error")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
Prediction = ClassPrediction | FailedPrediction


class Writer(Protocol):
    """Takes one prediction after another."""

    def add(self, one: Prediction) -> None:
        """Write one prediction."""


class CsvTable:
    """file, label, probability, one column a class, error; UTF-8, comma, LF."""

    def __init__(self, file: Path, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self._stream = file.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._stream, lineterminator="\n")
        self._writer.writerow([*FIXED[:3], *map(column, classes), FIXED[3]])

    def add(self, one: Prediction) -> None:
        """Write one row; a probability has 6 digits."""
        if isinstance(one, FailedPrediction):
            self._writer.writerow([cell(one.file, path=True), "", "", *("" for _ in self.classes), cell(one.error)])
            return
        values = [f"{one.probabilities[name]:.6f}" for name in self.classes]
        self._writer.writerow([cell(one.file, path=True), cell(one.label), f"{one.probabilities[one.label]:.6f}",
                               *values, ""])

    def close(self) -> None:
        """End the file."""
        self._stream.close()


class JsonLines:
    """One object a line, as --json prints it."""

    def __init__(self, file: Path) -> None:
        self._stream = file.open("w", encoding="utf-8", newline="\n")

    def add(self, one: Prediction) -> None:
        """Write one line."""
        self._stream.write(json.dumps(one.to_json(), ensure_ascii=False, allow_nan=False) + "\n")

    def close(self) -> None:
        """End the file."""
        self._stream.close()


class Features:
    """One vector an image: .npz with the arrays `files` and `features`, or .csv with file, f0, f1, ..."""

    def __init__(self, file: Path, *, kind: str) -> None:
        self.file, self.kind = file, kind
        self._files: list[str] = []
        self._rows: list[NDArray[np.float32]] = []

    def add(self, one: Prediction) -> None:
        """Keep the vector of one image; a file that could not be used has none."""
        if isinstance(one, ClassPrediction) and one.features is not None:
            self._files.append(one.file)
            self._rows.append(np.asarray(one.features, np.float32))

    def close(self) -> None:
        """Write all vectors."""
        table = np.stack(self._rows) if self._rows else np.zeros((0, 0), np.float32)
        if self.kind == ".npz":
            with self.file.open("wb") as stream:
                np.savez(stream, files=np.array(self._files, dtype=np.str_), features=table)
            return
        with self.file.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["file", *(f"f{place}" for place in range(table.shape[1]))])
            writer.writerows([cell(name, path=True), *map(repr, row.tolist())]
                             for name, row in zip(self._files, table, strict=True))


@contextmanager
def opened(out: Path | None, features: Path | None, classes: Sequence[str]) -> Iterator[list[Writer]]:
    """Open the files that are asked for; each appears under its name when all is done, none half written.

    Raises:
        UsageError: an ending that is not known. EnvironmentFault: a file cannot be written.
    """
    check_endings(out, features)
    writers: list[CsvTable | JsonLines | Features] = []
    moves: list[tuple[Path, Path]] = []
    try:
        for file in (out, features):
            if file is not None:
                aside = file.with_name(f".{file.name}.tmp")
                moves.append((aside, file))
                aside.touch()
                if file is features:
                    writers.append(Features(aside, kind=file.suffix.lower()))
                elif file.suffix.lower() == ".csv":
                    writers.append(CsvTable(aside, classes))
                else:
                    writers.append(JsonLines(aside))
        yield list(writers)
        for writer in writers:
            writer.close()
        for aside, file in moves:
            aside.replace(file)
    except OSError as fault:
        raise EnvironmentFault("the output cannot be written", where=fault.filename or out or features,
                               why=fault.strerror or str(fault), fix="choose another place") from None
    finally:
        for aside, _ in moves:
            aside.unlink(missing_ok=True)


def check_endings(out: Path | None, features: Path | None) -> None:
    """Raise where a file's ending is none that can be written, or both files are one."""
    for name, file, known in (("--out", out, (".csv", ".jsonl")), ("--features", features, (".npz", ".csv"))):
        if file is not None and file.suffix.lower() not in known:
            raise UsageError(f"{name} must end in {' or '.join(known)}, got {file.name!r}",
                             fix=f"{file.stem}{known[0]}")
    if out is not None and features is not None and out.resolve() == features.resolve():
        raise UsageError("--out and --features name the same file", where=out, fix="name two files")


def column(name: str) -> str:
    """Return the header of a class's column."""
    return f"p({name})" if name in FIXED or name.startswith(_FORMULA) else name


def cell(text: str, *, path: bool = False) -> str:
    """Return text that no spreadsheet runs as a formula."""
    if not text.startswith(_FORMULA):
        return text
    return f"./{text}" if path else f"'{text}"
