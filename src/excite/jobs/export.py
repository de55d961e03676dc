"""Export again: the weights of a run or bundle to ONNX with this version of torch, proved on real data."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from excite.attention.plan import AttentionPlan
from excite.data.manifest import read_manifest
from excite.data.preprocess import Preprocess
from excite.data.reading import read
from excite.data.sections import DataSection
from excite.data.split import Split
from excite.deploy.bundle import WEIGHTS, BundleInfo, find_bundle, read_bundle
from excite.deploy.ship import export_bundle
from excite.errors import DataError, ModelError, UsageError
from excite.jobs import run_folder as files_of_run
from excite.jobs.asked import Asked, gather
from excite.jobs.environment import versions
from excite.jobs.scenes.export import export_scene_again
from excite.jobs.volume_masks.export import export_masks_again
from excite.jobs.volumes.export import export_volumes_again
from excite.jobs.volumes.folds.bundles import bundles_of
from excite.models.classifier import create_model
from excite.progress import Progress, silent


def export_again(source: Path, out: Path, *, data: Sequence[Path] = (), images: int = 32,
                 progress: Progress | None = None) -> BundleInfo:
    """Build the network of a run or bundle from its weights, export it, prove it and write a bundle to `out`.

    Args:
        source: A run folder, whose validation images prove the export, or a bundle, which needs `data`. A network for
            scenes is proved on windows of the run's cube, those for volumes on validation patients or scans.
        out: A new or empty folder, or a bundle to replace.
        data: Image files, folders or tables to prove it on; for scenes one cube, for patients' maps one table.
        images: How many of them, or windows of the cube, patients or scans, spread evenly.

    Raises:
        ParityError: the export does not compute what the network does; nothing is written.
        ModelError: weights or network do not fit. DataError: an image cannot be read. UsageError: no images are
            known, or it is the folder of a cross-validation.
    """
    if folds := bundles_of(source):
        raise UsageError(f"a cross-validation has a network for each of its {len(folds)} folds", where=source,
                         fix=f"export one of them: {folds[0].parent}")
    folder = find_bundle(source)
    info = read_bundle(folder)
    model = rebuild(info, folder / WEIGHTS)
    info = replace(info, provenance=info.provenance | {"exported_again": {
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "versions": versions()}})
    if info.task == "scene":
        return export_scene_again(model, info, folder, out, data=data, windows=images, progress=progress or silent())
    if info.task == "volumes":
        return export_volumes_again(model, info, folder, out, data=data, patients=images,
                                    progress=progress or silent())
    if info.task == "volume_masks":
        return export_masks_again(model, info, folder, out, data=data, scans=images, progress=progress or silent())
    some = _spread(_files(source, folder, data), images)
    preprocess = Preprocess.from_json(info.preprocess)
    prepared = [_prepared(preprocess, one.path) for one in some]
    return export_bundle(model, out, info=info, images=np.stack(prepared),
                         files=[one.path for one in some], spacings=[one.spacing for one in some],
                         progress=progress or silent())


def rebuild(info: BundleInfo, weights: Path) -> nn.Module:
    """Return the network of a bundle with its weights, in eval mode.

    Raises:
        ModelError: the bundle does not say how to build it, or a weight is missing, left over or of another shape.
    """
    if not info.model.get("name"):
        raise ModelError("the bundle does not say how to build its network", where=weights.parent,
                         why="it was trained with a network of the caller's own",
                         fix="build it yourself and call excite.deploy.ship.export_bundle")
    options = dict(info.model)
    plan = options.pop("attention", None)
    attention = None if plan is None else AttentionPlan(**{key: _tuples(value) for key, value in plan.items()})
    name, extra = options.pop("name"), options.pop("options", {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what there is to say of a network was said when it was trained
        model: nn.Module = create_model(name, attention=attention, **options,
                                        **{key: _tuples(value) for key, value in extra.items()})
    try:
        state = load_file(weights)
    except (SafetensorError, OSError) as fault:
        raise ModelError("the weights cannot be read", where=weights, why=str(fault),
                         fix="copy the bundle again") from None
    own = model.state_dict()
    faults = [f"{len(keys)} {kind} ({', '.join(keys[:3])})" for kind, keys in (
        ("missing", sorted(own.keys() - state.keys())), ("left over", sorted(state.keys() - own.keys())),
        ("of another shape", sorted(key for key in own.keys() & state.keys() if own[key].shape != state[key].shape)),
    ) if keys]
    if faults:
        raise ModelError(f"the weights do not fit the network: {'; '.join(faults)}", where=weights,
                         fix="use the version of excite that wrote the bundle")
    model.load_state_dict(state)
    return model.eval()


def _files(source: Path, folder: Path, data: Sequence[Path]) -> list[Asked]:
    if data:
        found = list(gather(data, DataSection()))
        lost = [one.error for one in found if not isinstance(one, Asked)]
        if lost or not found:
            raise DataError("the images to prove the export on cannot be used", where=", ".join(map(str, data)),
                            why="; ".join(lost[:3]) or "there are none", fix="name files, a folder or a clean table")
        return [one for one in found if isinstance(one, Asked)]
    run = folder.parent if (folder.parent / files_of_run.SPLIT).is_file() else source
    if not (run / files_of_run.SPLIT).is_file():
        raise UsageError("a bundle alone has no images to prove the export on", where=source,
                         fix="name some with --data FOLDER, or export from the run folder")
    manifest = read_manifest(DataSection(table=run / files_of_run.MANIFEST, layout="table"), labelled=False)
    split = Split.from_json(json.loads((run / files_of_run.SPLIT).read_text(encoding="utf-8")))
    return [Asked(path=manifest.path(manifest.rows[row]), spacing=manifest.rows[row].spacing) for row in split.val]


def _prepared(preprocess: Preprocess, file: Path) -> NDArray[np.float32]:
    return preprocess(read(file).image)


def _spread(files: list[Asked], count: int) -> list[Asked]:
    """Return `count` of `files` at equal distances: tables are often sorted by class."""
    if len(files) <= count:
        return files
    return [files[round(place)] for place in np.linspace(0, len(files) - 1, count)]


def _tuples(value: Any) -> Any:
    """Return a list from JSON as the tuple that it was."""
    return tuple(value) if isinstance(value, list) else value
