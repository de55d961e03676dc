"""Predict with a bundle: onnxruntime and numpy, no torch."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from functools import cached_property, partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.data.preprocess import Preprocess
from excite.deploy.bundle import ONNX, BundleInfo, find_bundle, read_bundle
from excite.deploy.decoding import decoder_of
from excite.deploy.intake import Intake, Ready, Source, Spacing, batches, check_spacing
from excite.deploy.session import first_line, open_session
from excite.deploy.workers import in_order
from excite.errors import ExciteError, ModelError, UsageError
from excite.machine import usable_cores
from excite.outcome.anything import Prediction
from excite.outcome.maps import mirrored_back
from excite.outcome.prediction import FailedPrediction

Float = NDArray[np.float32]
Job = Callable[[], Ready]
BATCH = 8       # larger ones are slower an image on a CPU: their activations leave its caches
MASK_BATCH = 1  # activations at full size leave them at two


def load(bundle: str | Path) -> Any:
    """Return what predicts with a bundle, or with a run folder that has a bundle in it.

    It is a Predictor for images: `load(run)(["new.png"])` gives a prediction each. For patients' maps it is a
    VolumePredictor: `load(run)([{"t1": "a/t1.nii.gz", "age": 54}])` likewise, of each patient what is known. For label
    volumes it is a VolumeMaskPredictor: `load(run)({"scan": "a.nii.gz"})` gives that scan's labels on its own grid.

    Raises:
        ModelError: the bundle is damaged, or for scenes, which `excite predict` maps.
    """
    task = read_bundle(find_bundle(Path(bundle)), verify=False).task
    if task == "volumes":
        from excite.deploy.volume_predictor import VolumePredictor

        return VolumePredictor(bundle)
    if task == "volume_masks":
        from excite.deploy.volume_mask_predictor import VolumeMaskPredictor

        return VolumeMaskPredictor(bundle)
    return Predictor(bundle)


class Predictor:
    """A bundle at work.

    Args:
        bundle: A bundle folder, or a run folder with a bundle in it.
        threads: CPU threads; all usable cores otherwise.
        views: "one" or "flip" in place of the bundle's own.

    Raises:
        ModelError: the bundle is damaged, or its network does not fit what bundle.json says.
    """

    def __init__(self, bundle: str | Path, *, threads: int | None = None, views: str | None = None) -> None:
        if threads is not None and threads < 1:
            raise UsageError(f"threads must be at least 1, got {threads}")
        self.folder = find_bundle(Path(bundle))
        self.info: BundleInfo = read_bundle(self.folder)
        if self.info.task == "scene":
            raise ModelError("the bundle is for hyperspectral scenes, not for images", where=self.folder,
                             fix="excite predict BUNDLE CUBE; its numbers are in its card and the run's report")
        self.view = views or self.info.views
        if self.view not in ("one", "flip"):
            raise UsageError(f"views must be one or flip, got {views!r}")
        self.threads = threads or usable_cores()
        self.preprocess = self._preprocess()
        self.intake = Intake(self.preprocess)
        self._decoder = decoder_of(self.info, self.preprocess, view=self.view)
        self._outputs = ["logits"] if self.info.of_masks else ["logits", "features"]
        self._session = open_session(self.folder / ONNX, threads=self.threads)
        self._check_network()

    def __call__(self, files_or_arrays: Source | Iterable[Source], *, spacings: Sequence[Spacing] | None = None
                 ) -> list[Prediction]:
        """Return a prediction for each file or array, in their order; see `predict`."""
        return list(self.predict(files_or_arrays, spacings=spacings))

    def predict(self, files_or_arrays: Source | Iterable[Source], *, batch_size: int | None = None,
                features: bool = False, spacings: Sequence[Spacing] | None = None, spacing: Spacing = None,
                maps: bool = False) -> Iterator[Prediction]:
        """Yield a prediction for each file or array, in their order.

        Files are read and prepared in threads while the network works. One that cannot be used gives a
        FailedPrediction, and the rest is done.

        Networks for masks take one image at a time; of several images each thread does one, from its file to its
        millimetres, with at most two more than threads in memory. The number of threads changes results by no more
        than the rounding of float32 sums.

        Args:
            files_or_arrays: Paths, or arrays (H, W), (H, W, 3) or (C, H, W) of uint8, uint16 or float32, on the scale
                of the training images; one alone needs no list.
            batch_size: Images that the network takes at once; None: what is fastest, 8 for classes and 1 for masks.
            features: Add the vector before the last layer, one an image (of the image itself, not its mirror image).
            spacings: Millimetres a pixel of each image, down and to the right or one number for both; None for one
                that is not known here: the file's own counts.
            spacing: The same for every image of which neither its file nor `spacings` says anything.
            maps: Add probabilities at the original image's pixels.

        Raises:
            UsageError: there are spacings and not one a source, or features are asked of a network for masks.
        """
        if batch_size is not None and batch_size < 1:
            raise UsageError(f"batch_size must be at least 1, got {batch_size}")
        if (features and self.info.of_masks) or (maps and not self.info.of_masks):
            raise UsageError(f"a network for {self.info.task} has no {'features' if features else 'maps'}")
        if spacing is not None:
            check_spacing(spacing)
        one = isinstance(files_or_arrays, (str, Path, np.ndarray))
        sources: Iterable[Source] = [files_or_arrays] if one else files_or_arrays  # type: ignore[list-item,assignment]
        size = batch_size or (MASK_BATCH if self.info.of_masks else BATCH)
        several, jobs = _several(self.intake.jobs(sources, spacings, otherwise=spacing))
        if self.info.of_masks and several and size == 1 and self.threads > 1:
            whole = (partial(self._alone._whole, job, maps=maps) for job in jobs)
            yield from in_order(whole, threads=self.threads, ahead=self.threads + 1)
            return
        for slots in batches(in_order(jobs, threads=self.threads, ahead=2 * size), size):
            yield from self._decoded(slots, features=features, maps=maps)

    def prepare(self, source: Source, *, index: int = 0) -> tuple[Float, tuple[str, ...]]:
        """Return the network's input (C, H, W) for a file or array, and what its reader had to decide.

        Raises:
            DataError: it cannot be read, or has values that are not finite.
        """
        ready = self.intake.take(source, index=index)
        assert ready.image is not None
        return ready.image, ready.notes

    def logits(self, images: Float) -> tuple[Float, Float]:
        """Return the network's outputs for prepared images, and their features; a network for masks has none.

        Shape:
            (N, C, H, W) float32 -> (N, K) and (N, F); for masks (N, K, H, W) and (N, 0).
        """
        try:
            found: list[Float] = self._session.run(self._outputs, {self._input: images})
        except Exception as fault:  # onnxruntime's own kinds share no base class
            raise ModelError("the network cannot be run", where=self.folder / ONNX, why=first_line(fault),
                             fix=f"images must be float32 of shape (N, {', '.join(map(str, self._shape))}), got "
                                 f"{images.dtype} {images.shape}") from None
        if self.info.of_masks and found[0].shape[2:] != images.shape[2:]:
            raise ModelError(f"the network's maps must have the images' size {images.shape[2:]}, got "
                             f"{found[0].shape[2:]}", where=self.folder / ONNX, fix="export the bundle again")
        return found[0], found[1] if len(found) > 1 else np.zeros((len(images), 0), np.float32)

    def views(self, images: Float) -> Float:
        """Return the outputs for each view of the images; maps of a mirror image are mirrored back.

        Shape:
            (N, C, H, W) -> (V, N, K) or (V, N, K, H, W); V is 2 where the mirror image is looked at too.
        """
        return self._looked(images)[0]

    def _looked(self, images: Float) -> tuple[Float, Float]:
        logits, features = self.logits(images)
        if self.view == "one":
            return logits[None], features
        mirrored, _ = self.logits(np.ascontiguousarray(images[..., ::-1]))
        return np.stack([logits, mirrored_back(mirrored) if self.info.of_masks else mirrored]), features

    def _decoded(self, slots: Sequence[Ready], *, features: bool, maps: bool) -> Iterator[Prediction]:
        usable = [slot for slot in slots if slot.image is not None]
        views, vectors = np.zeros((1, 0), np.float32), np.zeros((0, 0), np.float32)
        sound = np.zeros(0, np.bool_)
        if usable:
            views, vectors = self._looked(np.stack([slot.image for slot in usable if slot.image is not None]))
            sound = np.array([np.isfinite(views[:, row]).all() and np.isfinite(vectors[row]).all()
                              for row in range(len(usable))])
        good = [slot for slot, fine in zip(usable, sound, strict=True) if fine]
        found = self._decoder.decode(good, views[:, sound], vectors[sound] if features else None, maps=maps)
        told = iter(sound)
        for slot in slots:
            if slot.image is None:
                yield FailedPrediction(file=slot.name, error=slot.error or "")
            elif next(told):
                yield next(found)
            else:
                yield FailedPrediction(file=slot.name, error=f"{slot.name}: the network's outputs are not finite "
                                       "(NaN or infinity); look at the image, and export the model again")

    @cached_property
    def _alone(self) -> "Predictor":
        """Return this predictor with one thread for its network, which several threads may run at once."""
        if read_bundle(self.folder).sha256[ONNX] != self.info.sha256[ONNX]:
            raise ModelError("the network was replaced while it was in use", where=self.folder / ONNX,
                             fix="load the bundle again")
        alone = copy(self)
        alone.threads, alone._session = 1, open_session(self.folder / ONNX, threads=1)
        return alone

    def _whole(self, job: Job, *, maps: bool) -> Prediction:
        [found] = self._decoded([job()], features=False, maps=maps)
        return found

    def _preprocess(self) -> Preprocess:
        try:
            return Preprocess.from_json(self.info.preprocess)
        except (ExciteError, KeyError, TypeError, ValueError) as fault:
            raise ModelError("the bundle's preprocessing cannot be used", where=self.folder / "bundle.json",
                             why=first_line(fault), fix="export the bundle again with this version") from None

    def _check_network(self) -> None:
        """Raise where the network's inputs and outputs are not those that bundle.json promises."""
        inputs, outputs = self._session.get_inputs(), {one.name: one for one in self._session.get_outputs()}
        faults = []
        if len(inputs) != 1 or not outputs.keys() >= set(self._outputs):
            faults.append(f"it has {len(inputs)} inputs and the outputs {', '.join(outputs)}; one input and the "
                          f"outputs {' and '.join(self._outputs)} are needed")
        else:
            self._input, self._shape = inputs[0].name, tuple(inputs[0].shape[1:])
            classes, axes = outputs["logits"].shape[1:2], len(outputs["logits"].shape)
            if axes != (4 if self.info.of_masks else 2):
                faults.append(f"its outputs are {'classes' if axes == 2 else 'maps'}, bundle.json says "
                              f"{self.info.task}")
            elif classes[0] != len(self.info.classes):
                faults.append(f"it has {classes[0]} outputs, bundle.json names {len(self.info.classes)} classes")
            wanted = (self.preprocess.channels, self.preprocess.height, self.preprocess.width)
            if len(self._shape) != 3 or any(isinstance(a, int) and a != b
                                            for a, b in zip(self._shape, wanted, strict=True)):
                faults.append(f"it takes images of shape {self._shape}, the preprocessing makes {wanted}")
        if faults:
            raise ModelError(f"the network does not fit the bundle: {'; '.join(faults)}", where=self.folder / ONNX,
                             fix="export the bundle again")


def _several(jobs: Iterator[Job]) -> tuple[bool, Iterator[Job]]:
    """Return whether there are two or more, and all of them."""
    first = list(islice(jobs, 2))
    return len(first) > 1, chain(first, jobs)
