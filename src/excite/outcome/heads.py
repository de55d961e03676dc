"""What is said of one picture of a fetal head: where it is, how large, how far off that may be, or why nothing is."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.ellipse import Ellipse


@dataclass(frozen=True, kw_only=True)
class HeadPrediction:
    """A head, in pixels of the original image and in millimetres where the pixel size is known.

    Args:
        file: The image, as it was asked for.
        mask: File of the mask in the original size, where one was written.
        hc_mm: Circumference; None without a pixel size or a head.
        bpd_mm: Shorter diameter, biparietal.
        ofd_mm: Longer diameter, occipitofrontal.
        interval_mm: Lower and upper end around `hc_mm`, where it is known how far off such a number may be.
        ellipse: In pixels, whole coordinates at pixel centres; None where no head was found.
        notes: What has to be known to trust it, each a sentence.
        spacing_mm: Millimetres a pixel, down and to the right or one number, by which it was measured.
        spread_mm: How far views of the image, levels of the map and the outline itself disagree on `hc_mm`.
        probabilities: Of the head, (H, W) in pixels of the original image, where they were asked for.
    """

    file: str
    mask: str | None = None
    hc_mm: float | None = None
    bpd_mm: float | None = None
    ofd_mm: float | None = None
    interval_mm: tuple[float, float] | None = None
    ellipse: Ellipse | None = None
    notes: tuple[str, ...] = ()
    spacing_mm: tuple[float, ...] | None = None
    spread_mm: float | None = None
    probabilities: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return plain data; every key is there, null where nothing can be said, and notes where there are any."""
        found: dict[str, Any] = {
            "file": self.file, "mask": self.mask, "hc_mm": self.hc_mm, "bpd_mm": self.bpd_mm, "ofd_mm": self.ofd_mm,
            "interval_mm": None if self.interval_mm is None else list(self.interval_mm),
            "ellipse": None if self.ellipse is None else dict(self.ellipse._asdict())}
        if self.notes:
            found["notes"] = list(self.notes)
        return found
