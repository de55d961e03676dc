"""Simulated hyperspectral scenes with known classes and abundances: a scene from the air, tissue of several patients.

A pixel is a mixture of the materials' spectra under a light that changes smoothly over the scene, plus noise. The
abundances are the softmax of smooth Gaussian random fields. Everything is made in blocks of rows, so a scene may be far
larger than the memory.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from excite.data.phantom.spectra import ground_spectra, tissue_spectra
from excite.data.scenes.envi_header import format_header
from excite.errors import UsageError
from excite.progress import Progress, silent

Numbers = NDArray[np.float64]
BLOCK = 32  # rows that are made at a time; part of what decides the bytes
SHARP = 4.0  # how pure pixels are
MARK = {"description": "{SIMULATED by excite: nothing in this file was measured}", "simulated": "yes"}
README = """SIMULATED DATA. Nothing here was measured: spectra, places and labels are made up by a program (excite).
They are for trying things out and for tests; numbers on them say nothing about real scenes or patients.

cube.hdr, .img         ENVI, float32 reflectance and its wavelengths; its header says that it is simulated
cube_labels.hdr, .img  ENVI classification: 0 mixed pixels without a label, then the materials
abundances.npy         (H, W, classes) float32, the true shares of the materials
spectra.csv            wavelengths in nanometres and the reflectance of each material
"""


def simulate_scene(folder: Path, *, height: int = 145, width: int = 145, bands: int = 200, classes: int = 6,
                   seed: int = 0, noise: float = 0.005, illumination: float = 0.2, grain: float = 14.0,
                   pure: float = 0.6, progress: Progress | None = None) -> Path:
    """Write a scene as an airborne instrument of 400 to 2500 nm sees it; return the path of the cube's header.

    Args:
        folder: Made if missing; files of the same names are replaced.
        height: Rows.
        width: Columns.
        bands: Evenly from 400 to 2500 nm.
        classes: Materials.
        seed: Another seed, another scene; the same arguments give the same bytes.
        noise: Standard deviation of what is added to each value.
        illumination: Standard deviation of the light's logarithm over the scene.
        grain: Pixels, about the size of the patches.
        pure: Least share of the largest material for a label.
        progress: Told after each block of rows.

    Raises:
        UsageError: an argument is out of range.
    """
    _check(height=height, width=width, bands=bands, classes=classes, most=60, seed=seed, noise=noise,
           illumination=illumination, grain=grain, pure=pure)
    wavelengths = np.linspace(400, 2500, bands)
    names, spectra = ground_spectra(wavelengths, classes, seed=seed)
    _write_scene(folder, size=(height, width), wavelengths=wavelengths, names=names, spectra=spectra, key=(seed, 0),
                 noise=noise, illumination=illumination, grain=grain, pure=pure, progress=progress or silent())
    return folder / "cube.hdr"


def simulate_tissue(folder: Path, *, patients: int = 6, cubes: int = 2, height: int = 96, width: int = 96,
                    bands: int = 100, classes: int = 4, seed: int = 0, noise: float = 0.01, illumination: float = 0.25,
                    grain: float = 20.0, pure: float = 0.6, progress: Progress | None = None) -> Path:
    """Write cubes of tissue of 500 to 1000 nm, a folder each, and a table; return the table's path.

    Blood, oxygen and brightness are a patient's own, so cubes of one patient are more alike than others. Every cube
    depends on (seed, patient, its number) alone.

    Args:
        folder: Made if missing; files of the same names are replaced.
        patients: How many.
        cubes: Of each patient.
        height: Rows.
        width: Columns.
        bands: Evenly from 500 to 1000 nm.
        classes: Tissues, up to five.
        seed: Another seed, other tissue.
        noise: Standard deviation of what is added to each value.
        illumination: Standard deviation of the light's logarithm over a cube.
        grain: Pixels, about the size of the patches.
        pure: Least share of the largest tissue for a label.
        progress: Told after each cube.

    Raises:
        UsageError: an argument is out of range.
    """
    _check(height=height, width=width, bands=bands, classes=classes, most=5, seed=seed, noise=noise,
           illumination=illumination, grain=grain, pure=pure)
    if not (1 <= patients <= 999 and 1 <= cubes <= 99):
        raise UsageError(f"patients must be from 1 to 999 and cubes from 1 to 99, got {patients} and {cubes}")
    wavelengths = np.linspace(500, 1000, bands)
    rows = []
    for number in range(patients * cubes):
        patient, cube = divmod(number, cubes)
        names, spectra = tissue_spectra(wavelengths, classes, seed=seed, patient=patient)
        name = f"P{patient + 1:03d}_{cube + 1:02d}"
        _write_scene(folder / name, size=(height, width), wavelengths=wavelengths, names=names, spectra=spectra,
                     key=(seed, 1, patient, cube), noise=noise, illumination=illumination, grain=grain, pure=pure,
                     progress=silent())
        rows.append((f"{name}/cube.hdr", f"{name}/cube_labels.hdr", f"P{patient + 1:03d}", "yes"))
        (progress or silent()).step("simulating tissue", number + 1, patients * cubes)
    _write_table(folder / "table.csv", ("cube", "labels", "patient", "simulated"), rows)
    (folder / "README.txt").write_text(README, encoding="utf-8", newline="\n")
    return folder / "table.csv"


def _write_scene(folder: Path, *, size: tuple[int, int], wavelengths: Numbers, names: Sequence[str], spectra: Numbers,
                 key: tuple[int, ...], noise: float, illumination: float, grain: float, pure: float,
                 progress: Progress) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _write_table(folder / "spectra.csv", ("wavelength_nm", *names),
                 [[f"{value:.6g}" for value in row] for row in np.column_stack([wavelengths, spectra.T])])
    (folder / "README.txt").write_text(README, encoding="utf-8", newline="\n")
    patches = [_Field(size, grain, key=(*key, 2, place)) for place in range(len(names))]
    light = _Field(size, 6 * grain, key=(*key, 3))
    cube = np.memmap(folder / "cube.img", np.dtype("<f4"), "w+", shape=(*size, len(wavelengths)))
    labels = np.memmap(folder / "cube_labels.img", np.dtype("u1"), "w+", shape=size)
    shares = np.lib.format.open_memmap(folder / "abundances.npy", "w+", np.dtype("<f4"), (*size, len(names)))
    for first in range(0, size[0], BLOCK):
        rows = slice(first, min(first + BLOCK, size[0]))
        raised = np.exp(SHARP * np.stack([patch.rows(rows) for patch in patches], axis=-1))
        mixed = raised / raised.sum(axis=-1, keepdims=True)
        random = np.random.default_rng([*key, 4, first])
        grain_noise = random.standard_normal((rows.stop - first, size[1], len(wavelengths)), np.float32)
        cube[rows] = np.exp(illumination * light.rows(rows))[..., None] * (mixed @ spectra) + noise * grain_noise
        labels[rows] = np.where(mixed.max(axis=-1) >= pure, mixed.argmax(axis=-1) + 1, 0)
        shares[rows] = mixed
        progress.step("simulating a scene", rows.stop, size[0])
    for file in (cube, labels, shares):
        file.flush()
    _write_header(folder / "cube.hdr", size, bands=len(wavelengths), code=4, fields={
        "wavelength units": "Nanometers", "wavelength": [f"{one:.6g}" for one in wavelengths]})
    _write_header(folder / "cube_labels.hdr", size, bands=1, code=1, fields={
        "classes": len(names) + 1, "class names": ["Unclassified", *names]})


def _write_header(file: Path, size: tuple[int, int], *, bands: int, code: int,
                  fields: Mapping[str, int | str | Sequence[object]]) -> None:
    """Write the header of an ENVI file in rows, columns, bands; `code` is that of its type."""
    kind = "ENVI Classification" if "classes" in fields else "ENVI Standard"
    text = format_header({**MARK, "samples": size[1], "lines": size[0], "bands": bands, "header offset": 0,
                          "file type": kind, "data type": code, "interleave": "bip", "byte order": 0, **fields})
    file.write_text(text, encoding="utf-8", newline="\n")


class _Field:
    """A smooth Gaussian random field of variance 1: normal numbers on a coarse grid under Gaussian bumps."""

    def __init__(self, size: tuple[int, int], grain: float, *, key: tuple[int, ...]) -> None:
        self._down, self._across = (_bumps(length, grain) for length in size)
        knots = np.random.default_rng(list(key)).standard_normal((self._down.shape[1], self._across.shape[1]))
        self._columns = knots @ self._across.T

    def rows(self, rows: slice) -> Numbers:
        values: Numbers = self._down[rows] @ self._columns
        return values


def _bumps(length: int, grain: float) -> Numbers:
    """Return the weight of each knot, half a grain apart, at each pixel; their squares add up to 1."""
    knots = np.arange(-2, 2 * length / grain + 3) * grain / 2
    weight: Numbers = np.exp(-0.5 * ((np.arange(length)[:, None] - knots) / (grain / 2)) ** 2)
    weight /= np.sqrt((weight ** 2).sum(axis=1, keepdims=True))
    return weight


def _check(*, height: int, width: int, bands: int, classes: int, most: int, seed: int, noise: float,
           illumination: float, grain: float, pure: float) -> None:
    for name, value, low, high in (("height", height, 8, 100_000), ("width", width, 8, 100_000),
                                   ("bands", bands, 3, 2000), ("classes", classes, 2, most), ("seed", seed, 0, 2**63),
                                   ("noise", noise, 0, 1), ("illumination", illumination, 0, 1),
                                   ("grain", grain, 2, 1000), ("pure", pure, 0, 1)):
        if not low <= value <= high:
            raise UsageError(f"{name} must be from {low} to {high}, got {value}")


def _write_table(file: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
