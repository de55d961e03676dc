"""Export a network for label volumes again: its weights to ONNX with this version of torch, proved on scans."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from excite.config import load_config
from excite.data.split import Split
from excite.data.volumes.mask_table import read_mask_table
from excite.data.volumes.patches import cut
from excite.deploy.bundle import ONNX, WEIGHTS, BundleInfo, write_bundle
from excite.deploy.export import export
from excite.deploy.parity_labels import label_parity
from excite.deploy.volume_mask_predictor import Scan, VolumeMaskPredictor
from excite.errors import DataError, EnvironmentFault, UsageError
from excite.jobs import run_folder as files
from excite.jobs.evaluation_data import read_json
from excite.jobs.volume_masks.predict import scans_of
from excite.jobs.volume_masks.sections import MaskedVolumeConfig
from excite.progress import Progress

SHOWN = 3


def export_masks_again(model: nn.Module, info: BundleInfo, bundle: Path, out: Path, *, data: Sequence[Path],
                       scans: int, progress: Progress) -> BundleInfo:
    """Write a bundle with the network exported anew, proved on the middle patches of scans.

    Args:
        model: With the weights of `bundle`, in eval mode.
        info: Becomes that of the new bundle, but for the proof.
        bundle: The old one.
        out: A new or empty folder, or a bundle to replace.
        data: Scans, folders or a table; the run's validation part where none are given.
        scans: How many.

    Raises:
        ParityError: the export does not compute what the network does; nothing is written.
        UsageError: no scan is known. DataError: the table or a file cannot be read.
    """
    predictor = VolumeMaskPredictor(bundle)
    preprocess, found = predictor.preprocess, _scans(predictor, data)
    some = [found[place] for place in np.unique(np.linspace(0, len(found) - 1, scans).round().astype(int))]
    patches = np.stack([_middle(predictor, scan) for _, scan in some])
    with tempfile.TemporaryDirectory(prefix="excite-export-") as place:
        onnx = Path(place) / ONNX
        progress.say("exporting to ONNX")
        export(model, onnx, size=preprocess.patch, channels=len(preprocess.maps), maps=True)
        proof = label_parity(model, onnx, patches, names=[name for name, _ in some], progress=progress)
        progress.say(f"parity: {proof.text()}")
        return write_bundle(out, replace(info, parity=proof.to_json()), weights=bundle / WEIGHTS, onnx=onnx)


def _scans(predictor: VolumeMaskPredictor, data: Sequence[Path]) -> list[tuple[str, Scan]]:
    """Return the name and files of the scans that are named, or of the run's validation part."""
    if data:
        found = scans_of([str(one) for one in data], predictor.preprocess.maps)
        if lost := [scan for _, scan in found if isinstance(scan, str)]:
            raise DataError("the scans to prove the export on cannot be used", why="; ".join(lost[:SHOWN]))
        return [(name, scan) for name, scan in found if not isinstance(scan, str)]
    run = predictor.folder.parent
    if not (run / files.CONFIG).is_file():
        raise UsageError("a bundle alone has no scans to prove the export on", where=predictor.folder,
                         fix="name some with --data, or export from the run folder")
    table = read_mask_table(load_config(MaskedVolumeConfig, run / files.CONFIG).volumes)
    split = Split.from_json(read_json(run / files.SPLIT))
    if len(split.units) != len(table.files):
        raise EnvironmentFault(f"the table has {len(table.files)} rows, the run's had {len(split.units)}",
                               where=table.manifest.source, fix="put the old table back, or name scans with --data")
    return [(f"line {table.manifest.rows[row].line}", dict(zip(predictor.preprocess.maps, table.files[row],
                                                               strict=True))) for row in split.val]


def _middle(predictor: VolumeMaskPredictor, scan: Scan) -> NDArray[np.float32]:
    """Return the patch in the middle of a scan as the network takes it, (M, *patch)."""
    preprocess = predictor.preprocess
    values = preprocess.on_grid(predictor.read(scan))
    levelled = preprocess.normalise(values, preprocess.lines(values))
    start = [(side - length) // 2 for side, length in zip(values.shape[1:], preprocess.patch, strict=True)]
    return np.ascontiguousarray(cut(levelled, start, preprocess.patch), np.float32)
