"""`excite demo`: see the whole thing work on simulated images."""

from pathlib import Path
from typing import Annotated, Any

import typer


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for data, runs and reports.")] = Path("demo"),
    only: Annotated[str | None, typer.Option(help="planes or heads; both otherwise.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the simulation and the training.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout at the end.")] = False,
) -> None:
    """Simulate ultrasound planes and fetal heads, train, evaluate, export and predict: a few minutes on a laptop.

    Planes are told apart by a classifier; heads are drawn by a network for masks and measured in millimetres.

    \b
    Examples:
      excite demo
      excite demo --only heads --out /tmp/excite-demo
      excite demo --seed 1 --json
    """
    from excite.cli.talk import emit, say
    from excite.jobs.demo import demo as run_demo
    from excite.progress import spoken

    found = run_demo(out, only=only, seed=seed, progress=spoken())
    if json:
        emit(found)
        return
    if only != "heads":
        _tell(found, "planes")
    if only != "planes":
        _tell(found["heads"], "heads")
        say(f"what was found, drawn:                 {found['heads']['overlays']}")
    last = found if only != "heads" else found["heads"]
    say(f"next, open the report; then predict:   excite predict {last['run']}/bundle {last['data']}\n"
        "or check your own table:               excite check TABLE.csv\n"
        "and train on it:                       excite train TABLE.csv --dry-run")


def _tell(part: dict[str, Any], name: str) -> None:
    """Print the numbers of a part and what was predicted."""
    from excite.cli.predicted import line_of

    typer.echo(f"on SIMULATED test images, {name}:\n{part['text']}")
    for one in part["predictions"]:
        typer.echo(f"predicted  {line_of(one)}")
