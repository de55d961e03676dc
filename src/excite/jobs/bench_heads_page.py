"""The table of `excite bench heads` as Markdown, and its place in a page that says more."""

import datetime
from collections.abc import Sequence
from pathlib import Path

from excite.errors import EnvironmentFault, UsageError
from excite.jobs.bench_heads import Bench, Measured
from excite.models.measure import short

BEGIN, END = "<!-- excite bench heads: begin -->", "<!-- excite bench heads: end -->"
NEW = "# Networks that draw heads\n\n"
WORDS = """
- **parameters**: all; **trained**: with the pretrained encoder frozen, where there is one to load.
- **GMACs**: multiply-adds of one image, in thousand millions.
- **weights**, **step**, **kept**: MB of the parameters, of the maps that the largest operation reads and writes, and of
  what training keeps of one image for the way back, encoder frozen; counted on shapes, 32-bit.
- **ms**: median and 95th percentile of a pass in float32 by torch; **FPS**: images a second, by the median.
"""


def begun(file: Path) -> str:
    """Return the page that the section goes into: asked before minutes of measuring.

    Raises:
        UsageError: the file does not end in .md. EnvironmentFault: it cannot be read.
    """
    if file.suffix != ".md":
        raise UsageError(f"--out must be a file that ends in .md, got {str(file)!r}",
                         fix="for example --out docs/segmentation.md; --json gives the numbers")
    try:
        return file.read_text(encoding="utf-8") if file.exists() else NEW
    except (OSError, UnicodeDecodeError) as fault:
        raise EnvironmentFault("the page cannot be read", where=file, why=str(fault),
                               fix="name another file with --out") from None


def write(file: Path, found: Bench) -> None:
    """Write the section into `file`: between its two marks, at its end where there are none, or as a new page.

    Raises:
        UsageError, EnvironmentFault: as `begun`, or it cannot be written.
    """
    page = inserted(begun(file), section(found))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(page, encoding="utf-8", newline="\n")
    except OSError as fault:
        raise EnvironmentFault("the page cannot be written", where=file, why=str(fault),
                               fix="name another file with --out") from None


def inserted(page: str, text: str) -> str:
    """Return `page` with `text` in the place of what stands between the marks; without marks, at its end."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        head, tail = page.rstrip("\n") + "\n\n", "\n"
    return f"{head}{BEGIN}\n{text}{END}{tail}"


def section(found: Bench) -> str:
    """Return what was measured, by which command, when and on which processor."""
    where, height, width = found.machine, *found.size
    lines = [f"`{command(found)}`, {datetime.date.today():%Y-%m-%d}: {where['cpu']}, threads: {where['threads']},",
             f"torch {where['torch']}, {found.peers}; images 1 x {height} x {width}, weights at random"
             + (", channels last." if found.channels_last else "."), "", *_table(found)]
    return "\n".join(lines) + "\n" + WORDS + _training(found) + "".join(
        f"- {row.network.label}: {note}.\n" for row in found.rows for note in row.notes)


def command(found: Bench) -> str:
    """Return the command that measures the same."""
    return " ".join(["excite bench heads", f"--size {found.size[0]}x{found.size[1]}",
                     f"--threads {found.machine['threads']}", *[f"--train {found.step_batch}"] * bool(found.step_batch),
                     *["--channels-last"] * found.channels_last])


def _table(found: Bench) -> list[str]:
    head = ["", "parameters", "trained", "GMACs", "weights", "step", "kept"]
    for batch in found.batches:
        head += [f"ms, batch {batch}", "FPS"]
    head += [f"training step of {found.step_batch}, ms"] * bool(found.step_batch)
    return [_row(head), _row([":--", *["--:"] * (len(head) - 1)]), *(_row(_cells(row, found)) for row in found.rows)]


def _cells(row: Measured, found: Bench) -> list[str]:
    cost = row.cost
    cells = [row.network.label, f"{cost.parameters:,}", f"{cost.trainable:,}", f"{cost.macs / 1e9:.2f}",
             *(f"{size / 1e6:.0f}" for size in (cost.parameter_bytes, cost.activation_bytes, cost.kept_bytes))]
    for batch, time in row.passes.items():
        cells += [f"{short(time.p50)}, {short(time.p95)}", short(row.fps(batch))]
    return cells + ([f"{short(row.step.p50)}, {short(row.step.p95)}"] if row.step else [])


def _training(found: Bench) -> str:
    if not found.step_batch:
        return ""
    return (f"- **training step**: of {found.step_batch} images in float32 with Adam; what has a pretrained encoder "
            "keeps it frozen, the\n  accurate network is trained whole.\n")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
