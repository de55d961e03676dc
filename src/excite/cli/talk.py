"""The two streams: stdout is data, stderr is talk."""

import json
import sys


def emit(data: object) -> None:
    """Print `data` as one line of JSON on stdout; a number that is not finite is an error, never NaN in JSON."""
    print(json.dumps(data, ensure_ascii=False, allow_nan=False), file=sys.stdout, flush=True)


def say(text: str) -> None:
    """Print `text` on stderr."""
    print(text, file=sys.stderr, flush=True)
