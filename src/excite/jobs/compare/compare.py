"""Compare: two runs on the test set they share, or two bundles on one table, to an answer in plain words. No torch."""

from pathlib import Path

from excite.data.sections import DataSection
from excite.deploy.bundle import find_bundle, read_bundle
from excite.errors import UsageError
from excite.jobs.compare.beware import GRAVE, beware, merged
from excite.jobs.compare.common import on_common
from excite.jobs.compare.images import tested_images
from excite.jobs.compare.price import prices
from excite.jobs.compare.same import order_of
from excite.jobs.compare.scenes import tested_pixels
from excite.jobs.compare.tested import Tested, refuse_folds
from excite.jobs.compare.volumes import tested_patients, tested_scans
from excite.jobs.volumes.folds.bundles import bundles_of
from excite.metrics.comparison import Comparison, check_metric, compare_sides
from excite.metrics.paired import RESAMPLES
from excite.progress import Progress, silent

OF_TASK = {"scene": tested_pixels, "volumes": tested_patients, "volume_masks": tested_scans}
MAIN = {"segmentation": "dice", "volume_masks": "dice", "heads": "adf_mm"}


def compare(run_a: str | Path, run_b: str | Path, *, metric: str | None = None, margin: float | None = None,
            data: str | Path | None = None, columns: DataSection | None = None, resamples: int = RESAMPLES,
            seed: int = 0, progress: Progress | None = None) -> Comparison:
    """Return whether B is better than A, by how much, how sure that is, and what it costs.

    Runs are read from what they left behind, and measured anew where that is not of their bundle; their test sets must
    be the same. With `data` both networks, runs or bundles, are measured on every row of a table.

    Args:
        run_a: A run folder, or with `data` a bundle too.
        run_b: The other.
        metric: The question; balanced accuracy of classes, Dice of masks, the absolute error in mm of heads otherwise.
        margin: How much worse B may be and still count as not worse, in the metric's own unit: 0.02 is 2 points.
        data: A table or folder with labels or masks, or a cube, that neither network has seen.
        columns: How to read `data`.
        resamples: Of the bootstrap, and swaps.
        seed: Of both.

    Raises:
        UsageError: there is no such metric, or a bundle comes without data. ModelError: a bundle cannot be used.
        DataError: the test sets, truth, classes or units differ; what differs is named.
    """
    progress = progress or silent()
    if Path(run_a).resolve() == Path(run_b).resolve():
        raise UsageError("run_a and run_b must be two runs, got one twice", where=run_a)
    if resamples < 1:
        raise UsageError(f"resamples must be at least 1, got {resamples}")
    section = None if data is None else (columns or DataSection()).model_copy(update={"table": Path(data)})
    a = _tested(Path(run_a), section, progress)
    metric = metric or _main(a)
    check_metric(metric, margin, a.side(range(len(a.files)), a.info.classes).names)
    b = _tested(Path(run_b), section, progress)
    ours, theirs, lost = order_of(a, b, own=data is None)
    classes, units = a.info.classes, [a.units[place] for place in ours]
    first, second, missed = on_common(a.ordered(ours), b.ordered(theirs), metric)
    return compare_sides(
        first.side(range(len(ours)), classes), second.side(range(len(theirs)), classes), units, names=(a.name, b.name),
        metric=metric, margin=margin, unit_kind=a.unit_kind, sample=a.sample, prices=prices(a, b),
        beware=(*missed, *beware(a.notes, b.notes)), notes=[*lost, *_said(a, b), *_trained(a, b)],
        resamples=resamples, seed=seed, progress=progress)


def _tested(source: Path, data: DataSection | None, progress: Progress) -> Tested:
    refuse_folds(source, several=bool(bundles_of(source)))
    folder = find_bundle(source)
    info = read_bundle(folder)
    return OF_TASK.get(info.task, tested_images)(source, folder, info, data, progress=progress)


def _main(one: Tested) -> str:
    """Return the number that is the question where none is named."""
    name = MAIN.get(one.info.task, "balanced_accuracy")
    known = isinstance(one.answers, tuple) and any(row.get(name) is not None for row in one.answers)
    return "head_dice" if name == "adf_mm" and not known else name


def _said(a: Tested, b: Tested) -> list[str]:
    """Return what else is to be known, once where it is the same of both."""
    return merged(*([note for note in one.notes if not note.startswith(GRAVE)] for one in (a, b)))


def _trained(a: Tested, b: Tested) -> list[str]:
    """Return whether both were trained on the same data, as far as the bundles say."""
    first, second = (set(one.info.provenance.get("train_hashes", ())) for one in (a, b))
    if not first or not second or first == second:
        return []
    return [f"the networks were trained on different data: {len(first - second)} of A's {len(first)} and "
            f"{len(second - first)} of B's {len(second)} are not the other's; the difference is that of both"]
