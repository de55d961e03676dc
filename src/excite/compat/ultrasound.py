"""Names of the document on classifying ultrasound planes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset

from excite.data.preprocess import Preprocess
from excite.data.reading import read
from excite.data.sample import Sample
from excite.data.sections import PreprocessSection
from excite.errors import DataError, UsageError
from excite.metrics.classification import measure

Label = TypeVar("Label")
# Resize(256), CenterCrop(224), ImageNet's mean and std.
PUBLISHED = PreprocessSection(mode="crop", size=224, resize=256)


class UltrasoundDataset(Dataset[tuple[Any, Label]]):
    """Images by path, each with its label as it was given.

    Args:
        paths: Image files.
        labels: One an image.
        transform: Called with an 8-bit RGB Pillow image; None: short side to 256, centre of 224, ImageNet's mean and
            std, by the code that all of excite prepares its images with.

    Shape:
        An item is ((3, 224, 224) float32, label) where `transform` is None.

    Raises:
        UsageError: there are not as many labels as paths.
        DataError: on access: the file cannot be read; or it is deeper than 8 bit, which has no fixed range of values.
    """

    def __init__(self, paths: Sequence[str | Path], labels: Sequence[Label],
                 transform: Callable[[Image.Image], Any] | None = None) -> None:
        if len(paths) != len(labels):
            raise UsageError(f"labels must be as many as paths ({len(paths)}), got {len(labels)}",
                             fix="give one label an image")
        self.paths, self.labels, self.transform = [Path(path) for path in paths], labels, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Any, Label]:
        path = self.paths[index]
        return (_prepared(path) if self.transform is None else self.transform(_picture(read(path)))), self.labels[index]


def calculate_metrics(loader: Iterable[tuple[Tensor, Tensor]], model: nn.Module,
                      device: str | torch.device) -> tuple[float, float, float, float]:
    """Return accuracy, precision, recall and F1, the last three weighted by the classes' true counts.

    A class that is never predicted has precision 0. Weighted recall is accuracy; `excite.evaluate` gives the macro
    means, numbers per class and intervals, too.

    Args:
        loader: Batches of images and class indices.
        model: Returns logits; it is on `device`. It is evaluated in eval mode and keeps the mode that it had.
        device: Where the images are sent.

    Raises:
        DataError: there is no image, or a label or an output that cannot be.
    """
    truth, chances = [], []
    with _evaluating(model):
        for images, labels in loader:
            chances.append(_probabilities(model(images.to(device))))
            truth.append(labels.cpu())
    if not truth:
        raise DataError("there is no image to measure", why="the loader is empty")
    probabilities = torch.cat(chances).numpy()
    found = measure(torch.cat(truth).numpy(), probabilities, [str(place) for place in range(probabilities.shape[1])])
    accuracy, precision, recall, f1 = (float(found[name] or 0.0) for name in
                                       ("accuracy", "precision_weighted", "recall_weighted", "f1_weighted"))
    return accuracy, precision, recall, f1


def predict_image(path: str | Path, model: nn.Module, classes: Sequence[Label],
                  device: str | torch.device = "cpu") -> tuple[Label, float]:
    """Return the most probable of `classes` for an image, and its probability.

    Args:
        path: Image file; prepared as UltrasoundDataset does.
        model: Returns logits; it is on `device`. It is evaluated in eval mode and keeps the mode that it had.
        classes: What each logit stands for.
        device: Where the image is sent.

    Raises:
        UsageError: there are not as many classes as logits.
        DataError: the image cannot be read, or the outputs are not finite.
    """
    image = _prepared(Path(path))[None]
    with _evaluating(model):
        chances = _probabilities(model(image.to(device)))[0]
    if len(chances) != len(classes):
        raise UsageError(f"classes must be as many as the network's outputs ({len(chances)}), got {len(classes)}",
                         fix="give the classes that it was trained on, in their order")
    if not bool(chances.isfinite().all()):
        raise DataError("the network's outputs are not finite", where=path, fix="look at the weights and the image")
    best = int(chances.argmax())
    return classes[best], float(chances[best])


def _prepared(path: Path) -> Tensor:
    return torch.from_numpy(Preprocess(PUBLISHED)(read(path).image))


def _picture(sample: Sample) -> Image.Image:
    if sample.image.dtype != np.uint8:
        raise DataError(f"the image is {sample.image.dtype}, a transform takes 8-bit pictures", where=sample.source,
                        fix="convert it to 8 bit")
    pixels = sample.image.transpose(1, 2, 0)
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3))))


def _probabilities(logits: Tensor) -> Tensor:
    return logits.double().softmax(dim=1).cpu()


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Put `model` into eval mode without gradients, and each of its modules back into its own mode after."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
