"""A backbone with a classifier on top, and the one function that builds any network by name."""

import warnings
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

import excite.models.aspp_se_unet
import excite.models.backbone_unet
import excite.models.cbam_resnet
import excite.models.hybridsn
import excite.models.inception
import excite.models.mobilenet_v1
import excite.models.mobilenet_v2
import excite.models.mobilenet_v2_aspp_se_unet
import excite.models.mobilenet_v2_se
import excite.models.mobilenet_v3
import excite.models.modality_fusion
import excite.models.resnet
import excite.models.resnet_cifar
import excite.models.resnext
import excite.models.senet
import excite.models.shufflenet_v1
import excite.models.shufflenet_v2  # noqa: F401
from excite.attention.plan import AttentionPlan
from excite.errors import UsageError
from excite.layers.norm import group_norms
from excite.layers.options import check_options
from excite.layers.pool import GlobalMean
from excite.models.backbone import Backbone
from excite.models.groups import Freezable
from excite.models.registry import BACKBONES, NETWORKS
from excite.models.unet import UNet
from excite.registry import nearest

Weights = str | Path | Mapping[str, Tensor] | None
MOST_CLASSES = 10_000_000
Attention = AttentionPlan | str | None
Segmentation = Literal["aspp_se_unet", "mobilenet_v2_aspp_se_unet", "unet"]


class Classifier(Freezable):
    """Backbone, mean over space, its embedding, dropout, one linear layer (weights of std 0.01 at first).

    Args:
        backbone: The network below.
        num_classes: Length of the logits.
        dropout: Rate before the linear layer.
        name: What `create_model` calls the backbone; key maps and catalog need it.

    Shape:
        (N, C, *S) -> logits (N, num_classes).

    Raises:
        UsageError: `num_classes` is below 1, or `dropout` is not in [0, 1).
    """

    def __init__(self, backbone: Backbone, *, num_classes: int, dropout: float, name: str | None = None) -> None:
        super().__init__()
        if type(num_classes) is not int or not 1 <= num_classes <= MOST_CLASSES:
            raise UsageError(f"num_classes must be a whole number of at least 1, got {num_classes!r}")
        if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
            raise UsageError(f"dropout must be at least 0 and below 1, got {dropout!r}")
        self.name = name
        self.backbone, self.channels_last = backbone, backbone.channels_last
        self.pool = GlobalMean(dims=backbone.dims)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(backbone.embedding_channels, num_classes)
        nn.init.normal_(self.classifier.weight, 0.0, 0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return one vector an image, (N, embedding_channels)."""
        y: Tensor = self.backbone.embedding(self.pool(self.backbone(x)))
        return y

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        y: Tensor = self.classifier(self.dropout(self.forward_features(x)))
        return y


@overload
def create_model(name: Segmentation, *, dims: int = 2, in_channels: int | None = None, num_classes: int | None = None,
                 attention: Attention = None, weights: Weights = None,
                 **options: Any) -> UNet: ...


@overload
def create_model(name: str, *, dims: int = 2, in_channels: int | None = None, num_classes: int | None = None,
                 attention: Attention = None, weights: Weights = None, **options: Any) -> Classifier: ...


def create_model(name: str, *, dims: int = 2, in_channels: int | None = None, num_classes: int | None = None,
                 attention: Attention = None, weights: Weights = None, **options: Any) -> nn.Module:
    """Return a classification network, or one that draws masks.

    Args:
        name: One of `list_models()`.
        dims: 2 for images, 3 for volumes.
        in_channels: Channels of the input; 3 unless told otherwise, 1 of the networks that draw masks.
        num_classes: Length of the logits, 1000 unless told otherwise; or masks, 1 unless told otherwise.
        attention: What attention, where, as a plan or as its line of text ("se@2,3:position=pre"); it takes the place
            of the network's own (SE in the se_ networks and MobileNetV3), which None leaves. Blocks that cannot have it
            are named in a warning and by `model.backbone.refused()`.
        weights: What `load_weights` takes: a catalog tag, a file, a state dict; None or "none" for random values. A
            network that draws masks takes those of its encoder's classifier, or its own. What of a load makes other
            outputs than the source's is warned of; `load_weights` returns the whole report.
        options: Of this network (`width=0.5`); `dropout` before the classifier; `norm`, "batch" or "group", which a
            batch of one can train.

    Raises:
        UsageError: a name, option or value is wrong; the nearest right one is named.
        ModelError: the weights do not fit. EnvironmentFault: they are not at hand.
    """
    if type(dims) is not int or dims not in (2, 3):
        raise UsageError(f"dims must be 2 (images) or 3 (volumes), got {dims!r}")
    if name in NETWORKS:
        given = {"in_channels": in_channels, "num_classes": num_classes}
        return _network(name, {key: value for key, value in given.items() if value is not None}, dims=dims,
                        attention=attention, weights=weights, options=options)
    if name not in BACKBONES:
        known = list_models()
        raise UsageError(f"unknown model {name!r}", fix=f"{nearest(str(name), known)}known: {', '.join(known)}")
    build = BACKBONES[name]
    dropout, norm = options.pop("dropout", None), options.pop("norm", "batch")
    check_options(f"network {name!r}", build, options, fixed=("in_channels", "dims", "attention"),
                  also=("dropout", "norm"))
    _check_norm(norm)
    plan = AttentionPlan.parse(attention) if isinstance(attention, str) else attention
    backbone = build(3 if in_channels is None else in_channels, dims=dims, attention=plan, **options)
    if plan is not None:
        _tell_refused(name, backbone)
    model = Classifier(backbone, num_classes=1000 if num_classes is None else num_classes,
                       dropout=backbone.dropout if dropout is None else dropout, name=name)
    if norm == "group":
        group_norms(model)
    if weights not in (None, "none"):
        from excite.weights.load import load_weights

        for caution in load_weights(model, weights).cautions:
            warnings.warn(f"{name}: {caution}", stacklevel=2)
    return model


def own_attention(name: str, **options: Any) -> AttentionPlan | None:
    """Return the attention that a network has of its own, whose place another plan takes; None where it has none."""
    if name not in BACKBONES:
        return None
    for extra in ("dropout", "norm"):
        options.pop(extra, None)
    with torch.device("meta"):
        return BACKBONES[name](**options).plan


def list_models(pattern: str = "*") -> list[str]:
    """Return the names of the networks that match `pattern`, with * and ?."""
    return [name for name in sorted({*BACKBONES, *NETWORKS}) if fnmatchcase(name, pattern)]


def _network(name: str, given: Mapping[str, int], *, dims: int, attention: Attention, weights: Weights,
             options: dict[str, Any]) -> nn.Module:
    """Return a whole network, its weights loaded by its own rule."""
    build, norm = NETWORKS[name], options.pop("norm", "batch")
    check_options(f"network {name!r}", build, options, fixed=("in_channels", "num_classes", "dims", "attention"),
                  also=("norm",))
    _check_norm(norm)
    plan = AttentionPlan.parse(attention) if isinstance(attention, str) else attention
    model = build(**given, dims=dims, attention=plan, **options)
    if norm == "group":
        group_norms(model)
    if weights not in (None, "none"):
        for caution in model.load(weights).cautions:  # type: ignore[operator]
            warnings.warn(f"{name}: {caution}", stacklevel=3)
    return model


def _check_norm(norm: object) -> None:
    if norm not in ("batch", "group"):
        raise UsageError(f"norm must be 'batch' or 'group', got {norm!r}", fix="'group' trains with a batch of one")


def _tell_refused(name: str, backbone: Backbone) -> None:
    """Warn of the blocks that do not get the planned attention; raise where none gets it."""
    refused, given = backbone.refused(), len(backbone.attended())
    if not given:
        raise UsageError(f"{name}: no block of the planned stages can have this attention",
                         why=refused[0] if refused else "it has no residual blocks there",
                         fix="choose another position or other stages")
    if refused:
        shown = "; ".join(refused[:3]) + (" ..." if len(refused) > 3 else "")
        warnings.warn(f"{name}: attention in {given} of {given + len(refused)} blocks, {len(refused)} do not get it: "
                      f"{shown}", stacklevel=3)
