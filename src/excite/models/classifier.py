"""A backbone with a classifier on top, and the one function that builds any network by name."""

import warnings
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from torch import Tensor, nn

import excite.models.cbam_resnet
import excite.models.inception
import excite.models.mobilenet_v1
import excite.models.mobilenet_v2
import excite.models.mobilenet_v2_se
import excite.models.mobilenet_v3
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
from excite.models.registry import BACKBONES


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
        if not isinstance(num_classes, int) or num_classes < 1:
            raise UsageError(f"num_classes must be a whole number of at least 1, got {num_classes!r}")
        if not 0 <= dropout < 1:
            raise UsageError(f"dropout must be at least 0 and below 1, got {dropout!r}")
        self.name = name
        self.backbone = backbone
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


def create_model(name: str, *, dims: int = 2, in_channels: int = 3, num_classes: int = 1000,
                 attention: AttentionPlan | None = None,
                 weights: str | Path | Mapping[str, Tensor] | None = None, **options: Any) -> Classifier:
    """Return a classification network.

    Args:
        name: One of `list_models()`.
        dims: 2 for images, 3 for volumes.
        in_channels: Channels of the input.
        num_classes: Length of the logits.
        attention: What attention, where; None is the network's own (SE in the se_ networks). Blocks that cannot have
            it are named in a warning and by `model.backbone.refused()`.
        weights: What `load_weights` takes: a catalog tag, a file, a state dict; None for random values.
        options: Of this network (`width=0.5`); `dropout` before the classifier; `norm`, "batch" or "group", which a
            batch of one can train.

    Raises:
        UsageError: a name, option or value is wrong; the nearest right one is named.
        ModelError: the weights do not fit. EnvironmentFault: they are not at hand.
    """
    build = BACKBONES[name]
    dropout, norm = options.pop("dropout", None), options.pop("norm", "batch")
    check_options(f"network {name!r}", build, options, fixed=("in_channels", "dims", "attention"),
                  also=("dropout", "norm"))
    if norm not in ("batch", "group"):
        raise UsageError(f"norm must be 'batch' or 'group', got {norm!r}", fix="'group' trains with a batch of one")
    backbone = build(in_channels, dims=dims, attention=attention, **options)
    if attention is not None:
        _tell_refused(name, backbone)
    model = Classifier(backbone, num_classes=num_classes, dropout=backbone.dropout if dropout is None else dropout,
                       name=name)
    if norm == "group":
        group_norms(model)
    if weights is not None:
        from excite.weights.load import load_weights

        load_weights(model, weights)
    return model


def list_models(pattern: str = "*") -> list[str]:
    """Return the names of the networks that match `pattern`, with * and ?."""
    return [name for name in BACKBONES if fnmatchcase(name, pattern)]


def _tell_refused(name: str, backbone: Backbone) -> None:
    """Warn of the blocks that do not get the planned attention; raise where none gets it."""
    refused, given = backbone.refused(), len(backbone.attended())
    if not given:
        raise UsageError(f"{name}: no block of the planned stages can have this attention",
                         why=refused[0] if refused else "it has no residual blocks there",
                         fix="choose another position or other stages")
    if refused:
        shown = "; ".join(refused[:3]) + (" ..." if len(refused) > 3 else "")
        warnings.warn(f"{name}: {given} blocks get the attention, {len(refused)} do not: {shown}", stacklevel=3)
