"""Fewer, scaled bands: fitted on training pixels, applied to whole scenes in blocks of rows.

Every kind is one affine map of a spectrum, so that it is stored and applied in one way. PCA is that of the covariance
of the pixels; whitening divides by the square root of the variance, n - 1 in the denominator, as scikit-learn does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from excite.data.scenes.blocks import row_blocks
from excite.data.scenes.cube import shortened
from excite.errors import DataError, ModelError, UsageError

Kind = Literal["pca", "bands", "none"]
Scale = Literal["together", "each", "none"]
FittedOn = Literal["training pixels", "all pixels"]
Numbers = NDArray[np.float64]
BLOCK_BYTES = 2**23  # of a cube as it is stored; twice to eight times that in float64


@dataclass(frozen=True, kw_only=True)
class BandReduction:
    """From a spectrum to the values that a network sees: chosen bands times weight, plus offset.

    Args:
        kind: "pca", "bands" or "none".
        bands: Of the cube it is for.
        chosen: Numbers of the bands that are used, from 0.
        weight: One row a component for PCA; else one row, a factor for each band that is used.
        offset: Added; what the reduction makes of a black spectrum.
        spread: Standard deviation of each value over the pixels it was fitted on.
        level: Mean of all used bands over these pixels.
        explained: Share of the variance in each component of PCA; empty otherwise.
        fitted_on: Which pixels: the training ones, or, the usual leaky way, all.
        pixels: How many.
    """

    kind: Kind
    bands: int
    chosen: tuple[int, ...]
    weight: tuple[tuple[float, ...], ...]
    offset: tuple[float, ...]
    spread: tuple[float, ...]
    level: float
    explained: tuple[float, ...] = ()
    fitted_on: FittedOn = "training pixels"
    pixels: int

    @property
    def components(self) -> int:
        """Return how many values a pixel has afterwards."""
        return len(self.offset)

    def apply(self, values: NDArray[Any], *, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Return pixels or a cube reduced, in blocks of rows: a mapped file never lies in memory as a whole.

        A pixel that is not finite stays so.

        Args:
            values: Spectra of the cube's bands.
            out: Where to write, a mapped file for instance.

        Shape:
            values (N, bands) or (H, W, bands); out and result the same with `components` values

        Raises:
            DataError: the number of bands is another one.
            UsageError: `out` does not fit.
        """
        if values.ndim not in (2, 3) or values.shape[-1] != self.bands:
            raise DataError(f"the reduction is for {self.bands} bands, got an array of shape {values.shape}",
                            fix="drop the same bands as in training")
        shape = (*values.shape[:-1], self.components)
        out = np.empty(shape, np.float32) if out is None else out
        if out.shape != shape or out.dtype != np.float32:
            raise UsageError(f"out must be float32 of shape {shape}, got {out.dtype} of shape {out.shape}")
        if values.size:
            weight, offset, chosen = np.array(self.weight), np.array(self.offset), _slice(self.chosen)
            for rows in row_blocks(values, block_bytes=BLOCK_BYTES):
                block = values[rows][..., chosen].astype(np.float64)
                out[rows] = (block @ weight.T if self.kind == "pca" else block * weight[0]) + offset
        return out

    def grey(self) -> Numbers:
        """Return what a mean level in every band adds to a reduced pixel, (components,)."""
        weight: Numbers = np.array(self.weight) * self.level
        total: Numbers = weight.sum(axis=1) if self.kind == "pca" else weight[0]
        return total

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes."""
        return asdict(self)

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> "BandReduction":
        """Return the reduction that `to_json` wrote, bit-equal.

        Raises:
            ModelError: something is missing, unknown or not of its kind.
        """
        try:
            reduction = cls(**{key: _tuples(value) for key, value in tree.items()})
            used, rows = len(reduction.chosen), np.array(reduction.weight, np.float64)
            fits = (rows.shape == ((reduction.components if reduction.kind == "pca" else 1), used)
                    and (reduction.kind == "pca" or reduction.components == used)
                    and len(reduction.spread) == reduction.components
                    and 0 <= min(reduction.chosen) <= max(reduction.chosen) < reduction.bands)
        except (TypeError, ValueError) as fault:
            why = f"{type(fault).__name__}: {fault}"
            raise ModelError("the stored band reduction cannot be used", why=why) from None
        if not fits or reduction.kind not in ("pca", "bands", "none"):
            raise ModelError("the stored band reduction cannot be used", why="its numbers do not fit one another")
        return reduction


def fit_reduction(pixels: NDArray[Any], *, kind: Kind = "pca", components: int | None = None, whiten: bool = False,
                  scale: Scale = "together", chosen: Sequence[int] | None = None,
                  fitted_on: FittedOn = "training pixels") -> BandReduction:
    """Return the reduction learnt from some pixels, which should be the training ones.

    The sign of a component is such that its largest weight is positive. Scaling each component of PCA does what
    whitening does, but for n instead of n - 1.

    Args:
        pixels: (N, bands) spectra.
        kind: "pca"; "bands" uses the `chosen` ones; "none" uses all.
        components: Of PCA.
        whiten: Make the variance of each component of PCA 1.
        scale: "together": each value has mean 0, and the one that varies most a standard deviation of 1; "each": every
            one has, so that components which are mostly noise weigh as much as the first; "none": as it is.
        chosen: Numbers of the bands that are used, from 0, for "bands".
        fitted_on: Says in reports where `pixels` came from.

    Raises:
        UsageError: an argument that cannot be, or does not go with the kind.
        DataError: pixels that are not finite, a band that is constant, fewer directions than components.
    """
    if pixels.ndim != 2 or 0 in pixels.shape:
        raise UsageError(f"pixels must be (N, bands), got shape {pixels.shape}")
    used = _used(pixels.shape[1], kind, chosen)
    _check_options(pixels.shape[0], len(used), kind, components, whiten, scale, fitted_on)
    mean, low, high = _moments(pixels, used)
    if kind == "pca":
        weight, spread, explained = _principal(pixels, used, mean, int(components or 0), whiten)
        offset = -weight @ mean
    else:
        if scale == "each" and (low == high).any():
            same = [used[place] for place in np.flatnonzero(low == high)]
            raise DataError(f"{len(same)} band(s) have one value in all {len(pixels)} pixels: {shortened(same)}",
                            why="they cannot be standardised", fix="drop them, or scale together")
        spread = np.sqrt(np.diag(_covariance(pixels, used, mean, diagonal=True)))
        weight, offset, explained = np.ones((1, len(used))), np.zeros(len(used)), ()
    if scale != "none":
        unit = spread if scale == "each" else np.full_like(spread, spread.max())
        weight = weight / unit[:, None] if kind == "pca" else weight / unit
        offset, spread = -weight @ mean if kind == "pca" else -weight[0] * mean, spread / unit
    return BandReduction(kind=kind, bands=pixels.shape[1], chosen=used, weight=_tuples(weight.tolist()),
                         offset=_tuples(offset.tolist()), spread=_tuples(spread.tolist()), level=float(mean.mean()),
                         explained=explained, fitted_on=fitted_on, pixels=len(pixels))


def nearest_bands(wavelengths: Sequence[float] | None, wanted: Sequence[float]) -> tuple[int, ...]:
    """Return the bands that lie nearest to some wavelengths, all in nanometres.

    Raises:
        UsageError: the cube's wavelengths are unknown, one is farther from any band than its bands from each other, or
            two have the same band.
    """
    if not wavelengths:
        raise UsageError("bands cannot be chosen by wavelength", why="the cube's are unknown", fix="give their numbers")
    known = np.array(wavelengths)
    gap = np.diff(np.sort(known)).max() if len(known) > 1 else 1.0
    found = []
    for length in wanted:
        band = int(np.argmin(np.abs(known - length)))
        if abs(known[band] - length) > gap or band in found:
            why = f"band {band} is taken" if band in found else f"the cube has {known.min():g} to {known.max():g} nm"
            raise UsageError(f"wavelengths must each have a band of their own, got {length:g} nm", why=why)
        found.append(band)
    return tuple(found)


def _used(bands: int, kind: str, chosen: Sequence[int] | None) -> tuple[int, ...]:
    if (kind == "bands") != (chosen is not None):
        raise UsageError(f"chosen goes with kind bands, got kind {kind!r} and chosen {chosen!r}")
    used = tuple(range(bands)) if chosen is None else tuple(int(band) for band in chosen)
    if not used or len(set(used)) < len(used) or not 0 <= min(used) <= max(used) < bands:
        raise UsageError(f"chosen must be different bands from 0 to {bands - 1}, got {shortened(used) or 'none'}")
    return used


def _check_options(pixels: int, bands: int, kind: str, components: int | None, whiten: bool, scale: str,
                   fitted_on: str) -> None:
    if scale not in ("together", "each", "none"):
        raise UsageError(f"scale must be together, each or none, got {scale!r}")
    if kind not in ("pca", "bands", "none"):
        raise UsageError(f"kind must be pca, bands or none, got {kind!r}")
    if fitted_on not in ("training pixels", "all pixels"):
        raise UsageError(f"fitted_on must be training pixels or all pixels, got {fitted_on!r}")
    if kind != "pca":
        if components is not None or whiten:
            raise UsageError(f"components and whiten go with kind pca, got kind {kind!r}")
    elif components is None or not 1 <= components <= bands:
        raise UsageError(f"components must be from 1 to the number of bands, {bands}, got {components}")
    elif components >= pixels:
        raise DataError(f"components must be below the number of pixels it is fitted on, {pixels}, got {components}",
                        fix="take fewer components, or a larger training part")


def _moments(pixels: NDArray[Any], used: Sequence[int]) -> tuple[Numbers, Numbers, Numbers]:
    """Return mean, least and greatest value of each band that is used."""
    total, bad = np.zeros(len(used)), 0
    low, high = np.full(len(used), np.inf), np.full(len(used), -np.inf)
    for rows in row_blocks(pixels, block_bytes=BLOCK_BYTES):
        block = pixels[rows][:, _slice(used)].astype(np.float64)
        bad += int((~np.isfinite(block)).any(axis=1).sum())
        total += block.sum(axis=0)
        low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
    if bad:
        raise DataError(f"{bad} of {len(pixels)} pixels hold NaN or infinity",
                        fix="leave pixels without data out of the training part")
    return total / len(pixels), low, high


def _covariance(pixels: NDArray[Any], used: Sequence[int], mean: Numbers, *, diagonal: bool = False) -> Numbers:
    """Return the covariance, n in the denominator; of each band with itself alone if asked, which is quicker."""
    total = np.zeros((len(used), len(used)))
    for rows in row_blocks(pixels, block_bytes=BLOCK_BYTES):
        block = pixels[rows][:, _slice(used)] - mean
        total += np.diag((block ** 2).sum(axis=0)) if diagonal else block.T @ block
    return total / len(pixels)


def _principal(pixels: NDArray[Any], used: Sequence[int], mean: Numbers, components: int, whiten: bool
               ) -> tuple[Numbers, Numbers, tuple[float, ...]]:
    """Return the weights of the components, their spread (n in the denominator) and their share of the variance."""
    variance, vectors = np.linalg.eigh(_covariance(pixels, used, mean))
    variance, axes = np.maximum(variance[::-1], 0), vectors.T[::-1]
    rank = int((variance > variance[0] * len(used) * np.finfo(np.float64).eps).sum())
    if components > rank:
        raise DataError(f"components must be at most {rank}, got {components}",
                        why=f"the {len(pixels)} pixels vary in {rank} direction(s) only", fix="take fewer components")
    axes, kept = axes[:components], variance[:components]
    largest = axes[np.arange(components), np.abs(axes).argmax(axis=1)]
    axes = axes * np.sign(largest)[:, None]
    spread = np.sqrt(kept)
    if whiten:
        scale = np.sqrt(kept * len(pixels) / (len(pixels) - 1))
        axes, spread = axes / scale[:, None], spread / scale
    return axes, spread, tuple((kept / variance.sum()).tolist())


def _slice(used: Sequence[int]) -> slice | list[int]:
    """Return an index of these bands, which makes no copy where they are neighbours."""
    first, last = used[0], used[-1]
    return slice(first, last + 1) if list(used) == list(range(first, last + 1)) else list(used)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(part) for part in value) if isinstance(value, list | tuple) else value
