"""The tables of `excite bench networks` as Markdown, and their place in a page that says more."""

import datetime
from collections.abc import Sequence
from pathlib import Path

from excite.errors import EnvironmentFault, UsageError
from excite.jobs.bench_networks import Bench
from excite.jobs.bench_networks_tables import WORDS, Table, limits, proof, tables

BEGIN, END = "<!-- excite bench networks: begin -->", "<!-- excite bench networks: end -->"
NEW = "# Networks beside public ones\n\n"


def begun(file: Path) -> str:
    """Return the page that the section goes into: asked before minutes of measuring.

    Raises:
        UsageError: the file does not end in .md. EnvironmentFault: it cannot be read.
    """
    if file.suffix != ".md":
        raise UsageError(f"--out must be a file that ends in .md, got {str(file)!r}",
                         fix="for example --out docs/networks.md; --json gives the numbers")
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
    """Return what was measured, by which command, when, on which processor, and what it reaches."""
    where = found.machine
    lines = [f"`excite bench networks {found.asked} --threads {where['threads']}`, {datetime.date.today():%Y-%m-%d}:",
             f"{', '.join([where['cpu'], 'torch ' + where['torch'], *found.packages.values()])}; weights at random.",
             f"{limits(found)}, measured between the networks. {proof(found)}", ""]
    for table in tables(found):
        lines += [f"**{table.title}**", "", *_markdown(table), ""]
    return "\n".join([*lines, *(f"- {words}" for words in (*WORDS, *found.notes)), ""])


def _markdown(table: Table) -> list[str]:
    return [_row(table.head), _row([":--", *["--:"] * (len(table.head) - 1)]), *map(_row, table.rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
