"""The Python of the docs' pages, run, and what it prints held against what the page says that it prints.

A page's ```python blocks are run in order and share their names. The next fence after one, where it is a ```text, is
what the block prints, character for character; "```text measured" is what it printed once, on the page's machine, and
only has to be there.
"""

import re
import traceback
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

FENCE = re.compile(r"^```(?P<kind>[^\n`]*)\n(?P<body>.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
PICTURE = re.compile(r"!\[[^\]]*\]\((?P<target>[^)\s]+)\)")
SLOW = "<!-- slow -->"  # a page whose blocks take over two seconds says so


class Block(NamedTuple):
    """A block of Python: the page's line that its first line is, and what the page says that it prints."""

    line: int
    code: str
    shown: str | None = None
    measured: bool = False


def blocks(text: str) -> list[Block]:
    """Return the Python blocks of a page, each with its output."""
    found: list[Block] = []
    waiting = False
    for fence in FENCE.finditer(text):
        kind, body = fence["kind"].strip(), fence["body"]
        if kind == "python":
            found.append(Block(text.count("\n", 0, fence.start("body")) + 1, body))
        elif waiting and kind in ("text", "text measured"):
            found[-1] = found[-1]._replace(shown=body, measured=kind == "text measured")
        waiting = kind == "python"
    return found


def faults(text: str, *, name: str) -> list[str]:
    """Run a page's blocks, as far as none fails; return, as sentences, where it says anything but what they print."""
    names: dict[str, object] = {"__name__": "__main__"}
    found = []
    for block in blocks(text):
        where, printed = f"{name}:{block.line}", StringIO()
        try:
            with redirect_stdout(printed):
                exec(compile("\n" * (block.line - 1) + block.code, name, "exec"), names)
        except Exception:
            return [*found, f"{where} fails:\n{traceback.format_exc(limit=-3)}"]
        found += compared(block, _plain(printed.getvalue()), where)
    return found


def compared(block: Block, printed: str, where: str) -> list[str]:
    """Return what is wrong with the output that the page shows, if anything is."""
    if block.shown is None:
        return [f"{where} prints what the page does not show:\n{printed}"] if printed else []
    if not printed:
        return [f"{where} prints nothing, the page shows an output"]
    if block.measured:
        return [] if _plain(block.shown) else [f"{where} was measured, and the page shows nothing"]
    if _plain(block.shown) != printed:
        return [f"{where} prints\n{printed}\nthe page says\n{_plain(block.shown)}"]
    return []


def dead_links(page: Path) -> list[str]:
    """Return the relative links and pictures of a page that lead to no file, or to no heading of one."""
    text, found = page.read_text(encoding="utf-8"), []
    for target in (link["target"] for link in LINK.finditer(FENCE.sub("", text))):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        file, _, heading = target.partition("#")
        there = page.parent / file if file else page
        if not there.is_file() or (heading and heading not in headings(there.read_text(encoding="utf-8"))):
            found.append(f"{page.name} links to {target}, which is not there")
    return found


def headings(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    lines = re.findall(r"^#+ +(.+?)\s*$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def _plain(text: str) -> str:
    """Return the lines without spaces at their ends, which nobody sees."""
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())
