"""docs/models.md: every network, in 2-D and in 3-D, counted, timed here, and beside what its source says."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from excite.errors import ExciteError, UsageError
from excite.jobs.model_cost import Counted, counted, machine, passes, usual_order
from excite.jobs.model_page import page
from excite.models.classifier import list_models
from excite.models.measure import Timing, repeated, summary, using_threads
from excite.progress import Progress, silent

PASSES, REPEATS = 5, 2  # a network is built anew in each pass over all, and run so often after it warmed up


class Line(NamedTuple):
    """A network in one number of dimensions; `counted` is None where it cannot be built so, and `why` says it."""

    name: str
    dims: int
    counted: Counted | None
    why: str = ""
    times: dict[str, Timing] | None = None


def write_table(file: Path, *, pattern: str = "*", time: bool = True, threads: int | None = None,
                progress: Progress | None = None) -> list[Line]:
    """Write the table of all networks that match `pattern`; all but the measured times is the same each time.

    Raises:
        UsageError: the file does not end in .md, or no network matches.
    """
    if file.suffix != ".md":
        raise UsageError(f"the table of all networks is a file that ends in .md, got {str(file)!r}",
                         fix="for all networks: excite models --table docs/models.md; for one, leave --table out")
    names = list_models(pattern)
    if not names:
        raise UsageError(f"no network matches {pattern!r}", fix=f"known: {', '.join(list_models())}")
    progress = progress or silent()
    lines = count_all(names, progress=progress)
    with using_threads(threads) as used:
        if time:
            lines = time_all(lines, progress=progress)
        text = page(lines, machine(used) if time else None)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8", newline="\n")
    return lines


def count_all(names: Sequence[str], *, progress: Progress) -> list[Line]:
    """Return the counts of the networks in 2-D, then in 3-D."""
    lines: list[Line] = []
    for dims in (2, 3):
        for name in names:
            progress.step("counting", len(lines) + 1, 2 * len(names))
            try:
                lines.append(Line(name, dims, counted(usual_order(name, dims=dims))))
            except ExciteError as fault:
                lines.append(Line(name, dims, None, why=fault.message()))
    return lines


def time_all(lines: Sequence[Line], *, progress: Progress) -> list[Line]:
    """Return `lines` with the times of a batch of one: the median of all passes over all networks.

    One pass after the other, so that a busy minute of the machine falls on all networks alike.
    """
    taken: list[dict[str, list[float]]] = [{} for _ in lines]
    for turn in range(PASSES):
        for place, line in enumerate(lines):
            progress.step("timing", turn * len(lines) + place + 1, PASSES * len(lines))
            if line.counted is not None:
                with torch.inference_mode():
                    found = repeated(passes(line.counted.order, line.counted.size), seconds=1e-9, least=REPEATS)
                for layout, times in found.items():
                    taken[place].setdefault(layout, []).extend(times)
    return [line._replace(times={layout: summary(times) for layout, times in found.items()}) if found else line
            for line, found in zip(lines, taken, strict=True)]
