"""`excite predict`: labels, masks or millimetres for files, folders and tables."""

from pathlib import Path
from typing import Annotated

import typer

from excite.cli.columns import ImageCol, Layout, Root
from excite.cli.scene_options import Confidence, Dark, DropBands, NoData, Variable, White, reading


def predict(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder, or run folder.")],
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Images, folders, tables; cubes, or "
                                                  "folders or tables of them; a table of volumes, or MAP=FILE "
                                                  "for each map of one patient.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write a table: .csv or .jsonl; of a cube a map: "
                                             ".png, .npy, .mat or .hdr (ENVI), of several a folder; of labels of "
                                             "volumes a folder.")] = None,
    features: Annotated[Path | None, typer.Option(help="Write one vector an image: .npz or .csv.")] = None,
    masks: Annotated[Path | None, typer.Option(help="Folder for masks: PNG, 0 and 255, in the images' size.")] = None,
    overlays: Annotated[Path | None, typer.Option(help="Folder for images with what was found drawn on them.")] = None,
    spacing: Annotated[str | None, typer.Option(metavar="MM", help="Millimetres a pixel where nothing says it: one "
                                                "number, or two, down and across.")] = None,
    views: Annotated[str | None, typer.Option(help="one, or flip: the mirror image too; the bundle's own "
                                                   "otherwise.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images a batch; what is fastest otherwise.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores otherwise.")] = None,
    image_col: ImageCol = None,
    root: Root = None,
    layout: Layout = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")] = False,
    confidence: Confidence = None,
    variable: Variable = None,
    drop_bands: DropBands = None,
    no_data: NoData = None,
    white: White = None,
    dark: Dark = None,
) -> None:
    """Predict images: their class with calibrated probabilities, a mask, or a head in millimetres; maps of cubes.

    What is measured is measured in the images' own pixels, in millimetres where a table, the file or --spacing tells
    the size of a pixel, and not at all otherwise. HC18's and BUSI's folders are read as what they are. With several
    classes a mask holds the number of the class. Torch is not needed.

    A file that cannot be used is reported and the rest is done; the exit code is then 3. In a CSV file a text that
    a spreadsheet would run as a formula is written so that it does not (./=a.png for the file =a.png, an apostrophe in
    front of other text); JSON has every text as it is.

    \b
    Examples:
      excite predict runs/busi scan.png
      excite predict runs/busi/bundle images/ --out predictions.csv
      excite predict runs/hc18 images/ --spacing 0.12 --overlays overlays --masks masks
      excite predict runs/busi table.csv --json --features vectors.npz
      excite predict runs/pines other.hdr --out map.hdr --confidence sure.npy
      excite predict runs/tissue cubes/ --out maps/
      excite predict runs/kidneys t1=a/t1.nii.gz adc=a/adc.nii.gz
      excite predict runs/hippocampus scan.nii.gz --out labels/
    """
    from excite.cli.predicted import line_of, spacing_of
    from excite.cli.scenes import predict_scenes, quoted, refuse, task_of
    from excite.cli.talk import emit, say
    from excite.cli.volume_masks import predict_volume_masks
    from excite.cli.volumes import predict_volumes
    from excite.data.sections import DataSection
    from excite.jobs.predict import predict as run_prediction
    from excite.jobs.prediction_table import Prediction
    from excite.jobs.run_folder import is_unfinished
    from excite.progress import silent, spoken

    of_images = {"--features": features, "--masks": masks, "--overlays": overlays, "--spacing": spacing,
                 "--views": views, "--batch-size": batch_size, "--image-col": image_col, "--root": root,
                 "--layout": layout}
    of_scenes = {"--confidence": confidence, "--variable": variable, "--drop-bands": drop_bands, "--no-data": no_data,
                 "--white": white, "--dark": dark}
    task = task_of(bundle)
    if task is not None:
        other = task in ("scene", "volumes", "volume_masks")
        refuse(of_images if other else of_scenes, "images" if other else "hyperspectral cubes")
    if task in ("volumes", "volume_masks"):
        refuse(of_scenes, "hyperspectral cubes")
    if is_unfinished(bundle):
        last = "the temperature" if task == "scene" else "the level and the interval of heads"
        say(f"WARNING: this run has not ended (it has no report): what is settled last, such as {last}, may be "
            "missing; resume it with the excite train command that began it")
    if task == "volume_masks":
        predict_volume_masks(bundle, inputs, out=out, threads=threads, json=json)
        return
    if task == "volumes":
        predict_volumes(bundle, inputs, out=out, threads=threads, json=json)
        return
    if task == "scene":
        options = reading(variable=variable, drop_bands=drop_bands, no_data=no_data, white=white, dark=dark)
        predict_scenes(bundle, inputs, out=out, confidence=confidence, options=options, threads=threads, json=json)
        return
    waiting: list[str] = []  # failures until a file could be used: where none can be, the error at the end has them
    used = False

    def show(one: Prediction) -> None:
        nonlocal used
        found = one.to_json()
        used = used or "error" not in found
        if json:
            emit(found)
        elif "error" in found:
            waiting.append(found["error"])
        if used:
            tell()
        if used and not json and "error" not in found and out is None:
            typer.echo(line_of(found))

    def tell(*, start: int = 0) -> None:
        for error in waiting[start:]:
            say(f"failed: {error}")
        waiting.clear()

    columns = {"image_col": image_col, "root": root, "layout": layout}
    section = DataSection().model_copy(update={key: value for key, value in columns.items() if value is not None})
    to_file = out is not None and not json
    done = run_prediction(bundle, inputs, out=out, features=features, masks=masks, overlays=overlays,
                          spacing=spacing_of(spacing), columns=section, threads=threads, batch_size=batch_size,
                          views=views, each=show, progress=spoken() if to_file else silent())
    counted = ", ".join(f"{name} {count}" for name, count in sorted(done.counts.items()))
    tell(start=len(done.errors))  # only where no file could be used is anything left
    if used:
        say(f"{done.n - done.failed} predicted: {counted}" + (f"; {done.failed} failed" if done.failed else ""))
    for file in (out, features, masks, overlays):
        if file is not None:
            say(f"written: {file}")
    if used:
        say(f"next: excite evaluate {quoted(bundle)} --data TABLE  (with labels or masks: how good is it here?)")
    done.raise_failures(causes=json or not used)
