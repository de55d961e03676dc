"""Telling how far a long piece of work is: a bar with time left on a terminal, plain lines in a pipe."""

import os
import sys
import time
from typing import TextIO


class Progress:
    """Speak on a stream; stdout stays free for data.

    Args:
        stream: Where to speak; stderr by default, None for silence.
        every: Seconds between two plain lines of the same work in a pipe.
    """

    def __init__(self, stream: TextIO | None, *, every: float = 10.0) -> None:
        self.stream = stream
        self.live = bool(stream and stream.isatty() and os.environ.get("TERM") != "dumb")
        self.every = 0.1 if self.live else every
        self._what = ""
        self._began = self._spoke = 0.0
        self._first = 0
        self._open = False

    def say(self, text: str) -> None:
        """Print one line."""
        if self.stream:
            self._close()
            print(text, file=self.stream, flush=True)

    def step(self, what: str, done: int, total: int) -> None:
        """Tell that `done` of `total` are done; the first call of a new `what` starts its clock."""
        if not self.stream:
            return
        now = time.monotonic()
        if what != self._what:
            self._close()
            self._what, self._began, self._spoke, self._first = what, now, now if not self.live else 0.0, done
        last = done >= total
        if not last and now - self._spoke < self.every:
            return
        self._spoke = now
        text = f"{what}: {done}/{total}{_left(now - self._began, done - self._first, total - done)}"
        if self.live:
            self.stream.write(f"\r\033[K{_bar(done, total)} {text}")
            self.stream.flush()
            self._open = True
            if last:
                self._close()
        else:
            print(text, file=self.stream, flush=True)
        if last:
            self._what = ""

    def _close(self) -> None:
        if self._open and self.stream:
            self.stream.write("\n")
            self._open = False


def spoken() -> Progress:
    """Return one that speaks on stderr."""
    return Progress(sys.stderr)


def silent() -> Progress:
    """Return one that says nothing."""
    return Progress(None)


def _left(elapsed: float, done: int, remaining: int) -> str:
    if done <= 0 or remaining <= 0:
        return f", {elapsed:.0f} s" if remaining <= 0 and elapsed >= 1 else ""
    seconds = elapsed / done * remaining
    return f", {seconds / 60:.1f} min left" if seconds >= 90 else f", {seconds:.0f} s left"


def _bar(done: int, total: int, width: int = 24) -> str:
    full = round(width * done / max(1, total))
    return "[" + "=" * full + " " * (width - full) + "]"
