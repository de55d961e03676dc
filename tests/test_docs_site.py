"""The documentation as a whole: links, pictures, names, commands, generated pages, and what the site's hooks do."""

import importlib.util
import re
import shlex
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import typer
import yaml

import excite
from excite.cli.main import VERBS, build
from runs import simulated_table
from snippets import FENCE, PICTURE, blocks, dead_links, faults

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TASKS = [DOCS / "index.md", DOCS / "start.md", *sorted((DOCS / "howto").glob("*.md"))]
NAME = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)


def hook(name: str) -> ModuleType:
    """Return a file of docs/hooks as a module."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / "hooks" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def site() -> dict[str, Any]:
    """Return mkdocs.yml, without what it calls."""
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)
    found: dict[str, Any] = yaml.load(text_of(ROOT / "mkdocs.yml"), Loader=Loader)  # noqa: S506
    return found


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES], ids=lambda page: page.stem)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    assert not dead_links(page)


def test_every_picture_is_shown() -> None:
    shown = {(page.parent / picture["target"]).resolve() for page in [ROOT / "README.md", *PAGES]
             for picture in PICTURE.finditer(text_of(page))}
    assert {file.resolve() for file in DOCS.rglob("*.png")} <= shown


def test_dead_links_of_a_planted_page_are_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# There\n\n## A part\n", encoding="utf-8")
    page = tmp_path / "planted.md"
    page.write_text("[a](there.md#a-part) [b](there.md#no-part) ![c](no.png)\n", encoding="utf-8")
    assert dead_links(page) == ["planted.md links to there.md#no-part, which is not there",
                                "planted.md links to no.png, which is not there"]


def test_every_public_name_is_in_the_reference_and_every_name_there_exists() -> None:
    names = [name for page in (DOCS / "reference").glob("*.md") for name in NAME.findall(text_of(page))]
    assert {f"excite.{name}" for name in excite.__all__} <= set(names)
    assert len(names) == len(set(names))
    for name in names:
        assert resolve_name(name).__doc__, name
    with pytest.raises((AttributeError, ImportError)):
        resolve_name("excite.no_such_name")


@pytest.mark.parametrize("name", ["reference/config.md", "reference/commands.md", "howto/workflow.md"])
def test_a_generated_page_says_what_the_code_says(name: str) -> None:
    assert text_of(DOCS / name) == hook("reference").PAGES[name](), "run: python docs/hooks/reference.py"


def test_a_key_is_told_with_its_values_its_default_and_its_comment() -> None:
    page = hook("reference").config_page()
    assert "| `loop.batch_size` | whole number, at least 1 | `32` |" in page
    assert "| `split.by` | `patient`, `image` | `patient` | image: leaky, warned about in every report |" in page
    assert "| `loss.tversky_gamma` | number | `1.33333` | focal_tversky |" in page
    assert "| `preprocess.size` | whole number, at least 1 or list of whole number, at least 1 | `224` |" in page
    assert "None" not in page and "type: ignore" not in page


def commands(page: Path) -> list[str]:
    """Return the calls of excite in a page's blocks."""
    lines = [line for fence in FENCE.finditer(text_of(page)) if not fence["kind"].strip()
             for line in fence["body"].splitlines()]
    return [line.partition("  #")[0] for line in lines if line.startswith("excite ")]


def parse(line: str) -> None:
    """Let the command line take a call apart, without doing what it says."""
    command: Any = typer.main.get_command(build())
    _, *words = shlex.split(line)
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        assert words[0] in command.commands, line
        command, words = command.commands[words[0]], words[1:]
    command.make_context(line, words)


@pytest.mark.parametrize("page", TASKS, ids=lambda page: page.stem)
def test_the_commands_of_a_page_are_taken_by_the_command_line(page: Path) -> None:
    for line in commands(page):
        parse(line)


def test_a_command_that_is_not_taken_is_found() -> None:
    assert sum(len(commands(page)) for page in TASKS) > 25
    assert "train" in VERBS
    with pytest.raises(Exception, match="--no-such"):
        parse("excite train table.csv --no-such 3")


def test_the_page_on_reports_names_what_reports_have() -> None:
    templates = "".join(text_of(file) for file in (ROOT / "src" / "excite" / "report").glob("*.html"))
    bold = set(re.findall(r"\*\*([^*]+)\*\*", text_of(DOCS / "howto" / "report.md"))) - {"Warnings"}
    named = [name.replace("the test part", "the {{ evaluation.part }} part") for name in bold]
    assert len(named) >= 8 and not [name for name in named if f">{name}<" not in templates]


@pytest.mark.slow
def test_the_python_of_start_and_prediction_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = simulated_table(tmp_path)
    table.rename(tmp_path / "table.csv")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks(text_of(DOCS / "start.md")):
        exec(block.code, names)
    next((tmp_path / "images").glob("*.png")).rename(tmp_path / "new.png")
    for block in blocks(text_of(DOCS / "howto" / "predict.md")):
        exec(block.code, names)
    assert names["answer"].label in names["answer"].probabilities  # type: ignore[attr-defined]


def test_the_python_of_inserting_prints_what_the_page_says() -> None:
    assert not (found := faults(text_of(DOCS / "howto" / "attention.md"), name="attention.md")), "\n".join(found)


def test_every_page_is_in_the_navigation_once() -> None:
    hooks, nav = hook("site"), site()["nav"]
    found = hooks.named(hooks.expanded(nav, DOCS, set(hooks.named(nav))))
    assert sorted(found) == sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))


@pytest.mark.parametrize("index", ["index.md", "README.md"])
def test_a_new_page_comes_into_its_section_in_the_order_of_the_index(tmp_path: Path, index: str) -> None:
    (tmp_path / "learn").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "learn" / f"{name}.md").write_text("# Title\n", encoding="utf-8")
    (tmp_path / "learn" / index).write_text("[c](c.md) and [b](b.md)", encoding="utf-8")
    nav = [{"Learn": ["learn/*.md"]}, {"Studies": ["studies/*.md"]}, {"One": ["learn/a.md"]}]
    hooks = hook("site")
    assert hooks.expanded(nav, tmp_path, {"learn/a.md"}) == [
        {"Learn": [f"learn/{index}", "learn/c.md", "learn/b.md"]}, {"One": ["learn/a.md"]}]


@pytest.mark.parametrize(("written", "shown"), [
    ("[Contributing](../../CONTRIBUTING.md)", "Contributing (`CONTRIBUTING.md`)"),
    ("[`loading.py`](../../benchmarks/loading.py)", "`benchmarks/loading.py`"),
    ("[other](../start.md#install)", "[other](../start.md#install)"),
    ("[far](https://example.org/../x)", "[far](https://example.org/../x)"),
    ("![picture](../../x.png)", "![picture](../../x.png)"),
])
def test_links_out_of_the_docs_become_names(written: str, shown: str) -> None:
    assert hook("site").inside(written, "howto/page.md") == shown


def test_code_and_its_output_stay_as_they_are() -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri="howto/page.md"))
    said = "`[a](../../x.py)`\n\n```python\n[b](../../x.py)\n```\n"
    assert hook("site").on_page_markdown(said, page=page) == said
    assert hook("site").on_page_markdown("```text measured\n1\n```\n", page=page) == "```text\n1\n```\n"


def test_the_site_asks_no_network_for_anything() -> None:
    said = site()
    assert said["theme"]["font"] is False and said["strict"] and said["validation"]["links"]["anchors"] == "warn"
    assert "iframe-worker" in said["extra"]["polyfills"][0]  # else the offline plugin takes one from a network
    for file in (DOCS / "assets").iterdir():
        assert not re.search(r"https?://", text_of(file)), file
