"""A named table of constructors, with errors that help."""

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from excite.errors import UsageError

T = TypeVar("T", bound=Callable[..., object])


class Registry(Generic[T]):
    """Map names to constructors.

    Args:
        kind: What is registered, in the singular; used in error messages ("model", "attention").
        group: Entry-point group through which other packages add theirs ("excite.attention").
    """

    def __init__(self, kind: str, *, group: str | None = None) -> None:
        self.kind = kind
        self.group = group
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that adds its target under `name`; a name is taken once."""

        def add(entry: T) -> T:
            if name in self._entries:
                raise UsageError(f"{self.kind} {name!r} is already registered", fix="choose another name")
            self._entries[name] = entry
            return entry

        return add

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            self._load_entry_points()
        if name not in self._entries:
            raise UsageError(f"unknown {self.kind} {name!r}", fix=f"{nearest(name, self)}known: {', '.join(self)}")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        self._load_entry_points()
        return iter(sorted(self._entries))

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def _load_entry_points(self) -> None:
        """Add what installed packages register under the group, once."""
        group, self.group = self.group, None
        for point in entry_points(group=group) if group else ():
            if point.name not in self._entries:
                self._entries[point.name] = point.load()


def nearest(name: str, known: "Iterator[str] | Registry[T] | list[str]") -> str:
    """Return "did you mean 'x'? " for the nearest of `known`, or nothing."""
    spelt = {one.lower(): one for one in known}
    near = get_close_matches(name.lower(), list(spelt), n=1)
    return f"did you mean {spelt[near[0]]!r}? " if near else ""
