"""`excite demo`: see the whole thing work on simulated images."""

from pathlib import Path
from typing import Annotated, Any

import typer


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for data, run and report.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Seed of the simulation and the training.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout at the end.")] = False,
) -> None:
    """Simulate ultrasound planes, train, evaluate, export and predict: a few minutes on a laptop.

    \b
    Examples:
      excite demo
      excite demo --out /tmp/excite-demo
      excite demo --seed 1 --json
    """
    from excite.cli.talk import emit, say
    from excite.jobs.demo import demo as run_demo
    from excite.progress import spoken

    found: dict[str, Any] = run_demo(out, seed=seed, progress=spoken())
    if json:
        emit(found)
        return
    typer.echo("on SIMULATED test images:")
    typer.echo(str(found["text"]))
    for one in found["predictions"]:
        typer.echo(f"predicted {one['file']}: {one['label']} ({one['probabilities'][one['label']]:.2f})")
    say(f"next, open the report; then predict:   excite predict {found['run']}/bundle {found['data']}\n"
        "or check your own table:               excite check TABLE.csv\n"
        "and train on it:                       excite train TABLE.csv --dry-run")
