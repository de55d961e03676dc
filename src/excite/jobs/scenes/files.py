"""The cubes that are asked for, and a file for the map of each."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from excite.data.scenes.cube_table import read_cube_table
from excite.data.scenes.envi import DATA_SUFFIXES
from excite.data.scenes.reading import CUBE_SUFFIXES
from excite.data.scenes.scene import ENDINGS
from excite.data.table import TABLE_SUFFIXES
from excite.errors import DataError, UsageError

OTHERS = (*ENDINGS, "abundances")  # how the names of files end that belong to a cube and are none


def cubes_of(paths: Sequence[str | Path]) -> list[Path]:
    """Return the cubes that are asked for: files as they are, those of a table, those in and below a folder.

    Label maps, other arrays of two axes and abundances in a folder are left out; of an ENVI pair the header counts.

    Raises:
        DataError: a folder holds no cube, or a table is no table of cubes.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.suffix.lower() in TABLE_SUFFIXES and not path.is_dir():
            found += [row.cube for row in read_cube_table(path)[0]]
            continue
        if not path.is_dir():
            found.append(path)
            continue
        cubes = [file for file in sorted(path.rglob("*")) if file.is_file() and _is_cube(file)]
        if not cubes:
            kinds = ", ".join(kind for kind in CUBE_SUFFIXES if kind not in DATA_SUFFIXES)
            raise DataError("the folder holds no cube", where=path, why=f"looked for {kinds} that are no labels",
                            fix="name the cubes")
        found += cubes
    return found


def maps_of(cubes: Sequence[Path], folder: Path, suffix: str) -> list[Path]:
    """Return a file in `folder` for each cube, named after it; after its folders too where names are alike.

    Raises:
        UsageError: two would have the same map, such as a cube that is named twice.
    """
    parts = [cube.resolve().with_suffix("").parts[1:] for cube in cubes]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        names = ["_".join(one[-depth:]) for one in parts]
        if len({name.casefold() for name in names}) == len(names):
            return [folder / f"{name}{suffix}" for name in names]
    twice = next((cube for place, cube in enumerate(cubes) if parts[place] in parts[:place]), folder)
    raise UsageError("two cubes would have the same map", where=twice,
                     fix="name each cube once, or map them one by one")


def _is_cube(file: Path) -> bool:
    """Return whether a file may be a cube; what is wrong with one is told by who reads it."""
    suffix = file.suffix.lower()
    if suffix not in CUBE_SUFFIXES or suffix in DATA_SUFFIXES or file.name.startswith("."):
        return False
    if file.stem.lower().endswith(OTHERS):
        return False
    if suffix == ".hdr":
        return b"envi classification" not in file.read_bytes().lower()
    try:
        return suffix != ".npy" or np.load(file, mmap_mode="r").ndim > 2
    except (ValueError, EOFError, AttributeError, OSError):  # whoever reads it says what is wrong with it
        return True
