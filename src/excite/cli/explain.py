"""`excite explain`: where a network looked, how far that picture is to be trusted, and what its gates do."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from excite.cli.columns import GroupCol, ImageCol, LabelCol, Layout, PatientCol, Root
from excite.cli.scene_options import Dark, DropBands, NoData, Variable, White, reading

if TYPE_CHECKING:
    from excite.jobs.explain.entry import Entry


def explain(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder, or run folder.")],
    inputs: Annotated[list[str] | None, typer.Argument(metavar="[INPUT]...", help="What excite predict takes: images, "
                                                       "folders, tables; scans; cubes; a table of patients, or "
                                                       "MAP=FILE for each map of one.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for what is written; explained "
                                             "otherwise.")] = None,
    label: Annotated[str | None, typer.Option("--class", metavar="NAME", help="Class to explain; the predicted one "
                                              "otherwise.")] = None,
    method: Annotated[str | None, typer.Option(help="gradcam, or occlusion: slower, without gradients; of cubes "
                                               "integrated, or occlusion.")] = None,
    layer: Annotated[str | None, typer.Option(metavar="NAME", help="Layer of Grad-CAM; the last maps before the "
                                              "pooling otherwise.")] = None,
    checks: Annotated[int | None, typer.Option(min=0, metavar="N", help="Check the first N pictures, 3 of images and 1 "
                                               "otherwise: random weights must give another one, and deleting what is "
                                               "marked must take the answer away.")] = None,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Write explain.html.")] = True,
    gates: Annotated[bool, typer.Option("--gates", help="Explain the attention's gates instead.")] = False,
    fold: Annotated[bool, typer.Option("--fold", help="Fold constant gates into convolutions instead.")] = False,
    fold_loss: Annotated[float | None, typer.Option(min=0, metavar="X", help="Fold layers whose gates vary too, as "
                                                    "long as all together lose no more accuracy (or Dice) than X.")
                         ] = None,
    fold_difference: Annotated[float, typer.Option(min=0, help="Largest change of a probability by folding.")] = 0.01,
    data: Annotated[Path | None, typer.Option(metavar="TABLE", help="Images for --gates and --fold; the run's own "
                                              "otherwise.")] = None,
    split: Annotated[str | None, typer.Option(help="Part of the table for --gates and --fold.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at once.")] = 16,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores otherwise.")] = None,
    image_col: ImageCol = None,
    root: Root = None,
    layout: Layout = None,
    label_col: LabelCol = None,
    patient_col: PatientCol = None,
    group_col: GroupCol = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")] = False,
    variable: Variable = None,
    drop_bands: DropBands = None,
    no_data: NoData = None,
    white: White = None,
    dark: Dark = None,
) -> None:
    """Show where a network looked (Grad-CAM, occlusion), and check these pictures; or what its gates do.

    An image gets a PNG of its own size, a volume NIfTI files on the patient's or the scan's grid and a PNG of slices, a
    cube the importance of each band. explanations.json holds class, probability, layer and checks, explain.html shows
    them. A picture says where the layer saw what speaks for a class, at that layer's resolution; it does not say why,
    nor that it is right. The first pictures are checked (--checks).

    A file that cannot be used is reported and the rest is done; the exit code is then 3.

    \b
    Examples:
      excite explain runs/busi scan.png
      excite explain runs/busi images/ --class malignant --out why
      excite explain runs/hc18 images/ --method occlusion --checks 1
      excite explain runs/kidneys t1=a/t1.nii.gz adc=a/adc.nii.gz
      excite explain runs/busi --gates
    """
    from excite.cli.scenes import quoted, refuse, task_of
    from excite.cli.talk import emit, say
    from excite.cli.volumes import NUMBER
    from excite.data.sections import DataSection
    from excite.errors import UsageError
    from excite.jobs.explain.explain import explain_files

    if gates or fold or fold_loss is not None:
        from excite.cli.gates import explain_gates

        if inputs:
            raise UsageError(f"--gates and --fold take no files, got {' '.join(inputs)}", fix="--data TABLE")
        refuse({"--class": label, "--method": method, "--layer": layer, "--checks": checks}, "pictures")
        explain_gates(bundle, data=data, split=split, fold=fold, out=out, threads=threads, json=json,
                      fold_loss=fold_loss, fold_difference=fold_difference,
                      columns={"image_col": image_col, "root": root, "layout": layout, "label_col": label_col,
                               "patient_col": patient_col, "group_col": group_col})
        return
    refuse({"--data": data, "--split": split, "--label-col": label_col, "--patient-col": patient_col,
            "--group-col": group_col}, "--gates and --fold")
    if not inputs:
        raise UsageError("there is nothing to explain", fix="name images, folders or a table; --gates explains gates")
    task = task_of(bundle)
    of_scenes = {"--variable": variable, "--drop-bands": drop_bands, "--no-data": no_data, "--white": white,
                 "--dark": dark}
    if task is not None:
        refuse({"--image-col": image_col, "--root": root, "--layout": layout} if task in (
            "scene", "volumes", "volume_masks") else of_scenes, "another kind of data")
    folder = out or Path("explained")

    told: dict[str, str] = {}  # notes of each kind: the first one is said, explanations.json has them all

    def show(one: "Entry") -> None:
        if json:
            emit(one.to_json())
        elif one.error:
            say(f"failed: {one.error}")
        else:
            share = "" if one.probability is None else f"{one.probability:.3f}  "
            typer.echo(f"{share}{one.explained if one.files else 'nothing found':<16}  {one.file}")
        if json or one.error:
            return
        for text in (text for text in one.notes if told.setdefault(NUMBER.sub("#", text), text) is text):
            say(f"  {text}")
        for text in one.checks.words if one.checks is not None else ():
            say(f"  {text}")

    given = {"image_col": image_col, "root": root, "layout": layout}
    columns = DataSection().model_copy(update={name: one for name, one in given.items() if one is not None})
    found = explain_files(
        bundle, inputs, out=folder, label=label, method=method, layer=layer, checks=checks,  # type: ignore[arg-type]
        page=page, columns=columns,
        cube=reading(variable=variable, drop_bands=drop_bands, no_data=no_data, white=white, dark=dark),
        threads=threads, batch_size=batch_size, each=show)
    if found.checked:
        say(f"{found.checked} pictures checked, {found.doubted} not to be read; --checks N checks more")
    say(f"written: {found.folder}")
    if found.n > found.failed:
        say(f"next: open {quoted(found.page)}" if found.page is not None else
            f"next: excite explain {quoted(bundle)} --gates  (what does the attention do?)")
    found.raise_failures()
