"""The files of a comparison: compare.html to read, compare.json with every number."""

import json
from pathlib import Path

from excite.jobs.run_folder import written
from excite.metrics.comparison import Comparison
from excite.report.compare_page import write_compare_page


def write_comparison(found: Comparison, folder: Path) -> Path:
    """Write both files into a folder, made if missing, and return the page's path.

    Raises:
        EnvironmentFault: it cannot be written.
    """
    with written(folder, what="the comparison"):
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / ".compare.json.tmp"
        aside.write_text(json.dumps(found.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n",
                         encoding="utf-8", newline="\n")
        aside.replace(folder / "compare.json")
    return write_compare_page(folder / "compare.html", found)
