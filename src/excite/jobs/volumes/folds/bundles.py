"""The bundles that a cross-validation leaves, which together predict as one. Without torch."""

import json
from pathlib import Path

from excite.errors import UsageError
from excite.jobs import run_folder as files

SUMMARY, PAGE = "folds.json", files.FOLDS
WITHOUT = "without_networks"  # in the summary of a cross-validation that leaves none


def bundles_of(folder: Path) -> list[Path]:
    """Return the bundles of a cross-validation's folder, in the order of the folds; none for another folder.

    Raises:
        UsageError: the cross-validation was nested, on pooled features, and left no network.
    """
    if not (folder / SUMMARY).is_file():
        return []
    found = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    if found.get(WITHOUT):
        raise UsageError("a cross-validation on frozen features leaves numbers and no network to predict with",
                         where=folder, fix="train one: excite train TABLE --folds 5, without --frozen-features")
    return [folder / f"fold-{number}" / files.BUNDLE for number in range(1, found["folds"] + 1)]
