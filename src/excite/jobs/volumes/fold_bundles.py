"""The bundles that a cross-validation leaves, which together predict as one. Without torch."""

import json
from pathlib import Path

from excite.jobs import run_folder as files

SUMMARY = "folds.json"


def bundles_of(folder: Path) -> list[Path]:
    """Return the bundles of a cross-validation's folder, in the order of the folds; none for another folder."""
    if not (folder / SUMMARY).is_file():
        return []
    count = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))["folds"]
    return [folder / f"fold-{number}" / files.BUNDLE for number in range(1, count + 1)]
