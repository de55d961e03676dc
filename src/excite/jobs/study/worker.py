"""A process of a study: trains one run after another, as lines of JSON on stdin ask for; answers on stdout.

In: {"config": FILE, "out": FOLDER}. Out: {"step": WHAT, "done": N, "total": N} now and then, at the end of a run
{"end": "done", "seconds": S, "processor_seconds": S} or {"end": "stopped"} or {"end": "failed", "error": TEXT}. When
stdin ends, so does the process; a training that is under way saves its state first.
"""

import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, TextIO

from excite.errors import ExciteError, Interrupted
from excite.progress import Progress

EVERY = 1.0  # seconds between two lines of the same work


class Told(Progress):
    """Progress that is spoken on a log, and counted on the answers' stream."""

    def __init__(self, log: TextIO, answers: TextIO) -> None:
        super().__init__(log)
        self._answers, self._last, self._work = answers, 0.0, ""

    def step(self, what: str, done: int, total: int) -> None:
        """Tell that `done` of `total` are done."""
        super().step(what, done, total)
        now = time.monotonic()
        if what != self._work or now - self._last >= EVERY or done >= total:
            self._work, self._last = what, now
            answer(self._answers, {"step": what, "done": done, "total": total})


def answer(stream: TextIO, event: dict[str, Any]) -> None:
    """Write one event; where nobody listens any more there is nothing to say."""
    try:
        print(json.dumps(event), file=stream, flush=True)
    except BrokenPipeError:
        os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Work until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else is printed belongs to the log
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the study decides, and says so with SIGTERM
    asked: queue.Queue[dict[str, str] | None] = queue.Queue()
    busy = threading.Event()
    threading.Thread(target=_listen, args=(asked, busy), daemon=True).start()
    from excite.jobs.train import train  # noqa: F401  # now, while the study still prepares

    answer(answers, {"end": "ready"})
    while (task := asked.get()) is not None:
        busy.set()
        answer(answers, _run(Path(task["config"]), Path(task["out"]), Told(sys.stderr, answers)))
        busy.clear()


def _listen(asked: "queue.Queue[dict[str, str] | None]", busy: threading.Event) -> None:
    """Queue what is asked for; at the end of stdin stop what is under way."""
    for line in sys.stdin:
        asked.put(json.loads(line))
    asked.put(None)
    if busy.is_set():
        os.kill(os.getpid(), signal.SIGTERM)


def _run(config: Path, out: Path, progress: Progress) -> dict[str, Any]:
    from excite.config import load_config
    from excite.jobs.sections import TrainConfig
    from excite.jobs.train import train

    began, busy = time.perf_counter(), time.process_time()
    try:
        train(load_config(TrainConfig, config), out=out, images=False, progress=progress)
    except Interrupted:
        return {"end": "stopped"}
    except ExciteError as fault:
        return {"end": "failed", "error": fault.message()}
    except Exception as fault:  # one arm's fault must not end the others
        traceback.print_exc()
        return {"end": "failed", "error": f"{type(fault).__name__}: {fault}"}
    return {"end": "done", "seconds": round(time.perf_counter() - began, 3),
            "processor_seconds": round(time.process_time() - busy, 3)}


if __name__ == "__main__":
    main()
