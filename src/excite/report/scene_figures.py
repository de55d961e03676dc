"""The pictures of a report on a scene: maps whose colours are those of the classes, false colour, mean spectra."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from numpy.typing import NDArray

from excite.data.scenes.palette import palette
from excite.errors import UsageError
from excite.report.figures import DASHES, MUTED, STYLE, figure_of, plain, svg

Colours = NDArray[np.uint8]
Labels = NDArray[np.integer[Any]]

UNLABELLED = (0x26, 0x2A, 0x32)
ERRORS = {"unlabelled": UNLABELLED, "labelled, not test": (0x5A, 0x62, 0x70), "right": (0x56, 0xB4, 0xE9),
          "wrong": (0xFF, 0x7A, 0x1A)}
PARTS = {"in no part": UNLABELLED, "training": (0x56, 0xB4, 0xE9), "validation": (0xF0, 0xE4, 0x42),
         "test": (0xD5, 0x5E, 0x00), "labelled, left out (guard)": (0x7C, 0x85, 0x94)}
TRAIN, VAL, TEST = 1, 2, 3  # of the map of parts
STEPS = 64                  # shades of a map of confidence
SEEN = (650.0, 550.0, 450.0)  # red, green, blue, nm
FAR = 60.0                  # nm from them beyond which a band does not stand for a colour
SAMPLED = 250_000           # pixels from which a stretch is taken
AT_ONCE = 1_000_000         # pixels in memory at a time


@dataclass(frozen=True, kw_only=True, eq=False)
class Spectra:
    """Spectra of the training pixels by class.

    Args:
        mean: Of each class; NaN where a class has no training pixel.
        std: Standard deviation, likewise.
        wavelengths: Of the bands; None: they are numbered from 1.
        wavelength_unit: Of these.

    Shape:
        mean and std (K, B), wavelengths (B,)
    """

    mean: NDArray[np.floating[Any]]
    std: NDArray[np.floating[Any]]
    wavelengths: NDArray[np.floating[Any]] | None = None
    wavelength_unit: str = "nm"

    def __post_init__(self) -> None:
        bands = self.mean.shape[1:] if self.wavelengths is None else np.shape(self.wavelengths)
        if self.mean.ndim != 2 or self.std.shape != self.mean.shape or bands != self.mean.shape[1:]:
            raise UsageError(f"mean and std must be (K, B) and wavelengths (B,), got {self.mean.shape}, "
                             f"{self.std.shape} and {bands}")


def hexes(colours: Colours) -> list[str]:
    """Return colours as CSS writes them."""
    return ["#" + bytes(colour).hex() for colour in np.asarray(colours, np.uint8)]


def label_map(labels: Labels, count: int) -> Colours:
    """Return labels in the colours of their classes, (H, W, 3); 0 is dark grey."""
    return np.asarray(np.concatenate([np.array([UNLABELLED], np.uint8), palette(count)])[labels])


def error_map(truth: Labels, predicted: Labels, parts: Labels) -> Colours:
    """Return where the test pixels are right and wrong, in the colours of ERRORS, (H, W, 3)."""
    kinds = (truth > 0).astype(int) + ((truth > 0) & (parts == TEST)) * (1 + (truth != predicted))
    return np.asarray(np.array(list(ERRORS.values()), np.uint8)[kinds])


def split_map(parts: Labels, truth: Labels) -> Colours:
    """Return which part each pixel is of, in the colours of PARTS, (H, W, 3); labelled and in none: a guard."""
    return np.array(list(PARTS.values()), np.uint8)[np.where((parts == 0) & (truth > 0), len(PARTS) - 1, parts)]


def ramp() -> Colours:
    """Return the shades from 0 to 1, evenly spaced to the eye, with and without colour vision."""
    return np.asarray(matplotlib.colormaps["cividis"](np.linspace(0, 1, STEPS), bytes=True)[:, :3], np.uint8)


def confidence_map(confidence: NDArray[np.floating[Any]]) -> Colours:
    """Return probabilities as shades of `ramp`, (H, W, 3); NaN is dark grey."""
    known = np.isfinite(confidence)
    shade = np.rint(np.clip(np.where(known, confidence, 0), 0, 1) * (STEPS - 1)).astype(int)
    return np.where(known[..., None], ramp()[shade], np.array(UNLABELLED, np.uint8))


def rgb_bands(count: int, wavelengths: NDArray[np.floating[Any]] | None = None) -> tuple[int, int, int]:
    """Return the bands that stand for red, green and blue: the nearest to 650, 550 and 450 nm, else spread ones.

    Args:
        count: Of bands.
        wavelengths: In nm, (B,); None or none near enough: bands at 5/6, 3/6 and 1/6 of the range.
    """
    spread = (count * 5 // 6, count * 3 // 6, count // 6)
    if wavelengths is None:
        return spread
    if np.shape(wavelengths) != (count,):
        raise UsageError(f"wavelengths must have one value a band ({count}), got shape {np.shape(wavelengths)}")
    gaps = np.nan_to_num(np.abs(np.asarray(wavelengths, np.float64)[None] - np.array(SEEN)[:, None]), nan=np.inf)
    red, green, blue = (int(place) for place in gaps.argmin(axis=1))
    near = bool((gaps.min(axis=1) <= FAR).all()) and len({red, green, blue}) == 3
    return (red, green, blue) if near else spread


def false_colour(values: NDArray[Any], wavelengths: NDArray[np.floating[Any]] | None = None,
                 valid: NDArray[np.bool_] | None = None) -> Colours:
    """Return a cube as a picture, each of three bands stretched from its 2nd to its 98th percentile.

    A memory map is read band by band and in blocks of rows; percentiles are of pixels on a grid.

    Args:
        values: The cube; what is not finite becomes black.
        wavelengths: In nm; see `rgb_bands`.
        valid: Where a pixel holds data; the others become black, and no percentile counts them.

    Shape:
        (H, W, B) -> (H, W, 3), valid (H, W)
    """
    height, width, count = values.shape
    picture = np.zeros((height, width, 3), np.uint8)
    step = max(1, int(np.ceil((height * width / SAMPLED) ** 0.5)))
    rows = max(1, AT_ONCE // width)
    for channel, band in enumerate(rgb_bands(count, wavelengths)):
        sample = np.asarray(values[::step, ::step, band], np.float64)
        sample = sample[np.isfinite(sample) & (True if valid is None else valid[::step, ::step])]
        low, high = np.percentile(sample, (2, 98)) if sample.size else (0.0, 0.0)
        if low == high:
            continue
        for begin in range(0, height, rows):
            block = np.asarray(values[begin:begin + rows, :, band], np.float64)
            shares = np.where(np.isfinite(block), np.clip((block - low) / (high - low), 0, 1), 0)
            picture[begin:begin + rows, :, channel] = np.rint(255 * shares)
    if valid is not None:
        picture[~valid] = 0
    return picture


def spectra_together(spectra: Spectra, classes: Sequence[str]) -> Markup:
    """Return the mean spectra of all classes in one drawing, each in its colour."""
    with matplotlib.rc_context(STYLE):
        figure, axes = figure_of("Mean spectra of the training pixels", _below(spectra))
        figure.set_size_inches(10.4, 4.2)
        for place, colour in enumerate(hexes(palette(len(classes)))):
            at, mean = _gapped(spectra, spectra.mean[place])
            axes.plot(at, mean, color=colour, linewidth=1.6, linestyle=DASHES[place // 8 % 4])
        axes.margins(x=0.01)
        return svg(figure, name="spectra", alt=f"Mean spectra of {len(classes)} classes: {', '.join(classes)}")


def spectra_apart(spectra: Spectra, classes: Sequence[str]) -> list[Markup]:
    """Return a small drawing a class: its mean, one standard deviation around it, and grey the mean of all classes."""
    drawn = []
    known = np.isfinite(spectra.mean).any(axis=1)
    grey = spectra.mean[known].mean(axis=0) if known.any() else spectra.mean[0]
    with matplotlib.rc_context({**STYLE, "font.size": 8, "axes.titlesize": 10, "axes.titlepad": 5}):
        for place, (name, colour) in enumerate(zip(classes, hexes(palette(len(classes))), strict=True)):
            figure, axes = figure_of(plain(name), _below(spectra))
            figure.set_size_inches(3.1, 2.1)
            at, mean, std, all_mean = _gapped(spectra, spectra.mean[place], spectra.std[place], grey)
            axes.plot(at, all_mean, color=MUTED, linewidth=0.9, linestyle=":")
            axes.fill_between(at, mean - std, mean + std, color=colour, alpha=0.28, linewidth=0)
            axes.plot(at, mean, color=colour, linewidth=1.6)
            _span(axes, spectra)
            alt = f"Spectrum of {name}" if known[place] else f"{name} has no training pixel, so no spectrum"
            drawn.append(svg(figure, name=f"spectrum{place}", alt=alt))
    return drawn


def _below(spectra: Spectra) -> str:
    return "band" if spectra.wavelengths is None else f"wavelength, {plain(spectra.wavelength_unit)}"


def _gapped(spectra: Spectra, *rows: NDArray[np.floating[Any]]) -> list[NDArray[np.float64]]:
    """Return wavelengths in their order and rows of values with them, broken where bands were taken out."""
    known = spectra.wavelengths
    at = np.arange(1.0, spectra.mean.shape[1] + 1) if known is None else np.asarray(known, np.float64)
    order = np.argsort(at)
    at = at[order]
    steps = np.diff(at)
    cuts = np.flatnonzero(steps > 4 * np.median(steps)) + 1 if len(steps) else np.array([], int)
    return [np.insert(at, cuts, at[cuts]),
            *(np.insert(np.asarray(row, np.float64)[order], cuts, np.nan) for row in rows)]


def _span(axes: Axes, spectra: Spectra) -> None:
    """Give all small drawings the same vertical axis."""
    ends = np.concatenate([spectra.mean - spectra.std, spectra.mean + spectra.std])
    ends = ends[np.isfinite(ends)]
    if ends.size and ends.min() < ends.max():
        axes.set_ylim(ends.min(), ends.max())
