"""From a network's outputs to what is said of each image, by the kind of work that the bundle is for."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from excite.data.preprocess import Preprocess
from excite.deploy.bundle import BundleInfo
from excite.deploy.intake import Ready
from excite.deploy.measuring import head_in, spread_mm
from excite.metrics.biometry import measure
from excite.metrics.conformal import HeadInterval
from excite.outcome.anything import Prediction
from excite.outcome.decode import decode, softmax
from excite.outcome.heads import HeadPrediction
from excite.outcome.maps import Place, cut_of, sigmoid, to_original, unseen_note
from excite.outcome.masks import Area, MaskPrediction, area_of
from excite.outcome.prediction import ClassPrediction

SPACING = "spacing, mm"  # of the data that a bundle was trained on
FAR_OFF = 3.0             # times smaller or larger than any pixel of the training
Float = NDArray[np.float32]


class Decoder(Protocol):
    """Reads the outputs of one kind of network."""

    def decode(self, ready: Sequence[Ready], views: Float, features: Float | None, *, maps: bool
               ) -> Iterator[Prediction]:
        """Yield what is said of each image.

        Args:
            ready: The images, all usable.
            views: Outputs, finite; those of a mirror image lie on the image.
            features: The vector of each image, where it was asked for.
            maps: Add probability maps.

        Shape:
            views (V, N, K) or (V, N, K, h, w)
        """


def decoder_of(info: BundleInfo, preprocess: Preprocess, *, view: str) -> Decoder:
    """Return what reads the outputs of a bundle's network.

    Args:
        view: "one" or "flip": what of each image the network looks at.
    """
    if info.task == "classification":
        return Classes(info)
    return Heads(info, preprocess, view=view) if info.task == "heads" else Masks(info, preprocess)


class Classes:
    """One class an image."""

    def __init__(self, info: BundleInfo) -> None:
        self.classes, self.temperature = info.classes, info.temperature

    def decode(self, ready: Sequence[Ready], views: Float, features: Float | None, *, maps: bool
               ) -> Iterator[ClassPrediction]:
        """Yield the probabilities of the classes, the mean over the views."""
        chances = decode(views, classes=self.classes, temperature=self.temperature)
        for row, slot in enumerate(ready):
            yield ClassPrediction(
                file=slot.name, label=self.classes[int(chances[row].argmax())], notes=slot.notes,
                probabilities=dict(zip(self.classes, map(float, chances[row]), strict=True)),
                features=None if features is None else features[row].copy())


class Heads:
    """An ellipse an image, in millimetres where the size of a pixel is known."""

    def __init__(self, info: BundleInfo, preprocess: Preprocess, *, view: str) -> None:
        self.level, self.preprocess = info.level, preprocess
        interval = HeadInterval.from_json(info.interval) if info.interval else None
        self.lacks = () if interval is None or view == info.views else (
            f"no interval is stated: the bundle's was fitted with views={info.views}, this is views={view}",)
        self.interval = None if self.lacks else interval  # the spread is another one with other views
        self.trained = spacings_of(info)

    def decode(self, ready: Sequence[Ready], views: Float, features: Float | None, *, maps: bool
               ) -> Iterator[HeadPrediction]:
        """Yield the ellipse of the mean of the views."""
        for row, slot in enumerate(ready):
            yield self._one(slot, views[:, row, 0], maps=maps)

    def _one(self, slot: Ready, views: Float, *, maps: bool) -> HeadPrediction:
        mean, place = views.mean(axis=0), Place(self.preprocess.inverse(slot.shape), slot.shape)
        logits = to_original(mean[None], place)[0]
        found = head_in(logits, level=self.level)
        notes = [*slot.notes, *unseen_note(place, mean.shape), *found.notes]
        hc = bpd = ofd = spread = None
        if slot.spacing is None:
            notes.append("no pixel spacing is known, so nothing is stated in millimetres")
        elif found.ellipse is not None:
            size = measure(found.ellipse, slot.spacing)
            hc, bpd, ofd = size.hc_mm, size.bpd_mm, size.ofd_mm
            notes += [*self.lacks, *_strange(slot.spacing, self.trained)]
            spread = spread_mm(found, size, list(views), mean, place, level=self.level, spacing=slot.spacing)
        interval = None if self.interval is None or hc is None or spread is None else self.interval.around(hc, spread)
        return HeadPrediction(file=slot.name, hc_mm=hc, bpd_mm=bpd, ofd_mm=ofd, interval_mm=interval,
                              ellipse=found.ellipse, notes=tuple(notes), spacing_mm=slot.spacing, spread_mm=spread,
                              probabilities=sigmoid(logits) if maps else None)


def spacings_of(info: BundleInfo) -> tuple[float, float] | None:
    """Return the smallest and the largest pixel, in mm, of the images that a bundle was trained on."""
    data = info.provenance.get("data")
    found = data.get(SPACING) if isinstance(data, dict) else None
    return (float(found[0]), float(found[1])) if isinstance(found, list | tuple) and len(found) == 2 else None


def _strange(spacing: tuple[float, ...], trained: tuple[float, float] | None) -> list[str]:
    """Return a note where a pixel is of another order of size than those of the training."""
    if trained is None or all(trained[0] / FAR_OFF <= one <= trained[1] * FAR_OFF for one in spacing):
        return []
    return [f"a pixel of {' x '.join(f'{one:g}' for one in spacing)} mm is far from those of the training, "
            f"{trained[0]:g} to {trained[1]:g} mm: is the number right, and in millimetres?"]


class Masks:
    """Pixels inside and outside, or of one of several classes."""

    def __init__(self, info: BundleInfo, preprocess: Preprocess) -> None:
        self.classes, self.level, self.preprocess = info.classes, info.level, preprocess

    def decode(self, ready: Sequence[Ready], views: Float, features: Float | None, *, maps: bool
               ) -> Iterator[MaskPrediction]:
        """Yield how much is inside by the mean of the views."""
        for row, slot in enumerate(ready):
            yield self._one(slot, views[:, row].mean(axis=0), maps=maps)

    def _one(self, slot: Ready, mean: Float, *, maps: bool) -> MaskPrediction:
        place = Place(self.preprocess.inverse(slot.shape), slot.shape)
        logits = to_original(mean, place)
        whole, of_classes = self._areas(logits, slot)
        notes = [*slot.notes, *unseen_note(place, (mean.shape[1], mean.shape[2]))]
        if not whole.area_px:
            notes.append(f"no pixel reaches {self.level:g}: nothing was found" if len(self.classes) == 1 else
                         f"every pixel is {self.classes[0]}: nothing was found")
        if slot.spacing is None:
            notes.append("no pixel spacing is known, so nothing is stated in millimetres")
        return MaskPrediction(file=slot.name, classes=self.classes, **whole._asdict(), of_classes=of_classes,
                              notes=tuple(notes), probabilities=self._probabilities(logits) if maps else None)

    def _areas(self, logits: Float, slot: Ready) -> tuple[Area, dict[str, Area]]:
        if len(self.classes) == 1:
            return area_of(logits[0] >= cut_of(self.level), slot.spacing), {}
        best = logits.argmax(axis=0)
        return area_of(best > 0, slot.spacing), {
            name: area_of(best == place, slot.spacing) for place, name in enumerate(self.classes) if place}

    def _probabilities(self, logits: Float) -> Float:
        if len(self.classes) == 1:
            return sigmoid(logits[0])
        chances: NDArray[Any] = np.moveaxis(softmax(np.moveaxis(logits, 0, -1)), -1, 0)
        return np.ascontiguousarray(chances, np.float32)
