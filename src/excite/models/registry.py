"""The backbones that `create_model` can name."""

from collections.abc import Callable

from excite.models.backbone import Backbone
from excite.registry import Registry

BACKBONES: Registry[Callable[..., Backbone]] = Registry("model", group="excite.models")
