"""Public scenes by their usual file names: which label file belongs to which cube, and what the numbers mean.

Sources: Indian Pines, Pavia, Salinas, KSC and Botswana are listed with their classes at "Hyperspectral Remote Sensing
Scenes", Computational Intelligence Group of the University of the Basque Country. Jasper Ridge, Samson and Moffett
Field: F. Zhu, arXiv:1708.05125; their class names are read off the end-member spectra. MUUFL Gulfport: P. Gader et al.,
University of Florida REP-2013-570; the file gives its five end-members no names.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from excite.data.scenes.cube import Cube
from excite.data.scenes.labels import LabelMap, from_abundances
from excite.data.scenes.matlab import list_arrays, read_array
from excite.errors import DataError


class PublicScene(NamedTuple):
    """A scene with a map of classes: name, stem of its label file, class names in the order of numbers."""

    name: str
    labels: str
    classes: tuple[str, ...]
    doubt: str | None = None


SCENES = (
    PublicScene("Indian Pines", "indian_pines_gt", (
        "Alfalfa", "Corn-notill", "Corn-mintill", "Corn", "Grass-pasture", "Grass-trees", "Grass-pasture-mowed",
        "Hay-windrowed", "Oats", "Soybean-notill", "Soybean-mintill", "Soybean-clean", "Wheat", "Woods",
        "Buildings-Grass-Trees-Drives", "Stone-Steel-Towers")),
    PublicScene("Pavia University", "paviau_gt", (
        "Asphalt", "Meadows", "Gravel", "Trees", "Painted metal sheets", "Bare Soil", "Bitumen", "Self-Blocking Bricks",
        "Shadows")),
    PublicScene("Pavia Centre", "pavia_gt", (
        "Water", "Trees", "Asphalt", "Self-Blocking Bricks", "Bitumen", "Tiles", "Shadows", "Meadows", "Bare Soil"),
        doubt="class names are in the order of the public listing; papers print other orders for the same numbers "
              "(class 8 is Meadows in the listing, Tiles in others): compare with a picture of the scene"),
    PublicScene("Salinas", "salinas_gt", (
        "Brocoli_green_weeds_1", "Brocoli_green_weeds_2", "Fallow", "Fallow_rough_plow", "Fallow_smooth", "Stubble",
        "Celery", "Grapes_untrained", "Soil_vinyard_develop", "Corn_senesced_green_weeds", "Lettuce_romaine_4wk",
        "Lettuce_romaine_5wk", "Lettuce_romaine_6wk", "Lettuce_romaine_7wk", "Vinyard_untrained",
        "Vinyard_vertical_trellis")),
    PublicScene("Kennedy Space Center", "ksc_gt", (
        "Scrub", "Willow swamp", "Cabbage palm hammock", "Cabbage palm/oak hammock", "Slash pine",
        "Oak/broadleaf hammock", "Hardwood swamp", "Graminoid marsh", "Spartina marsh", "Cattail marsh", "Salt marsh",
        "Mud flats", "Water")),
    PublicScene("Botswana", "botswana_gt", (
        "Water", "Hippo grass", "Floodplain grasses 1", "Floodplain grasses 2", "Reeds", "Riparian", "Firescar",
        "Island interior", "Acacia woodlands", "Acacia shrublands", "Acacia grasslands", "Short mopane", "Mixed mopane",
        "Exposed soils")),
)
END_MEMBERS = {"jasper": ("tree", "water", "soil", "road"), "samson": ("soil", "tree", "water"),
               "moffett": ("water", "soil", "vegetation")}
PIXELS, SHARES = "Y", ("S_GT", "label")


def public_scene(labels: Path) -> PublicScene | None:
    """Return the public scene that a label file is of, by its name."""
    return next((scene for scene in SCENES if scene.labels == labels.stem.lower()), None)


def has_abundances(path: Path) -> bool:
    """Return whether a file holds a scene with the shares of its end-members."""
    if path.suffix.lower() != ".mat":
        return False
    arrays = list_arrays(path)
    return PIXELS in arrays and any(len(arrays.get(name, ())) == 3 for name in SHARES)


def read_abundances(path: Path, *, purest: float | None = None) -> tuple[Cube, LabelMap]:
    """Return cube and labels of a scene that comes with abundances.

    `Y` is the cube itself or (bands, pixels); its pixels go down the columns, as MATLAB counts (FORTRAN order).

    Args:
        path: A .mat file with the variables Y, and S_GT or label.
        purest: Least share of a labelled pixel; see `labels.from_abundances`.

    Raises:
        DataError: pixels and abundances do not fit.
    """
    arrays = list_arrays(path)
    shares = read_array(path, next(name for name in SHARES if name in arrays), axes=3)
    pixels, (rows, columns, count) = read_array(path, PIXELS, axes=3), shares.shape
    names = END_MEMBERS.get(path.stem.lower(), ())
    notes = () if len(names) == count else ("the file gives its classes no names",)
    if len(names) != count:
        names = tuple(f"class {number + 1}" for number in range(count))
    cube = Cube(values=_in_rows(pixels, rows, columns, path), source=str(path), notes=notes)
    return cube, from_abundances(shares, names, purest=purest, source=str(path))


def _in_rows(pixels: NDArray[Any], rows: int, columns: int, path: Path) -> NDArray[Any]:
    """Return (rows, columns, bands)."""
    if pixels.ndim == 2 and pixels.shape[1] == rows * columns:
        return np.reshape(pixels.T, (rows, columns, pixels.shape[0]), order="F")
    if pixels.ndim == 3 and pixels.shape[:2] == (rows, columns):
        return pixels
    raise DataError(f"{PIXELS} has shape {pixels.shape}, the abundances are of {rows} x {columns} pixels", where=path,
                    fix="it must be (bands, rows * columns) or (rows, columns, bands)")
