"""Predict patients with a bundle for volumes: those of a table, or one by its files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from excite.data.table import read_table
from excite.data.volumes.preprocess import VolumePreprocess
from excite.data.volumes.sections import VolumesSection
from excite.data.volumes.volume_table import read_volume_table
from excite.deploy.volume_predictor import Patient, VolumePredictor, names_of
from excite.errors import DataError, UsageError
from excite.jobs.volumes.folds.bundles import bundles_of
from excite.outcome.prediction import ClassPrediction, FailedPrediction

Found = ClassPrediction | FailedPrediction


def predict_patients(bundle: Path, inputs: Sequence[str], *, threads: int | None = None) -> Iterator[Found]:
    """Yield a prediction for each patient; one whose files cannot be used is told, and the rest is done.

    Args:
        bundle: Bundle or run folder; of a cross-validation's folder the probabilities of its networks are averaged.
        inputs: One table with a column a map, or MAP=FILE for each map of one patient; clinical columns likewise,
            NAME=NUMBER.
        threads: CPU threads.

    Raises:
        UsageError: the inputs are neither. DataError: the table cannot be read.
    """
    predictors = [VolumePredictor(one, threads=threads) for one in bundles_of(bundle) or [bundle]]
    for name, patient in patients_of(inputs, predictors[0].preprocess):
        if isinstance(patient, str):
            yield FailedPrediction(file=name, error=patient)
            continue
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


def patients_of(inputs: Sequence[str], preprocess: VolumePreprocess) -> list[tuple[str, Patient | str]]:
    """Return (name, {map: file, column: number}) of each patient that the inputs mean, or (name, what is wrong)."""
    pairs, maps, columns = [one.partition("=") for one in inputs], preprocess.maps, preprocess.columns
    if all(sign and (name in maps and value or name in columns) for name, sign, value in pairs):
        patient: Patient = {name: Path(value) if name in maps else value for name, _, value in pairs}
        return [(", ".join(inputs), patient)]
    if len(inputs) != 1 or not Path(inputs[0]).is_file():
        raise UsageError("a bundle for volumes takes a table, or MAP=FILE for each map"
                         f"{' and NAME=NUMBER for each clinical column' if columns else ''}, got {' '.join(inputs)}",
                         fix=names_of(preprocess))
    file = Path(inputs[0])
    section = VolumesSection(table=file, maps=_there(file, maps, needed=True), clinical=_there(file, columns))
    table = read_volume_table(section, labelled=False, refuse=False)
    found: dict[int, tuple[str, Patient | str]] = {}
    for place, (row, paths) in enumerate(zip(table.manifest.rows, table.files, strict=True)):
        values = {} if table.clinical is None else dict(zip(table.columns, table.clinical[place].tolist(), strict=True))
        files = {name: path for name, path in zip(table.maps, paths, strict=True) if path is not None}
        found[row.line] = (f"{file}, line {row.line}" + (f", {row.patient}" if row.patient else ""), files | values)
    for line, faults in table.faults.items():
        name, _ = found.get(line, (f"{file}, line {line}", ""))
        found[line] = (name, "; ".join(faults))
    return [found[line] for line in sorted(found)]


def _there(file: Path, names: Sequence[str], *, needed: bool = False) -> tuple[str, ...]:
    """Return which of the names a table has a column for; an error where it has none that is needed."""
    header = read_table(file).header
    found = tuple(name for name in names if name in header)
    for name in names:
        alike = [one for one in header if one not in names and one.strip().lower() == name.strip().lower()]
        if name not in found and alike:
            raise DataError(f"the table has the column {alike[0]!r}, the bundle's is {name!r}", where=file,
                            why="it would be taken as missing", fix="name the column as the bundle does")
    if needed and not found:
        raise DataError("the table has none of the bundle's maps", where=file, fix=f"columns: {', '.join(names)}")
    return found
