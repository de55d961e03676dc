"""What every report says in words: warnings before the numbers, cost, export, time."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from excite.report.tables import large

OF_LABELS = "clinical-tells-label"  # the kind of leak that lies in no two parts
DISCLAIMER = "For research and education only. This is not a medical device and must not guide care."


def standing_warnings(*, simulated: bool, unproven: Sequence[str], unit_kind: str | None,
                      leaks: Sequence[Mapping[str, Any]], things: str = "images") -> list[str]:
    """Return what has to be read before any number.

    Args:
        simulated: Whether the data are.
        unproven: Notes of the evaluation that the network may be no better than one answer for all.
        unit_kind: What was kept together when splitting; None where no patients come into it.
        leaks: What the leak check found.
        things: What is simulated or real.
    """
    found = []
    if simulated:
        found.append(f"All {things} here are SIMULATED. The numbers show that the software works and say nothing about "
                     f"real {things}.")
    found += [f"The network is {note}." for note in unproven]
    if unit_kind == "image":
        found.append(f"The data were split BY IMAGE, as was asked for: {things} of one patient may lie in training and "
                     "test, and the numbers below are likely too good.")
    elif unit_kind is not None and "patient" not in unit_kind:
        found.append(f"No patients are known: {things} were kept together by {unit_kind}. {things.capitalize()} of one "
                     "patient may still lie in training and test.")
    of_labels = [leak for leak in leaks if leak.get("kind") == OF_LABELS]
    if count := len(leaks) - len(of_labels):
        found.append(f"The leak check found the same or nearly the same data in two parts "
                     f"({count} {plural('case', count)}): see Data.")
    return [*found, *(f"One column may be the label itself: {leak['message']}." for leak in of_labels)]


def cost_rows(cost: Mapping[str, Any], *, sample: str = "image") -> list[tuple[str, str]]:
    """Return {"parameters", "macs", "input", "milliseconds", "threads"}, any of which may be missing, as rows."""
    rows = []
    if "parameters" in cost:
        rows.append(("Parameters", f"{cost['parameters']:,}"))
    if "macs" in cost:
        rows.append((f"Multiply-adds {with_article(sample)}", f"{large(cost['macs'])}"))
    if "input" in cost:
        rows.append(("Input", str(cost["input"])))
    if "milliseconds" in cost:
        time = f"{cost['milliseconds']:{'.1f' if cost['milliseconds'] >= 0.95 else '.2g'}}"
        rows.append(("Measured here", f"{time} ms {with_article(sample)}, median, preprocessing left out"
                     f"{threads_told(cost)}"))
    return rows


def threads_told(cost: Mapping[str, Any]) -> str:
    """Return ", 2 threads", or nothing where it is not known."""
    count = cost.get("threads")
    return f", {count} {plural('thread', count)}" if count else ""


def with_article(word: str) -> str:
    """Return "an image", "a pixel"."""
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def parity_told(parity: Mapping[str, Any] | None, *, sample: str = "image") -> str:
    """Return how far the exported network agrees with the trained one, in a sentence."""
    if not parity:
        return ""
    far = f"largest difference of an output {parity['max_abs']:.1e}."
    if "dice" not in parity:
        return (f"The exported network agrees with the trained one on {100 * parity['agreement']:.1f} % of "
                f"{parity['n']} real {sample}s; {far}")
    hc = (f", circumferences differ by at most {parity['hc']:.2g} {parity.get('hc_unit') or ''}".rstrip()
          if parity.get("hc") is not None else "")
    return (f"On {parity['n']} real images the masks of the exported network and the trained one agree to a Dice of "
            f"{parity['dice']:.6f}{hc}; {far}")


def when(text: str) -> str:
    """Return an ISO 8601 time with a zone as 2026-11-23 21:50 UTC; other text as it is."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return text
    return text if time.tzinfo is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def plural(word: str, count: int) -> str:
    """Return a word as one or as several of it are called."""
    if " and " in word:
        return "units" if count != 1 else "unit"
    if count == 1 or word.endswith("s"):
        return word
    return word[:-1] + "ies" if word.endswith("y") else word + "s"
