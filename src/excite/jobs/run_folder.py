"""A run's folder: config, environment, data, log; one process at a time; resumed only where nothing changed."""

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from excite.config import differences
from excite.errors import EnvironmentFault, ExciteError, Interrupted, UsageError

CONFIG, ENVIRONMENT, HASHES, LOG = "config.yaml", "environment.json", "hashes.json", "log.jsonl"
SPLIT, MANIFEST, EVALUATION, REPORT, BUNDLE = "split.json", "manifest.csv", "evaluation.json", "report.html", "bundle"
FOLDS = "folds.html"  # the report of a cross-validation
# What a run writes before its config.yaml, which marks the folder as a run: a kill in between leaves these.
_FIRST = (ENVIRONMENT, MANIFEST, SPLIT, HASHES, CONFIG, LOG)
OWN = {".lock", *_FIRST, *(f".{name}.tmp" for name in _FIRST)}


class RunFolder:
    """The files of one training run, locked while this object is open.

    Args:
        path: The folder; made with mode 0700 where it does not exist.

    Raises:
        EnvironmentFault: the folder cannot be written, or another process works in it.
        UsageError: it is not empty and no run folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None
        self._made = [folder for folder in (path, *path.parents) if not folder.exists()]
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            strangers = {entry.name for entry in path.iterdir()} - OWN
            if strangers and not (path / CONFIG).exists():
                raise UsageError("the folder holds other files and no run", where=path,
                                 fix="name an empty or a new folder with --out")
            path.chmod(0o700)
            self._acquire()
        except (PermissionError, FileExistsError, NotADirectoryError, OSError) as fault:
            if isinstance(fault, EnvironmentFault):
                raise
            raise EnvironmentFault("the run folder cannot be written", where=path, why=str(fault),
                                   fix="choose another with --out") from None

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_new(self) -> bool:
        """Return whether no run has begun here."""
        return not (self.path / CONFIG).exists()

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Give the path of a file that another part writes, its faults told as this folder's."""
        with written(self.path / name):
            yield self.path / name

    def close(self) -> None:
        """Let the next process in; where no run began, take back the folders that were made for it."""
        if self._lock is None:
            return
        if self.is_new and self._made:
            (self.path / ".lock").unlink(missing_ok=True)
            with suppress(OSError):  # somebody put something in
                for folder in self._made:
                    folder.rmdir()
        os.close(self._lock)
        self._lock = None

    def write(self, name: str, text: str) -> Path:
        """Write a file whole or not at all."""
        file, aside = self.path / name, self.path / f".{name}.tmp"
        with written(file), aside.open("w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        with written(file):
            aside.replace(file)
        return file

    def write_json(self, name: str, data: object) -> Path:
        """Write `data` as JSON; a number that is not finite is an error."""
        return self.write(name, json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """Return what a JSON file of the run holds by name."""
        file = self.path / name
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            if not isinstance(found, dict) or not found:
                raise ValueError("it holds no values by name")
            return found
        except (OSError, ValueError) as fault:
            raise EnvironmentFault("a file of the run is missing or damaged", where=file, why=str(fault),
                                   fix="start again in a new folder with --out") from None

    def refuse_changes(self, what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        """Raise where a resumed run would not be the same run, with every difference."""
        found = differences(old, new)
        if found:
            shown = "; ".join(found[:8]) + (f"; and {len(found) - 8} more" if len(found) > 8 else "")
            raise UsageError(f"this run began with another {what}: {shown}", where=self.path,
                             fix="undo the change to resume, or start a new run with --out ANOTHER_FOLDER")

    def log(self, event: Mapping[str, object]) -> None:
        """Append one event to log.jsonl."""
        line = json.dumps(event, ensure_ascii=False, allow_nan=False)
        file = self.path / LOG
        cut = file.exists() and file.stat().st_size > 0 and not file.read_bytes().endswith(b"\n")
        with written(file), file.open("a", encoding="utf-8") as stream:
            stream.write(("\n" if cut else "") + line + "\n")

    def events(self) -> list[dict[str, Any]]:
        """Return the log's events; a line cut by a kill is left out, and of an epoch logged twice the last counts."""
        return read_events(self.path / LOG)

    def _acquire(self) -> None:
        lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            lock_file(lock)
        except OSError:
            os.close(lock)
            raise EnvironmentFault("another process works in this run folder", where=self.path,
                                   fix="wait for it, or choose another folder with --out") from None
        self._lock = lock


def is_unfinished(folder: Path) -> bool:
    """Return whether a run has no report, the last file that it writes: it goes on, or was cut short.

    Args:
        folder: A run, or the bundle inside it; nothing is known of a bundle that lies elsewhere.
    """
    folder = folder.resolve()
    run = folder.parent if folder.name == BUNDLE else folder
    return (run / CONFIG).is_file() and not any((run / name).is_file() for name in (REPORT, FOLDS))


@contextmanager
def written(file: Path, *, what: str = "a file of the run", again: str = "the same command",
            otherwise: str = "choose another folder with --out") -> Iterator[None]:
    """Turn what goes wrong while something is written into one clear error.

    Args:
        what: Is written.
        again: Goes on, once there is room.
        otherwise: What to do where it is not the room that lacks.
    """
    try:
        yield
    except OSError as fault:
        full = fault.errno == errno.ENOSPC
        raise EnvironmentFault("disk full" if full else f"{what} cannot be written", where=file,
                               why=fault.strerror or str(fault),
                               fix=f"make room, then {again} goes on" if full else otherwise) from None


@contextmanager
def ending_logged(run: RunFolder) -> Iterator[None]:
    """Log that a training was stopped, or that it failed and why."""
    try:
        yield
    except Interrupted:
        run.log({"event": "stop"})
        raise
    except ExciteError as fault:
        run.log({"event": "failed", "text": fault.message()})
        raise


def read_events(file: Path) -> list[dict[str, Any]]:
    """Return the events of a log.jsonl."""
    events: list[dict[str, Any]] = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            events.append(json.loads(line))
        except ValueError:
            continue
    last = {event["epoch"]: place for place, event in enumerate(events) if event.get("event") == "epoch"}
    return [event for place, event in enumerate(events)
            if event.get("event") != "epoch" or last[event["epoch"]] == place]


def lock_file(descriptor: int) -> None:
    """Lock an open file for this process, or raise an OSError where another one has it."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
