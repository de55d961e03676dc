"""Two networks may be compared where they were tested on the same: samples by content, truth, classes, units."""

from collections import Counter
from collections.abc import Sequence

from excite.errors import DataError
from excite.jobs.compare.tested import Tested

SHOWN = 3
FIX = ("measure both on one table: excite compare A B --data TABLE; or train both with the same split (the same table "
       "and --set split.seed)")


def order_of(a: Tested, b: Tested, *, own: bool) -> tuple[list[int], list[int], list[str]]:
    """Return the samples of A and of B that belong together, in A's order, and what was left out.

    Args:
        own: Each was tested on its own run's part, which must be the same; else on one table, of which a network may
            have been unable to use rows: they are left out of both.

    Raises:
        DataError: task, classes, samples, truth or units differ; how many and the first few are named.
    """
    _same_work(a, b)
    first, second = _keys(a), _keys(b)
    places = {key: place for place, key in enumerate(second)}
    ours = [place for place, key in enumerate(first) if key in places]
    theirs = [places[first[place]] for place in ours]
    alone_a = [a.files[place] for place, key in enumerate(first) if key not in places]
    alone_b = [b.files[place] for place in sorted(set(range(len(second))) - set(theirs))]
    if (own and (alone_a or alone_b)) or not ours:
        raise DataError("the test sets differ", where=f"{a.name} and {b.name}", why=_alone(a, b, alone_a, alone_b),
                        fix=FIX)
    _same_truth(a, b, ours, theirs)
    _same_units(a, b, ours, theirs)
    lost = len(alone_a) + len(alone_b)
    return ours, theirs, [f"{lost} {a.sample}s that one of the networks could not use are left out of both"] if lost \
        else []


def _same_work(a: Tested, b: Tested) -> None:
    if a.info.task != b.info.task:
        raise DataError("the networks do different work", where=f"{a.name} and {b.name}",
                        why=f"A's is {a.info.task}, B's {b.info.task}", fix="compare two of one kind")
    if set(a.info.classes) != set(b.info.classes):
        parts = [f"{', '.join(sorted(mine - other))} in {name}'s alone" for name, mine, other in
                 (("A", set(a.info.classes), set(b.info.classes)), ("B", set(b.info.classes), set(a.info.classes)))
                 if mine - other]
        raise DataError("the classes differ", where=f"{a.name} and {b.name}", why="; ".join(parts),
                        fix="train both on the same labels")


def _keys(one: Tested) -> list[tuple[str, int]]:
    """Return what each sample is, and the how many-eth of the same content it is."""
    seen: Counter[str] = Counter()
    found = []
    for content in one.contents:
        found.append((content, seen[content]))
        seen[content] += 1
    return found


def _alone(a: Tested, b: Tested, alone_a: Sequence[str], alone_b: Sequence[str]) -> str:
    told = [f"{len(alone)} of {len(one.files)} {one.sample}s are in {name}'s alone ({_first(alone)})"
            for name, one, alone in (("A", a, alone_a), ("B", b, alone_b)) if alone]
    replaced = sorted(set(alone_a) & set(alone_b))
    if replaced:
        told.append(f"{len(replaced)} have the same name and other content ({_first(replaced)})")
    return "; ".join(told)


def _same_truth(a: Tested, b: Tested, ours: Sequence[int], theirs: Sequence[int]) -> None:
    wrong = [(mine, other) for mine, other in zip(ours, theirs, strict=True) if a.truth[mine] != b.truth[other]]
    if wrong:
        masks = a.info.of_masks
        told = [a.files[mine] if masks else f"{a.files[mine]}: {a.truth[mine]} in A's, {b.truth[other]} in B's"
                for mine, other in wrong]
        raise DataError(f"the truth of {len(wrong)} of {len(ours)} {a.sample}s differs",
                        where=f"{a.name} and {b.name}", why=("other masks or pixel sizes: " if masks else "")
                        + _first(told), fix="measure both on one table with the right truth: --data TABLE")


def _same_units(a: Tested, b: Tested, ours: Sequence[int], theirs: Sequence[int]) -> None:
    """Raise where samples that belong together in one do not in the other; names may differ."""
    pairs = {(a.units[mine], b.units[other]): a.files[mine] for mine, other in zip(ours, theirs, strict=True)}
    doubled = [f"{file} ({mine} in A's, {other} in B's)" for (mine, other), file in pairs.items()
               if sum(one == mine for one, _ in pairs) > 1 or sum(two == other for _, two in pairs) > 1] \
        if len({one for one, _ in pairs}) < len(pairs) or len({two for _, two in pairs}) < len(pairs) else []
    if doubled:
        raise DataError("what belongs together differs", where=f"{a.name} and {b.name}",
                        why=f"units are {a.unit_kind} in A's and {b.unit_kind} in B's: {_first(doubled)}",
                        fix="measure both on one table that names its patients: --data TABLE")


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
