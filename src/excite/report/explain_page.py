"""One offline HTML page on explanations: pictures, what checks them, and what such pictures cannot say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from excite.report.figures import STYLE, figure_of, plain, svg
from excite.report.html import filled, jpeg, write_page
from excite.report.words import DISCLAIMER, plural, when

SIDE = 420  # pixels of a picture's longer side at most
OWN, OTHER, RANDOM = "#0072b2", "#d55e00", "#999999"


@dataclass(frozen=True, kw_only=True, eq=False)
class ShownExplanation:
    """One file on the page.

    Args:
        file: Its name.
        predicted: Class that the network says.
        explained: Class that is explained.
        probability: Of it; None where it is not known.
        layer: What the picture is of.
        picture: (H, W, 3); None where there is none.
        bands: {"unit", "places", "importance"} of a cube.
        checks: `Checks.to_json()`; None where it was not checked.
        notes: What has to be known, each a sentence.
        error: Why nothing can be said; empty otherwise.
    """

    file: str
    predicted: str = ""
    explained: str = ""
    probability: float | None = None
    layer: str = ""
    picture: NDArray[np.uint8] | None = None
    bands: Mapping[str, Any] | None = None
    checks: Mapping[str, Any] | None = None
    notes: Sequence[str] = ()
    error: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class ExplainData:
    """What the page tells.

    Args:
        title: Of the page.
        method: In words.
        task: Of the bundle.
        created: ISO 8601.
        n: Files in all; the page shows the first ones.
        shown: These.
    """

    title: str
    method: str
    task: str
    created: str
    n: int
    shown: Sequence[ShownExplanation]


def write_explain_page(file: Path, data: ExplainData) -> Path:
    """Write the page, whole or not at all, and return its path.

    Raises:
        EnvironmentFault: it cannot be written.
    """
    return write_page(file, lambda images, without: render_explain(data, images=images, without=without), images=True)


def render_explain(data: ExplainData, *, images: bool = True, without: str = "") -> str:
    """Return the page as text; every value from outside is escaped."""
    checked = [one for one in data.shown if one.checks]
    doubted = [one for one in checked if one.checks and not _passed(one.checks)]
    failed = [one for one in data.shown if one.error]
    return filled("explain.html", data=data, without=without, created=when(data.created), disclaimer=DISCLAIMER,
                  entries=[_entry(one, place, images=images) for place, one in enumerate(data.shown) if not one.error],
                  failed=failed, checked=len(checked), doubted=len(doubted), plural=plural,
                  maps=data.task != "scene", masks=data.task in ("segmentation", "heads", "volume_masks"),
                  volumes=data.task in ("volumes", "volume_masks"))


def deletion_figure(curve: Mapping[str, Any], *, name: str) -> Markup:
    """Return the answer while more is deleted: in the picture's order, in random ones, the least important first."""
    shares = [100 * share for share in curve["shares"]]
    with matplotlib.rc_context(STYLE):
        figure, axes = figure_of("The answer while more is deleted", "deleted, %")
        axes.plot(shares, curve["own"], color=OWN, label=f"most important first, area {curve['area']:.3f}")
        axes.plot(shares, curve["random_mean"], color=RANDOM, linestyle="--",
                  label=f"{len(curve['random_areas'])} random orders, mean area {np.mean(curve['random_areas']):.3f}")
        axes.plot(shares, curve["reverse"], color=OTHER, linestyle=":",
                  label=f"least important first, area {curve['reverse_area']:.3f}")
        axes.set_ylabel("probability")
        axes.set_ylim(0, 1)
        axes.legend(loc="best")
        axes.set_xlim(0, 100 * curve["shares"][-1])
        return svg(figure, name=name, alt=f"Deletion curve: {curve['words']}")


def bands_figure(bands: Mapping[str, Any], *, name: str, explained: str) -> Markup:
    """Return what each band gives to a class."""
    with matplotlib.rc_context(STYLE):
        figure, axes = figure_of(plain(f"What each band gives to {explained}"),
                                 "wavelength, nm" if bands["unit"] == "nm" else "band")
        axes.plot(bands["places"], bands["importance"], color=OWN)
        axes.axhline(0, color=RANDOM, linewidth=1)
        axes.set_ylabel("logit")
        strongest = bands["places"][int(np.abs(bands["importance"]).argmax())]
        return svg(figure, name=name, alt=f"Importance of the bands for {explained}, most at {strongest:g}")


def _entry(one: ShownExplanation, place: int, *, images: bool) -> dict[str, Any]:
    source = None if one.picture is None or not images else jpeg(one.picture, side=SIDE)[0]
    checks = one.checks
    return {"one": one, "source": source, "short": Path(one.file).name,
            "bands": None if one.bands is None else bands_figure(one.bands, name=f"bands-{place}",
                                                                 explained=one.explained),
            "depths": () if checks is None else _depths(checks["randomisation"]["depths"]),
            "curve": None if checks is None else deletion_figure(checks["deletion"], name=f"deletion-{place}"),
            "verdicts": () if checks is None else [
                (checks["randomisation"]["passed"], "Random weights", checks["randomisation"]["words"]),
                (checks["deletion"]["passed"], "Deletion", checks["deletion"]["words"])]}


def _depths(depths: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return from which layer on the weights are random, and how alike the pictures are then."""
    return [(f"{one['layer']} ({one['layers']} {plural('layer', one['layers'])})",
             "nothing to compare" if one["median"] is None else f"{one['median']:.2f}") for one in depths]


def _passed(checks: Mapping[str, Any]) -> bool:
    return bool(checks["deletion"]["passed"]) and checks["randomisation"]["passed"] is not False
