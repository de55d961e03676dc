"""Weights of a classifier for an encoder: strict, and with a stem for grey images that knows no normalisation.

A stem trained on colours c normalised by mean m and std s computes, where its kernel lies inside the image,

    sum_c W_c * (x_c - m_c) / s_c  =  sum_c (W_c / s_c) * x_c  -  sum_c sum(W_c) m_c / s_c

so kernels W_c / s_c take images in [0, 1], and the constant goes into the running mean of the norm that follows. That
is exact in eval mode but for the outermost places, whose kernels see the zeros beyond the border: those were the mean
colour, and are black now. A grey image has the same x in every channel: the sum of the kernels answers to it exactly,
their mean with a third, which running statistics measured in colour do not fit.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from excite.errors import UsageError
from excite.layers.conv import ConvNormAct
from excite.layers.options import check_choice
from excite.weights.adapt import adapt_channels
from excite.weights.catalog import IMAGENET
from excite.weights.intake import read_safetensors
from excite.weights.load import LoadReport, load_weights
from excite.weights.store import is_path

GreyStem = Literal["mean", "sum"]
Normalisation = Literal["outside", "folded"]
NORMALISED: dict[str, Any] = {name: IMAGENET[name] for name in ("mean", "std")}


@dataclass(frozen=True, kw_only=True)
class EncoderWeights:
    """How weights of a classifier come into an encoder.

    Args:
        name: What create_model calls the encoder's classifier; tags and foreign key names need it.
        grey: How a stem for another number of channels is made: "sum", exact on grey images, or "mean", a third.
        normalisation: "outside": images are normalised before the network; "folded": they are in [0, 1], and
            ImageNet's mean and std go into the stem.

    Raises:
        UsageError: a word is none of these.
    """

    name: str | None = None
    grey: GreyStem = "sum"
    normalisation: Normalisation = "outside"

    def __post_init__(self) -> None:
        check_choice("grey_stem", self.grey, GreyStem, fix="'sum' answers to a grey image as the colours did")
        check_choice("normalisation", self.normalisation, Normalisation)


class _Held(nn.Module):
    """An encoder under the names of a classifier's state dict."""

    def __init__(self, encoder: nn.Module, name: str | None) -> None:
        super().__init__()
        self.backbone, self.name = encoder, name


def load_network(network: nn.Module, source: str | Path | Mapping[str, Tensor], how: EncoderWeights) -> LoadReport:
    """Load a whole network's weights where `source` has them, else the whole encoder's.

    Args:
        network: One with an `encoder`.
        source: What `load_weights` takes.
        how: For the encoder's.

    Raises:
        ModelError: they do not fit as a whole. EnvironmentFault: they are not at hand.
    """
    keys = source if isinstance(source, Mapping) else \
        read_safetensors(Path(source).expanduser()) if is_path(source) and Path(source).expanduser().is_file() else {}
    if any(key.startswith("encoder.") for key in keys):
        return _told(load_weights(network, source, layout="excite", name=how.name))
    return load_encoder(network.get_submodule("encoder"), source, how)


def load_encoder(encoder: nn.Module, source: str | Path | Mapping[str, Tensor], how: EncoderWeights) -> LoadReport:
    """Load all of a classifier's features into `encoder`.

    Raises:
        ModelError: they are not all there, or do not fit. EnvironmentFault: they are not at hand.
        UsageError: the normalisation cannot be folded into this stem.
    """
    if how.normalisation == "outside":
        return _told(load_weights(_Held(encoder, how.name), source, part="features", channels=how.grey))
    twin = deepcopy(encoder)
    place, stem = _first(twin)
    channels = _weight(stem).shape[1]
    _put_kernel(stem, torch.empty_like(_weight(stem)[:, :1]).repeat_interleave(3, dim=1))
    report = load_weights(_Held(twin, how.name), source, part="features")
    _replace(twin, place, fold_normalisation(stem, channels=channels, mode=how.grey, **NORMALISED))
    encoder.load_state_dict(twin.state_dict())
    note = f"ImageNet's mean and std folded into a stem for {channels} channel{'s' if channels > 1 else ''}"
    return _told(replace(report, notes=(*report.notes, note + (f" ({how.grey})" if channels == 1 else ""))))


def fold_normalisation(stem: ConvNormAct, *, mean: Sequence[float], std: Sequence[float], channels: int = 1,
                       mode: GreyStem = "sum") -> ConvNormAct:
    """Return a stem for images in [0, 1] from one for normalised images; exact in eval mode, borders aside.

    Args:
        stem: Convolution, batch normalisation, activation; it is not changed.
        mean: Of each channel that the stem was trained with.
        std: Of each.
        channels: Of the new stem: 1, grey, or as many as the old one has.
        mode: For grey: "sum", which answers as the old stem to the same grey in all channels, or "mean", which
            answers with a third of it before the norm (of three channels).

    Raises:
        UsageError: the numbers do not fit, or the stem has no running mean to take the constant.
    """
    kernel, norm = _weight(stem).detach(), stem.norm
    old = kernel.shape[1]
    check_choice("mode", mode, GreyStem)
    if len(mean) != old or len(std) != old or any(one <= 0 for one in std):
        raise UsageError(f"mean and std must be {old} numbers each, std above 0, got {mean!r} and {std!r}")
    if channels not in (1, old):
        raise UsageError(f"channels must be 1 or {old}, got {channels!r}", fix="normalise outside the network")
    if not isinstance(norm, _BatchNorm) or norm.running_mean is None:
        raise UsageError("a normalisation folds into a stem with batch normalisation only",
                         why="the constant goes into its running mean", fix="normalise outside the network")
    shape = (1, old, *[1] * (kernel.ndim - 2))
    wide = kernel.double() / torch.tensor(std, dtype=torch.float64).view(shape)
    constant = (wide * torch.tensor(mean, dtype=torch.float64).view(shape)).flatten(1).sum(1)
    made = deepcopy(stem)
    if channels != old:
        wide = adapt_channels(wide, 1, mode=mode)
        constant = constant / (old if mode == "mean" else 1)
    _put_kernel(made, wide.to(kernel.dtype))
    moved = made.norm.get_buffer("running_mean")
    moved.add_(constant.to(moved.dtype))
    return made


def _first(encoder: nn.Module) -> tuple[str, ConvNormAct]:
    return next((name, layer) for name, layer in encoder.named_modules() if isinstance(layer, ConvNormAct))


def _weight(brick: ConvNormAct) -> Tensor:
    return brick.conv.get_parameter("weight")


def _put_kernel(brick: ConvNormAct, kernel: Tensor) -> None:
    """Give a brick a kernel for another number of channels."""
    old = brick.conv.get_parameter("weight")
    brick.conv.weight = nn.Parameter(kernel.detach().clone(), requires_grad=old.requires_grad)
    brick.conv.in_channels = kernel.shape[1]  # type: ignore[assignment]


def _replace(network: nn.Module, place: str, layer: nn.Module) -> None:
    parent, _, name = place.rpartition(".")
    setattr(network.get_submodule(parent), name, layer)


def _told(report: LoadReport) -> LoadReport:
    """Return the report without its words on a classifier, which there is none of."""
    return replace(report, notes=tuple(one for one in report.notes if not one.startswith("the classifier")))
