"""Predict: a bundle, and files, folders and tables of images, to labels with probabilities. Without torch."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from excite.data.manifest import scan_manifest
from excite.data.readers.image import IMAGE_SUFFIXES
from excite.data.sections import DataSection
from excite.deploy.runtime import BATCH, Predictor
from excite.errors import DataError, UsageError
from excite.jobs.prediction_table import Prediction, check_endings, opened
from excite.outcome.prediction import FailedPrediction
from excite.progress import Progress, silent

TABLES = (".csv", ".tsv", ".parquet", ".xlsx")


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What a prediction job did.

    Args:
        n: Files asked for.
        failed: Those that could not be used; the first ones are in `errors`.
        counts: Files of each label.
    """

    n: int
    failed: int
    errors: tuple[str, ...]
    counts: dict[str, int]

    def raise_failures(self, *, causes: bool = True) -> None:
        """Raise a DataError (exit code 3) where a file could not be used; the rest was done.

        Args:
            causes: Name the first ones; False where they were told already.
        """
        if not self.failed:
            return
        why = "; ".join(self.errors) if causes else None
        if self.failed == self.n:
            raise DataError("no file could be used: nothing was predicted", why=why)
        raise DataError(f"{self.failed} of {self.n} files could not be used", why=why,
                        fix="mend or leave out these files; the others are predicted")


def predict(bundle: str | Path, inputs: Sequence[str | Path], *, out: Path | None = None, features: Path | None = None,
            columns: DataSection | None = None, threads: int | None = None, batch_size: int = BATCH,
            views: str | None = None, each: Callable[[Prediction], None] | None = None,
            progress: Progress | None = None) -> Predicted:
    """Predict every image of `inputs`, in order, and write what is asked for.

    Args:
        bundle: A bundle folder, or a run folder.
        inputs: Image files, folders (searched with their subfolders) and tables.
        out: A .csv or .jsonl file of predictions.
        features: A .npz or .csv file with one feature vector an image.
        columns: How to read tables: image column, root, layout.
        views: "one" or "flip" in place of the bundle's own.
        each: Called with every prediction.

    Raises:
        ModelError: the bundle cannot be used. UsageError: an output would overwrite an input.
        DataError: there is nothing to predict, or a table cannot be read.
    """
    progress = progress or silent()
    check_endings(out, features)
    for file in (out, features):
        if file is not None and any(file.resolve() == Path(one).resolve() for one in inputs):
            raise UsageError("an input would be overwritten", where=file, fix="write to another file")
    predictor = Predictor(bundle, threads=threads, views=views)
    wanted = list(gather(inputs, columns or DataSection()))
    if not wanted:
        raise DataError("there is no image to predict", where=", ".join(map(str, inputs)),
                        why=f"image files end in {', '.join(sorted(IMAGE_SUFFIXES))}")
    counts: Counter[str] = Counter()
    errors: list[str] = []
    failed = 0
    with opened(out, features, predictor.info.classes) as writers:
        for done, one in enumerate(_in_order(predictor, wanted, batch_size, features is not None), start=1):
            if isinstance(one, FailedPrediction):
                failed += 1
                errors += [one.error] if len(errors) < 3 else []
            else:
                counts[one.label] += 1
            for writer in writers:
                writer.add(one)
            if each is not None:
                each(one)
            progress.step("predict", done, len(wanted))
    return Predicted(n=len(wanted), failed=failed, errors=tuple(errors), counts=dict(counts))


def gather(inputs: Iterable[str | Path], columns: DataSection) -> Iterator[Path | FailedPrediction]:
    """Yield the image files that `inputs` name, in order; what cannot be one is yielded as failed."""
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            yield from images_below(path)
        elif "#" not in path.name and not path.exists():
            yield FailedPrediction(file=str(path), error=f"{path}: does not exist: check the path")
        elif path.suffix.lower() in TABLES:
            yield from _rows(columns.model_copy(update={"table": path}))
        else:
            yield path


def images_below(folder: Path) -> list[Path]:
    """Return the image files in a folder and its subfolders, sorted; hidden ones are left out."""
    return sorted(path for path in folder.rglob("*")
                  if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
                  and not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _rows(section: DataSection) -> Iterator[Path | FailedPrediction]:
    """Yield the images of a table; a row that names none is yielded as failed."""
    manifest, faults = scan_manifest(section, labelled=False)
    readable = {row.line for row in manifest.rows}
    lost = {fault.row: fault for fault in faults if fault.severity == "error" and fault.row not in readable}
    rows = {row.line: row for row in manifest.rows}
    for line in sorted([*rows, *lost], key=lambda line: line or 0):
        if line in rows:
            yield manifest.path(rows[line])
        else:
            at = f"{section.table} line {line}" if line is not None else str(section.table)
            yield FailedPrediction(file=at, error=f"{at}: {lost[line].message}")


def _in_order(predictor: Predictor, wanted: Sequence[Path | FailedPrediction], batch_size: int,
              features: bool) -> Iterator[Prediction]:
    """Yield a prediction for each of `wanted`, failed ones in their places."""
    found = predictor.predict((one for one in wanted if isinstance(one, Path)), batch_size=batch_size,
                              features=features)
    for one in wanted:
        yield one if isinstance(one, FailedPrediction) else next(found)
