"""One explanation as data, for explanations.json and the page, and what all kinds of work are told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.data.sections import DataSection
from excite.explain.deletion import Deletion
from excite.explain.randomised import Randomisation
from excite.jobs.explain.explainer import Explainer
from excite.jobs.explain.found import Found, Method

CHECKED = {"volumes": 1, "volume_masks": 1, "scene": 1}  # of the first pictures; 3 of images
BATCH = 16
SHOWN = 24   # on the page
SLIGHT = 0.05  # of a probability: whose loss makes no picture to speak of


@dataclass(frozen=True, kw_only=True)
class How:
    """How to explain.

    Args:
        label: Class that is explained; None: the predicted one.
        method: "gradcam" or "occlusion"; of cubes "integrated" or "occlusion".
        layer: Of Grad-CAM; None: the last maps before the pooling.
        checks: So many of the first files are checked.
        threads: CPU threads.
        batch_size: Images at once.
        columns: How to read tables.
        cube: How to read cubes, by the names of `open_cube`.
    """

    label: str | None = None
    method: Method = "gradcam"
    layer: str | None = None
    checks: int = 3
    threads: int | None = None
    batch_size: int = BATCH
    columns: DataSection = field(default_factory=DataSection)
    cube: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Checks:
    """What was asked of one picture."""

    randomisation: Randomisation
    deletion: Deletion

    @property
    def words(self) -> tuple[str, str]:
        """Return what follows, a sentence each."""
        return self.randomisation.words, self.deletion.words

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"randomisation": self.randomisation.to_json(), "deletion": self.deletion.to_json()}


@dataclass(frozen=True, kw_only=True, eq=False)
class Bands:
    """What each band of a cube gives to a class.

    Args:
        places: Wavelengths in nanometres, or numbers of the bands.
        importance: (B,) in units of the logit.
        unit: "nm" or "band".
    """

    places: Sequence[float]
    importance: NDArray[np.float32]
    unit: str

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {self.unit: list(self.places), "importance": self.importance.tolist()}


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """One file, patient or scan.

    Args:
        file: As it was asked for.
        predicted: Class that the network says; empty where the file could not be used.
        explained: Class that is explained.
        probability: Of it.
        layer: Of Grad-CAM, the resolution of its map included; empty of other methods.
        files: What was written.
        checks: None where it was not checked.
        notes: What has to be known, each a sentence.
        error: Why nothing can be said.
        picture: For the page, (H, W, 3).
        bands: Of a cube.
    """

    file: str
    predicted: str = ""
    explained: str = ""
    probability: float | None = None
    layer: str = ""
    files: Sequence[Path] = ()
    checks: Checks | None = None
    notes: Sequence[str] = ()
    error: str = ""
    picture: NDArray[np.uint8] | None = None
    bands: Bands | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data, without the picture."""
        if self.error:
            return {"file": self.file, "error": self.error}
        found: dict[str, Any] = {"file": self.file, "label": self.predicted, "explained": self.explained,
                                 "probability": self.probability, "files": [str(one) for one in self.files]}
        found |= {"layer": self.layer} if self.layer else {}
        found |= {"bands": self.bands.to_json()} if self.bands is not None else {}
        found |= {"checks": self.checks.to_json()} if self.checks is not None else {}
        return found | ({"notes": list(self.notes)} if self.notes else {})


def checked(explainer: Explainer, image: NDArray[np.float32], found: Found,
            clinical: NDArray[np.float32] | None = None, *, inside: NDArray[np.bool_] | None = None) -> Checks:
    """Return both checks of a picture."""
    return Checks(randomisation=explainer.randomisation(image, found, clinical),
                  deletion=explainer.deletion(image, found, clinical, inside=inside))


def layer_told(explainer: Explainer, found: Found) -> str:
    """Return the layer of Grad-CAM and the resolution of its maps; nothing of other methods."""
    if explainer.method != "gradcam":
        return ""
    return f"{', '.join(explainer.layers)}, {' x '.join(map(str, found.maps.shape[1:]))}"


def picture_notes(explainer: Explainer, found: Found) -> list[str]:
    """Return what has to be known of a picture before it is read."""
    notes = [explainer.note] if explainer.note and explainer.method == "gradcam" else []
    if found.maps[0].size == 1:
        notes.append("the layer's maps have one place: the picture says nothing of where; name a layer before it")
    elif not found.maps.any():
        notes.append("the picture is empty: no place speaks for this class")
    elif explainer.method == "occlusion" and found.choice.region is None:
        most = float(found.maps.max())
        notes.append(f"hiding the brightest place takes {most:.3f} of the probability away"
                     + (", next to nothing: the picture is drawn on its own scale" if most < SLIGHT else ""))
    return notes
