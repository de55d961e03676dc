"""Export a network for volumes again: its weights to ONNX with this version of torch, proved on patients' files."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from excite.data.volumes.store import open_patient, prepared
from excite.deploy.bundle import ONNX, WEIGHTS, BundleInfo, write_bundle
from excite.deploy.export import export
from excite.deploy.parity import parity
from excite.deploy.volume_predictor import VolumePredictor
from excite.errors import UsageError
from excite.jobs import run_folder as files
from excite.jobs.volumes.measured_rows import MeasuredRows, part_of_run, rows_of_data
from excite.progress import Progress


def export_volumes_again(model: nn.Module, info: BundleInfo, bundle: Path, out: Path, *, data: Sequence[Path],
                         patients: int, progress: Progress) -> BundleInfo:
    """Write a bundle with the network exported anew, proved on patients of a run's validation part or of a table.

    Where there are clinical columns, each patient is taken once more without them.

    Args:
        model: With the weights of `bundle`, in eval mode.
        info: Becomes that of the new bundle, but for the proof.
        bundle: The old one.
        out: A new or empty folder, or a bundle to replace.
        data: One table of patients with labels; the run's own where none is given.
        patients: How many.

    Raises:
        ParityError: the export does not compute what the network does; nothing is written.
        UsageError: no table is known, or several. DataError: the table or a file cannot be read.
    """
    predictor = VolumePredictor(bundle)
    preprocess, part = predictor.preprocess, _part(predictor, data)
    rows = [part.rows[place] for place in np.unique(np.linspace(0, len(part.rows) - 1, patients).round().astype(int))]
    images = np.stack([preprocess.normalise(prepared(open_patient(
        part.table.files[row], part.table.maps, predictor.how), preprocess)[0]) for row in rows])
    names = [f"line {part.table.manifest.rows[row].line}" for row in rows]
    images, clinical, names = (images, None, names) if not preprocess.columns else (
        np.concatenate([images, images]), _clinical(predictor, part, rows),
        [*names, *(f"{name} without clinical values" for name in names)])
    with tempfile.TemporaryDirectory(prefix="excite-export-") as place:
        onnx = Path(place) / ONNX
        progress.say("exporting to ONNX")
        export(model, onnx, size=preprocess.shape, channels=len(preprocess.maps), clinical=len(preprocess.columns))
        proof = parity(model, onnx, images, clinical=clinical, names=names, batch_size=2)
        progress.say(f"parity: {proof.text()}")
        return write_bundle(out, replace(info, parity=replace(proof, n=len(rows)).to_json()), weights=bundle / WEIGHTS,
                            onnx=onnx)


def _part(predictor: VolumePredictor, data: Sequence[Path]) -> MeasuredRows:
    """Return the patients that prove the export: of the table that is named, or those of the run."""
    if len(data) > 1:
        raise UsageError(f"one table proves the export, got {len(data)}", fix=f"--data {data[0]}")
    if data:
        return rows_of_data(data[0], predictor, label_col=None, patient_col=None)
    run = predictor.folder.parent
    if not (run / files.CONFIG).is_file():
        raise UsageError("a bundle alone has no patients to prove the export on", where=predictor.folder,
                         fix="name a table with --data, or export from the run folder")
    return part_of_run(run, predictor, "val")


def _clinical(predictor: VolumePredictor, part: MeasuredRows, rows: Sequence[int]) -> NDArray[np.float32]:
    """Return the rows' numbers as the network takes them, and as many rows of none, (2 N, C)."""
    columns, table = predictor.preprocess.columns, part.table
    given = np.full((2 * len(rows), len(columns)), np.nan, np.float32)
    if table.clinical is not None:
        given[:len(rows), [columns.index(name) for name in table.columns]] = table.clinical[list(rows)]
    return predictor.preprocess.scale(given)
