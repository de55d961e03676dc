"""What tells two images apart or alike: hashes of bytes and pixels, and near duplicates by local contrast.

A near duplicate is the same frame in another scale, JPEG quality or gain, with a small crop (up to 8 % a side), or with
calipers and text drawn in; a neighbouring frame of the same sweep is one too, another view of the same organ is not.
Measured; tests marked `real` pin it:

- BUSI, 624 images, against the pairs inside its `near_duplicate_group`: precision .98, recall .54 of pairs. The
  reference joins look-alikes on purpose: the pairs found, also the 3 that it lacks, are one frame or neighbouring ones,
  the missed ones that were looked at are other views or other lesions. Few pairs have a likeness from .75 to .85.
- FETAL_PLANES_DB, 309 images of 106 women: all 7 pairs with the same pixels, 4 neighbouring frames of one woman, and no
  pair of two women (the most alike one reaches .76).
- Altered copies of every picture of both sets, found among all: JPEG at 35, 0.6 x the size, gamma 0.6, or caliper lines
  and text: >= 99.8 %; a crop of up to 8 % on each side: 99.5 % (BUSI) and 99.0 %, of 4 to 12 %: 98 % and 43 %, of 18 %
  on one side: 84 % and 9 %.

Not found: a copy that is mirrored, inverted (white for black), turned by 90 degrees, or padded with a wide border.
Where such copies may be in a data set, name the patient or a group.
"""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from excite.data.sample import Sample

SIDE = 48         # of the thumbnail
COARSE = 16       # of the one that finds candidates
BLUR = 1.5        # of that one, sigma in thumbnail pixels: forgives a small shift
MARGIN = 3        # thumbnail pixels left out on each side to find a picture in a larger one
SURROUND = 4.5    # sigma in thumbnail pixels: what is wider than this is layout, not identity
CANDIDATE = 0.20  # coarse correlation from which a pair is aligned
LOOKED_AT = 24    # most alike coarse thumbnails an image
NEIGHBOURS = 3    # of these, most that are aligned; those alike without it come on top
HOPELESS = 0.40   # correlation after three steps of the alignment below which it is given up
NEAR = 0.82       # correlation after alignment from which two images are near duplicates
ALIKE = 0.70      # the same, where no patient is known and merging too much is the safer side
BLOCK = 512
REMEMBERED = 8    # answers: a training asks twice, a study again for each of its trainings
_FOUND: dict[tuple[str, float], list[tuple[int, int, float]]] = {}


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What is kept of one image to compare it with others.

    Args:
        content: sha256 of the file's bytes.
        pixels: sha256 over depth, shape and decoded values; three equal channels count as one.
        thumbnail: (SIDE * SIDE,) local contrast, zero mean and unit norm; all zeros when the image is constant.
        shape: (C, *S) of the image.
        constant: Every pixel has the same value.
        depth: Of the values: uint8, uint16 or float32.
    """

    content: str
    pixels: str
    thumbnail: NDArray[np.float32]
    shape: tuple[int, ...]
    constant: bool
    depth: str


def file_hash(path: Path) -> str:
    """Return the sha256 of the file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(sample: Sample, content: str) -> Fingerprint:
    """Return the fingerprint of `sample`, whose file's sha256 is `content`."""
    image = sample.image
    constant = bool(image.size == 0 or (image == image.flat[0]).all())
    thumbnail = np.zeros(SIDE * SIDE, np.float32) if constant else _local_contrast(_grey(image))
    return Fingerprint(content, _pixel_hash(image), thumbnail, tuple(image.shape), constant, image.dtype.name)


def same_pixels(prints: Sequence[Fingerprint]) -> list[tuple[int, int]]:
    """Return pairs (first, later) of images with the same pixels; constant ones, which say nothing, are left out."""
    first: dict[str, int] = {}
    pairs = [(first.setdefault(print_.pixels, index), index) for index, print_ in enumerate(prints)
             if not print_.constant]
    return [(i, j) for i, j in pairs if i != j]


def near_duplicates(prints: Sequence[Fingerprint], *, least: float = NEAR) -> list[tuple[int, int, float]]:
    """Return pairs (i, j, likeness) of near duplicates, i < j, in order; pairs with the same pixels are among them.

    Two steps: correlation of coarse thumbnails as blockwise matrix products gives each image up to `NEIGHBOURS`
    candidates (those that are alike as they are come on top); these are aligned by an affine map (Evangelidis and
    Psarakis, "Parametric image alignment using enhanced correlation coefficient maximization", TPAMI 2008) and compared
    where they overlap.

    Args:
        prints: One an image.
        least: Likeness, a correlation, from which a pair counts.
    """
    if len(prints) < 2:
        return []
    thumbnails = np.stack([print_.thumbnail for print_ in prints]).astype(np.float32)
    key = hashlib.sha256(thumbnails.data).hexdigest(), least
    if key not in _FOUND:
        while len(_FOUND) >= REMEMBERED:
            _FOUND.pop(next(iter(_FOUND)))
        _FOUND[key] = _near(thumbnails, least)
    return list(_FOUND[key])


def _near(thumbnails: NDArray[np.float32], least: float) -> list[tuple[int, int, float]]:
    plain, unsure = _candidates(thumbnails, least)
    with ThreadPoolExecutor() as pool:
        scores = pool.map(lambda pair: aligned_correlation(thumbnails[pair[0]], thumbnails[pair[1]]), unsure)
        found = [(i, j, score) for (i, j), score in zip(unsure, scores, strict=True) if score >= least]
    return sorted(plain + found)


def aligned_correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return the correlation of two thumbnails after the affine map that aligns them; 0 where none does."""
    a, b = first.reshape(SIDE, SIDE), second.reshape(SIDE, SIDE)
    matrix: Any = np.eye(2, 3, dtype=np.float32)
    everywhere = np.full((SIDE, SIDE), 255, np.uint8)
    for steps, promise in ((3, HOPELESS), (12, 0.0)):  # most pairs are dismissed after a few steps
        stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, steps, 1e-4)
        try:
            score, matrix = cv2.findTransformECC(a, b, matrix, cv2.MOTION_AFFINE, stop, everywhere, 3)
        except cv2.error:  # did not converge: not the same picture
            return 0.0
        if score < promise:
            return 0.0
    inverse = cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(b, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR | inverse)
    inside = cv2.warpAffine(np.ones_like(b), matrix, (SIDE, SIDE), flags=cv2.INTER_NEAREST | inverse) > 0
    if inside.mean() < 0.5:
        return 0.0
    x, y = a[inside] - a[inside].mean(), moved[inside] - moved[inside].mean()
    return float(x @ y / max(float(np.linalg.norm(x) * np.linalg.norm(y)), 1e-12))


def _candidates(thumbnails: NDArray[np.float32], least: float
                ) -> tuple[list[tuple[int, int, float]], list[tuple[int, int]]]:
    """Return pairs that are alike as they are, with their correlation, and pairs that have to be aligned."""
    plain: dict[tuple[int, int], float] = {}
    unsure: set[tuple[int, int]] = set()
    for begin, block in _products(_coarse(thumbnails, 0), _coarse(thumbnails, MARGIN)):
        width = min(LOOKED_AT, block.shape[1])
        best = np.argpartition(-block, width - 1, axis=1)[:, :width]
        ranked = np.take_along_axis(best, np.argsort(-np.take_along_axis(block, best, axis=1), axis=1), axis=1)
        direct = np.einsum("ikp,ip->ik", thumbnails[ranked], thumbnails[begin:begin + len(block)])
        for row, (others, scores) in enumerate(zip(ranked.tolist(), direct.tolist(), strict=True)):
            here, left = begin + row, NEIGHBOURS
            for other, score in zip(others, scores, strict=True):
                pair = (min(here, other), max(here, other))
                if block[row, other] < CANDIDATE:
                    break
                if score >= least:
                    plain[pair] = score
                elif left:
                    unsure.add(pair)
                    left -= 1
    return [(i, j, score) for (i, j), score in plain.items()], sorted(unsure - set(plain))


def _products(whole: NDArray[np.float32], middle: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield (first row, likeness of a block of rows to all rows); an image's likeness to itself is -1.

    The likeness is the largest correlation of two whole pictures or of one with the middle of the other.
    """
    for begin in range(0, len(whole), BLOCK):
        rows = slice(begin, begin + BLOCK)
        block = whole[rows] @ whole.T
        np.maximum(block, whole[rows] @ middle.T, out=block)
        np.maximum(block, middle[rows] @ whole.T, out=block)
        own = np.arange(len(block))
        block[own, begin + own] = -1.0
        yield begin, block


def _coarse(thumbnails: NDArray[np.float32], margin: int) -> NDArray[np.float32]:
    """Return blurred thumbnails of COARSE * COARSE without a margin, zero mean, unit norm; constant ones stay zero."""
    inner = SIDE - 2 * margin
    small = np.empty((len(thumbnails), COARSE * COARSE), np.float32)
    for place, thumbnail in enumerate(thumbnails):
        face = thumbnail.reshape(SIDE, SIDE)[margin:margin + inner, margin:margin + inner]
        blurred = cv2.GaussianBlur(face, (0, 0), BLUR * inner / SIDE)
        small[place] = cv2.resize(blurred, (COARSE, COARSE), interpolation=cv2.INTER_AREA).ravel()
    small -= small.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(small, axis=1, keepdims=True)
    unit: NDArray[np.float32] = small / np.maximum(norms, np.float32(1e-9))
    return unit


def _local_contrast(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the thumbnail of a grey image with values in 0..255: each pixel against its surround, in local deviations.

    Dividing by the local deviation and clipping keeps a bright caliper or the edge of the fan from outweighing tissue.
    """
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    small = small - cv2.GaussianBlur(small, (0, 0), SURROUND)
    deviation = np.sqrt(cv2.GaussianBlur(small * small, (0, 0), 1.5 * SURROUND))
    small = np.clip(small / (deviation + 2.0), -2.0, 2.0)
    small -= small.mean()
    norm = float(np.linalg.norm(small))
    flat: NDArray[np.float32] = (small / norm if norm > 0 else small).astype(np.float32).ravel()
    return flat


def _grey(image: NDArray[Any]) -> NDArray[np.float32]:
    """Return (H, W) in 0..255: the mean of the channels, of a volume the middle slice."""
    plane: NDArray[np.float32] = image.mean(axis=0, dtype=np.float32)
    while plane.ndim > 2:
        plane = plane[plane.shape[0] // 2]
    if image.dtype == np.uint8:
        return plane
    low, high = np.percentile(plane[np.isfinite(plane)], (0.5, 99.5)) if np.isfinite(plane).any() else (0.0, 1.0)
    scaled: NDArray[np.float32] = np.nan_to_num((plane - low) * np.float32(255 / max(float(high - low), 1e-12)))
    return np.clip(scaled, 0, 255).astype(np.float32)


def _pixel_hash(image: NDArray[Any]) -> str:
    if image.shape[0] == 3 and (image[0] == image[1]).all() and (image[0] == image[2]).all():
        image = image[:1]
    digest = hashlib.sha256(f"{image.dtype.str}{image.shape}".encode())
    digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()
