"""The page of a study: warnings and advice first, then the picture, one table, the ranking, and what was counted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from excite.report.html import filled, write_page
from excite.report.study_figures import difference_figure, front_figure
from excite.report.words import DISCLAIMER, when


@dataclass(frozen=True, kw_only=True)
class ArmTold:
    """An arm as the page tells it.

    Args:
        value: Mean of the metric over seeds, with the ends of its interval.
        seeds: The metric of each training.
        difference: From the baseline, in the unit that differences are said in.
        shown: Whether it is more than chance.
        best: Chance to be the best.
        ranks: "1 to 3".
        row: The cells of the table.
        link: To the report of its first run.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    seeds: Sequence[float]
    milliseconds: float
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    shown: bool
    best: float
    ranks: str
    row: Sequence[str]
    link: str


@dataclass(frozen=True, kw_only=True)
class StudyData:
    """What the page of a study tells.

    Args:
        lead: What was compared, in a sentence or two.
        advice: The sentence that matters first.
        cautions: What has to be read first of all.
        metric: In words.
        unit: That differences are said in.
        better: 1 where more is better, -1 where less is.
        heads: Of the table's columns after the arm's name.
        tested: How many of them stand in the first table; the others in a second one.
        arms: The baseline first.
        counted: How intervals, p and ranks came about, each a sentence.
        notes: What was decided for the study.
        facts: Of the machine and the data.
        recipe: The config of the first run.
    """

    title: str
    created: str
    lead: str
    advice: Sequence[str]
    cautions: Sequence[str]
    metric: str
    unit: str
    better: int
    heads: Sequence[str]
    tested: int
    arms: Sequence[ArmTold]
    counted: Sequence[str]
    notes: Sequence[str]
    facts: Mapping[str, str]
    recipe: str


def write_study_page(file: Path, data: StudyData) -> Path:
    """Write the page, whole or not at all, and return its path.

    Raises:
        EnvironmentFault: it cannot be written.
    """
    return write_page(file, lambda _images, _without: render(data), images=False)


def render(data: StudyData) -> str:
    """Return the page as text; every value from outside is escaped."""
    ranked = sorted(data.arms, key=lambda arm: -arm.best)
    return filled("study_template.html", data=data, disclaimer=DISCLAIMER, created=when(data.created), ranked=ranked,
                  front=front_figure(data.arms, metric=data.metric, better=data.better),
                  differences=difference_figure(data.arms, unit=data.unit, better=data.better))
