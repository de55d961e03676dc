"""The page on a classifier of volumes: patients in place of pictures, and what each of their maps is worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from excite.report import figures, tables
from excite.report.html import filled, png, write_page
from excite.report.page import ReportData, values_of
from excite.report.words import OF_LABELS, plural

SIDE = 200       # pixels of a slice's longer side at most
LONG = 20        # characters of a token's name in a drawing
FEW = 10         # units below which an interval is rough
WORTH = {"balanced_accuracy": "Balanced accuracy", "auroc_macro": "AUROC, macro", "nll": "Log-loss"}
WRONG_REASON = "the scanner, the coil, the fit of a map, how a slice was placed, or which map is missing and why"


@dataclass(frozen=True, kw_only=True, eq=False)
class Pane:
    """The middle slice of one map, (H, W) of 8 bits; None where the patient lacks it.

    Args:
        window: Which values are black and white, in words.
    """

    name: str
    pixels: NDArray[np.uint8] | None
    window: str


@dataclass(frozen=True, kw_only=True, eq=False)
class PatientPicture:
    """A test patient with the answer and the truth; `name` says which, and is no person's."""

    name: str
    truth: str
    label: str
    probability: float
    panes: Sequence[Pane]


@dataclass(kw_only=True)
class VolumeReportData(ReportData):
    """What a report on a classifier of volumes tells beside that.

    Args:
        patients: Some of the test part.
        doubts: What is doubtful about the data, a sentence each.
        attention: `MeanAttention.to_json()`; None of a network without.
        worth: `LeftOut.to_json()` of each map and clinical column.
    """

    sample: str = "patient"
    patients: Sequence[PatientPicture] = ()
    doubts: Sequence[str] = ()
    attention: Mapping[str, Any] | None = None
    worth: Sequence[Mapping[str, Any]] = ()


def write_volume_report(file: Path, data: VolumeReportData, *, images: bool = True) -> Path:
    """Write the page, whole or not at all, and return its path.

    Args:
        images: Put slices of patients in; a page that would exceed 5 MB goes without and says so.

    Raises:
        EnvironmentFault: it cannot be written.
    """
    return write_page(file, lambda images, without: render_volumes(data, images=images, without=without),
                      images=images)


def render_volumes(data: VolumeReportData, *, images: bool = True, without: str = "") -> str:
    """Return the page as text; every value from outside is escaped."""
    reasons = {topic: text for topic, text in data.reasons.items() if topic != "doubts"}
    values = values_of(data, images=images, without=without)
    return filled("volume_template.html", **values | {
        "patients": [_shown(one) for one in data.patients] if images else [],
        "apart": [leak for leak in data.leaks if leak["kind"] != OF_LABELS], "reasons": reasons,
        "wrong_reason": WRONG_REASON,
        "attention": _attention(data), "heat": None if data.attention is None else _heat(data.attention),
        "worth": _worth(data), "worth_columns": list(WORTH.values()), "few_units": FEW,
        "rough": any(one["n_units"] < FEW for one in data.worth)})


def _shown(one: PatientPicture) -> dict[str, Any]:
    """Return a patient as the template takes it, the slices as PNG inside the page."""
    panes: list[dict[str, Any]] = []
    for pane in one.panes:
        if pane.pixels is None:
            panes.append({"name": pane.name, "source": "", "window": ""})
            continue
        source, (width, height) = png(np.repeat(pane.pixels[..., None], 3, axis=2), side=SIDE)
        panes.append({"name": pane.name, "source": source, "width": width, "height": height, "window": pane.window})
    return {"name": one.name, "truth": one.truth, "label": one.label, "right": one.truth == one.label,
            "percent": f"{100 * one.probability:.0f} %", "panes": panes}


def _attention(data: VolumeReportData) -> dict[str, Any] | None:
    """Return the shares of attention between maps as rows of a table, in percent of a row; an even one comes last."""
    if data.attention is None:
        return None
    found = data.attention
    rows = [*zip(found["groups"], found["shares"], strict=True), ("if even", found["even"])]
    return {"names": found["groups"], "n": found["n"], "of": found["of"], "rows": [
        {"name": name, "cells": [100 * share for share in row]} for name, row in rows]}


def _heat(attention: Mapping[str, Any]) -> Markup:
    names = [figures.plain(name if len(name) <= LONG else f"{name[:LONG]}…") for name in attention["tokens"]]
    return figures.heat_map(attention["weights"], names, name="attention", title="Attention, token by token",
                            below="takes from", left="token")


def _worth(data: VolumeReportData) -> list[dict[str, Any]]:
    """Return a row for each map and clinical column: how much worse each number is without it."""
    rows = []
    for one in data.worth:
        cells = []
        for key in WORTH:
            value, interval = tables.number(one["loss"].get(key))
            low, high = (one["loss"].get(key) or {}).get("low"), (one["loss"].get(key) or {}).get("high")
            kind = "" if low is None or high is None else "good" if low > 0 else "bad" if high < 0 else ""
            cells.append({"value": value if value.startswith(("-", "not")) else f"+{value}", "interval": interval,
                          "kind": kind if one["n_units"] >= FEW else ""})
        units = plural("unit" if data.unit_kind != data.sample else data.sample, one["n_units"])
        rows.append({"name": one["name"], "kind": one["kind"], "n": one["n"],
                     "units": "" if one["n"] == one["n_units"] else f"{one['n_units']} {units}", "cells": cells})
    return rows
