"""Explain images: an overlay each, at the file's own size. Files are read as prediction reads them."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from excite.data.reading import read
from excite.deploy.intake import Ready, batches
from excite.deploy.runtime import Predictor
from excite.deploy.workers import in_order
from excite.errors import DataError
from excite.jobs.asked import Asked, gather
from excite.jobs.explain.answers import answer_of
from excite.jobs.explain.entry import SHOWN, Checks, Entry, How, checked, layer_told, picture_notes
from excite.jobs.explain.explainer import Explainer
from excite.jobs.explain.found import Found
from excite.jobs.explain.heat import overlaid, placed, unit, write_picture
from excite.jobs.prediction_pictures import names_of
from excite.outcome.maps import Place
from excite.outcome.prediction import FailedPrediction

THUMBNAIL = 420  # pixels of a picture's longer side on the page


def explain_images(bundle: Path, inputs: Sequence[str | Path], out: Path, how: How) -> Iterator[Entry]:
    """Yield an explanation for each image; one that cannot be used is told, and the rest is done.

    Raises:
        ModelError: the bundle cannot be used, or torch and the bundle's ONNX file disagree. UsageError: no such class,
            method or layer. DataError: there is no image.
    """
    images = Images(Predictor(bundle, threads=how.threads), out, how)
    own = out.resolve()  # what an earlier call wrote into a folder that is asked for is no image to explain
    wanted = [one for one in gather(inputs, how.columns)
              if not (isinstance(one, Asked) and one.path.resolve().is_relative_to(own))]
    if not wanted:
        raise DataError("there is no image to explain", where=", ".join(map(str, inputs)))
    yield from images.entries(wanted)


class Images:
    """A bundle at work on images.

    Args:
        predictor: Of the bundle.
        out: Folder of the overlays.
        how: What is asked for.

    Raises:
        ModelError, UsageError: as `explain_images`.
    """

    def __init__(self, predictor: Predictor, out: Path, how: How) -> None:
        self.predictor, self.out, self.how, self.preprocess = predictor, out, how, predictor.preprocess
        self.size = (self.preprocess.height, self.preprocess.width)
        self.explainer = Explainer(predictor.info, predictor.folder, answer_of(predictor.info, how.label),
                                   np.zeros((self.preprocess.channels, *self.size), np.float32), method=how.method,
                                   layer=how.layer)
        self.left, self.agreed = how.checks, False

    def entries(self, wanted: Sequence[Asked | FailedPrediction]) -> Iterator[Entry]:
        """Yield an explanation for each image, in their order."""
        asked = [one for one in wanted if isinstance(one, Asked)]
        names = iter(names_of([one.path for one in asked]))
        threads = self.predictor.threads
        jobs = self.predictor.intake.jobs([one.path for one in asked], None, otherwise=None)
        ready = in_order(jobs, threads=threads, ahead=2 * self.how.batch_size)
        made = self._made(batches(ready, self.how.batch_size), names, asked, threads)
        for one in wanted:
            yield Entry(file=one.file, error=one.error) if isinstance(one, FailedPrediction) else next(made)

    def _made(self, slots: Iterator[list[Ready]], names: Iterator[str | None], asked: Sequence[Asked], threads: int
              ) -> Iterator[Entry]:
        place = 0
        for batch in slots:
            usable = [slot for slot in batch if slot.image is not None]
            found = iter(self._explained(usable))
            jobs = []
            for slot in batch:
                name, path, shown = next(names), asked[place].path, place < SHOWN
                place += 1
                if slot.image is None:
                    jobs.append(partial(Entry, file=slot.name, error=slot.error or ""))
                    continue
                one = next(found)
                jobs.append(partial(self._entry, slot, one, self._checks(slot, one), path,
                                    self.out / f"{name}_{self.how.method}.png", shown))
            yield from in_order(jobs, threads=threads, ahead=len(jobs))

    def _explained(self, usable: Sequence[Ready]) -> list[Found]:
        if not usable:
            return []
        images = np.stack([slot.image for slot in usable if slot.image is not None])
        if not self.agreed:
            self.explainer.agree(images, self.predictor.logits(images)[0])
            self.agreed = True
        return self.explainer(images)

    def _checks(self, slot: Ready, found: Found) -> Checks | None:
        if self.left < 1 or slot.image is None or found.choice.nothing:
            return None
        self.left -= 1
        place = Place(self.preprocess.inverse(slot.shape), slot.shape)
        rows, columns = (np.arange(side) for side in self.size)
        forward = place.inverse
        down = rows * forward[1, 1] + forward[1, 2]
        across = columns * forward[0, 0] + forward[0, 2]
        inside = ((down > -0.5) & (down < slot.shape[0] - 0.5))[:, None] \
            & ((across > -0.5) & (across < slot.shape[1] - 0.5))
        return checked(self.explainer, slot.image, found, inside=inside)

    def _entry(self, slot: Ready, found: Found, checks: Checks | None, path: Path, file: Path, shown: bool) -> Entry:
        """Return the explanation of an image, its overlay written."""
        choice, place = found.choice, Place(self.preprocess.inverse(slot.shape), slot.shape)
        if choice.nothing:
            return Entry(file=slot.name, predicted=choice.predicted, explained=choice.explained,
                         probability=choice.probability, notes=(*slot.notes, choice.nothing))
        picture = self._picture(found, path, place)
        write_picture(file, picture)
        return Entry(file=slot.name, predicted=choice.predicted, explained=choice.explained,
                     probability=choice.probability, layer=layer_told(self.explainer, found), files=[file],
                     checks=checks, notes=(*slot.notes, *picture_notes(self.explainer, found)),
                     picture=_small(picture) if shown else None)

    def _picture(self, found: Found, path: Path, place: Place) -> NDArray[np.uint8]:
        importance = placed(unit(found.maps)[0], place, self.size)
        region = found.choice.region
        outlined = None if region is None else placed(region.astype(np.float32), place, self.size) >= 0.5
        return overlaid(read(path).image, importance, region=outlined,
                        value_range=(self.preprocess.low, self.preprocess.high))


def _small(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = min(1.0, THUMBNAIL / max(picture.shape[:2]))
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
