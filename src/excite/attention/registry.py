"""The attentions that an AttentionPlan can name."""

from torch import nn

from excite.registry import Registry

ATTENTION: Registry[type[nn.Module]] = Registry("attention", group="excite.attention")
