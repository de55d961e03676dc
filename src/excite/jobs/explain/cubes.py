"""Explain hyperspectral scenes: what each band gives to each class that is found in a cube."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from excite.data.scenes.cube import Cube
from excite.deploy.bundle import WEIGHTS
from excite.deploy.scene_predictor import ScenePredictor
from excite.errors import DataError, UsageError
from excite.explain.bands import BandWindows, hidden_bands, integrated_bands
from excite.explain.deletion import deletion, usual_cells
from excite.explain.randomised import randomisation
from excite.jobs.explain.answers import answer_of
from excite.jobs.explain.entry import Bands, Checks, Entry, How
from excite.jobs.explain.found import refuse_difference
from excite.jobs.export import rebuild
from excite.jobs.run_folder import written
from excite.jobs.scenes.files import cubes_of
from excite.jobs.scenes.predict import read_for
from excite.tiling import Cover, Tile

PIXELS = 10  # of each class
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sampled:
    """Pixels of one class, and the windows around them."""

    place: int
    windows: BandWindows
    shares: Floats  # (N,) of the class


def explain_cubes(bundle: Path, inputs: Sequence[str], out: Path, how: How) -> Iterator[Entry]:
    """Yield an explanation for each class found in each cube; a cube that cannot be used is told.

    Raises:
        ModelError: the bundle cannot be used, or torch and its ONNX file disagree. UsageError: no such class or method.
    """
    if how.method not in ("integrated", "occlusion") or how.layer is not None:
        raise UsageError(f"method must be integrated or occlusion for cubes, without a layer, got {how.method}",
                         why="a map over a window of a few pixels says little: bands are explained instead")
    predictor = ScenePredictor(bundle, threads=how.threads)
    answer_of(predictor.info, how.label)
    work = _Cubes(predictor, rebuild(predictor.info, predictor.folder / WEIGHTS).requires_grad_(False), out, how)
    for path in cubes_of(inputs):
        try:
            yield from work.entries(path)
        except DataError as fault:
            yield Entry(file=str(path), error=fault.message())


class _Cubes:
    """The cubes of one call."""

    def __init__(self, predictor: ScenePredictor, model: nn.Module, out: Path, how: How) -> None:
        self.predictor, self.model, self.out, self.how = predictor, model, out, how
        self.left, self.weight = how.checks, _weight(predictor)

    def entries(self, path: Path) -> Iterator[Entry]:
        """Yield an explanation for each class."""
        cube = read_for(self.predictor, path, **dict(self.how.cube))
        classes, found = self.predictor.info.classes, self.predictor(cube)
        wanted = [place for place, name in enumerate(classes) if self.how.label in (None, name)]
        mean = _mean(cube)
        for place in wanted:
            pixels = _pixels(found.labels == place + 1)
            if not len(pixels):
                yield Entry(file=str(path), predicted=classes[place], explained=classes[place],
                            notes=("no pixel of this class was found: there is nothing to explain",))
                continue
            shares = found.confidence[tuple(pixels.T)]
            sampled = Sampled(place=place, windows=self._windows(cube, pixels, mean), shares=shares)
            yield self._entry(path, cube, sampled)

    def _entry(self, path: Path, cube: Cube, sampled: Sampled) -> Entry:
        name = self.predictor.info.classes[sampled.place]
        parts = self._parts(self.model, sampled)
        bands = Bands(places=tuple(cube.wavelengths or range(cube.bands)), importance=parts,
                      unit="nm" if cube.wavelengths else "band")
        file = self.out / f"{path.stem}_{sampled.place + 1:02}_{self.how.method}.csv"
        _write(file, bands)
        checks = None
        if self.left > 0:
            self.left -= 1
            checks = self._checks(sampled, parts)
        return Entry(file=str(path), predicted=name, explained=name, probability=float(sampled.shares.mean()),
                     files=[file], checks=checks, bands=bands,
                     notes=(f"the mean of {len(sampled.shares)} pixels spread over those found as {name}", *cube.notes))

    def _parts(self, model: nn.Module, sampled: Sampled) -> Floats:
        """Return the importance of each band, (B,), the mean over the pixels."""
        targets = torch.full((len(sampled.shares),), sampled.place)
        work = integrated_bands if self.how.method == "integrated" else hidden_bands
        return np.asarray(work(model, sampled.windows, classes=targets).mean(0).numpy(), np.float32)

    def _checks(self, sampled: Sampled, parts: Floats) -> Checks:
        windows, temperature = sampled.windows, self.predictor.info.temperature

        def value(masks: Tensor) -> Tensor:
            shares = [(self.model(windows.without(one[0] < 0.5)) / temperature).softmax(1)[:, sampled.place].mean()
                      for one in masks]
            return torch.stack(shares)

        bands = len(parts)
        return Checks(randomisation=randomisation(parts, lambda model: self._parts(model, sampled), self.model,
                                                  windows.reduced),
                      deletion=deletion(value, torch.ones(1, bands), parts[None], cells=usual_cells((bands,))))

    def _windows(self, cube: Cube, pixels: NDArray[np.int64], mean: NDArray[np.float64]) -> BandWindows:
        """Return the windows around some pixels; torch and the bundle's ONNX file must agree on them."""
        reduced, apart = [], []
        for row, column in pixels.tolist():
            part = Tile(row, column, 1, 1)
            block = self.predictor.block(cube, part)
            cover = Cover(part, cube.shape, window=self.predictor.window, border=self.predictor.border)
            spectra = cover.read(cube.values).astype(np.float64)
            shown = np.asarray(np.isclose(self.predictor.reduction.apply(spectra), block, atol=1e-5).all(axis=2))
            reduced.append(block.transpose(2, 0, 1))
            apart.append(np.where(shown[..., None], spectra - mean, 0).transpose(2, 0, 1))
        found = BandWindows(reduced=torch.from_numpy(np.stack(reduced)), weight=self.weight,
                            apart=torch.from_numpy(np.stack(apart).astype(np.float32)))
        shipped = np.concatenate([self.predictor.logits(one.transpose(1, 2, 0))[0] for one in reduced])
        with torch.no_grad():
            refuse_difference(self.model(found.reduced).numpy(), shipped)
        return found


def _weight(predictor: ScenePredictor) -> Tensor:
    """Return what each band gives to each component, (C, B)."""
    reduction = predictor.reduction
    rows = np.array(reduction.weight) if reduction.kind == "pca" else np.diag(reduction.weight[0])
    whole = np.zeros((reduction.components, reduction.bands), np.float32)
    whole[:, list(reduction.chosen)] = rows
    return torch.from_numpy(whole)


def _mean(cube: Cube) -> NDArray[np.float64]:
    """Return the mean spectrum of a cube's pixels with data, over some of its rows."""
    rows = slice(None, None, max(1, cube.shape[0] // 64))
    values = np.asarray(cube.values[rows], np.float64)
    values = values.reshape(-1, cube.bands) if cube.valid is None else values[cube.valid[rows]]
    known = values[np.isfinite(values).all(axis=1)]
    if not len(known):
        raise DataError("the cube has no pixel with data", where=cube.source)
    mean: NDArray[np.float64] = known.mean(axis=0)
    return mean


def _pixels(there: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return pixels spread evenly over those of a class, (N, 2)."""
    every = np.argwhere(there)
    return every[np.unique(np.linspace(0, len(every) - 1, PIXELS).round().astype(int))] if len(every) else every


def _write(file: Path, bands: Bands) -> None:
    with written(file, what="the importance of the bands", otherwise="choose another folder with --out"):
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w", encoding="utf-8", newline="") as stream:
            rows = csv.writer(stream, lineterminator="\n")
            rows.writerow([bands.unit, "importance"])
            rows.writerows([f"{place:g}", f"{value:.6g}"] for place, value in
                           zip(bands.places, bands.importance.tolist(), strict=True))
