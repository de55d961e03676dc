"""Help in groups: options of cubes stand below those of every use, none is lost."""

import click
import typer

from excite.cli import evaluate, predict
from excite.cli.panels import Grouped
from excite.cli.scene_options import SCENES


def help_of(verb: object, **options: object) -> list[str]:
    app = typer.Typer(rich_markup_mode=None)
    app.command(**options)(verb)  # type: ignore[arg-type, call-overload]
    command = typer.main.get_command(app)
    return str(command.get_help(click.Context(command, info_name="excite", max_content_width=110))).splitlines()  # type: ignore[arg-type]


def test_options_of_cubes_have_a_section_of_their_own() -> None:
    for verb, own in ((predict.predict, "--confidence"), (evaluate.evaluate, "--maps")):
        lines, plain = help_of(verb, cls=Grouped), help_of(verb)
        head = lines.index(f"{SCENES}:")
        assert lines.index("Arguments:") < lines.index("Options:") < head
        below = "\n".join(lines[head:])
        assert own in below and "--drop-bands" in below and "--threads" not in below and "--out" not in below
        assert f"{SCENES}:" not in plain
        words = sorted(word for line in plain for word in line.split() if word.startswith("--"))
        assert sorted(word for line in lines for word in line.split() if word.startswith("--")) == words


def test_without_groups_help_is_what_it_was() -> None:
    def verb(name: str, size: int = 3) -> None:
        """Do it."""

    assert help_of(verb, cls=Grouped) == help_of(verb)
