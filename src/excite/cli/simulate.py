"""`excite simulate`: data with known truth, to try things on."""

from pathlib import Path
from shlex import quote
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
    say(f"{count} simulated pictures of {patients} patients: {table}\nnext: excite check {quote(str(table))}")
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
    say(f"{count} simulated heads of {patients} examinations: {table}\nnext: excite check {quote(str(table))}")
    if json:
        emit({"table": str(table), "truth": str(out / "truth.csv"), "images": count, "patients": patients,
              "simulated": True})


@app.command()
def scene(
    out: Annotated[Path, typer.Option("--out", help="Folder to write; made if missing.")],
    height: Annotated[int, typer.Option("--height", help="Rows.")] = 145,
    width: Annotated[int, typer.Option("--width", help="Columns.")] = 145,
    bands: Annotated[int, typer.Option("--bands", help="Evenly from 400 to 2500 nm.")] = 200,
    classes: Annotated[int, typer.Option("--classes", help="Materials, 2 to 60.")] = 6,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same scene.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Simulate a hyperspectral scene from the air: mixed materials under uneven light, with noise.

    Writes ENVI files, OUT/cube.hdr (with wavelengths) and OUT/cube_labels.hdr, whose headers say that they are
    simulated; OUT/abundances.npy, the true share of each material; and OUT/spectra.csv.

    \b
    Examples:
      excite simulate scene --out scene
      excite simulate scene --out scene --classes 12 --seed 7
      excite simulate scene --out small --height 60 --width 60 --bands 40 --json
    """
    from excite.data.phantom.hyperspectral import simulate_scene
    from excite.progress import spoken

    cube = simulate_scene(out, height=height, width=width, bands=bands, classes=classes, seed=seed, progress=spoken())
    say(f"a simulated scene of {height} x {width} pixels, {bands} bands, {classes} materials: {cube}\n"
        f"next: excite train {quote(str(out))}")
    if json:
        emit({"cube": str(cube), "labels": str(out / "cube_labels.hdr"), "truth": str(out / "abundances.npy"),
              "pixels": height * width, "simulated": True})


@app.command()
def tissue(
    out: Annotated[Path, typer.Option("--out", help="Folder to write; made if missing.")],
    patients: Annotated[int, typer.Option("--patients", help="How many patients.")] = 6,
    cubes: Annotated[int, typer.Option("--cubes", help="Of each patient.")] = 2,
    height: Annotated[int, typer.Option("--height", help="Rows.")] = 96,
    width: Annotated[int, typer.Option("--width", help="Columns.")] = 96,
    bands: Annotated[int, typer.Option("--bands", help="Evenly from 500 to 1000 nm.")] = 100,
    classes: Annotated[int, typer.Option("--classes", help="Tissues, 2 to 5.")] = 4,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same cubes.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Simulate hyperspectral cubes of tissue; blood, oxygen and brightness are a patient's own.

    Writes a folder a cube, as `excite simulate scene` does, and OUT/table.csv (cube, labels, patient, simulated).

    \b
    Examples:
      excite simulate tissue --out tissue
      excite simulate tissue --out tissue --patients 20 --seed 7
      excite simulate tissue --out small --patients 2 --height 40 --width 40 --bands 30 --json
    """
    from excite.data.phantom.hyperspectral import simulate_tissue
    from excite.progress import spoken

    table = simulate_tissue(out, patients=patients, cubes=cubes, height=height, width=width, bands=bands,
                            classes=classes, seed=seed, progress=spoken())
    say(f"{patients * cubes} simulated cubes of {patients} patients: {table}\n"
        f"next: excite train {quote(str(table))}")
    if json:
        emit({"table": str(table), "cubes": patients * cubes, "patients": patients, "simulated": True})


@app.command()
def volumes(
    out: Annotated[Path, typer.Option("--out", help="Folder to write; made if missing.")],
    patients: Annotated[int, typer.Option("--patients", help="How many patients.")] = 60,
    missing: Annotated[float, typer.Option("--missing", help="Share of patients who lack a map or two.")] = 0.3,
    masks: Annotated[bool, typer.Option("--masks", help="Label volumes of the T1 maps too: cortex, medulla, pelvis.")
                     ] = False,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same patients.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Simulate kidneys with T1, ADC and T2* maps and a grade of fibrosis that no single map tells.

    Writes NIfTI files on grids of their own under OUT/maps, a table (patient, t1, adc, t2star, grade, ...) and
    OUT/truth.json with what was planted: missing and shifted maps. With --masks also OUT/masks and OUT/masks.csv
    (patient, t1, mask, simulated), to train a network that labels every voxel.

    \b
    Examples:
      excite simulate volumes --out kidneys
      excite simulate volumes --out kidneys --patients 150 --missing 0.3 --seed 7
      excite simulate volumes --out small --patients 12 --json
      excite simulate volumes --out kidneys --masks
    """
    from excite.data.phantom.volumes import simulate_volumes
    from excite.progress import spoken

    table = simulate_volumes(out, patients=patients, missing=missing, seed=seed, masks=masks, progress=spoken())
    say(f"{patients} simulated patients: {table}\nnext: excite train {quote(str(table))} --classes none,mild,severe")
    if masks:
        say(f"or: excite train {quote(str(out / 'masks.csv'))} --classes background,cortex,medulla,pelvis")
    if json:
        emit({"table": str(table), "truth": str(out / "truth.json"), "patients": patients, "simulated": True})
