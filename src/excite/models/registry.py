"""The networks that `create_model` can name: backbones, which get a classifier, and whole networks, which get none."""

from collections.abc import Callable

from torch import nn

from excite.models.backbone import Backbone
from excite.registry import Registry

BACKBONES: Registry[Callable[..., Backbone]] = Registry("model", group="excite.models")
# build(in_channels, *, num_classes, dims, attention, **options), with defaults of its own for the first two; what it
# returns has load(source), which create_model calls with `weights`.
NETWORKS: Registry[Callable[..., nn.Module]] = Registry("model", group="excite.networks")
