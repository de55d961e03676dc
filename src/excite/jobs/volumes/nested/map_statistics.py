"""Simple numbers of each map, as a radiologist reads them off: what a network has to beat."""

import numpy as np
from numpy.typing import NDArray

from excite.data.volumes.store import VolumeStore

PERCENTILES = (5, 25, 50, 75, 95)
NAMES = ("mean", "std", *(f"p{one}" for one in PERCENTILES))


def map_statistics(store: VolumeStore) -> NDArray[np.float64]:
    """Return mean, standard deviation and percentiles of each map on the grid, in its own unit; NaN of a missing map.

    Voxels that were not seen, and those of exactly 0, which were not fitted, are left out. Nothing is learnt: no
    patient's numbers depend on another's.

    Shape:
        (N, M, 7), as `NAMES`
    """
    found = np.full((len(store.values), store.present.shape[1], len(NAMES)), np.nan)
    for row, place in zip(*np.nonzero(store.present), strict=True):
        values = np.asarray(store.values[row, place], np.float64)
        values = values[np.isfinite(values) & (values != 0)]
        if values.size:
            found[row, place] = [values.mean(), values.std(), *np.percentile(values, PERCENTILES)]
    return found
