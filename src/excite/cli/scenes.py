"""What `excite train` and `excite predict` do where the data are a hyperspectral cube."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import typer


def is_for_scenes(table: Path | None, config: Path | None) -> bool:
    """Return whether a training is one on a cube: by its file or folder, or by what the config says."""
    from excite.config import read_yaml
    from excite.data.scenes.scene import is_scene

    if config is not None and config.is_file():
        tree, _ = read_yaml(config)
        if tree.get("task") == "scene" or "scene" in tree:
            return True
        if "task" in tree or "data" in tree:
            return False
    return table is not None and is_scene(table)


def is_scene_bundle(bundle: Path) -> bool:
    """Return whether a bundle is one for cubes; what is wrong with it is told by who opens it."""
    from excite.deploy.bundle import find_bundle, read_bundle
    from excite.errors import ExciteError

    try:
        return read_bundle(find_bundle(bundle), verify=False).task == "scene"
    except ExciteError:
        return False


def refuse(options: Mapping[str, object], what: str) -> None:
    """Raise where an option is given that is for another kind of data."""
    from excite.errors import UsageError

    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UsageError(f"{', '.join(given)} must be left out here: for {what} only")


def train_on_scene(config: Path | None, values: Mapping[str, object], settings: Iterable[str], *, out: Path | None,
                   images: bool, json: bool) -> None:
    """Train on a cube, once or with several seeds, and tell what came of it."""
    from excite.cli.talk import emit, say
    from excite.config import load_config
    from excite.jobs.scene_repeats import repeat_scene
    from excite.jobs.scene_sections import SceneConfig
    from excite.jobs.scene_train import train_scene
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
    say(f"next: excite predict {run.folder} CUBE --out map.png  (another scene of the same sensor)")


def predict_scenes(bundle: Path, cubes: list[str], *, out: Path | None, threads: int | None, json: bool) -> None:
    """Map cubes with a bundle, one after the other."""
    from excite.cli.talk import emit, say
    from excite.errors import DataError, UsageError
    from excite.jobs.scene_predict import map_scene
    from excite.progress import spoken

    if out is not None and len(cubes) > 1:
        raise UsageError(f"--out must be for one cube, got {len(cubes)}", fix="predict them one by one")
    failed = 0
    for cube in cubes:
        try:
            found = map_scene(bundle, cube, out=out, threads=threads, progress=spoken())
        except DataError as fault:
            if len(cubes) == 1:
                raise
            failed += 1
            emit({"file": cube, "error": fault.message()}) if json else say(f"failed: {fault.message()}")
            continue
        if json:
            emit(found.to_json())
        else:
            told = ", ".join(f"{name} {count:,}" for name, count in found.pixels.items())
            typer.echo(f"{cube}: {told} pixels, {found.seconds:.2f} s")
    if out is not None:
        say(f"written: {out}")
    if failed:
        raise DataError(f"{failed} of {len(cubes)} cubes could not be used")
