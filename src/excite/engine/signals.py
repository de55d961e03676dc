"""Stop on Ctrl-C or on a polite kill, but only where the state can be saved."""

import os
import signal
import threading
from types import FrameType
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM)


class StopFlag:
    """Remember the first SIGINT or SIGTERM; a second SIGINT kills at once.

    A context manager: inside, the signals raise this flag instead of ending the process, and whoever works looks at
    `signal` between two steps; outside, they do what they did before. In another thread than the main one, where
    Python allows no handlers, it never rises by itself.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopFlag":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._rise) for number in STOPPING}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            # None: the handler was not set by Python and cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}

    def _rise(self, number: int, _frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if self.signal is None:
            self.signal = number
