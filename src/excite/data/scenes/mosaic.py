"""Several cubes as one scene: side by side on a canvas, with pixels without data between them.

A pixel without data is 0 once the bands are reduced, and so is everything beyond a border of zeros. Cubes that lie a
window apart are therefore computed exactly as if each were alone. The canvas lies in memory as a whole.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from statistics import median_low
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.data.scenes.cube import Cube
from excite.data.scenes.cube_table import CubeRow, read_cube_table
from excite.data.scenes.label_files import read_labels
from excite.data.scenes.labels import LabelMap, check_pair
from excite.data.scenes.reading import open_cube
from excite.data.scenes.scene import Piece, Scene, counted, joined
from excite.errors import DataError, EnvironmentFault
from excite.tiling import Tile

Read = tuple[CubeRow, Cube, LabelMap]
APART = 0.1  # of the distance between two bands: farther off, wavelengths are not the same
LOOKED_AT = 8  # pixels down and across by which cubes that may be the same are found
LEVELLED = 64   # likewise, by which the level of a cube is found
# So many times apart, levels are told: tissues are not. Water and snow can be 50 times apart and percent are 100 times
# parts of one, so that is not refused; ten thousandths, 10,000 times parts of one, are.
DOUBTED, REFUSED = 10, 1000


def open_mosaic(table: Path, *, window: int, label_variable: str | None = None, classes: Sequence[str] | None = None,
                **options: Any) -> Scene:
    """Return the cubes of a table as one scene, whose windows each hold pixels of one cube only.

    Mapped cubes are copied from their files; others are in memory twice while the canvas is filled.

    Args:
        table: See `cube_table.read_cube_table`.
        window: Pixels along the windows; one pixel fewer lies between any two cubes.
        label_variable: See `label_files.read_labels`, as for `classes`.
        options: The same for each cube: those of `reading.open_cube`.

    Raises:
        DataError: faults of the table or of a file; cubes whose bands, wavelengths, kinds of number or classes differ,
            whose levels are far too different, or that are the same twice. UsageError: as `reading.open_cube`.
            EnvironmentFault: no memory for the canvas.
    """
    rows, notes = read_cube_table(table)
    found = [(row, open_cube(row.cube, **options), read_labels(row.labels, variable=label_variable, classes=classes))
             for row in rows]
    for _, cube, labels in found:
        check_pair(cube, labels)
    _check_alike(found, table)
    _check_twins(found, table)
    levels = _check_levels(found, table)
    places = lay_out([cube.shape for _, cube, _ in found], gap=window - 1)
    pieces = tuple(Piece(name=row.name, patient=row.patient, place=place)
                   for row, place in zip(rows, places, strict=True))
    scene = joined(f"{table.resolve().parent.name}/{table.name}", *_filled(found, places, table))
    cube = replace(scene.cube, notes=(_told(scene, pieces), *levels, *notes, *_shared_notes(found)))
    return replace(scene, cube=cube, pieces=pieces)


def lay_out(sizes: Sequence[tuple[int, int]], *, gap: int) -> list[Tile]:
    """Return the places of pictures in rows, in their order, `gap` apart; the whole is as near square as rows allow.

    Args:
        sizes: Rows and columns of each.
        gap: Pixels between any two.
    """
    widest = max(width for _, width in sizes)
    edges = {edge for edge in accumulate(width + gap for _, width in sizes) if edge - gap >= widest} or {widest + gap}
    return min((_in_rows(sizes, gap, edge) for edge in sorted(edges)),
               key=lambda tiles: (max(extent(tiles)), extent(tiles)[0] * extent(tiles)[1]))


def extent(tiles: Sequence[Tile]) -> tuple[int, int]:
    """Return rows and columns of a canvas that holds all tiles."""
    return max(tile.top + tile.height for tile in tiles), max(tile.left + tile.width for tile in tiles)


def _in_rows(sizes: Sequence[tuple[int, int]], gap: int, edge: int) -> list[Tile]:
    tiles: list[Tile] = []
    top = left = lower = 0
    for height, width in sizes:
        if left and left + width + gap > edge:
            top, left = lower, 0
        tiles.append(Tile(top, left, height, width))
        left += width + gap
        lower = max(lower, top + height + gap)
    return tiles


def _filled(found: Sequence[Read], places: Sequence[Tile], table: Path) -> tuple[Cube, LabelMap]:
    """Return the canvas and its labels."""
    size, cubes = extent(places), [cube for _, cube, _ in found]
    dtype = np.result_type(*(cube.values.dtype.newbyteorder("=") for cube in cubes))
    valid, classes = np.zeros(size, np.bool_), np.zeros(size, np.int32)
    try:
        values = np.zeros((*size, cubes[0].bands), dtype)
    except MemoryError:
        needed = size[0] * size[1] * cubes[0].bands * dtype.itemsize / 2**20
        raise EnvironmentFault(f"no memory for {len(cubes)} cubes side by side, {needed:,.0f} MB", where=table,
                               fix="give fewer cubes, or drop bands by scene.drop_bands") from None
    for (_, cube, labels), place in zip(found, places, strict=True):
        values[place.inside], classes[place.inside] = cube.values, labels.values
        valid[place.inside] = True if cube.valid is None else cube.valid
    names = max((labels.classes for _, _, labels in found), key=len)
    said = {_simulated(row, cube) for row, cube, _ in found}
    header = {"simulated": "yes" if said.pop() else "no"} if len(said) == 1 and None not in said else {}
    return (Cube(values=values, source=str(table), wavelengths=cubes[0].wavelengths, valid=valid, header=header),
            LabelMap(values=classes, classes=names, source=str(table)))


def _check_alike(found: Sequence[Read], table: Path) -> None:
    """Raise where a cube cannot lie beside the first one, or its classes are others than the rest's."""
    (first, cube, _), names = found[0], max((labels.classes for _, _, labels in found), key=len)
    for row, other, labels in found:
        where = f"{table}, line {row.line}"
        if other.bands != cube.bands:
            raise DataError(f"the cube has {other.bands} bands, that of line {first.line} has {cube.bands}",
                            where=where, fix="take cubes of one sensor, with the same bands dropped")
        if not _same_wavelengths(cube.wavelengths, other.wavelengths):
            raise DataError(f"the cube's wavelengths are not those of line {first.line}", where=where,
                            why=f"{_spanned(other.wavelengths)} against {_spanned(cube.wavelengths)}",
                            fix="resample the cubes to the same bands; or, where a header is wrong or says none, give "
                            "scene.wavelengths")
        if (other.values.dtype.kind == "f") != (cube.values.dtype.kind == "f"):
            raise DataError(f"the cube holds {other.values.dtype}, that of line {first.line} {cube.values.dtype}",
                            where=where, why="counts and reflectance are on different scales",
                            fix="bring all cubes to one scale")
        if labels.classes != names[:len(labels.classes)]:
            raise DataError(f"the classes are {', '.join(labels.classes)}, others of the table {', '.join(names)}",
                            where=where, why="a number must mean the same class in every cube",
                            fix="number them alike; or give the names of all by scene.classes")


def _check_twins(found: Sequence[Read], table: Path) -> None:
    """Raise where two rows hold the same cube: it could be trained on and tested."""
    seen: dict[tuple[object, ...], list[Read]] = {}
    for one in found:
        row, values = one[0], one[1].values
        few = np.nan_to_num(_plain(_spread(values, LOOKED_AT))) + 0  # one NaN and one zero, whatever their bits
        alike = seen.setdefault((values.shape, few.tobytes()), [])
        twin = next((other[0] for other in alike if _equal(other[1].values, values)), None)
        if twin is not None:
            raise DataError(f"the cube is that of line {twin.line}", where=f"{table}, line {row.line}",
                            why=f"{row.cube.name} holds the same values", fix="delete one of the two lines")
        alike.append(one)


def _equal(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return all(np.array_equal(_plain(a), _plain(b), equal_nan=True) for a, b in zip(one, other, strict=True))


def _plain(values: NDArray[Any]) -> NDArray[np.float32]:
    """Return the values as float32, so that a copy in another depth or byte order is the same."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32, order="C")


def _spread(values: NDArray[Any], most: int) -> NDArray[Any]:
    """Return at most so many rows and columns, evenly spread."""
    return values[::-(-values.shape[0] // most), ::-(-values.shape[1] // most)]


def _check_levels(found: Sequence[Read], table: Path) -> list[str]:
    """Return warnings of cubes that are far darker or brighter than the table's middle one; raise where it is absurd.

    A cube whose median is not above 0 has no level, and is left alone.
    """
    known = [(row, level) for row, cube, _ in found if (level := _level(cube)) > 0]
    if not known:
        return []
    middle = median_low(level for _, level in known)
    told = []
    for row, level in known:
        times = max(level / middle, middle / level)
        if times <= DOUBTED:
            continue
        gap = f"the cube's median value is {level:.4g}, that of the table's middle cube {middle:.4g}"
        if times > REFUSED:
            raise DataError(gap, where=f"{table}, line {row.line}", why="the values are on different scales",
                            fix="bring all cubes to one scale")
        told.append(f"WARNING: {row.name}: {gap}: another scale?")
    return told


def _level(cube: Cube) -> float:
    """Return the median of the values that hold data, of pixels spread over the cube; 0 where none does."""
    values = _spread(cube.values, LEVELLED)
    if cube.valid is not None:
        values = values[_spread(cube.valid, LEVELLED)]
    return float(np.median(_plain(values))) if values.size else 0.0


def _same_wavelengths(one: Sequence[float] | None, other: Sequence[float] | None) -> bool:
    if one is None or other is None:
        return one is None and other is None
    step = float(np.median(np.abs(np.diff(one)))) if len(one) > 1 else 1.0
    return bool((np.abs(np.subtract(one, other)) <= APART * step).all())


def _spanned(wavelengths: Sequence[float] | None) -> str:
    return "unknown" if wavelengths is None else f"{min(wavelengths):g} to {max(wavelengths):g} nm"


def _simulated(row: CubeRow, cube: Cube) -> bool | None:
    """Return what the table says, else the cube's header; a header that says simulated is believed."""
    header = {"yes": True, "no": False}.get(cube.header.get("simulated", ""))
    return header if row.simulated is None or header else row.simulated


def _told(scene: Scene, pieces: Sequence[Piece]) -> str:
    """Return in words what lies on the canvas."""
    height, width = scene.cube.shape
    return (f"{counted(pieces)} side by side on {height} x {width} pixels, {scene.cube.values.nbytes / 2**20:,.0f} MB "
            "in memory")


def _shared_notes(found: Sequence[Read]) -> list[str]:
    """Return the notes on the cubes and labels, once each, with the cubes where they are not of all."""
    of: dict[str, list[str]] = {}
    for row, cube, labels in found:
        for note in dict.fromkeys((*cube.notes, *labels.notes)):
            of.setdefault(note, []).append(row.name)
    said = [note if len(names) == len(found) else f"{', '.join(names)}: {note}" for note, names in of.items()]
    marked = [row.name for row, cube, _ in found if _simulated(row, cube)]
    return said + ([f"{len(marked)} of {len(found)} cubes are simulated: {', '.join(marked)}"]
                   if 0 < len(marked) < len(found) else [])
