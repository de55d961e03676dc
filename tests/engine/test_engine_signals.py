"""The first signal only raises a flag; the second Ctrl-C ends the process; handlers come back."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from excite.engine.signals import StopFlag


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_raises_the_flag_and_nothing_else(number: int) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with StopFlag() as stop:
        assert stop.signal is None
        os.kill(os.getpid(), number)
        assert stop.signal == number
        os.kill(os.getpid(), signal.SIGTERM)  # a second polite kill does not hurry
        assert stop.signal == number
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_the_second_ctrl_c_kills_at_once() -> None:
    code = ("import os, signal, time\nfrom excite.engine.signals import StopFlag\n"
            "with StopFlag():\n"
            "    os.kill(os.getpid(), signal.SIGINT); print('alive', flush=True)\n"
            "    os.kill(os.getpid(), signal.SIGINT); time.sleep(20); print('too late')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=15)
    assert (done.returncode, done.stdout) == (-signal.SIGINT, "alive\n")


def test_in_another_thread_no_handler_is_set() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with StopFlag() as stop:
            seen.append((stop.signal, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(None, before)]
