"""A bundle's network at work on explanations: Grad-CAM or occlusion of a batch, and what checks a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from excite.deploy.bundle import WEIGHTS, BundleInfo
from excite.errors import UsageError
from excite.explain.deletion import Deletion, deletion, usual_cells
from excite.explain.gradcam import enlarged, gradcam
from excite.explain.occlusion import occlusion, own_mean, usual_window
from excite.explain.quick import ordered, quickened
from excite.explain.randomised import PARTS, Randomisation, randomisation
from excite.explain.taps import Usual, find_layer, usual_layers
from excite.jobs.explain.answers import Answer, Choice
from excite.jobs.explain.found import Found, Method, refuse_difference
from excite.jobs.export import rebuild

Floats = NDArray[np.float32]


class Explainer:
    """Explains prepared inputs.

    Args:
        info: Of the bundle.
        folder: Of the bundle.
        answer: What is explained.
        example: A prepared input, (C, *S).
        method: "gradcam" or "occlusion".
        layer: Of Grad-CAM; None: the last maps before the pooling.

    Raises:
        ModelError: the network cannot be built. UsageError: no such method or layer.
    """

    def __init__(self, info: BundleInfo, folder: Path, answer: Answer, example: Floats, *, method: Method = "gradcam",
                 layer: str | None = None) -> None:
        if method not in ("gradcam", "occlusion"):
            raise UsageError(f"method must be gradcam or occlusion, got {method!r}")
        self.answer, self.method, self.views = answer, method, 2 if info.views == "flip" and example.ndim == 3 else 1
        self.model = rebuild(info, folder / WEIGHTS).requires_grad_(False)
        one = torch.from_numpy(example)[None]
        if layer is not None:
            find_layer(self.model, layer)
        self.layers, self.note = Usual([layer]) if layer is not None else usual_layers(self.model, one)
        self.sliced = bool(getattr(self.model, "slices", False))
        self._quick: nn.Module | None = None

    def quick(self, images: Tensor) -> nn.Module:
        """Return the network's fast twin."""
        if self._quick is None:
            self._quick = quickened(self.model, images, layers=self.layers)
        return self._quick

    def __call__(self, images: Floats, clinical: Floats | None = None) -> list[Found]:
        """Return what is explained of each sample, and where.

        Shape:
            images (N, C, *S), clinical (N, F)
        """
        tensor = torch.from_numpy(np.ascontiguousarray(images))
        model = self.quick(tensor)
        if self.method == "gradcam":
            maps, choices, _ = self._cam(model, tensor, _tensors(clinical))
            return [Found(choice=one, maps=each) for one, each in zip(choices, maps, strict=True)]
        choices = self.answer.choose(self.outputs(model, tensor, _tensors(clinical)))
        return [Found(choice=one, maps=self._hidden(model, tensor[place], _row(clinical, place), one))
                for place, one in enumerate(choices)]

    def of_choice(self, image: Floats, choice: Choice) -> Found:
        """Return where one sample (C, *S) has what speaks for a choice that was made elsewhere."""
        tensor = torch.from_numpy(image)[None]
        model = self.quick(tensor)
        if self.method == "occlusion":
            return Found(choice=choice, maps=self._hidden(model, tensor[0], None, choice))
        maps, _, _ = self._cam(model, tensor, (), [choice])
        return Found(choice=choice, maps=maps[0])

    def outputs(self, model: nn.Module, images: Tensor, more: Sequence[Tensor] = ()) -> Tensor:
        """Return the outputs of each view, (V, N, K, ...)."""
        with torch.no_grad():
            found: Tensor = model(*self._seen(images, more))
        return torch.unflatten(found, 0, (self.views, -1))

    def agree(self, images: Floats, shipped: Floats, clinical: Floats | None = None) -> None:
        """Raise where the network does not give what the bundle's ONNX file gives.

        Args:
            shipped: Outputs of the bundle for the images.

        Raises:
            ModelError: they differ by more than rounding.
        """
        tensor = torch.from_numpy(np.ascontiguousarray(images))
        with torch.no_grad():
            found = self.quick(tensor)(ordered(self.model, tensor), *_tensors(clinical)).numpy()
        refuse_difference(found, shipped)

    def randomisation(self, image: Floats, found: Found, clinical: Floats | None = None) -> Randomisation:
        """Return how alike a picture is to those of networks with random weights."""
        tensor = torch.from_numpy(image)[None]

        def picture(model: nn.Module) -> Floats:
            if self.method == "occlusion":
                return self._hidden(model, tensor[0], clinical, found.choice)
            maps, _, _ = self._cam(model, tensor, _tensors(clinical), [found.choice])
            return np.asarray(maps[0], np.float32)

        return randomisation(found.maps, picture, self.model, tensor, *_tensors(clinical),
                             parts=0 if self.method == "occlusion" else PARTS[image.ndim - 1])

    def deletion(self, image: Floats, found: Found, clinical: Floats | None = None, *,
                 inside: NDArray[np.bool_] | None = None) -> Deletion:
        """Return the deletion curve of a picture."""
        tensor = torch.from_numpy(image)
        model = self.quick(tensor[None])
        cells = usual_cells(image.shape[1:])
        large = enlarged(torch.from_numpy(found.maps), image.shape[1:]).numpy()
        return deletion(self._value(model, found.choice, clinical), tensor, large, cells=cells, inside=inside,
                        fill=own_mean(tensor))

    def _cam(self, model: nn.Module, images: Tensor, more: Sequence[Tensor], chosen: list[Choice] | None = None
             ) -> tuple[Floats, list[Choice], Tensor]:
        choices = chosen or []

        def score(outputs: Tensor) -> Tensor:
            nonlocal choices
            choices = choices or self.answer.choose(torch.unflatten(outputs.detach(), 0, (self.views, -1)))
            return self.answer.score(choices, self.views)(outputs)

        made = gradcam(model, *self._seen(images, more), score=score, layers=self.layers,
                       slices=images.shape[2] if self.sliced else None)
        parts = [torch.unflatten(one, 0, (self.views * len(images), -1)) for one in made.maps]  # of trunks
        views = torch.unflatten(torch.cat(parts, dim=1), 0, (self.views, -1))
        maps = views[0] if self.views == 1 else (views[0] + views[1].flip(-1)) / 2
        return maps.numpy(), choices, made.outputs

    def _hidden(self, model: nn.Module, image: Tensor, clinical: Floats | None, choice: Choice) -> Floats:
        """Return what occlusion finds, of each map of a patient where the network has trunks."""
        value, window = self._value(model, choice, clinical), usual_window(image.shape[1:])
        channels: Sequence[int | None] = range(len(image)) if hasattr(model, "trunks") else [None]
        falls = [occlusion(value, image, window=window, channel=one, fill=own_mean(image)) for one in channels]
        return torch.stack(falls).clamp(min=0).float().numpy()

    def _value(self, model: nn.Module, choice: Choice, clinical: Floats | None) -> Any:
        worth = self.answer.worth(choice)
        return lambda inputs: worth(model(ordered(self.model, inputs),
                                          *(one.expand(len(inputs), -1) for one in _tensors(clinical))))

    def _seen(self, images: Tensor, more: Sequence[Tensor]) -> list[Tensor]:
        views = images if self.views == 1 else torch.cat((images, images.flip(-1)))
        return [ordered(self.model, views), *more]


def _tensors(clinical: Floats | None) -> list[Tensor]:
    return [] if clinical is None else [torch.from_numpy(np.ascontiguousarray(clinical))]


def _row(clinical: Floats | None, place: int) -> Floats | None:
    return None if clinical is None else clinical[place:place + 1]
