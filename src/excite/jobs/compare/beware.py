"""What makes the numbers of a comparison too good, said once for both networks: images that they were made with."""

import re
from collections.abc import Sequence

SEEN = re.compile(r"LEAK: (?:the network was trained on (?:maps of )?)?(?P<n>\d+) of these (?P<of>\d+) (?P<what>\w+)"
                  r"(?: \((?P<first>.*?)(?:, .*| and \d+ more)?\))?(?P<tuned> were in the validation part)?")
GRAVE = ("LEAK", "WARNING")


def beware(a: Sequence[str], b: Sequence[str]) -> tuple[str, ...]:
    """Return what must be known before the answer is read, each a sentence; of notes equal in both, one.

    Args:
        a: Notes of A; those that are neither a leak nor a warning are passed over.
        b: Notes of B.
    """
    seen = [_seen([SEEN.match(note) for note in notes]) for notes in (a, b)]
    rest = [[note.partition(": ")[2] for note in notes if note.startswith(GRAVE) and not SEEN.match(note)]
            for notes in (a, b)]
    told = {"A and B": f"A and B were {seen[0]}"} if seen[0] and seen[0] == seen[1] else {
        name: f"{name} was {said}" for name, said in zip("AB", seen, strict=True) if said}
    leaks = [f"BEWARE: {'; '.join(told.values())}: leave them out, the numbers are too good"] if told else []
    return (*leaks, *(f"BEWARE: {note}" for note in merged(*rest)))


def merged(a: Sequence[str], b: Sequence[str]) -> list[str]:
    """Return notes with whose they are, those of both once."""
    names = {note: [name for name, notes in (("A", a), ("B", b)) if note in notes] for note in (*a, *b)}
    return [f"{' and '.join(whose)}: {note}" for note, whose in names.items()]


def _seen(found: Sequence[re.Match[str] | None]) -> str:
    """Return "trained on 197 and tuned on 51 of these 309 images (first of them: PATH)"; "" where there are none."""
    known = [one for one in found if one]
    if not known:
        return ""
    counts = " and ".join(f"{'tuned' if one['tuned'] else 'trained'} on {one['n']}" for one in known)
    first = next((f" (first of them: {re.sub('^lines ', 'line ', one['first'])})" for one in known if one["first"]), "")
    return f"{counts} of these {known[0]['of']} {known[0]['what']}{first}"
