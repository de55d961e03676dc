"""Predict with a bundle: onnxruntime and numpy, no torch."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from excite.data.preprocess import Preprocess
from excite.data.reading import read
from excite.data.sample import Sample
from excite.deploy.bundle import ONNX, BundleInfo, find_bundle, read_bundle
from excite.deploy.onnx_file import refuse_external_data
from excite.errors import DataError, ExciteError, ModelError, UsageError
from excite.machine import usable_cores
from excite.outcome.decode import decode
from excite.outcome.prediction import ClassPrediction, FailedPrediction

Float = NDArray[np.float32]
Source = str | Path | NDArray[Any]
BATCH = 8  # larger ones are slower an image on a CPU: their activations leave its caches
_DTYPES = (np.uint8, np.uint16, np.float32)


@dataclass(frozen=True, kw_only=True)
class _Ready:
    """An image that is ready for the network, or why it cannot be used."""

    name: str
    image: Float | None = None
    notes: tuple[str, ...] = ()
    error: str | None = None


def load(bundle: str | Path) -> "Predictor":
    """Return a Predictor for a bundle, or for a run folder with a bundle in it."""
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
        self.view = views or self.info.views
        if self.view not in ("one", "flip"):
            raise UsageError(f"views must be one or flip, got {views!r}")
        self.threads = threads or usable_cores()
        self.preprocess = self._preprocess()
        self._session = open_session(self.folder / ONNX, threads=self.threads)
        self._check_network()

    def __call__(self, files_or_arrays: Source | Iterable[Source]) -> list[ClassPrediction | FailedPrediction]:
        """Return a prediction for each file or array, in their order; see `predict`."""
        return list(self.predict(files_or_arrays))

    def predict(self, files_or_arrays: Source | Iterable[Source], *, batch_size: int = BATCH, features: bool = False,
                ) -> Iterator[ClassPrediction | FailedPrediction]:
        """Yield a prediction for each file or array, in their order.

        Files are read and prepared in threads while the network works. One that cannot be used gives a
        FailedPrediction, and the rest is done.

        Args:
            files_or_arrays: Paths, or arrays (H, W), (H, W, 3) or (C, H, W) of uint8, uint16 or float32, on the scale
                of the training images; one alone needs no list.
            features: Add the vector before the last layer, one an image (of the image itself, not its mirror image).
        """
        if batch_size < 1:
            raise UsageError(f"batch_size must be at least 1, got {batch_size}")
        one = isinstance(files_or_arrays, (str, Path, np.ndarray))
        sources: Iterable[Source] = [files_or_arrays] if one else files_or_arrays  # type: ignore[list-item,assignment]
        ready = self._prepared(sources, ahead=2 * batch_size)
        while slots := list(_batch(ready, batch_size)):
            yield from self._decoded(slots, features=features)

    def prepare(self, source: Source, *, index: int = 0) -> tuple[Float, tuple[str, ...]]:
        """Return the network's input (C, S, S) for a file or array, and what its reader had to decide.

        Raises:
            DataError: it cannot be read, or has values that are not finite.
        """
        if isinstance(source, np.ndarray):
            sample = Sample(image=_channels_first(source, index), source=Path(f"array {index}"))
        else:
            sample = read(Path(source))
        if sample.image.dtype.kind == "f" and not np.isfinite(sample.image).all():
            raise DataError("the image has values that are not finite", where=sample.source,
                            why="NaN or infinity", fix="repair it, or leave it out")
        return self.preprocess(sample.image), sample.notes

    def logits(self, images: Float) -> tuple[Float, Float]:
        """Return the network's outputs and features for prepared images.

        Shape:
            (N, C, S, S) float32 -> (N, K) and (N, F).
        """
        try:
            logits, features = self._session.run(["logits", "features"], {self._input: images})
        except Exception as fault:  # onnxruntime's own kinds share no base class
            raise ModelError("the network cannot be run", where=self.folder / ONNX, why=_first_line(fault),
                             fix=f"images must be float32 of shape (N, {', '.join(map(str, self._shape))}), got "
                                 f"{images.dtype} {images.shape}") from None
        return logits, features

    def views(self, images: Float) -> Float:
        """Return the outputs for each view of the images.

        Shape:
            (N, C, S, S) -> (V, N, K); V is 2 where the mirror image is looked at too.
        """
        return self._looked(images)[0]

    def _looked(self, images: Float) -> tuple[Float, Float]:
        logits, features = self.logits(images)
        if self.view == "one":
            return logits[None], features
        mirrored, _ = self.logits(np.ascontiguousarray(images[..., ::-1]))
        return np.stack([logits, mirrored]), features

    def _decoded(self, slots: Sequence[_Ready], *, features: bool) -> Iterator[ClassPrediction | FailedPrediction]:
        images = [slot.image for slot in slots if slot.image is not None]
        if images:
            views, vectors = self._looked(np.stack(images))
            finite = np.asarray(np.isfinite(views).all(axis=(0, 2)) & np.isfinite(vectors).all(axis=1))
            safe = np.where(finite[None, :, None], views, 0)
            chances = decode(safe, classes=self.info.classes, temperature=self.info.temperature)
        row = -1
        for slot in slots:
            if slot.image is None:
                yield FailedPrediction(file=slot.name, error=slot.error or "")
                continue
            row += 1
            if not finite[row]:
                yield FailedPrediction(file=slot.name, error=f"{slot.name}: the network's outputs are not finite "
                                       "(NaN or infinity); look at the image, and export the model again")
                continue
            best = int(chances[row].argmax())
            yield ClassPrediction(
                file=slot.name, label=self.info.classes[best],
                probabilities=dict(zip(self.info.classes, map(float, chances[row]), strict=True)),
                features=vectors[row].copy() if features else None, notes=slot.notes)

    def _prepared(self, sources: Iterable[Source], *, ahead: int) -> Iterator[_Ready]:
        """Yield what `prepare` makes of each source, in order, at most `ahead` of them waiting."""
        waiting: deque[Future[_Ready]] = deque()
        numbered = enumerate(sources)
        with ThreadPoolExecutor(self.threads, thread_name_prefix="excite-read") as pool:
            try:
                for index, source in numbered:
                    waiting.append(pool.submit(self._ready, index, source))
                    if len(waiting) > ahead:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _ready(self, index: int, source: Source) -> _Ready:
        name = f"array {index}" if isinstance(source, np.ndarray) else str(source)
        try:
            image, notes = self.prepare(source, index=index)
        except ExciteError as fault:
            return _Ready(name=name, error=fault.message() if fault.where else f"{name}: {fault.message()}")
        except Exception as fault:  # a decoder's own kind: this file is reported, the others are done
            return _Ready(name=name, error=f"{name}: cannot be used ({type(fault).__name__}: {_first_line(fault)})")
        return _Ready(name=name, image=image, notes=notes)

    def _preprocess(self) -> Preprocess:
        try:
            return Preprocess.from_json(self.info.preprocess)
        except (ExciteError, KeyError, TypeError, ValueError) as fault:
            raise ModelError("the bundle's preprocessing cannot be used", where=self.folder / "bundle.json",
                             why=_first_line(fault), fix="export the bundle again with this version") from None

    def _check_network(self) -> None:
        """Raise where the network's inputs and outputs are not those that bundle.json promises."""
        inputs, outputs = self._session.get_inputs(), {one.name: one for one in self._session.get_outputs()}
        section = self.info.preprocess
        faults = []
        if len(inputs) != 1 or not {"logits", "features"} <= outputs.keys():
            faults.append(f"it has {len(inputs)} inputs and the outputs {', '.join(outputs)}; one input and the "
                          "outputs logits and features are needed")
        else:
            self._input, self._shape = inputs[0].name, tuple(inputs[0].shape[1:])
            classes = outputs["logits"].shape[-1]
            if classes != len(self.info.classes):
                faults.append(f"it has {classes} outputs, bundle.json names {len(self.info.classes)} classes")
            wanted = tuple(section.get(key) for key in ("channels", "size", "size"))
            if None not in wanted and self._shape != wanted:
                faults.append(f"it takes images of shape {self._shape}, the preprocessing makes {wanted}")
        if faults:
            raise ModelError(f"the network does not fit the bundle: {'; '.join(faults)}", where=self.folder / ONNX,
                             fix="export the bundle again")


def open_session(file: Path, *, threads: int) -> onnxruntime.InferenceSession:
    """Return an onnxruntime session on the CPU for a model in one file.

    Raises:
        ModelError: the file is missing, no ONNX model, keeps values in other files, or cannot be run here.
    """
    try:
        content = file.read_bytes()
    except OSError as fault:
        raise ModelError("the model cannot be read", where=file, why=fault.strerror or str(fault)) from None
    refuse_external_data(content, where=file)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    # Threads that wait between two operators spin for 50 us and then sleep: one image takes 2.2 to 2.8 ms, asleep at
    # once 3.3 to 3.9 ms, and spinning on takes the cores from the threads that read the next files.
    options.add_session_config_entry("session.intra_op.spin_duration_us", "50")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as fault:  # onnxruntime's own kinds share no base class
        raise ModelError("this is no ONNX model that onnxruntime can run", where=file, why=_first_line(fault),
                         fix="copy or export the bundle again") from None


def _channels_first(image: NDArray[Any], index: int) -> NDArray[Any]:
    """Return (C, H, W) for an array in one of the three forms.

    Raises:
        DataError: another form or depth, or one that can be read in two ways.
    """
    where, allowed = f"array {index}", "(H, W), (H, W, 3) or (C, H, W) with C 1 or 3"
    if image.dtype not in _DTYPES:
        raise DataError(f"an array must be uint8, uint16 or float32, got {image.dtype}", where=where,
                        fix="convert it to the depth of the training images")
    if image.ndim == 2 and image.size:
        return image[None]
    if image.ndim != 3 or not image.size:
        raise DataError(f"an array must have the shape {allowed}, got {image.shape}", where=where)
    first, last = image.shape[0] in (1, 3), image.shape[-1] == 3
    if first and last:
        raise DataError(f"an array of shape {image.shape} can be read in two ways", where=where,
                        fix="give it as (H, W), or with sizes other than 1 and 3")
    if not first and not last:
        raise DataError(f"an array must have the shape {allowed}, got {image.shape}", where=where)
    return image if first else np.ascontiguousarray(np.moveaxis(image, -1, 0))


def _batch(ready: Iterator[_Ready], size: int) -> Iterator[_Ready]:
    """Yield from `ready` until `size` images that can be used have come."""
    good = 0
    for slot in islice(ready, None):
        yield slot
        good += slot.image is not None
        if good == size:
            return


def _first_line(fault: Exception) -> str:
    return " ".join(str(fault).split())[:200]
