"""`excite train`: from a table of images to a proved network in one folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from excite.cli.columns import (
    ClassesFrom,
    ExistingOnly,
    GroupCol,
    ImageCol,
    LabelCol,
    Layout,
    PatientCol,
    PatientFrom,
    Root,
)

if TYPE_CHECKING:
    from excite.jobs.volume_masks.sections import MaskedVolumeConfig
    from excite.jobs.volumes.sections import VolumeConfig

Table = Annotated[Path | None, typer.Argument(help="CSV table of images, of volumes or of hyperspectral cubes, "
                                                   "folder of images, folder of the Decathlon, or cube; data.table, "
                                                   "volumes.table, scene.table or scene.cube of --config otherwise.")]


def train(
    table: Table = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="YAML recipe, see configs/.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Run folder; runs/NAME-OF-TABLE otherwise.")] = None,
    model: Annotated[str | None, typer.Option(help="Network: excite models.")] = None,
    weights: Annotated[str | None, typer.Option(help="imagenet, a weights file, or none.")] = None,
    attention: Annotated[str | None, typer.Option(help="Attention in the place of the network's own: se, "
                                                      "cbam@2,3, se:position=pre.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a batch.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    size: Annotated[str | None, typer.Option(help="The network's input, pixels: 224, or HEIGHTxWIDTH, "
                                                  "256x384.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, order and augmentation.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; all cores otherwise.")] = None,
    budget: Annotated[str | None, typer.Option(help="Fit the epochs to this time: 30m, 2h, 90s.")] = None,
    frozen_features: Annotated[bool, typer.Option("--frozen-features", help="Train only a classifier's head, on what "
                                                  "the trunk gives once: epochs of milliseconds; of volumes nested "
                                                  "folds.")] = False,
    labels: Annotated[Path | None, typer.Option(help="Labels of a cube's pixels; else those beside it.")] = None,
    window: Annotated[int | None, typer.Option(help="Pixels along the windows of a cube.")] = None,
    repeats: Annotated[int | None, typer.Option(help="Trainings on a cube, each with another seed.")] = None,
    maps: Annotated[str | None, typer.Option(help="Columns with volumes, t1,adc,t2star; all that hold some "
                                                  "otherwise.")] = None,
    clinical: Annotated[str | None, typer.Option(help="Columns of numbers beside the maps, age,egfr; an empty cell is "
                                                      "missing.")] = None,
    folds: Annotated[int | None, typer.Option(help="Cross-validate on volumes: so many folds, each tested once.")
                     ] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Any config key: optim.lr=0.01.")] = None,
    root: Root = None,
    image_col: ImageCol = None,
    label_col: LabelCol = None,
    patient_col: PatientCol = None,
    group_col: GroupCol = None,
    patient_from: PatientFrom = None,
    layout: Layout = None,
    existing_only: ExistingOnly = None,
    classes: ClassesFrom = None,
    images: Annotated[bool, typer.Option(help="Put pictures into the report.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, why, and how long.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout at the end.")] = False,
) -> None:
    """Train on a table of images with labels or masks; evaluate, report and export.

    Labels make a classifier, masks a segmentation, and outlines of heads are measured in millimetres. The same command
    again resumes; a finished run is only reported again. Splits are by patient where the table says who, else by
    near-duplicate cluster. A hyperspectral cube makes a map of its classes; it is split by blocks, with a guard. A
    table of cubes (columns cube, labels, patient) is split by patient. A table of volumes has a column for each map
    of a patient (NIfTI files, DICOM folders; some may be missing) and makes one decision of them; one with a column
    mask of label volumes, or a folder of the Decathlon, makes a network that labels every voxel.

    \b
    Examples:
      excite train table.csv --dry-run
      excite train table.csv --label-col Plane --patient-col Patient_num --budget 30m
      excite train table.csv --frozen-features --set loop.feature_views=8
      excite train hc18/ --out runs/heads --set split.test=0.35
      excite train busi/ --config configs/ultrasound_planes.yaml --out runs/source --set optim.lr=0.002
      excite train Indian_pines_corrected.mat --window 11 --out runs/pines
      excite train tissue/table.csv --out runs/tissue
      excite train kidneys/table.csv --classes none,mild,severe --folds 5
      excite train Task04_Hippocampus/ --config configs/hippocampus.yaml
      excite train kidneys/table.csv --folds 5 --frozen-features --set nested.features=levels
    """
    from excite.cli.scenes import is_for_scenes, quoted, refuse, train_on_scene
    from excite.cli.talk import emit, say
    from excite.cli.volume_masks import is_for_volume_masks, train_on_volume_masks
    from excite.cli.volumes import is_for_volumes, is_nested, nested_on_volumes, train_on_volumes
    from excite.config import load_config
    from excite.data.table import TABLE_SUFFIXES
    from excite.jobs.sections import TrainConfig
    from excite.progress import spoken

    common = {"model.name": model, "model.weights": weights, **_attention(attention), "loop.epochs": epochs,
              "loop.batch_size": batch_size, "optim.lr": lr, "seed": seed, "loop.threads": threads}
    of_images = {"--size": size, "--budget": budget, "--frozen-features": frozen_features or None, "--root": root,
                 "--image-col": image_col, "--label-col": label_col, "--patient-col": patient_col,
                 "--group-col": group_col, "--patient-from": patient_from, "--layout": layout,
                 "--existing-only": existing_only, "--classes": classes, "--dry-run": dry_run or None}
    of_scenes = {"--labels": labels, "--window": window, "--repeats": repeats}
    if is_for_volume_masks(table, config):
        ours = ("--patient-col", "--classes", "--dry-run")
        refuse({**{name: value for name, value in of_images.items() if name not in ours}, **of_scenes,
                "--clinical": clinical, "--folds": folds}, "images, hyperspectral cubes or volumes with classes")
        plain = {name: value for name, value in common.items() if not name.startswith("model.attention")}
        given = {**plain, "model.attention": attention, "volumes.table": table,
                         "volumes.maps": maps.split(",") if maps else None, "volumes.patient_col": patient_col,
                         "volumes.classes": classes.split(",") if classes else None}
        if dry_run:
            from excite.jobs.volume_masks.sections import MaskedVolumeConfig

            _rehearse(load_config(MaskedVolumeConfig, config, overrides=settings or (), values=given), json)
        else:
            train_on_volume_masks(config, given, settings or (), out=out, images=images, json=json)
        return
    if is_for_volumes(table, config):
        both = ("--label-col", "--patient-col", "--classes", "--frozen-features", "--dry-run")
        nested = frozen_features or is_nested(config, settings or ())
        if nested:
            refuse({"--epochs": epochs, "--batch-size": batch_size, "--lr": lr, "--dry-run": dry_run or None},
                   "trainings of whole networks")
        refuse({**{name: value for name, value in of_images.items() if name not in both}, **of_scenes},
               "images or hyperspectral cubes")
        chosen_maps, numbers = (text.split(",") if text else None for text in (maps, clinical))
        values = {**common, "volumes.table": table, "volumes.maps": chosen_maps, "volumes.clinical": numbers,
                  "volumes.label_col": label_col, "volumes.patient_col": patient_col,
                  "volumes.classes": classes.split(",") if classes else None, "split.folds": folds}
        if nested:
            nested_on_volumes(config, values, settings or (), out=out, json=json)
        elif dry_run:
            from excite.jobs.volumes.sections import VolumeConfig

            _rehearse(load_config(VolumeConfig, config, overrides=settings or (), values=values), json)
        else:
            train_on_volumes(config, values, settings or (), out=out, images=images, json=json)
        return
    refuse({"--maps": maps, "--clinical": clinical, "--folds": folds}, "volumes")
    scene = is_for_scenes(table, config)
    refuse(of_images if scene else of_scenes, "images" if scene else "a hyperspectral cube")
    if scene:
        source = "scene.table" if table is not None and table.suffix.lower() in TABLE_SUFFIXES else "scene.cube"
        train_on_scene(config, {**common, source: table, "scene.labels": labels, "window": window,
                                "repeats": repeats}, settings or (), out=out, images=images, json=json)
        return
    values = {
        "data.table": table, "data.root": root, "data.image_col": image_col, "data.label_col": label_col,
        "data.patient_col": patient_col, "data.group_col": group_col, "data.patient_from": patient_from,
        "data.layout": layout, "data.existing_only": existing_only,
        "data.classes": classes.split(",") if classes else None,
        "preprocess.size": size_of(size) if size else None, "loop.budget_minutes": _minutes(budget) if budget else None,
        "loop.frozen_features": True if frozen_features else None, **common,
    }
    chosen = load_config(TrainConfig, config, overrides=settings or (), values=values)
    if dry_run:
        from excite.jobs.estimate import dry_run as rehearse

        _tell(rehearse(chosen, progress=spoken()), json)
        return
    from excite.jobs.train import train as run_training

    run = run_training(chosen, out=out, images=images, progress=spoken())
    if json:
        emit(run.summary())
    else:
        typer.echo(run.text())
    overlays = "" if chosen.task == "classification" or run.manifest.classes else " --overlays PICTURES"
    say(f"next: excite predict {quoted(run.folder / 'bundle')} IMAGE_OR_FOLDER{overlays}")


def _rehearse(config: "VolumeConfig | MaskedVolumeConfig", json: bool) -> None:
    """Say what a training on volumes would do, why, and how long."""
    from excite.jobs.volumes.estimate import dry_run_volumes
    from excite.progress import spoken

    _tell(dry_run_volumes(config, progress=spoken()), json)


def _tell(plan: Mapping[str, str], json: bool) -> None:
    """Write a plan, a line a topic."""
    from excite.cli.talk import emit

    if json:
        emit(plan)
        return
    for name, text in plan.items():
        typer.echo(f"{name + ':':<14}{text}")


def _attention(text: str | None) -> dict[str, object]:
    """Return the config values of an attention such as "se@2,3:position=pre"."""
    from excite.attention.words import parse

    return {f"model.attention.{name}": value for name, value in parse(text).items()} if text else {}


def size_of(text: str) -> int | tuple[int, int]:
    """Return the side in "224", or the height and width in "256x384"."""
    from excite.errors import UsageError

    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.strip().isdecimal() and int(side) for side in sides):
        raise UsageError(f"--size must be a number of pixels, or HEIGHTxWIDTH such as 256x384, got {text!r}")
    height, width = int(sides[0]), int(sides[-1])
    return height if height == width else (height, width)


def _minutes(text: str) -> float:
    """Return the minutes in "30m", "2h" or "90s"."""
    from excite.errors import UsageError

    units = {"s": 1 / 60, "m": 1.0, "h": 60.0}
    try:
        minutes = float(text[:-1]) * units[text[-1:]]
    except (ValueError, KeyError):
        minutes = 0.0
    if not 0 < minutes < float("inf"):
        raise UsageError(f"--budget must be a time such as 30m, 2h or 90s, got {text!r}")
    return minutes
