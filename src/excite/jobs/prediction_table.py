"""Predictions as files: CSV for a spreadsheet, JSON lines for a program, feature vectors for data mining."""

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from excite.errors import EnvironmentFault, UsageError
from excite.jobs.prediction_columns import Columns, cell
from excite.outcome.anything import Prediction
from excite.outcome.prediction import ClassPrediction, FailedPrediction

__all__ = ["Prediction", "cell", "check_endings", "opened"]


class Writer(Protocol):
    """Takes one prediction after another."""

    def add(self, one: Prediction) -> None:
        """Write one prediction."""


class CsvTable:
    """One row an image, one column a number; UTF-8, comma, LF."""

    def __init__(self, file: Path, columns: Columns) -> None:
        self.columns = columns
        self._stream = file.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._stream, lineterminator="\n")
        self._writer.writerow(["file", *columns.header, "error"])

    def add(self, one: Prediction) -> None:
        """Write one row."""
        if isinstance(one, FailedPrediction):
            self._writer.writerow([cell(one.file, path=True), *("" for _ in self.columns.header), cell(one.error)])
        else:
            self._writer.writerow([cell(one.file, path=True), *self.columns.row(one), ""])

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
def opened(out: Path | None, features: Path | None, columns: Columns) -> Iterator[list[Writer]]:
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
                    writers.append(CsvTable(aside, columns))
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
