"""What the verbs do where volumes have label volumes: every voxel gets a class."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import typer


def is_for_volume_masks(table: Path | None, config: Path | None) -> bool:
    """Return whether a training is one on label volumes: by what the config says, else by its table or folder."""
    from excite.config import read_yaml
    from excite.data.volumes.mask_table import is_mask_table

    if config is not None and config.is_file():
        tree, _ = read_yaml(config)
        if "task" in tree:
            return bool(tree["task"] == "volume_masks")
        if {"data", "scene"} & tree.keys():
            return False
    return table is not None and is_mask_table(table)


def check_mask_table(table: Path, *, patient_col: str | None, json: bool) -> None:
    """Tell all that is wrong or doubtful with a table of scans and masks; exit code 3 where it stops a training."""
    from excite.cli.talk import emit, say
    from excite.data.volumes.mask_check import check_masks
    from excite.data.volumes.mask_sections import MaskedVolumesSection
    from excite.progress import spoken

    found = check_masks(MaskedVolumesSection(table=table, patient_col=patient_col), progress=spoken())
    for note in found.notes:
        say(f"note: {note}")
    for fault in found.faults:
        say(f"{fault.severity} {fault.kind}: row {fault.row}: {fault.message}")
    counts = found.counts
    say(f"{counts['rows']} scans of {counts['patients'] or 'unknown'} patients; in how many each label is: "
        + ", ".join(f"{name} {count}" for name, count in counts["labels"].items()))
    say(f"{len(found.errors)} errors, {len(found.faults) - len(found.errors)} warnings")
    if json:
        emit(found.to_json())
    if found.errors:
        raise typer.Exit(3)
    say(f"next: excite train {shlex.quote(str(table))}")


def train_on_volume_masks(config: Path | None, values: Mapping[str, object], settings: Iterable[str], *,
                          out: Path | None, images: bool, json: bool) -> None:
    """Train on scans with label volumes and tell what came of it."""
    from excite.cli.talk import emit, say
    from excite.config import load_config
    from excite.jobs.volume_masks.sections import MaskedVolumeConfig
    from excite.jobs.volume_masks.train import train_volume_masks
    from excite.progress import spoken

    chosen = load_config(MaskedVolumeConfig, config, overrides=settings, values=values)
    run = train_volume_masks(chosen, out=out, images=images, progress=spoken())
    emit(run.summary()) if json else typer.echo(run.text())
    say(f"next: excite predict {shlex.quote(str(run.folder))} SCAN.nii.gz --out FOLDER  (labels on the scan's grid)")


def predict_volume_masks(bundle: Path, inputs: Sequence[str], *, out: Path | None, threads: int | None,
                         json: bool) -> None:
    """Label scans: files, folders, a table, or MAP=FILE for each map of one scan."""
    from excite.cli.talk import emit, say
    from excite.errors import DataError, UsageError
    from excite.jobs.volume_masks.predict import label_files, predict_scans

    if out is not None and (out.suffix or out.is_file()):
        raise UsageError(f"--out must be a folder for label volumes, got {out}",
                         fix="one NIfTI file a scan is written there, and sizes.csv")
    count = failed = 0
    found = predict_scans(bundle, inputs, threads=threads)
    for one in label_files(found, out) if out is not None else found:
        tree, count = one.to_json(), count + 1
        failed += "error" in tree
        if json:
            emit(tree)
        elif "error" in tree:
            say(f"failed: {tree['file']}: {tree['error']}")
        else:
            typer.echo(f"{_sizes(tree['classes'])}  {tree['file']}")
            for note in tree["notes"]:
                say(f"  {tree['file']}: {note}")
    if out is not None:
        say(f"written: {out}")
    else:
        say("next: --out FOLDER writes the labels as NIfTI, on each scan's own grid")
    if failed:
        raise DataError(f"{failed} of {count} scans could not be used")


def evaluate_volume_masks(source: Path, data: Path | None, split: str | None, *, patient_col: str | None,
                          out: Path | None, threads: int | None, resamples: int, seed: int, json: bool) -> None:
    """Measure a run on its own scans, or a bundle on another table, and tell every number."""
    from excite.cli.talk import emit, say
    from excite.jobs.volume_masks.evaluate import evaluate_scans
    from excite.progress import spoken

    found = evaluate_scans(source, data, split, patient_col=patient_col, out=out, threads=threads,
                           resamples=resamples, seed=seed, progress=spoken())
    emit(found.to_json()) if json else typer.echo(found.text())
    for one in found.failed:
        say(f"failed: {one['error']}")
    found.raise_failures()


def _sizes(classes: Mapping[str, Mapping[str, float | None]]) -> str:
    return ", ".join(f"{name} {one['voxels']} voxels" if one["ml"] is None else f"{name} {one['ml']:.2f} ml"
                     for name, one in classes.items())
