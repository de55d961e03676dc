"""From a decoded image to the network's input: the one piece of code that training, prediction and export share.

Points are (x, y), y down. Matrices hold for pixel centres at whole numbers, as OpenCV counts; inside this file
geometry is composed in edge coordinates, where pixel i covers i..i+1, so that centres stay centres under scaling.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from excite.data.augment import Augmentation
from excite.data.sections import PreprocessSection
from excite.errors import DataError, ModelError, UsageError

DEPTHS = ("uint8", "uint16", "float32")
TAILS = (0.1, 99.9)  # percentiles of an image that count as its ends
KEYS = ("mode", "size", "resize", "channels", "mean", "std", "value_range", "depth")


class Preprocess:
    """Store, render, normalise.

    `store` brings an image down to about 8/7 of the input, once, before the cache. `render` moves it into the input
    with one warp, augmented or not. `normalise` makes floats. Calling the object does all three.

    letterbox: the image fills the input along one axis, the rest is black, half of it on either side. crop: the short
    side becomes `resize`, then the centre is cut out; the geometry and the pixels are torchvision's Resize +
    CenterCrop; for square inputs only.

    Args:
        section: Mode, sizes, channels, mean and std. With one channel, three means (or stds) are averaged.
        value_range: The values that become 0 and 1 before mean and std; what lies beyond runs on, it is not cut.
        depth: The only depth that is let in; None: uint8 where value_range is (0, 255), any otherwise.

    Raises:
        UsageError: sizes, mean, std or range that cannot be.
    """

    def __init__(self, section: PreprocessSection, *, value_range: tuple[float, float] = (0.0, 255.0),
                 depth: str | None = None) -> None:
        self.section = section
        self.height, self.width = section.shape
        self.channels, self.longest = section.channels, max(section.shape)
        self.resize = section.resize or ceil(self.longest * 8 / 7)  # of the stored box's longer side, or the short side
        self.low, self.high = float(value_range[0]), float(value_range[1])
        self.depth = depth or ("uint8" if (self.low, self.high) == (0.0, 255.0) else None)
        self.mean, self.std = _values("mean", section.mean, self.channels), _values("std", section.std, self.channels)
        self._check()
        scale = 1.0 / ((self.high - self.low) * np.array(self.std))
        offset = (-self.low / (self.high - self.low) - np.array(self.mean)) / np.array(self.std)
        self._scale, self._offset = scale.astype(np.float32), offset.astype(np.float32)
        self._row = np.tile(self._scale, self.width), np.tile(self._offset, self.width)  # of pixels, channels last

    def __call__(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """Return (C, H, W) in its own depth as the network's input (channels, height, width), as training sees it."""
        stored = self.store(image)
        rendered = np.empty((1, self.height, self.width, stored.shape[2]), stored.dtype)
        self.render(stored, out=rendered[0])
        return np.ascontiguousarray(self.normalise(rendered)[0].transpose(2, 0, 1))

    @property
    def stored_key(self) -> str:
        """Return what the stored pixels depend on, for the key of a cache."""
        box = {} if self.height == self.width else {"box": [self.height, self.width]}
        return json.dumps({"store": 1, "mode": self.section.mode, "resize": self.resize,
                           "grey": self.channels == 1, **box}, sort_keys=True)

    def stored_shape(self, shape: Sequence[int]) -> tuple[int, int]:
        """Return the height and width of the stored form of an image of (..., H, W)."""
        height, width = int(shape[-2]), int(shape[-1])
        if self.section.mode == "crop":  # as torchvision rounds: down
            short = min(height, width)
            return int(self.resize * height / short), int(self.resize * width / short)
        ratio = self._fitting((height, width), times=self.resize)
        if ratio >= 1:
            return height, width
        return max(1, round(height * ratio)), max(1, round(width * ratio))

    def store(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return (C, H, W) as (h, w, C) in its own depth, aspect kept, no larger than the input needs.

        Shrinking is Pillow's bilinear filter, which widens with the factor and so does not alias; it is what
        torchvision's Resize does, so that mode crop gives the same pixels (8 bit: bit-equal). A letterbox never
        enlarges here: the warp does it. Colour becomes grey (ITU-R 601-2 luma) where the network has one channel.

        Raises:
            DataError: not 1 or 3 channels, or another depth than uint8, uint16 and float32.
        """
        if image.ndim != 3 or image.shape[0] not in (1, 3) or 0 in image.shape or image.dtype.name not in DEPTHS:
            raise DataError(f"a picture must be (1 or 3, H, W) of {', '.join(DEPTHS)}, got {image.shape} of "
                            f"{image.dtype}", fix="convert it, or leave it out of the table")
        pixels = np.ascontiguousarray(image.transpose(1, 2, 0))
        if self.channels == 1 and pixels.shape[2] == 3:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., np.newaxis]
        height, width = self.stored_shape(image.shape)
        if (height, width) == pixels.shape[:2]:
            return pixels.copy()
        return _resize(pixels, height, width)

    def fit(self, stored: Iterable[NDArray[Any]]) -> "Preprocess":
        """Return this preprocessing with the value range of the training images.

        8 bit: always 0..255. uint16 and float32: every image has two ends, its 0.1 and 99.9 percentile (a few dead
        or hot pixels must not decide); the range is from the median of the low ends to the median of the high ends.

        Raises:
            DataError: no image, two depths, or values that are not finite.
        """
        ends, depth = [], ""
        for place, pixels in enumerate(stored):
            if depth and pixels.dtype.name != depth:
                raise mixed_depths({depth: "training image 1", pixels.dtype.name: f"training image {place + 1}"})
            depth = pixels.dtype.name
            if depth != "uint8":
                ends.append(np.percentile(pixels, TAILS))
        if not depth:
            raise DataError("the training part has no image", fix="check the split")
        if depth == "uint8":
            return Preprocess(self.section)
        low, high = (float(end) for end in np.median(np.array(ends), axis=0))
        if not np.isfinite([low, high]).all():
            raise DataError("training images have values that are not finite", fix="excite check names the files")
        return Preprocess(self.section, value_range=(low, high if high > low else low + 1.0), depth=depth)

    def matrix(self, shape: Sequence[int], augmentation: Augmentation | None = None) -> NDArray[np.float64]:
        """Return the (2, 3) map from pixels of a stored (h, w, ...) image to pixels of the input."""
        across, down, left, top = self._placed(shape)
        change = augmentation.affine if augmentation is not None else None
        if change is None:
            rows = [[across, 0.0, left], [0.0, down, top]]
        else:
            x, y = self.width / 2, self.height / 2
            rows = [[a * across, b * down, a * (left - x) + b * (top - y) + (half + moved * half * 2)]
                    for (a, b, moved), half in zip(change, (x, y), strict=True)]
        for row in rows:  # from edges to centres, see above
            row[2] += 0.5 * (row[0] + row[1]) - 0.5
        return np.array(rows)

    def inverse(self, shape: Sequence[int]) -> NDArray[np.float64]:
        """Return the (2, 3) map from pixels of the input back to pixels of an original image of (..., H, W)."""
        height, width = self.stored_shape(shape)
        across, down, left, top = self._placed((height, width))
        a, d = shape[-1] / width / across, shape[-2] / height / down
        return np.array([[a, 0.0, a * (0.5 - left) - 0.5], [0.0, d, d * (0.5 - top) - 0.5]])

    def render(self, stored: NDArray[Any], *, out: NDArray[Any], augmentation: Augmentation | None = None) -> None:
        """Write a stored (h, w, C) image into the input `out`, contiguous (height, width, C or 3), of the same depth.

        One bilinear warp. Around the image it is black: 0, or the low end of the value range for deeper images; an
        enlarged image fades into it over half a pixel. Tones change after the warp, so that the black around the
        image and the black in it stay one.
        """
        grey = stored.shape[2] == 1
        spread = grey and out.shape[2] == 3
        target = np.empty(out.shape[:2], out.dtype) if spread else out.reshape(out.shape[:2]) if grey else out
        black = 0.0 if stored.dtype == np.uint8 else self.low
        cv2.warpAffine(stored, self.matrix(stored.shape, augmentation), (self.width, self.height), dst=target,
                       flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(black, black, black))
        if augmentation is not None and augmentation.changes_tones:
            self._tone(target, augmentation)
        if spread:
            cv2.cvtColor(target, cv2.COLOR_GRAY2RGB, dst=out)

    def normalise(self, batch: NDArray[Any], *, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Return rendered images (N, H, W, C) as (N, H, W, channels): the range to 0..1, then mean and std.

        Raises:
            DataError: the depth is not the one that the range was learnt on.
        """
        if self.depth is not None and batch.dtype.name != self.depth:
            raise DataError(f"the images are {batch.dtype.name}, the preprocessing was fitted on {self.depth}",
                            fix=f"convert them to {self.depth}, or train on {batch.dtype.name} images")
        shape = (len(batch), self.height, self.width, self.channels)
        out = np.empty(shape, np.float32) if out is None else out
        for image, floats in zip(batch, out, strict=True):  # an image at a time: it stays in the processor's cache
            if image.shape[2] == self.channels:
                rows = floats.reshape(self.height, -1)
                np.multiply(image.reshape(self.height, -1), self._row[0], out=rows)
                np.add(rows, self._row[1], out=rows)
            else:  # grey to three channels; the same two operations, so the same bits
                cv2.merge([image[..., 0] * scale + offset
                           for scale, offset in zip(self._scale, self._offset, strict=True)], dst=floats)
        return out

    def to_json(self) -> dict[str, Any]:
        """Return everything that decides the input, for a bundle."""
        return {"mode": self.section.mode, "size": _plain(self.section.shape), "resize": self.resize,
                "channels": self.channels, "mean": list(self.mean), "std": list(self.std),
                "value_range": [self.low, self.high], "depth": self.depth}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Preprocess":
        """Return the preprocessing of a bundle, bit-equal to the one that was saved.

        Raises:
            ModelError: keys are missing or unknown, or values cannot be.
        """
        if set(values) != set(KEYS):
            differ = ", ".join(sorted(set(values) ^ set(KEYS)))
            raise ModelError(f"the bundle's preprocessing has missing or unknown keys: {differ}",
                             fix="export the bundle again with this version of excite")
        rest = {key: value for key, value in values.items() if key not in ("value_range", "depth")}
        try:
            return cls(PreprocessSection(**rest), value_range=tuple(values["value_range"]), depth=values["depth"])
        except (ValueError, TypeError) as fault:
            raise ModelError("the bundle's preprocessing cannot be used", why=" ".join(str(fault).split())) from None

    def _check(self) -> None:
        if self.section.mode == "crop" and self.height != self.width:
            raise UsageError(f"preprocess.size must be one number in mode crop, got {list(self.section.shape)}",
                             fix="use mode letterbox, or a square input")
        if self.resize < self.longest:
            raise UsageError(f"preprocess.resize must be at least size ({self.longest}), got {self.resize}",
                             fix="raise it, or leave it out")
        if self.section.mode == "letterbox" and self.resize > 2 * self.longest:
            raise UsageError(f"preprocess.resize must be at most twice the size ({self.longest}), got {self.resize}",
                             why="one bilinear warp aliases beyond that", fix="lower it, or leave it out")
        if not self.high > self.low or not np.isfinite([self.low, self.high]).all():
            raise UsageError(f"value_range must be two rising numbers, got ({self.low}, {self.high})")
        if min(self.std) <= 0:
            raise UsageError(f"preprocess.std must be above 0, got {self.std}")
        if self.depth is not None and self.depth not in DEPTHS:
            raise UsageError(f"depth must be one of {', '.join(DEPTHS)}, got {self.depth!r}")

    def _placed(self, shape: Sequence[int]) -> tuple[float, float, int, int]:
        """Return where a stored image lies in the input: magnification across and down, left and top edge."""
        height, width = shape[0], shape[1]
        if self.section.mode == "crop":  # whole pixels, as torchvision rounds the centre
            return 1.0, 1.0, -round((width - self.width) / 2), -round((height - self.height) / 2)
        ratio = self._fitting(shape)  # whole pixels at a whole place: what fits already stays sharp
        across, down = max(1, round(width * ratio)), max(1, round(height * ratio))
        return across / width, down / height, (self.width - across) // 2, (self.height - down) // 2

    def _fitting(self, shape: Sequence[int], *, times: int | None = None) -> float:
        """Return the magnification at which an image of (h, w, ...) fills a box along one axis.

        The box is the input, or the input with its longer side enlarged to `times`.
        """
        longer = times or self.longest
        return min(longer * side / self.longest / given
                   for side, given in zip((self.height, self.width), shape, strict=False))

    def _tone(self, target: NDArray[Any], augmentation: Augmentation) -> None:
        if target.dtype == np.uint8:
            cv2.LUT(target, augmentation.table(), dst=target)
            return
        span = self.high - self.low
        values = augmentation.curve((target.astype(np.float64) - self.low) / span) * span + self.low
        if target.dtype == np.uint16:
            np.clip(np.rint(values, out=values), 0, 65535, out=values)
        target[...] = values


def _plain(shape: tuple[int, int]) -> int | list[int]:
    """Return a height and width as a config writes them: one number where they are the same."""
    return shape[0] if shape[0] == shape[1] else list(shape)


def mixed_depths(examples: Mapping[str, str]) -> DataError:
    """Return the error about images of several depths; `examples` are one image of each."""
    shown = ", ".join(f"{name} is {depth}" for depth, name in examples.items())
    return DataError("the images have several depths, which share no range of values", why=shown,
                     fix="convert all to one depth, or make a table for each")


def _values(name: str, values: Sequence[float], channels: int) -> tuple[float, ...]:
    if channels == 1 and len(values) == 3:
        return (sum(values) / 3,)
    if len(values) != channels:
        raise UsageError(f"preprocess.{name} must have {channels} numbers, one a channel, got {len(values)}",
                         fix=f"set preprocess.{name}")
    return tuple(float(value) for value in values)


def _resize(pixels: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Return (H, W, C) at another size by Pillow's bilinear filter, 8 bit as such, deeper ones through float32."""
    if pixels.dtype == np.uint8:
        picture = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
        return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR)).reshape(height, width, -1)
    planes = [np.asarray(Image.fromarray(pixels[..., channel].astype(np.float32))
                         .resize((width, height), Image.Resampling.BILINEAR)) for channel in range(pixels.shape[2])]
    resized = np.stack(planes, axis=2)
    return resized if pixels.dtype == np.float32 else np.rint(resized).astype(pixels.dtype)
