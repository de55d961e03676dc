"""Errors that say what is wrong, where, why, and what to do; each kind has one exit code."""

from pathlib import Path


class ExciteError(Exception):
    """A fault that the user can mend: one clear message, no traceback.

    Args:
        what: What is wrong, in one sentence without a full stop.
        where: File, table row or argument that it concerns.
        why: The cause, where it is not plain from `what`.
        fix: What to do about it.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | Path | None = None, why: str | None = None,
                 fix: str | None = None) -> None:
        self.what, self.why, self.fix = what, why, fix
        self.where = None if where is None else str(where)
        super().__init__(self.message())

    def message(self) -> str:
        """Return the whole message on one line: where: what (why); fix."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.why:
            text += f" ({self.why})"
        return f"{text}; {self.fix}" if self.fix else text


class UsageError(ExciteError, ValueError):
    """A wrong option, argument or config value."""

    exit_code = 2


class DataError(ExciteError, ValueError):
    """An image, table or split that cannot be used as it is."""

    exit_code = 3


class ModelError(ExciteError, ValueError):
    """Weights, a checkpoint or a bundle that does not fit, or a training that broke."""

    exit_code = 4


class EnvironmentFault(ExciteError):
    """Something that the machine lacks: an extra, a file at hand, disk space, a free run folder."""

    exit_code = 5


class ParityError(ExciteError):
    """An exported model that does not compute what the trained one does."""

    exit_code = 1


class Interrupted(ExciteError):
    """A signal stopped the work after its state was saved; the exit code is 128 + the signal's number."""

    def __init__(self, signal_number: int, *, fix: str) -> None:
        super().__init__("interrupted, the state is saved", fix=fix)
        self.exit_code = 128 + signal_number
