"""The pages of docs/learn: their Python runs and prints what they say, and what they show and link to is there."""

import time
from pathlib import Path

import pytest
import torch

from snippets import PICTURE, SLOW, blocks, dead_links, faults

LEARN = Path(__file__).parents[1] / "docs" / "learn"
PAGES = sorted(LEARN.glob("*.md"))
SECONDS = 10  # of processor time, for all blocks of a page


def cases() -> list[object]:
    slow = {page: [pytest.mark.slow] if SLOW in page.read_text(encoding="utf-8") else [] for page in PAGES}
    return [pytest.param(page, id=page.stem, marks=marks) for page, marks in slow.items()]


@pytest.mark.parametrize("page", cases())
def test_a_page_prints_what_it_says_in_little_time(page: Path) -> None:
    before, began = torch.get_num_threads(), time.process_time()
    torch.set_num_threads(1)
    try:
        assert not (found := faults(page.read_text(encoding="utf-8"), name=page.name)), "\n\n".join(found)
    finally:
        torch.set_num_threads(before)
    assert time.process_time() - began < SECONDS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    assert not dead_links(page)


def test_there_are_pages_with_python_and_every_picture_is_shown() -> None:
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    assert sum(bool(blocks(text)) for text in texts) >= 5
    shown = {picture["target"] for text in texts for picture in PICTURE.finditer(text)}
    assert {file.name for file in LEARN.glob("*.png")} == shown


def page_of(code: str, shown: str | None = None, *, kind: str = "text") -> str:
    output = "" if shown is None else f"\nwhich is\n\n```{kind}\n{shown}\n```\n"
    return f"# Title\n\n```python\n{code}\n```\n{output}"


@pytest.mark.parametrize(("page", "said"), [
    (page_of("print(6 * 7)", "43"), "planted.md:4 prints\n42\nthe page says\n43"),
    (page_of("print(6 * 7)"), "planted.md:4 prints what the page does not show:\n42"),
    (page_of("x = 42", "42"), "planted.md:4 prints nothing, the page shows an output"),
    (page_of("print(6 * 7)", "", kind="text measured"), "planted.md:4 was measured, and the page shows nothing"),
    (page_of("print(6 * 7)", "42", kind="sh"), "planted.md:4 prints what the page does not show:\n42"),
    (page_of("print(1)", "1") + page_of("print(2)", "1"), "planted.md:15 prints\n2\nthe page says\n1"),
])
def test_a_page_that_says_anything_else_is_caught(page: str, said: str) -> None:
    assert faults(page, name="planted.md") == [said]


def test_a_block_that_fails_is_told_with_the_line_of_the_page_and_ends_it() -> None:
    found = faults(page_of("x = 1\ny = x / 0") + page_of("print(y)"), name="planted.md")
    assert len(found) == 1 and 'File "planted.md", line 5' in found[0] and "ZeroDivisionError" in found[0]


def test_a_right_page_passes_and_blocks_share_their_names() -> None:
    measured = page_of("print(x)", "9.1", kind="text measured")
    assert faults(page_of("x = 6") + page_of("print(x * 7)\nprint()", "42") + measured, name="planted.md") == []


def test_dead_links_are_caught_and_live_ones_pass(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A title, with signs!\n[a](#a-title-with-signs) [b](page.md) [c](https://example.org) "
                    "[d](gone.md) ![e](gone.png) [f](page.md#no-such)\n```python\nx = y[0](z)\n```\n", encoding="utf-8")
    assert [one.split()[3] for one in dead_links(page)] == ["gone.md,", "gone.png,", "page.md#no-such,"]
