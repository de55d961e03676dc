"""First weights, as most of the networks' reference code has them."""

from torch import nn

from excite.layers.conv import ConvNormAct


def kaiming_fan_out(module: nn.Module) -> None:
    """Give the convolutions before a norm normal weights of std sqrt(2 / (kernel size * out channels)).

    The groups of a convolution do not enter, so a depth-wise one starts small: so it is in the published code, and
    the norm that follows takes the size out. Attention keeps its own first weights.

    Source: He et al., arXiv:1502.01852, eq. 14 (outgoing connections).
    """
    for layer in module.modules():
        if isinstance(layer, ConvNormAct):
            nn.init.kaiming_normal_(layer.conv.get_parameter("weight"), mode="fan_out", nonlinearity="relu")
