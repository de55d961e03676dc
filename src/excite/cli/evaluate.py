"""`excite evaluate`: how good a network is on images that it has not seen, every number with its interval."""

from pathlib import Path
from typing import Annotated

import typer

from excite.cli.columns import ExistingOnly, GroupCol, ImageCol, LabelCol, Layout, PatientCol, PatientFrom, Root
from excite.cli.scene_options import (
    Block,
    ClassNames,
    Dark,
    DropBands,
    Labels,
    Maps,
    NoData,
    Variable,
    White,
    reading,
)
from excite.cli.talk import emit, say


def evaluate(
    source: Annotated[Path, typer.Argument(metavar="RUN|BUNDLE", help="Run folder, or bundle (then with --data).")],
    data: Annotated[Path | None, typer.Option(help="Another table or folder, with labels or masks; another "
                                                     "cube, or a table of them.")] = None,
    split: Annotated[str | None, typer.Option(help="train, val or test; test for a run, every row of --data.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for evaluation.json and the table of "
                                                                 "predictions; the run folder otherwise.")] = None,
    views: Annotated[str | None, typer.Option(help="one, or flip: the mirror image too; the bundle's own "
                                                   "otherwise.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores otherwise.")] = None,
    resamples: Annotated[int, typer.Option(min=1, help="Of the bootstrap.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    tolerance: Annotated[float | None, typer.Option(min=0, help="Of the surface Dice of masks, mm; 1 "
                                                                "otherwise.")] = None,
    root: Root = None,
    image_col: ImageCol = None,
    label_col: LabelCol = None,
    patient_col: PatientCol = None,
    group_col: GroupCol = None,
    patient_from: PatientFrom = None,
    layout: Layout = None,
    existing_only: ExistingOnly = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    labels: Labels = None,
    classes: ClassNames = None,
    block: Block = None,
    maps: Maps = False,
    variable: Variable = None,
    drop_bands: DropBands = None,
    no_data: NoData = None,
    white: White = None,
    dark: Dark = None,
) -> None:
    """Measure a trained network on its own test part, or on another table; without torch.

    A classifier is measured by the labels, a network for masks by the masks, in the pixels of the original images;
    heads in millimetres besides, where the pixel size is known. Intervals are 95 %, from a bootstrap over patients (or
    what else the units are). What is not defined is said to be so. Files that cannot be used are listed, the rest is
    evaluated, and the exit code is then 3.

    A network for scenes is measured on its test pixels, which must be as they were, or with --data on all labelled
    pixels of another scene: over blocks of pixels, or over the patients of a table of cubes. Its classes are matched
    by name.

    A network for volumes is measured on its test part, which must be as it was, or with --data on all rows of another
    table; nothing is written without --out.

    \b
    Examples:
      excite evaluate runs/busi
      excite evaluate runs/busi/bundle --data other.csv --patient-col patient_id --out other-hospital
      excite evaluate runs/hc18 --split val --json
      excite evaluate runs/kidneys/bundle --data other-kidneys.csv --label-col stage
      excite evaluate runs/pines --data other.hdr --labels other.png --out there --maps
    """
    from excite.cli.scenes import evaluate_on_scene, refuse, task_of
    from excite.data.sections import DataSection
    from excite.jobs.evaluate import evaluate as run_evaluation
    from excite.progress import spoken

    options = {"root": root, "image_col": image_col, "label_col": label_col, "patient_col": patient_col,
               "group_col": group_col, "patient_from": patient_from, "layout": layout, "existing_only": existing_only}
    task = task_of(source)
    if task == "scene":
        refuse({"--views": views, "--tolerance": tolerance,
                **{f"--{name.replace('_', '-')}": value for name, value in options.items()}}, "images")
        read = {"labels": labels, "classes": tuple(one.strip() for one in classes.split(",")) if classes else None,
                **reading(variable=variable, drop_bands=drop_bands, no_data=no_data, white=white, dark=dark)}
        scene = {name: one for name, one in read.items() if one is not None}
        evaluate_on_scene(source, data, split, scene=scene, json=json,
                          options={"block": block, "out": out, "maps": maps, "threads": threads,
                                   "resamples": resamples, "seed": seed})
        return
    if task == "volume_masks":
        from excite.cli.volume_masks import evaluate_volume_masks

        refuse({"--views": views, "--tolerance": tolerance, "--labels": labels, "--classes": classes,
                "--block": block, "--maps": maps or None, **{f"--{name.replace('_', '-')}": value for name, value in
                                                            options.items() if name != "patient_col"}}, "other data")
        evaluate_volume_masks(source, data, split, patient_col=patient_col, out=out, threads=threads,
                              resamples=resamples, seed=seed, json=json)
        return
    if task is not None:
        refuse({"--labels": labels, "--classes": classes, "--block": block, "--maps": maps or None,
                "--variable": variable, "--drop-bands": drop_bands, "--no-data": no_data, "--white": white,
                "--dark": dark}, "hyperspectral cubes")
    if task == "volumes":
        ours = ("label_col", "patient_col")
        refuse({"--views": views, "--tolerance": tolerance, **{f"--{name.replace('_', '-')}": value for name, value in
                                                               options.items() if name not in ours}}, "images")
    section = DataSection().model_copy(update={key: value for key, value in options.items() if value is not None})
    found = run_evaluation(source, data, split, out=out, columns=section, threads=threads, views=views,
                           tolerance_mm=1.0 if tolerance is None else tolerance, resamples=resamples, seed=seed,
                           progress=spoken())
    if json:
        emit(found.to_json())
    else:
        typer.echo(found.text())
    for one in found.failed:
        say(f"failed: {one['error']}")
    report, others = source / "report.html", "TABLE" if task == "volumes" else "IMAGE_OR_FOLDER"
    say("next: " + (f"open {report}  (the training's report: this evaluation did not change it)"
                    if report.is_file() and data is None else f"excite predict {source} {others}"))
    found.raise_failures()
