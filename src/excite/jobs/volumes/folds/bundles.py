"""The bundles that a cross-validation leaves, which together predict as one. Without torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from excite.errors import ModelError, UsageError
from excite.jobs import run_folder as files
from excite.jobs.run_folder import written

SUMMARY, PAGE = "folds.json", files.FOLDS
WITHOUT = "without_networks"  # in the summary of a cross-validation that leaves none


def bundles_of(folder: Path) -> list[Path]:
    """Return the bundles of a cross-validation's folder, in the order of the folds; none for another folder.

    Raises:
        UsageError: the cross-validation was nested, on pooled features, and left no network.
        ModelError: its summary is damaged.
    """
    if not (folder / SUMMARY).is_file():
        return []
    found = _summary(folder / SUMMARY)
    if found.get(WITHOUT):
        raise UsageError("a cross-validation on frozen features leaves numbers and no network to predict with",
                         where=folder, fix="train one: excite train TABLE --folds 5, without --frozen-features")
    return [folder / f"fold-{number}" / files.BUNDLE for number in range(1, found["folds"] + 1)]


def write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    """Write a cross-validation's summary, whole or not at all."""
    file, aside = folder / SUMMARY, folder / f".{SUMMARY}.tmp"
    with written(file):
        aside.write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        aside.replace(file)


def _summary(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or type(found.get("folds")) is not int or found["folds"] < 2:
            raise ValueError("it does not say how many folds there are")
    except (OSError, ValueError) as fault:
        raise ModelError("the summary of the cross-validation is damaged", where=file, why=str(fault),
                         fix="the same cross-validation again, with this folder as --out, writes it anew") from None
    return found
