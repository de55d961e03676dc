"""What the validation part settles for a network of heads: the level of its outline, and how far off it may be.

The level is the one at which circumferences are right on average: what the loss leaves of a bias is taken out there.
The interval is fitted afterwards, with the bundle at that level. Both, and the best epoch, come from the same images,
so on others errors are a little larger than here, and an interval covers a little less than it promises.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.data.row import Row
from excite.deploy.runtime import Predictor
from excite.ellipse import Ellipse
from excite.errors import DataError
from excite.jobs.mask_rows import head_of, looked_at
from excite.metrics.biometry import ellipse_of, measure
from excite.metrics.conformal import HeadInterval, fit_interval
from excite.outcome.maps import bounds
from excite.outcome.prediction import FailedPrediction
from excite.progress import Progress, silent

LEVELS = tuple(round(0.30 + 0.02 * step, 2) for step in range(21))
FEWEST = 10  # images below which a level is chance


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadTruth:
    """One predicted head beside the true one.

    Args:
        file: As the table names it.
        truth: Ellipse in pixels of the original image.
        spacing: Millimetres a pixel; None: not known.
        true_hc_mm: None without a pixel size.
        hc_mm: None without a pixel size or a head.
        spread_mm: How unsure the network is.
        probabilities: Of the head, (H, W).
    """

    file: str
    truth: Ellipse
    spacing: tuple[float, ...] | None
    true_hc_mm: float | None
    hc_mm: float | None
    spread_mm: float | None
    probabilities: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class LevelStep:
    """What a level gives: mean and median difference and mean absolute difference of HC, in the unit of the choice."""

    level: float
    df: float
    median_df: float
    adf: float


@dataclass(frozen=True, kw_only=True)
class LevelChoice:
    """A chosen level.

    Args:
        level: Whose mean difference is nearest to zero.
        curve: Every level's.
        n: Images that have a head at every level.
        lost: Images that have none at one or more levels, and were left out.
        unit: Of the differences: "mm", or "pixels" where no image has a pixel size.
        note: Why the level was not chosen but left as it was.
    """

    level: float
    curve: tuple[LevelStep, ...]
    n: int
    lost: int
    unit: str
    note: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self) | {"curve": [asdict(one) for one in self.curve]}

    def text(self) -> str:
        """Return the choice in a sentence."""
        if self.note is not None:
            return f"{self.note[0].upper()}{self.note[1:]}."
        chosen = next(step for step in self.curve if step.level == self.level)
        middle = next((step for step in self.curve if step.level == 0.5), None)
        also = f"; at 0.5 it is {middle.df:+.2f} {self.unit}" if middle is not None and middle is not chosen else ""
        edge = self.level in (self.curve[0].level, self.curve[-1].level)
        if edge:
            return (f"A pixel is inside from a probability of {self.level:g} on, the last of the levels that were "
                    f"tried: circumferences of {self.n} validation images are still off by {chosen.df:+.2f} "
                    f"{self.unit} on average{also}.")
        return (f"A pixel is inside from a probability of {self.level:g} on: there circumferences of {self.n} "
                f"validation images are right on average (mean difference {chosen.df:+.2f} {self.unit}{also}).")


def head_rows(predictor: Predictor, rows: Sequence[Row], root: Path, *, batch_size: int | None = None,
              progress: Progress | None = None) -> Iterator[HeadTruth | FailedPrediction]:
    """Yield each image's predicted and true head, one at a time; rows whose true mask is empty are passed over.

    Args:
        predictor: Of a bundle for heads.
        rows: With masks.
        root: Folder that their paths start from.
        batch_size: Images that the network takes at once.
    """
    for done, one in enumerate(looked_at(predictor, rows, root, batch_size=batch_size), start=1):
        (progress or silent()).step("measuring heads", done, len(rows))
        if isinstance(one, FailedPrediction):
            yield one
            continue
        head = head_of(one)
        if head is None or one.prediction.probabilities is None:
            continue
        yield HeadTruth(file=one.row.image, truth=head.truth, spacing=one.spacing, true_hc_mm=head.true_hc_mm,
                        hc_mm=head.hc_mm, spread_mm=head.spread_mm, probabilities=one.prediction.probabilities)


def choose_level(predictor: Predictor, rows: Sequence[Row], root: Path, *, levels: Sequence[float] = LEVELS,
                 otherwise: float = 0.5, progress: Progress | None = None) -> LevelChoice:
    """Return the level whose mean difference of circumference is nearest to zero, from the maps of these images.

    Args:
        predictor: Of a bundle for heads.
        rows: With masks: the validation part.
        root: Folder that their paths start from.
        levels: To choose from.
        otherwise: What is kept with fewer than ten images.

    Raises:
        DataError: an image of the part cannot be used.
    """
    table: list[tuple[bool, list[float]]] = []
    lost = 0
    for one in head_rows(predictor, rows, root, progress=progress):
        if isinstance(one, FailedPrediction):
            raise DataError("an image of the validation part cannot be used", why=one.error)
        found = differences(one, levels)
        lost += found is None
        table += [(one.spacing is not None, found)] if found is not None else []
    in_mm = any(known for known, _ in table)
    errors = np.array([found for known, found in table if known == in_mm])
    unit = "mm" if in_mm else "pixels"
    if len(errors) < FEWEST:
        lacking = f"; {lost} have no head at one level or another" if lost else ""
        note = (f"{len(errors)} validation images are too few to choose a level, which takes {FEWEST}{lacking}: it "
                f"stays at {otherwise:g}")
        return LevelChoice(level=otherwise, curve=(), n=len(errors), lost=lost, unit=unit, note=note)
    curve = tuple(LevelStep(level=level, df=float(column.mean()), median_df=float(np.median(column)),
                            adf=float(np.abs(column).mean())) for level, column in zip(levels, errors.T, strict=True))
    best = min(curve, key=lambda step: (round(abs(step.df), 9), abs(step.level - otherwise)))
    return LevelChoice(level=best.level, curve=curve, n=len(errors), lost=lost, unit=unit)


def differences(one: HeadTruth, levels: Sequence[float]) -> list[float] | None:
    """Return predicted minus true circumference at each level, in mm, or pixels; None where one level has no head."""
    spacing = one.spacing or (1.0,)
    box = bounds(one.probabilities >= np.float32(min(levels)), margin=2)
    true = measure(one.truth, spacing).hc_mm
    if box is None or true is None:
        return None
    found = []
    for level in levels:
        ellipse = ellipse_of(one.probabilities[box], level=level).ellipse
        hc = None if ellipse is None else measure(ellipse, spacing).hc_mm
        if hc is None:
            return None
        found.append(hc - true)
    return found


def interval_of(predictor: Predictor, rows: Sequence[Row], root: Path, *, level: float = 0.9,
                progress: Progress | None = None) -> tuple[HeadInterval | None, str]:
    """Return the interval that these images give, and in words what it rests on or why there is none.

    Args:
        predictor: Of the bundle at the level that it will predict at.
        rows: With masks: the validation part.
        root: Folder that their paths start from.
        level: Share of new images whose truth is to lie inside.

    Raises:
        DataError: an image of the part cannot be used.
    """
    errors, spreads, without = [], [], 0
    for one in head_rows(predictor, rows, root, progress=progress):
        if isinstance(one, FailedPrediction):
            raise DataError("an image of the validation part cannot be used", why=one.error)
        if one.hc_mm is None or one.true_hc_mm is None or one.spread_mm is None:
            without += 1
            continue
        errors.append(one.hc_mm - one.true_hc_mm)
        spreads.append(one.spread_mm)
    left = f"; {without} images without a head or a pixel size were left out" if without else ""
    try:
        found = fit_interval(errors, spreads, level=level)
    except DataError as fault:
        return None, f"No interval: {fault.what}{left}."
    inside = sum(abs(error) / (found.base_mm + spread) <= found.quantile
                 for error, spread in zip(errors, spreads, strict=True))
    return found, (f"Half the width is {found.quantile:.2f} x ({found.base_mm:.2f} mm + the image's spread): it holds "
                   f"{100 * inside / found.n:.0f} % of {found.n} validation images, which promises "
                   f"{100 * level:g} % of new images{left}.")
