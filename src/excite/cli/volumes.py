"""What the verbs do where the data are volumes: tables of patients with maps."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import typer

NUMBER = re.compile(r"[0-9]+(?:[.][0-9]+)?")


def is_for_volumes(table: Path | None, config: Path | None) -> bool:
    """Return whether a training is one on volumes: by its table, or by what the config says."""
    from excite.config import read_yaml
    from excite.data.volumes.volume_table import is_volume_table

    if config is not None and config.is_file():
        tree, _ = read_yaml(config)
        if tree.get("task") == "volumes" or "volumes" in tree:
            return True
        if {"task", "data", "scene"} & tree.keys():
            return False
    return table is not None and is_volume_table(table)


def check_table(table: Path, *, label_col: str | None, patient_col: str | None, json: bool) -> None:
    """Tell all that is wrong or doubtful with a table of volumes; the exit code is 3 where it stops a training."""
    from excite.cli.talk import emit, say
    from excite.data.volumes.check import check_volumes
    from excite.data.volumes.sections import VolumesSection
    from excite.progress import spoken

    found = check_volumes(VolumesSection(table=table, label_col=label_col, patient_col=patient_col), progress=spoken())
    for note in found.notes:
        say(f"note: {note}")
    for fault in found.faults:
        say(f"{fault.severity} {fault.kind}: row {fault.row}: {fault.message}")
    counts = found.counts
    say(f"{counts['rows']} rows of {counts['patients']} patients; "
        + ", ".join(f"{name} {count}" for name, count in (counts["maps"] | counts["classes"]).items()))
    say(f"{len(found.errors)} errors, {len(found.faults) - len(found.errors)} warnings")
    if json:
        emit(found.to_json())
    if found.errors:
        raise typer.Exit(3)
    grades = f"  (are {', '.join(counts['classes'])} grades? then --classes, from the least to the worst)"
    say(f"next: excite train {shlex.quote(str(table))}{grades if len(counts['classes']) > 2 else ''}")


def is_nested(config: Path | None, settings: Iterable[str]) -> bool:
    """Return whether a config or a setting asks for heads on frozen features: it has the section `nested`."""
    from excite.config import read_yaml

    if any(one.startswith("nested.") for one in settings):
        return True
    return config is not None and config.is_file() and "nested" in read_yaml(config)[0]


def nested_on_volumes(config: Path | None, values: Mapping[str, object], settings: Iterable[str], *, out: Path | None,
                      json: bool) -> None:
    """Cross-validate heads on frozen features, chosen by inner folds, and tell what came of it."""
    from excite.cli.talk import emit, say
    from excite.config import load_config
    from excite.jobs.volumes.nested.cross_validation import nested_cross_validate
    from excite.jobs.volumes.nested.sections import NestedConfig
    from excite.progress import spoken

    run = nested_cross_validate(load_config(NestedConfig, config, overrides=settings, values=values), out=out,
                                progress=spoken())
    emit(run.summary()) if json else typer.echo(run.text())
    say(f"next: look at {shlex.quote(str(run.report))}")


def train_on_volumes(config: Path | None, values: Mapping[str, object], settings: Iterable[str], *, out: Path | None,
                     images: bool, json: bool) -> None:
    """Train on a table of volumes and tell what came of it."""
    from excite.cli.talk import emit, say
    from excite.config import load_config
    from excite.jobs.volumes.folds.cross_validation import cross_validate
    from excite.jobs.volumes.sections import VolumeConfig
    from excite.jobs.volumes.train import train_volumes
    from excite.progress import spoken

    chosen = load_config(VolumeConfig, config, overrides=settings, values=values)
    several = chosen.split.folds is not None and chosen.split.fold is None
    run = (cross_validate if several else train_volumes)(chosen, out=out, images=images, progress=spoken())
    emit(run.summary()) if json else typer.echo(run.text())
    say(f"next: excite predict {shlex.quote(str(run.folder))} TABLE  (patients with the same maps, some missing)")


def predict_volumes(bundle: Path, inputs: Sequence[str], *, out: Path | None, threads: int | None, json: bool) -> None:
    """Predict the patients of a table, or one patient given as MAP=FILE for each map that there is."""
    from excite.cli.predicted import line_of
    from excite.cli.talk import emit, say
    from excite.deploy.bundle import find_bundle, read_bundle
    from excite.errors import DataError
    from excite.jobs.prediction_columns import NotedClassColumns
    from excite.jobs.prediction_table import opened
    from excite.jobs.volumes.folds.bundles import bundles_of
    from excite.jobs.volumes.predict import predict_patients

    columns = NotedClassColumns(read_bundle(find_bundle((bundles_of(bundle) or [bundle])[0])).classes)
    count = failed = 0
    told: dict[str, int] = {}
    with opened(out, None, columns) as writers:
        for one in predict_patients(bundle, inputs, threads=threads):
            found, count = one.to_json(), count + 1
            for writer in writers:
                writer.add(one)
            if json:
                emit(found)
            elif "error" in found:
                say(f"failed: {found['file']}: {found['error']}")
            elif out is None:
                typer.echo(line_of(found))
            for note in found.get("notes", ()) if not json else ():
                kind = NUMBER.sub("#", note)
                told[kind] = told.get(kind, 0) + 1
                if told[kind] == 1 or len(inputs) > 1:
                    say(f"  {found['file']}: {note}")
            failed += "error" in found
    if more := sum(told.values()) - len(told):
        say(f"{more} notes like these on other patients: --json has them, and so has a file of --out")
    if out is not None:
        say(f"written: {out}")
    if failed:
        raise DataError(f"{failed} of {count} patients could not be used")
