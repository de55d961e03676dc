"""Label scans with a bundle for label volumes, and write the labels on the scans' own grids. Without torch."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from excite.data.table import TABLE_SUFFIXES, read_table
from excite.data.volumes.label_files import write_labels
from excite.data.volumes.nifti import NIFTI_SUFFIXES
from excite.data.volumes.sections import VolumesSection
from excite.data.volumes.volume_table import read_volume_table
from excite.deploy.volume_mask_predictor import LabelledScan, Scan, VolumeMaskPredictor
from excite.errors import DataError, UsageError
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
        try:
            yield predictor(scan)
        except DataError as fault:
            yield FailedPrediction(file=name, error=fault.message())


def scans_of(inputs: Sequence[str], maps: Sequence[str]) -> list[tuple[str, Scan]]:
    """Return (name, {map: file}) of each scan that the inputs mean."""
    pairs = [one.partition("=") for one in inputs]
    if all(name in maps and file for name, _, file in pairs):
        return [(", ".join(inputs), {name: Path(file) for name, _, file in pairs})]
    found: list[tuple[str, Scan]] = []
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

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    taken: set[str] = set()
    with ExitStack() as stack:
        table = None
        for one in found:
            if isinstance(one, FailedPrediction):
                yield one
                continue
            file = write_labels(folder / f"{_free(one, taken)}_labels.nii.gz", one.labels, like=one.volume)
            if table is None:
                stream = stack.enter_context((folder / SIZES).open("w", encoding="utf-8", newline=""))
                table = csv.writer(stream, lineterminator="\n")
                table.writerow(["file", "labels", *(f"{name} {unit}" for name in one.sizes for unit in
                                                    ("voxels", "ml"))])
            table.writerow([one.file, file.name, *("" if value is None else f"{value:g}"
                                                   for of in one.sizes.values() for value in of.values())])
            yield Written(one, file)


class Written:
    """A scan whose labels were written."""

    def __init__(self, scan: LabelledScan, file: Path) -> None:
        self.scan, self.file = scan, file

    def to_json(self) -> dict[str, Any]:
        """Return plain data: where the labels are, and their sizes."""
        return {**self.scan.to_json(), "labels": str(self.file)}


def _of_table(file: Path, maps: Sequence[str]) -> list[tuple[str, Scan]]:
    lost = [name for name in maps if name not in read_table(file).header]
    if lost:
        raise DataError(f"the table has no column {', '.join(lost)}", where=file, fix=f"columns: {', '.join(maps)}")
    table = read_volume_table(VolumesSection(table=file, maps=tuple(maps)), labelled=False)
    return [(f"{file}, line {row.line}",
             {name: path for name, path in zip(table.maps, paths, strict=True) if path is not None})
            for row, paths in zip(table.manifest.rows, table.files, strict=True)]


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
