"""What the verbs do where the data are hyperspectral cubes."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from excite.jobs.scenes.predict import MappedScene


def is_for_scenes(table: Path | None, config: Path | None) -> bool:
    """Return whether a training is one on cubes: by its file or folder, or by what the config says.

    A single .tif file is no table of images: it is taken for a cube, which who reads it refuses with what to do.
    """
    from excite.config import read_yaml
    from excite.data.scenes.reading import TIFF
    from excite.data.scenes.scene import is_scene

    if config is not None and config.is_file():
        tree, _ = read_yaml(config)
        if tree.get("task") == "scene" or "scene" in tree:
            return True
        if "task" in tree or "data" in tree:
            return False
    return table is not None and (is_scene(table) or (table.is_file() and table.suffix.lower() in TIFF))


def task_of(bundle: Path) -> str | None:
    """Return what a bundle is for; None where that cannot be read, which who opens it tells."""
    from excite.deploy.bundle import find_bundle, read_bundle
    from excite.errors import ExciteError
    from excite.jobs.volumes.folds.bundles import bundles_of

    found = bundles_of(bundle) or [bundle]
    try:
        return read_bundle(find_bundle(found[0]), verify=False).task
    except ExciteError:
        return None


def refuse(options: Mapping[str, object], what: str) -> None:
    """Raise where an option is given that is for another kind of data."""
    from excite.errors import UsageError

    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UsageError(f"{', '.join(given)} must be left out here: for {what} only")


def train_on_scene(config: Path | None, values: Mapping[str, object], settings: Iterable[str], *, out: Path | None,
                   images: bool, json: bool) -> None:
    """Train on a cube or a table of them, once or with several seeds, and tell what came of it."""
    from excite.cli.talk import emit, say
    from excite.config import load_config
    from excite.jobs.scenes.repeats import repeat_scene
    from excite.jobs.scenes.sections import SceneConfig
    from excite.jobs.scenes.train import train_scene
    from excite.progress import spoken

    chosen = load_config(SceneConfig, config, overrides=settings, values=values)
    if chosen.repeats > 1:
        repeated = repeat_scene(chosen, out=out, images=images, progress=spoken())
        emit(repeated.summary()) if json else typer.echo(repeated.text())
        return
    run = train_scene(chosen, out=out, images=images, progress=spoken())
    if json:
        emit(run.summary())
    else:
        typer.echo(run.text())
    say(f"next: excite predict {quoted(run.folder)} CUBE --out map.png  (another scene of the same sensor)")


def predict_scenes(bundle: Path, inputs: Sequence[str], *, out: Path | None, confidence: Path | None,
                   options: Mapping[str, Any], threads: int | None, json: bool) -> None:
    """Map cubes with a bundle, one after the other; with several, a folder or a table of them, `out` is a folder."""
    from excite.cli.talk import emit, say
    from excite.errors import DataError
    from excite.jobs.scenes.files import cubes_of
    from excite.jobs.scenes.predict import map_scene
    from excite.progress import spoken

    cubes = cubes_of(inputs)
    several = len(inputs) > 1 or cubes != [Path(inputs[0])]
    maps, sure = (_files(cubes, path, name, suffix, several=several) for path, name, suffix in (
        (out, "--out", ".hdr"), (confidence, "--confidence", "-confidence.npy")))
    failed = 0
    for cube, place, certain in zip(cubes, maps, sure, strict=True):
        try:
            found = map_scene(bundle, cube, out=place, confidence=certain, threads=threads, progress=spoken(),
                              **options)
        except DataError as fault:
            if len(cubes) == 1:
                raise
            failed += 1
            emit({"file": str(cube), "error": fault.message()}) if json else say(f"failed: {fault.message()}")
            continue
        _tell(found, json=json)
    if failed:
        raise DataError(f"{failed} of {len(cubes)} cubes could not be used")
    say(f"next: excite evaluate {quoted(bundle)} --data {quoted(cubes[0])} --labels LABELS  (how good is it here?)")


def evaluate_on_scene(source: Path, data: Path | None, split: str | None, *, options: Mapping[str, Any],
                      scene: Mapping[str, Any], json: bool) -> None:
    """Measure a network for scenes, on its own pixels or on another scene, and tell the numbers.

    Args:
        options: Of `evaluate_scene`.
        scene: How to read `data`, by the names of the config's section.
    """
    from excite.cli.talk import emit, say
    from excite.config import validate
    from excite.data.scenes.sections import SceneSection
    from excite.jobs.scenes.evaluate import evaluate_scene
    from excite.progress import spoken

    if data is None:
        refuse({f"--{name.replace('_', '-')}": value for name, value in scene.items()}, "--data")
    found = evaluate_scene(source, data, split, scene=validate(SceneSection, scene), progress=spoken(), **options)
    if json:
        emit(found.to_json())
    else:
        typer.echo(found.text())
    report = source / "report.html"
    say("next: " + (f"open {quoted(report)}  (the training's report: this evaluation did not change it)"
                    if report.is_file() and data is None
                    else f"excite predict {quoted(source)} CUBE --out map.png"))


def quoted(path: Path) -> str:
    """Return a path as a shell takes it."""
    return shlex.quote(str(path))


def _files(cubes: Sequence[Path], path: Path | None, name: str, suffix: str, *, several: bool
           ) -> Sequence[Path | None]:
    """Return what is written for each cube: `path`, or a file each in it where it is a folder."""
    from excite.errors import UsageError
    from excite.jobs.scenes.files import maps_of
    from excite.jobs.scenes.predict import KINDS

    if path is None:
        return [None] * len(cubes)
    if several and path.suffix.lower() in KINDS and not path.is_dir():
        raise UsageError(f"{name} must be a folder for several cubes, got {path}", fix="one map each is written there")
    if several or path.is_dir() or not path.suffix:
        return maps_of(cubes, path, suffix)
    return [path]


def _tell(found: "MappedScene", *, json: bool) -> None:
    """Print one mapped cube: its pixels on stdout, the rest on stderr."""
    from excite.cli.talk import emit, say

    if json:
        emit(found.to_json())
    else:
        told = ", ".join(f"{name} {count:,}" for name, count in found.pixels.items())
        typer.echo(f"{found.file}: {told} pixels, {found.seconds:.2f} s")
    for note in found.notes:
        say(note if note.startswith("WARNING") else f"note: {note}")
    for file in (found.labels, found.confidence):
        if file is not None:
            say(f"written: {file}")
