"""Predict patients with a bundle for volumes: those of a table, or one by its files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from excite.data.volumes.sections import VolumesSection
from excite.data.volumes.volume_table import read_volume_table
from excite.deploy.volume_predictor import Patient, VolumePredictor
from excite.errors import DataError, UsageError
from excite.jobs.volumes.fold_bundles import bundles_of
from excite.outcome.prediction import ClassPrediction, FailedPrediction

Found = ClassPrediction | FailedPrediction


def predict_patients(bundle: Path, inputs: Sequence[str], *, threads: int | None = None) -> Iterator[Found]:
    """Yield a prediction for each patient; one whose files cannot be used is told, and the rest is done.

    Args:
        bundle: Bundle or run folder; of a cross-validation's folder the probabilities of its networks are averaged.
        inputs: One table with a column a map, or MAP=FILE for each map of one patient.
        threads: CPU threads.

    Raises:
        UsageError: the inputs are neither. DataError: the table cannot be read.
    """
    predictors = [VolumePredictor(one, threads=threads) for one in bundles_of(bundle) or [bundle]]
    for name, patient in patients_of(inputs, predictors[0].preprocess.maps):
        try:
            found = [one([patient])[0] for one in predictors]
        except DataError as fault:
            yield FailedPrediction(file=name, error=fault.message())
        else:
            yield _averaged(found, name)


def _averaged(found: Sequence[ClassPrediction], name: str) -> ClassPrediction:
    """Return the mean of several networks' probabilities as one prediction."""
    shares = {label: sum(one.probabilities[label] for one in found) / len(found) for label in found[0].probabilities}
    notes = tuple(dict.fromkeys(note for one in found for note in one.notes))
    return ClassPrediction(file=name, label=max(shares, key=shares.__getitem__), probabilities=shares, notes=notes)


def patients_of(inputs: Sequence[str], maps: Sequence[str]) -> list[tuple[str, Patient]]:
    """Return (name, {map: file}) of each patient that the inputs mean."""
    pairs = [one.partition("=") for one in inputs]
    if all(name in maps and file for name, _, file in pairs):
        patient: Patient = {name: Path(file) for name, _, file in pairs}
        return [(", ".join(inputs), patient)]
    if len(inputs) != 1 or not Path(inputs[0]).is_file():
        raise UsageError(f"a bundle for volumes takes a table, or MAP=FILE for each map, got {' '.join(inputs)}",
                         fix=f"its maps: {', '.join(maps)}")
    file = Path(inputs[0])
    table = read_volume_table(VolumesSection(table=file, maps=_there(file, maps)), labelled=False)
    return [(f"{file}, line {row.line}" + (f", {row.patient}" if row.patient else ""),
             {name: path for name, path in zip(table.maps, paths, strict=True) if path is not None})
            for row, paths in zip(table.manifest.rows, table.files, strict=True)]


def _there(file: Path, maps: Sequence[str]) -> tuple[str, ...]:
    """Return the maps that a table has a column for."""
    from excite.data.table import read_table

    found = tuple(name for name in maps if name in read_table(file).header)
    if not found:
        raise DataError("the table has none of the bundle's maps", where=file, fix=f"columns: {', '.join(maps)}")
    return found
