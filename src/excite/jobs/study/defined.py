"""Images on which every training has the deciding number: a mean over fewer of them flatters who missed the hard ones.

The circumference of a head that was not found has no error, so a network that finds the easy heads alone would come out
best. So all trainings are compared on the images on which all of them have the number, and how many each lacks is told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from excite.errors import UsageError
from excite.jobs.compare.tested import Row, Tested
from excite.metrics.direction import spoken

FEWEST = 0.5  # of the images that any training has; with fewer left nothing is compared


def on_common_images(runs: Sequence[Sequence[Tested]], arms: Sequence[str], metric: str
                     ) -> tuple[list[list[Tested]], list[str]]:
    """Return the trainings with the metric on common images alone, and what has to be known of the others.

    Args:
        runs: Of each arm, of each seed, on the same images.
        arms: Their names.

    Raises:
        UsageError: trainings have the number on fewer than half of the images.
    """
    lists = [[_numbers(one, metric) for one in of_arm] for of_arm in runs]
    known = {name for of_arm in lists for one in of_arm for name, value in one.items() if value is not None}
    lost = [[{name for name in known if one.get(name) is None} for one in of_arm] for of_arm in lists]
    gone = set[str]().union(*(one for of_arm in lost for one in of_arm))
    if not gone:
        return [list(of_arm) for of_arm in runs], []
    told = ", ".join(f"{name} {' + '.join(str(len(one)) for one in of_arm)}"
                     for name, of_arm in zip(arms, lost, strict=True))
    left, name = len(known) - len(gone), spoken(metric)
    if left < max(2, FEWEST * len(known)):
        raise UsageError(f"every training has {name} on {left} of {len(known)} test images only, too few to compare",
                         why=f"images without it, seed by seed: {told}",
                         fix="--metric dice, which counts what is missed; or leave out the arm that finds least")
    kept = [[_without(one, gone, metric) for one in of_arm] for of_arm in runs]
    return kept, [f"{name} is compared on the {left} images on which every training has it, of {len(known)} on which "
                  f"any has, so that no arm gains by what it misses. Missed, seed by seed: {told}. An arm that misses "
                  "more is worse than this number says."]


def _numbers(one: Tested, metric: str) -> Mapping[str, float | None]:
    """Return the metric of each image by its name; none for classes, whose numbers are of all images at once."""
    if not isinstance(one.answers, tuple):
        return {}
    return {f"{file} {content}": row.get(metric) for file, content, row in
            zip(one.files, one.contents, one.answers, strict=True)}


def _without(one: Tested, gone: set[str], metric: str) -> Tested:
    """Return a training without the metric on some images; its other numbers stay."""
    assert isinstance(one.answers, tuple)
    rows: tuple[Row, ...] = tuple({**row, metric: None} if f"{file} {content}" in gone else row for file, content, row
                                  in zip(one.files, one.contents, one.answers, strict=True))
    return replace(one, answers=rows)
