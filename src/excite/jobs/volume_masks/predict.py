"""Label scans with a bundle for label volumes, and write the labels on the scans' own grids. Without torch."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from excite.data.table import TABLE_SUFFIXES, read_table
from excite.data.volumes.label_files import write_labels
from excite.data.volumes.nifti import NIFTI_SUFFIXES
from excite.data.volumes.sections import VolumesSection
from excite.data.volumes.volume_table import read_volume_table
from excite.deploy.volume_mask_predictor import LabelledScan, Scan, VolumeMaskPredictor
from excite.errors import DataError, UsageError
from excite.jobs.run_folder import written
from excite.outcome.prediction import FailedPrediction

Found = LabelledScan | FailedPrediction
SIZES = "sizes.csv"


def predict_scans(bundle: Path, inputs: Sequence[str], *, threads: int | None = None) -> Iterator[Found]:
    """Yield the labels of each scan; one whose files cannot be used is told, and the rest is done.

    Args:
        bundle: Bundle or run folder.
        inputs: Files, folders of NIfTI files or of one DICOM series, tables with a column a map; or MAP=FILE for each
            map of one scan.
        threads: CPU threads.

    Raises:
        UsageError: the inputs are none of these. DataError: a table cannot be read.
    """
    predictor = VolumeMaskPredictor(bundle, threads=threads)
    for name, scan in scans_of(inputs, predictor.preprocess.maps):
        if isinstance(scan, str):
            yield FailedPrediction(file=name, error=scan)
            continue
        try:
            yield predictor(scan)
        except DataError as fault:
            yield FailedPrediction(file=name, error=fault.message())


def scans_of(inputs: Sequence[str], maps: Sequence[str]) -> list[tuple[str, Scan | str]]:
    """Return (name, {map: file}) of each scan that the inputs mean, or what is wrong with its line of a table."""
    pairs = [one.partition("=") for one in inputs]
    if all(name in maps and file for name, _, file in pairs):
        return [(", ".join(inputs), {name: Path(file) for name, _, file in pairs})]
    found: list[tuple[str, Scan | str]] = []
    for one in map(Path, inputs):
        if one.suffix.lower() in TABLE_SUFFIXES and one.is_file():
            found += _of_table(one, maps)
        elif len(maps) > 1:
            raise UsageError(f"a scan of this bundle has several maps, got {one}",
                             fix=f"give a table, or {' '.join(f'{name}=FILE' for name in maps)}")
        else:
            files = sorted(file for file in one.iterdir() if file.name.lower().endswith(NIFTI_SUFFIXES)) \
                if one.is_dir() else []
            found += [(str(file), {maps[0]: file}) for file in files or [one]]
    return found


def label_files(found: Iterable[Found], folder: Path) -> Iterator["Written | FailedPrediction"]:
    """Write each scan's labels as NAME_labels.nii.gz, and what they measure as a line of sizes.csv; yield what was.

    Lines that sizes.csv has of other label files stay.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    taken: set[str] = set()
    rows: dict[str, list[str]] | None = None
    for one in found:
        if isinstance(one, FailedPrediction):
            yield one
            continue
        file = write_labels(folder / f"{_free(one, taken)}_labels.nii.gz", one.labels, like=one.volume)
        header = ["file", "labels", *(f"{name} {unit}" for name in one.sizes for unit in ("voxels", "ml"))]
        rows = _sizes_of(folder / SIZES, header) if rows is None else rows
        rows[file.name] = [one.file, file.name, *("" if value is None else f"{value:g}"
                                                  for of in one.sizes.values() for value in of.values())]
        draft = folder / f".{SIZES}.part"
        with written(folder / SIZES, what="the table of sizes", otherwise="choose another folder with --out"):
            with draft.open("w", encoding="utf-8", newline="") as stream:
                csv.writer(stream, lineterminator="\n").writerows([header, *rows.values()])
            draft.replace(folder / SIZES)
        yield Written(one, file)


def _sizes_of(file: Path, header: list[str]) -> dict[str, list[str]]:
    """Return the lines of an earlier sizes.csv by the name of their label file; none where it has other columns."""
    if not file.is_file():
        return {}
    with file.open(encoding="utf-8", newline="") as stream:
        first, *rows = list(csv.reader(stream)) or [[]]
    return {row[1]: row for row in rows if len(row) == len(header)} if first == header else {}


class Written:
    """A scan whose labels were written."""

    def __init__(self, scan: LabelledScan, file: Path) -> None:
        self.scan, self.file = scan, file

    def to_json(self) -> dict[str, Any]:
        """Return plain data: where the labels are, and their sizes."""
        return {**self.scan.to_json(), "labels": str(self.file)}


def _of_table(file: Path, maps: Sequence[str]) -> list[tuple[str, Scan | str]]:
    lost = [name for name in maps if name not in read_table(file).header]
    if lost:
        raise DataError(f"the table has no column {', '.join(lost)}", where=file, fix=f"columns: {', '.join(maps)}")
    table = read_volume_table(VolumesSection(table=file, maps=tuple(maps)), labelled=False, refuse=False)
    found: dict[int, Scan | str] = {
        row.line: {name: path for name, path in zip(table.maps, paths, strict=True) if path is not None}
        for row, paths in zip(table.manifest.rows, table.files, strict=True)}
    found |= {line: "; ".join(faults) for line, faults in table.faults.items()}
    return [(f"{file}, line {line}", found[line]) for line in sorted(found)]


def _free(one: LabelledScan, taken: set[str]) -> str:
    """Return a name that no scan before has: of its file, else with its folder's, else with a number."""
    source = one.volume.source
    name = source.name
    for suffix in (*NIFTI_SUFFIXES[::-1], source.suffix):
        name = name.removesuffix(suffix)
    name = name.replace("#", "_").replace("[", "_").replace("]", "") or "scan"
    tries = [name, f"{source.parent.name}_{name}", *(f"{name}_{number}" for number in range(2, len(taken) + 3))]
    found = next(one for one in tries if one.lower() not in taken)
    taken.add(found.lower())
    return found
