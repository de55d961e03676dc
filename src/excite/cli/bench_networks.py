"""`excite bench networks`: the library's networks beside the public ones, in milliseconds on this machine."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from excite.jobs.bench_networks import Bench
    from excite.jobs.bench_networks_tables import Table


def networks(
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help="This network of the library alone. As "
                                                                        "often as needed.")] = None,
    dims: Annotated[int | None, typer.Option(help="2 for images, 3 for volumes; both otherwise.")] = None,
    batch: Annotated[list[int] | None, typer.Option(min=1, max=1024, help="Images at a time, in 2-D. As often as "
                                                                          "needed; 1 and 16 otherwise.")] = None,
    train: Annotated[bool, typer.Option("--train/--no-train", help="Time training steps, too.")] = True,
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="For each network, kind of work and shape of input; "
                                                                  "three rounds at least, however long.")] = 3.0,
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="CPU threads; all cores otherwise.")] = None,
    out: Annotated[Path | None, typer.Option(help="Put the tables into this .md file, in the place of older ones; the "
                                                  "rest of the page stays.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw published accuracy against measured time into this .png "
                                                      "file.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Compare the library's networks with torchvision's, timm's and MONAI's on this machine.

    Where a public network is the same one, it gives its weights, equal outputs are proved first, and both are timed
    in turns: with the same settings, and each as it comes. Packages that are not installed are left out.

    \b
    Examples:
      excite bench networks --only mobilenet_v2 --no-train
      excite bench networks --dims 2 --threads 1 --picture networks.png
      excite bench networks --dims 3 --out docs/networks.md
    """
    from excite.cli.talk import emit, say
    from excite.jobs import bench_networks, bench_networks_page, bench_networks_picture

    matches = bench_networks.chosen(dims, only or ())
    if out is not None:
        bench_networks_page.begun(out)
    if picture is not None:
        bench_networks_picture.check(picture, matches)
    say("measuring: seconds for a small network, a minute or more for a large one with batch 16 and training steps")
    found = bench_networks.bench_networks(dims=dims, only=only or (), batches=batch or bench_networks.BATCHES,
                                          train=train, seconds=seconds, threads=threads, tell=say)
    if out is not None:
        bench_networks_page.write(out, found)
    if picture is not None:
        bench_networks_picture.draw(picture, found)
    if json:
        emit(_facts(found))
    else:
        for line in _lines(found):
            typer.echo(line)
    say(f"next: {'see ' + str(out or picture) if out or picture else 'excite models NAME shows the parts of one'}")


def _facts(found: "Bench") -> dict[str, Any]:
    from excite.jobs.bench_networks_pairs import MATCHES

    rows = [{
        "network": row.network, "same_as": row.peer or None, "work": row.work, "shape": list(row.shape),
        "parameters": row.cost.parameters, "macs": row.cost.macs,
        "milliseconds": {way: time.rounded() for way, time in row.times.items()},
        "ratios": {way: round(ratio, 4) for way in row.times if way != "peer" and (ratio := row.ratio(way))},
        "share_of_gemm": {way: round(share, 4) for way in row.times if (share := row.share(way, found.limits))},
        "precision": row.chosen and {"default": row.chosen[0], "reason": row.chosen[1]}} for row in found.rows]
    accuracy = {match.label: {"top1": row.top1, "source": row.source} for match in MATCHES if (row := match.published)}
    return {"rows": rows, "limits": found.limits.facts(), "outputs_apart": found.apart, "accuracy": accuracy,
            "packages": found.packages, "notes": found.notes, "machine": found.machine}


def _lines(found: "Bench") -> list[str]:
    from excite.jobs.bench_networks_tables import WORDS, limits, proof, tables

    where = found.machine
    lines = [f"torch {where['torch']}, threads: {where['threads']}, {where['cpu']}", *found.packages.values(),
             limits(found), proof(found)]
    for table in tables(found):
        lines += ["", table.title, *_plain(table)]
    told = [textwrap.wrap(words.replace("`", ""), 80) for words in (*WORDS, *found.notes)]
    return [*lines, "", *(line for wrapped in told for line in wrapped)]


def _plain(table: "Table") -> list[str]:
    """Return a table in columns, words to the left and numbers to the right."""
    cells = [table.head, *table.rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) if place == 0 else cell.rjust(width)
                      for place, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip() for row in cells]
