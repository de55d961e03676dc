"""Predict the class of every pixel of scenes with a bundle, to maps in files. Without torch."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from excite.data.scenes.cube import Cube
from excite.data.scenes.envi import ENVI_SUFFIXES, find_pair
from excite.data.scenes.gaps import NoData
from excite.data.scenes.label_files import write_labels
from excite.data.scenes.labels import LabelMap
from excite.data.scenes.public import has_abundances, read_abundances
from excite.data.scenes.reading import open_cube, prepare_cube
from excite.deploy.scene_fit import choice_of
from excite.deploy.scene_predictor import ScenePredictor
from excite.errors import EnvironmentFault, UsageError
from excite.progress import Progress, silent

KINDS = (".png", ".npy", ".mat", ".hdr")


@dataclass(frozen=True, kw_only=True)
class MappedScene:
    """A scene that was mapped: its file, the files written, pixels of each class, and how long the network took.

    `notes` say how the cube was read, and what is odd about it.
    """

    file: str
    labels: str | None
    confidence: str | None
    pixels: dict[str, int]
    without_data: int
    seconds: float
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return plain data."""
        return {"file": self.file, "labels": self.labels, "confidence": self.confidence, "pixels": self.pixels,
                "without_data": self.without_data, "seconds": round(self.seconds, 3), "notes": list(self.notes)}


def map_scene(bundle: str | Path, cube: str | Path, *, out: Path | None = None, confidence: Path | None = None,
              variable: str | None = None, drop_bands: Sequence[int] = (), no_data: NoData = None,
              white: Path | None = None, dark: Path | None = None, threads: int | None = None,
              progress: Progress | None = None) -> MappedScene:
    """Return how many pixels each class has in a cube, and write the maps that are asked for.

    Args:
        bundle: Of a training on a scene, or its run folder.
        cube: With the bands of the training scene, or more whose wavelengths tell which they are; `variable` to `dark`
            are as for `open_cube`, and a no-data value that training was told holds here too.
        out: Label map, 0 where there are no data: .png, .npy, .mat, or .hdr (ENVI, with the cube's map information).
        confidence: Probability of the label: .npy, float32.

    Raises:
        UsageError: an output of an unknown kind, or one that would overwrite the cube. DataError: other bands, or a
            cube that cannot be read. ModelError: the bundle cannot be used. EnvironmentFault: a map cannot be written.
    """
    source = Path(cube)
    _check(source, out, confidence)
    predictor = ScenePredictor(bundle, threads=threads)
    scene = read_for(predictor, source, variable=variable, drop_bands=drop_bands, no_data=no_data, white=white,
                     dark=dark)
    began = time.perf_counter()
    found = predictor(scene, progress=progress or silent())
    seconds = time.perf_counter() - began
    if out is not None:
        with _writing(out):
            write_labels(out, LabelMap(values=found.labels, classes=found.classes, source=str(source)), like=scene)
    if confidence is not None:
        with _writing(confidence):
            np.save(confidence, found.confidence)
    counts = np.bincount(found.labels.ravel(), minlength=len(found.classes) + 1).tolist()
    return MappedScene(file=str(cube), labels=str(out) if out else None, seconds=seconds, without_data=counts[0],
                       notes=scene.notes, confidence=str(confidence) if confidence else None,
                       pixels=dict(zip(found.classes, counts[1:], strict=True)))


def read_for(predictor: ScenePredictor, path: Path, *, variable: str | None = None, no_data: NoData = None,
             **options: Any) -> Cube:
    """Return a cube as a network takes it: read as `open_cube` does, with the bands of the training.

    Raises:
        DataError: the cube cannot be read, or has not these bands. UsageError: an option does not fit it.
    """
    options |= {"no_data": no_data, "usual_no_data": predictor.told.get("no_data")}
    options["choose"] = choice_of(predictor.info, predictor.reduction)
    if variable is None and has_abundances(path):
        return predictor.fitted(prepare_cube(read_abundances(path)[0], **options))
    return predictor.fitted(open_cube(path, variable=variable, **options))


def _check(cube: Path, out: Path | None, confidence: Path | None) -> None:
    if out is not None and out.suffix.lower() not in KINDS:
        raise UsageError(f"a label map must end in {', '.join(KINDS)}, got {out.name}")
    if confidence is not None and confidence.suffix.lower() != ".npy":
        raise UsageError(f"a map of confidence must end in .npy, got {confidence.name}")
    read = {file.resolve() for file in (find_pair(cube) if cube.suffix.lower() in ("", *ENVI_SUFFIXES) else (cube,))}
    asked = [file for file in (out, confidence) if file is not None]
    asked += [file.with_suffix(".img") for file in asked if file.suffix.lower() == ".hdr"]
    written = [file.resolve() for file in asked]  # a link is written through
    for file in written:
        if file in read or written.count(file) > 1:
            raise UsageError(f"{'the cube' if file in read else 'one map'} would be overwritten", where=file,
                             fix="write to another file")


@contextmanager
def _writing(file: Path) -> Iterator[None]:
    """Make the folder of a file, and turn what goes wrong with it into one clear error."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as fault:
        raise EnvironmentFault("the map cannot be written", where=file, why=fault.strerror or str(fault),
                               fix="make room, or name a folder that you may write") from None
