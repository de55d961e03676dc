"""The Python of docs/gates.md runs as it stands there."""

from pathlib import Path

from snippets import blocks, dead_links, faults

PAGE = Path(__file__).parents[2] / "docs" / "gates.md"


def test_the_page_runs_and_its_links_arrive():
    text = PAGE.read_text(encoding="utf-8")
    assert blocks(text) and not (found := faults(text, name=PAGE.name)), "\n".join(found)
    assert not dead_links(PAGE)
