"""Networks whose gates are known: planted factors, and a class that one gate alone carries."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from excite.attention.se import SqueezeExcitation
from excite.layers.conv import ConvNormAct


def planted(biases: Sequence[float], slopes: Sequence[float] | None = None) -> SqueezeExcitation:
    """Return a gate that for a map of means m gives sigmoid(bias + slope * relu(m of channel 0))."""
    gate = SqueezeExcitation(len(biases), reduction=len(biases))
    with torch.no_grad():
        gate.squeeze.weight.zero_()
        gate.squeeze.weight[0, 0] = 1
        gate.squeeze.bias.zero_()
        gate.excite.weight.copy_(torch.tensor(list(slopes or [0.0] * len(biases))).view(-1, 1, 1, 1))
        gate.excite.bias.copy_(torch.tensor(list(biases)))
    return gate


class Planted(nn.Module):
    """conv, norm, gate, conv, mean over space; the first gate's input is the image's mean in every channel."""

    def __init__(self, gate: nn.Module, channels: int = 4, *, act: type[nn.Module] | None = None) -> None:
        super().__init__()
        self.first = ConvNormAct(1, channels, 1, act=act)
        self.gate = gate
        self.last = nn.Conv2d(channels, 3, 3, padding=1, groups=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.gate(self.first(x))).mean((2, 3))
        return y


def of_ones(network: Planted) -> Planted:
    """Let the first layer copy the image into every channel."""
    nn.init.ones_(network.first.conv.weight)
    return network.eval()


class Block(nn.Module):
    """A residual block as other libraries write it, with activations in place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out: Tensor = self.relu(y + x)
        return out


class SmallResNet(nn.Module):
    """A network of nobody's."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.blocks = nn.Sequential(Block(6), Block(6))
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.blocks(self.stem(x)).mean((2, 3)))
        return y
