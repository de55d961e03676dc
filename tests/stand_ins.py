"""Stand-ins for what watches a job: one keeps what is said, one asks to stop."""

from excite.engine.signals import StopFlag
from excite.progress import Progress


class Told(Progress):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__(None)
        self.texts: list[str] = []

    def say(self, text: str) -> None:
        self.texts.append(text)


class StopAt(StopFlag):
    """Rises when it is looked at for the n-th time."""

    def __init__(self, look: int) -> None:
        self.looks, self.look = 0, look
        self._before = {}

    @property
    def signal(self) -> int | None:  # type: ignore[override]
        self.looks += 1
        return 15 if self.looks >= self.look else None
