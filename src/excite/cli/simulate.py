"""`excite simulate`: data with known truth, to try things on."""

from pathlib import Path
from typing import Annotated

import typer

from excite.cli.talk import emit, say

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Simulate data with known truth.")


@app.callback()
def simulate() -> None:
    """Simulate data with known truth."""


@app.command()
def planes(
    out: Annotated[Path, typer.Option("--out", help="Folder to write; made if missing.")],
    patients: Annotated[int, typer.Option("--patients", help="How many patients.")] = 40,
    images: Annotated[int, typer.Option("--images", help="Most pictures a patient.")] = 4,
    classes: Annotated[int, typer.Option("--classes", help="2 to 4 of abdomen, femur, head, thorax.")] = 4,
    height: Annotated[int, typer.Option("--height", help="Pixels.")] = 240,
    width: Annotated[int, typer.Option("--width", help="Pixels.")] = 320,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same pictures.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Simulate fetal ultrasound planes: speckle, shadows, fan; classes that differ by structure.

    Writes PNG files under OUT/images, OUT/planes.csv (image, label, patient, simulated) and OUT/truth.csv.

    \b
    Examples:
      excite simulate planes --out simulated
      excite simulate planes --out simulated --patients 200 --seed 7
      excite simulate planes --out two --classes 2 --images 8 --json
    """
    from excite.data.phantom.planes import simulate_planes
    from excite.progress import spoken

    table = simulate_planes(out, patients=patients, images=images, classes=classes, size=(height, width), seed=seed,
                            progress=spoken())
    with table.open(encoding="utf-8") as file:
        count = sum(1 for _ in file) - 1
    say(f"{count} simulated pictures of {patients} patients: {table}\nnext: excite check {table}")
    if json:
        emit({"table": str(table), "truth": str(out / "truth.csv"), "images": count, "patients": patients,
              "simulated": True})


@app.command()
def heads(
    out: Annotated[Path, typer.Option("--out", help="Folder to write; made if missing.")],
    patients: Annotated[int, typer.Option("--patients", help="How many examinations.")] = 40,
    images: Annotated[int, typer.Option("--images", help="Most pictures an examination, 1 to 9.")] = 3,
    height: Annotated[int, typer.Option("--height", help="Pixels.")] = 540,
    width: Annotated[int, typer.Option("--width", help="Pixels.")] = 800,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same pictures.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Simulate fetal heads in HC18's file format: outlines, pixel sizes and known head circumferences.

    Writes OUT/training_set/NNN_HC.png and NNN_HC_Annotation.png, OUT/training_set_pixel_size_and_HC.csv (with a column
    `simulated`), and OUT/truth.csv, the ellipse of each picture.

    \b
    Examples:
      excite simulate heads --out heads
      excite simulate heads --out heads --patients 300 --seed 7
      excite simulate heads --out small --patients 8 --height 270 --width 400 --json
    """
    from excite.data.phantom.heads import simulate_heads
    from excite.progress import spoken

    table = simulate_heads(out, patients=patients, images=images, size=(height, width), seed=seed, progress=spoken())
    with table.open(encoding="utf-8") as file:
        count = sum(1 for _ in file) - 1
    say(f"{count} simulated heads of {patients} examinations: {table}\nnext: excite check {table}")
    if json:
        emit({"table": str(table), "truth": str(out / "truth.csv"), "images": count, "patients": patients,
              "simulated": True})
