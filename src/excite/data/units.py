"""Which rows must stay together: connected through a patient, a group, or a picture that looks the same."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from excite.data.row import Row


@dataclass(frozen=True, kw_only=True)
class Units:
    """The unit of each row.

    Args:
        names: One a row; equal names must stay together. A patient's id where there is one.
        kind: "patient", "patient and group", "group", "near-duplicate cluster" or "image".
        notes: What has to be said about them, each a sentence.
    """

    names: tuple[str, ...]
    kind: str
    notes: tuple[str, ...] = ()


def units_of(rows: Sequence[Row], alike: Sequence[tuple[int, int]] = ()) -> Units:
    """Return the connected components over patient, group and pairs of rows that look alike.

    Args:
        rows: Of the manifest.
        alike: Pairs of rows whose pictures are the same or nearly so.
    """
    parent = list(range(len(rows)))
    for attribute in ("patient", "group"):
        first: dict[str, int] = {}
        for index, row in enumerate(rows):
            name = getattr(row, attribute)
            if name is not None:
                _join(parent, first.setdefault(name, index), index)
    by_id = [_root(parent, index) for index in range(len(rows))]
    for i, j in alike:
        _join(parent, i, j)
    members: dict[int, list[int]] = defaultdict(list)
    for index in range(len(rows)):
        members[_root(parent, index)].append(index)
    kind = _kind(rows)
    name_of = _names([[rows[index] for index in component] for component in members.values()])
    names = [""] * len(rows)
    for component, name in zip(members.values(), name_of, strict=True):
        for index in component:
            names[index] = name
    return Units(names=tuple(names), kind=kind, notes=_notes(rows, kind, members, by_id))


def by_image(rows: Sequence[Row]) -> Units:
    """Return every row as its own unit, with a warning."""
    note = ("WARNING: the split is by image, as asked for; pictures of one patient may be in two parts (leaky), "
            "so results are too good")
    return Units(names=_distinct([row.image for row in rows]), kind="image", notes=(note,))


def _kind(rows: Sequence[Row]) -> str:
    known = [name for name in ("patient", "group") if any(getattr(row, name) is not None for row in rows)]
    return " and ".join(known) or "near-duplicate cluster"


def _notes(rows: Sequence[Row], kind: str, members: dict[int, list[int]], by_id: list[int]) -> tuple[str, ...]:
    if kind == "near-duplicate cluster":
        clusters = [component for component in members.values() if len(component) > 1]
        return (f"neither patient nor group is known: the units are {len(members)} clusters of look-alikes "
                f"({sum(map(len, clusters))} of {len(rows)} images look like another one); other pictures of one "
                "patient may still be in two parts, so results are optimistic",)
    notes = []
    nobody = sum(row.patient is None and row.group is None for row in rows)
    if nobody:
        notes.append(f"{nobody} of {len(rows)} rows have no {kind.replace(' and ', ' or ')}: each is a unit of its own "
                     "or belongs to what it looks like")
    joined = sum(len({by_id[index] for index in component}) > 1
                 and any(rows[index].patient or rows[index].group for index in component)
                 for component in members.values())
    if joined:
        notes.append(f"{joined} units hold different ids whose pictures are the same or nearly so")
    return tuple(notes)


def _names(components: Sequence[Sequence[Row]]) -> tuple[str, ...]:
    """Return each component's name: its patient, group or first image; `+n` counts further ids."""
    names = []
    for rows in components:
        ids = sorted({row.patient for row in rows if row.patient is not None}) or sorted(
            {row.group for row in rows if row.group is not None}) or [min(row.image for row in rows)]
        names.append(ids[0] if len(ids) == 1 else f"{ids[0]} +{len(ids) - 1}")
    return _distinct(names, [min(row.image for row in rows) for rows in components])


def _distinct(names: Sequence[str], further: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return the names, those that occur twice told apart by `further`, then by number."""
    counts = Counter(names)
    if further:
        names = [name if counts[name] == 1 else f"{name} ({more})" for name, more in zip(names, further, strict=True)]
    seen: Counter[str] = Counter()
    out = []
    for name in names:
        seen[name] += 1
        out.append(name if seen[name] == 1 else f"{name} #{seen[name]}")
    return tuple(out)


def _root(parent: list[int], index: int) -> int:
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return index


def _join(parent: list[int], first: int, second: int) -> None:
    a, b = _root(parent, first), _root(parent, second)
    parent[max(a, b)] = min(a, b)
