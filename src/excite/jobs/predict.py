"""Predict: a bundle, and files, folders and tables of images, to labels, masks or millimetres. Without torch."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from excite.data.readers.image import IMAGE_SUFFIXES
from excite.data.sections import DataSection
from excite.deploy.runtime import Predictor
from excite.errors import DataError, UsageError
from excite.jobs.asked import Asked, gather
from excite.jobs.prediction_columns import columns_of
from excite.jobs.prediction_pictures import Pictures
from excite.jobs.prediction_table import Prediction, check_endings, opened
from excite.outcome.heads import HeadPrediction
from excite.outcome.masks import MaskPrediction
from excite.outcome.prediction import ClassPrediction, FailedPrediction
from excite.progress import Progress, silent

__all__ = ["Predicted", "Prediction", "predict"]


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What a prediction job did.

    Args:
        n: Files asked for.
        failed: Those that could not be used; the first ones are in `errors`.
        counts: Files of each label, or with and without what was looked for.
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
            masks: Path | None = None, overlays: Path | None = None, spacing: tuple[float, ...] | None = None,
            columns: DataSection | None = None, threads: int | None = None, batch_size: int | None = None,
            views: str | None = None, each: Callable[[Prediction], None] | None = None,
            progress: Progress | None = None) -> Predicted:
    """Predict every image of `inputs`, in order, and write what is asked for.

    Args:
        bundle: A bundle folder, or a run folder.
        inputs: Image files, folders (searched with their subfolders, or read as the public data set that they are)
            and tables.
        out: A .csv or .jsonl file of predictions.
        features: A .npz or .csv file with one feature vector an image.
        masks: A folder for masks in the images' own size.
        overlays: A folder for images with what was found drawn on them.
        spacing: Millimetres a pixel, down and to the right or one number, of images of which neither a table nor their
            file says it.
        columns: How to read tables: image column, root, layout.
        batch_size: Images that the network takes at once; None: what is fastest.
        views: "one" or "flip" in place of the bundle's own.
        each: Called with every prediction.

    Raises:
        ModelError: the bundle cannot be used. UsageError: an output would overwrite an input, or the bundle's network
            gives no such output. DataError: there is nothing to predict, or a table cannot be read.
    """
    progress = progress or silent()
    check_endings(out, features)
    for file in (out, features):
        if file is not None and any(file.resolve() == Path(one).resolve() for one in inputs):
            raise UsageError("an input would be overwritten", where=file, fix="write to another file")
    predictor = Predictor(bundle, threads=threads, views=views)
    info, drawn = predictor.info, masks is not None or overlays is not None
    if drawn and not info.of_masks:
        raise UsageError("masks and overlays must come from a network for masks, this one tells classes",
                         where=predictor.folder, fix="leave them out")
    wanted = list(gather(inputs, columns or DataSection()))
    if not wanted:
        raise DataError("there is no image to predict", where=", ".join(map(str, inputs)),
                        why=f"image files end in {', '.join(sorted(IMAGE_SUFFIXES))}")
    found = predictor.predict((one.path for one in wanted if isinstance(one, Asked)), batch_size=batch_size,
                              features=features is not None, maps=drawn, spacing=spacing,
                              spacings=[one.spacing for one in wanted if isinstance(one, Asked)])
    pictures = Pictures([one.path if isinstance(one, Asked) else None for one in wanted], masks=masks,
                        overlays=overlays, level=info.level,
                        value_range=(predictor.preprocess.low, predictor.preprocess.high)) if drawn else None
    counts: Counter[str] = Counter()
    errors: list[str] = []
    failed = 0
    with opened(out, features, columns_of(info)) as writers:
        for place, one in enumerate(_in_order(wanted, found)):
            if pictures is not None:
                one = pictures.add(one, place)
            if isinstance(one, FailedPrediction):
                failed += 1
                errors += [one.error] if len(errors) < 3 else []
            else:
                counts[_counted(one)] += 1
            one = _without_maps(one)
            for writer in writers:
                writer.add(one)
            if each is not None:
                each(one)
            progress.step("predict", place + 1, len(wanted))
    return Predicted(n=len(wanted), failed=failed, errors=tuple(errors), counts=dict(counts))


def _in_order(wanted: Sequence[Asked | FailedPrediction], found: Iterator[Prediction]) -> Iterator[Prediction]:
    """Yield a prediction for each of `wanted`, failed ones in their places, with what is to be said of their rows."""
    for one in wanted:
        if isinstance(one, FailedPrediction):
            yield one
            continue
        prediction = next(found)
        if one.notes and not isinstance(prediction, FailedPrediction):
            prediction = replace(prediction, notes=(*one.notes, *prediction.notes))
        yield prediction


def _counted(one: ClassPrediction | HeadPrediction | MaskPrediction) -> str:
    """Return under which word a prediction is counted."""
    if isinstance(one, ClassPrediction):
        return one.label
    if isinstance(one, HeadPrediction):
        return "no head" if one.ellipse is None else "head" if one.hc_mm is not None else "head without mm"
    return "found" if one.area_px else "nothing found"


def _without_maps(one: Prediction) -> Prediction:
    """Return a prediction without its probabilities, which are written: a thousand of them fill the memory."""
    return replace(one, probabilities=None) if isinstance(one, HeadPrediction | MaskPrediction) else one
