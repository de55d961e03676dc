"""The trainings of a study, side by side in processes that live as long as there is work."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from excite.engine.signals import StopFlag
from excite.errors import Interrupted
from excite.progress import Progress

TRAINING = 0.9  # of a run's time is taken as training, for the time that is left
PATIENCE = 60.0  # seconds that a process has to save its state


@dataclass(kw_only=True)
class Job:
    """One training that is to be done.

    Args:
        name: As it is told.
        config: File that `excite train --config` takes.
        out: Its run folder.
        work: How much it is, in any unit.
        done: Share that is done.
        error: Why it failed.
        seconds: That it took, once it is trained.
        processor_seconds: That its process worked for it, all threads.
    """

    name: str
    config: Path
    out: Path
    work: float
    done: float = 0.0
    error: str | None = None
    seconds: float = 0.0
    processor_seconds: float = 0.0


class Pool:
    """Processes that train; started at once, so that they import while the study prepares.

    Args:
        count: How many.
        logs: Folder for what they say.
    """

    def __init__(self, count: int, logs: Path) -> None:
        self._events: queue.Queue[tuple[_Process, dict[str, Any] | None]] = queue.Queue()
        self._logs = logs
        logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._processes = [_Process(logs / f"worker-{place}.log", self._events) for place in range(count)]

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def run(self, jobs: Sequence[Job], *, progress: Progress) -> None:
        """Do all jobs in their order; one that fails has its `error`, and the others go on.

        Raises:
            Interrupted: a signal came; what was under way is saved.
        """
        waiting, told = deque(jobs), _Left(jobs, progress)
        with StopFlag() as stop:
            for process in self._processes:
                process.start(waiting.popleft() if waiting else None)
            while any(process.job for process in self._processes):
                if stop.signal is not None:
                    self._stop(stop.signal)
                try:
                    process, event = self._events.get(timeout=0.2)
                except queue.Empty:
                    continue
                self._take(process, event, waiting)
                told.tell()

    def _take(self, process: "_Process", event: dict[str, Any] | None, waiting: "deque[Job]") -> None:
        """Act on what a process says; None: it is gone."""
        job = process.job
        if event is None:
            if job is not None:
                job.error = process.epitaph()
                process.revive(waiting.popleft() if waiting else None)
        elif job is not None and "step" in event:
            job.done = max(job.done, _share(event))
        elif job is not None and event["end"] != "ready":
            job.seconds = float(event.get("seconds", 0.0))
            job.processor_seconds = float(event.get("processor_seconds", 0.0))
            job.done, job.error = 1.0, event.get("error") or ("stopped from outside" if event["end"] == "stopped"
                                                              else None)
            process.start(waiting.popleft() if waiting else None)

    def _close(self) -> None:
        """End every process; a training that is under way saves its state."""
        for process in self._processes:
            process.stop()
        for process in self._processes:
            process.wait()

    def _stop(self, number: int) -> None:
        """Let every process save its state, then raise."""
        self._close()
        raise Interrupted(number, fix="the same command goes on where each training stopped")


class _Process:
    """One process and the job that it does."""

    def __init__(self, log: Path, events: "queue.Queue[tuple[_Process, dict[str, Any] | None]]") -> None:
        self.job: Job | None = None
        self._log, self._events = log, events
        self._begin()

    def _begin(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "excite.jobs.study.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=log, text=True, encoding="utf-8", start_new_session=True,
                env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"})
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._events.put((self, json.loads(line)))
        process.wait()
        self._events.put((self, None))

    def start(self, job: Job | None) -> None:
        """Ask for a job; with none the process ends."""
        self.job = job
        if job is None:
            self._end_input()
            return
        with suppress(OSError):  # it is gone: the reader tells
            print(json.dumps({"config": str(job.config), "out": str(job.out)}), file=self._process.stdin, flush=True)

    def revive(self, job: Job | None) -> None:
        """Take the place of a process that is gone."""
        self.job = None
        if job is not None:
            self._begin()
            self.start(job)

    def epitaph(self) -> str:
        """Return how the process ended."""
        code = self._process.returncode
        how = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"the process died with {how}" + (f": {lines[-1][:200]}" if lines else "")

    def stop(self) -> None:
        """Ask it to end."""
        if self._process.poll() is None:
            self._process.terminate()

    def wait(self) -> None:
        """Wait for its end, or enforce it."""
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _end_input(self) -> None:
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()


class _Left:
    """Tells how much of the whole is done, weighted by work."""

    def __init__(self, jobs: Sequence[Job], progress: Progress) -> None:
        self._jobs, self._progress = jobs, progress
        self._total = sum(job.work for job in jobs)
        self._ended: set[int] = set()

    def tell(self) -> None:
        """Say what has ended, and how much is done."""
        for place, job in enumerate(self._jobs):
            if place not in self._ended and (job.done >= 1 or job.error):
                self._ended.add(place)
                self._progress.say(f"{job.name}: {job.error or 'trained'} ({len(self._ended)} of {len(self._jobs)})")
        done = sum(job.work * (1.0 if job.error else job.done) for job in self._jobs)
        self._progress.step("study, % of the trainings", int(100 * done / self._total), 100)


def _share(event: dict[str, Any]) -> float:
    """Return how much of a run is done, from what it is at."""
    if event["step"] == "training":
        return TRAINING * float(event["done"]) / float(event["total"])
    return TRAINING if event["step"].startswith(("calibration", "evaluating", "bootstrap")) else 0.0
