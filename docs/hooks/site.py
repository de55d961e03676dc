"""What mkdocs is told while it builds the site: pages by pattern, links out of docs/, the same bytes every time."""

import os
import posixpath
import re
from pathlib import Path
from typing import Any

LINK = re.compile(r"(?<!!)\[(?P<text>[^\]\[]*)\]\((?P<target>[^)\s#]+)(?:#[^)\s]*)?\)")
CODE = re.compile(r"(^```.*?^```[ \t]*$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
INDEX = ("index.md", "README.md")  # what a folder's page may be called
FENCE = re.compile(r"^```text measured[ \t]*$", re.MULTILINE)


def on_startup(**_: Any) -> None:
    """Fix the time that the site map's archive holds."""
    os.environ.setdefault("SOURCE_DATE_EPOCH", "315532800")


def on_config(config: Any) -> Any:
    """Put pages in the place of the patterns of `nav`, and leave out sections without any."""
    docs = Path(config["docs_dir"])
    config["nav"] = expanded(config["nav"], docs, set(named(config["nav"])))
    return config


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Write links to files outside of docs/ as plain names, and outputs in the one way that is known here."""
    parts = CODE.split(FENCE.sub("```text", markdown))
    return "".join(part if part.startswith("`") else inside(part, page.file.src_uri) for part in parts)


def named(nav: list[Any]) -> list[str]:
    """Return the pages that a nav names, patterns left out."""
    found: list[str] = []
    for entry in nav:
        value = next(iter(entry.values())) if isinstance(entry, dict) else entry
        found += named(value) if isinstance(value, list) else [value] if "*" not in value else []
    return found


def expanded(nav: list[Any], docs: Path, taken: set[str]) -> list[Any]:
    """Return a nav in which pages stand for patterns."""
    found: list[Any] = []
    for entry in nav:
        if isinstance(entry, str):
            found += matching(entry, docs, taken) if "*" in entry else [entry]
            continue
        (title, value), = entry.items()
        below = expanded(value, docs, taken) if isinstance(value, list) else value
        found += [{title: below}] if below else []
    return found


def matching(pattern: str, docs: Path, taken: set[str]) -> list[str]:
    """Return the pages of a pattern: the index, then in the order in which that links to them, then by name."""
    pages = {page.relative_to(docs).as_posix() for page in docs.glob(pattern)} - taken
    order = list(INDEX)
    for index in pages & {(Path(pattern).parent / name).as_posix() for name in INDEX}:
        order += [match["target"] for match in LINK.finditer((docs / index).read_text(encoding="utf-8"))]
    places = {name: place for place, name in reversed(list(enumerate(order)))}
    return sorted(pages, key=lambda page: (places.get(Path(page).name, len(order)), page))


def inside(text: str, page: str) -> str:
    """Return a page's text in which no link leads out of docs/."""
    def plain(match: re.Match[str]) -> str:
        there = posixpath.normpath(posixpath.join(posixpath.dirname(page), match["target"]))
        if "://" in match["target"] or not there.startswith("../"):
            return match[0]
        name, text = there.removeprefix("../"), match["text"].strip("`")
        return f"`{name}`" if text in (name, posixpath.basename(name)) else f"{match['text']} (`{name}`)"

    return LINK.sub(plain, text)
