"""Small simulated cubes of several patients, and tables of them."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from excite.data.phantom.hyperspectral import simulate_tissue


def small_tissue(folder: Path, **changes: Any) -> Path:
    """Return the table of simulated cubes, two a patient, three tissues."""
    options: dict[str, Any] = {"patients": 4, "cubes": 2, "height": 20, "width": 24, "bands": 18, "classes": 3,
                               "grain": 8.0, "seed": 1}
    return simulate_tissue(folder, **options | changes)


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def rewritten(table: Path, rows: Sequence[Mapping[str, str]], *, name: str = "other.csv") -> Path:
    """Write rows beside a table and return the new one's path."""
    file = table.with_name(name)
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return file
