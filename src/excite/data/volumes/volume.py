"""What every reader of volumes returns: values turned to the patient, and where they lie in millimetres."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Volume:
    """One volume in memory, its axes turned to the patient.

    Args:
        values: The voxels, labels too. Shape (D, H, W), float32: D towards the head (S), H towards the front (A), W
            towards the right-hand side of RAS (R); the transposed array of a RAS+ canonical NIfTI.
        affine: Voxel index (d, h, w) to RAS millimetres (x, y, z). Shape (4, 4), float64.
        source: The file or folder it was read from.
        notes: What the reader had to decide, each a sentence.
        spacing_known: False where the file says no voxel size and 1 mm stands in for it: no millimetres then.
    """

    values: NDArray[np.float32]
    affine: NDArray[np.float64]
    source: Path
    notes: tuple[str, ...] = ()
    spacing_known: bool = True

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between voxels along D, H and W."""
        depth, height, width = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(depth), float(height), float(width)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along D, H and W."""
        depth, height, width = self.values.shape
        return depth, height, width
