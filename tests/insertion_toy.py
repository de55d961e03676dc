"""Small residual networks as others write them: what makes insertion hard is in one or the other."""

import torch
from torch import nn

CONV, NORM = {2: nn.Conv2d, 3: nn.Conv3d}, {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def conv(dims, channels, out, kernel=3, stride=1, groups=1):
    return CONV[dims](channels, out, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)


class BasicBlock(nn.Module):
    """torchvision's: activations and the sum in place, a shortcut that may be a convolution."""

    def __init__(self, channels, out, stride=1, dims=2):
        super().__init__()
        self.conv1, self.bn1 = conv(dims, channels, out, stride=stride), NORM[dims](out)
        self.conv2, self.bn2 = conv(dims, out, out), NORM[dims](out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(conv(dims, channels, out, 1, stride), NORM[dims](out))

    def forward(self, x):
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class PreActivation(nn.Module):
    """Norm and activation first; `inplace` is the known trap, hidden in a row: the shortcut sees the activated map."""

    def __init__(self, channels, out, stride=1, dims=2, inplace=False):
        super().__init__()
        self.relu, self.bn1 = nn.ReLU(inplace=inplace), NORM[dims](channels)
        self.enter = nn.Sequential(self.relu, self.bn1) if inplace else None
        self.conv1, self.bn2 = conv(dims, channels, out, stride=stride), NORM[dims](out)
        self.conv2 = conv(dims, out, out)
        self.project = conv(dims, channels, out, 1, stride) if stride != 1 or channels != out else None

    def forward(self, x):
        if self.project is not None:
            x = self.relu(self.bn1(x))
            y = self.conv1(x)
        else:
            y = self.conv1(self.bn1(self.relu(x)) if self.enter is None else self.enter(x))
        y = self.conv2(self.relu(self.bn2(y)))
        return torch.add(y, x if self.project is None else self.project(x))


class Inverted(nn.Module):
    """MobileNetV2's: the whole branch in one nn.Sequential, no sum where the sizes differ."""

    def __init__(self, channels, out, stride=1, dims=2):
        super().__init__()
        wide = 3 * channels
        self.conv = nn.Sequential(
            nn.Sequential(conv(dims, channels, wide, 1), NORM[dims](wide), nn.ReLU6(inplace=True)),
            nn.Sequential(conv(dims, wide, wide, 3, stride, wide), NORM[dims](wide), nn.ReLU6(inplace=True)),
            conv(dims, wide, out, 1), NORM[dims](out))
        self.use_res_connect = stride == 1 and channels == out

    def forward(self, x):
        if self.use_res_connect:
            return x + self.conv(x)
        return self.conv(x)


def drop_path(x, rate, training):
    """Whole branches dropped by chance; asks for the number of axes, so it can only be traced as one step."""
    if rate == 0.0 or not training:
        return x
    kept = x.new_empty(x.shape[0], *[1] * (x.ndim - 1)).bernoulli_(1 - rate)
    return x * kept / (1 - rate)


class Scaled(nn.Module):
    """ConvNeXt's: depthwise convolution, channels last inside, layer scale, drop-path, the stride last."""

    def __init__(self, channels, out, stride=1, dims=2):
        super().__init__()
        self.conv_dw = conv(dims, channels, channels, 5, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.fc1, self.act, self.fc2 = nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)
        self.gamma = nn.Parameter(torch.full((channels, *[1] * dims), 0.3))
        self.down = conv(dims, channels, out, 1, stride) if stride != 1 or channels != out else nn.Identity()
        self.dropout = nn.Dropout(0.2)

    def forward(self, x):
        y = self.conv_dw(x)
        y = y.movedim(1, -1)
        y = self.fc2(self.act(self.fc1(self.norm(y)))).movedim(-1, 1)
        y = self.gamma * y
        y = drop_path(self.dropout(y), 0.5, self.training)
        y += x
        return self.down(y)


class Network(nn.Module):
    """A stem, three stages of two blocks, a classifier."""

    def __init__(self, block=BasicBlock, dims=2, channels=3, **options):
        super().__init__()
        widths = (8, 8, 16, 24)
        self.stem = nn.Sequential(conv(dims, channels, 8, stride=2), NORM[dims](8), nn.ReLU())
        self.stages = nn.ModuleList(
            nn.Sequential(block(before, width, 1 if stage == 0 else 2, dims, **options),
                          block(width, width, 1, dims, **options))
            for stage, (before, width) in enumerate(zip(widths, widths[1:], strict=False)))
        self.fc = nn.Linear(24, 5)

    def forward(self, x):
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.fc(x.flatten(2).mean(2))


class Dense(nn.Module):
    """A concat network's block."""

    def __init__(self, channels, out, stride=1, dims=2):
        super().__init__()
        self.conv = conv(dims, channels, 8)
        self.down = conv(dims, channels + 8, out, 1, stride)

    def forward(self, x):
        return self.down(torch.cat((x, self.conv(x)), dim=1))


class AsksValues(BasicBlock):
    """A block whose way depends on its input's values."""

    def forward(self, x):
        return super().forward(x) if x.sum() > 0 else super().forward(-x)


class LeftOut(BasicBlock):
    """A block with an argument that may be left out, and with an attention of its own."""

    def __init__(self, *given, **named):
        super().__init__(*given, **named)
        self.attention = nn.Identity()

    def forward(self, x, skip=None, times: float = 1.0):
        y = self.attention(self.bn1(self.conv1(x))) * times
        y = self.bn2(self.conv2(y))
        if skip is not None:
            y = y + skip
        return y + (x if self.downsample is None else self.downsample(x))


class Written(nn.Module):
    """A basic block whose forward each test writes: `branch` and `shortcut` are what it may use."""

    def __init__(self, channels, out, stride=1, dims=2):
        super().__init__()
        self.conv1, self.bn1 = conv(dims, channels, out, stride=stride), NORM[dims](out)
        self.conv2, self.bn2 = conv(dims, out, out), NORM[dims](out)
        self.relu = nn.ReLU(inplace=True)
        self.project = conv(dims, channels, out, 1, stride) if stride != 1 or channels != out else nn.Identity()
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def branch(self, x):
        return self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))

    def shortcut(self, x):
        return self.project(x)


def written(forward):
    """The class of a block with that forward."""
    return type("Own", (Written,), {"forward": forward})


BLOCKS = {"basic": BasicBlock, "pre-activation": PreActivation, "inverted": Inverted, "scaled": Scaled}


def images(dims=2, count=3, channels=3):
    size = {2: (32, 32), 3: (16, 16, 16)}[dims]
    return torch.randn(count, channels, *size, generator=torch.Generator().manual_seed(7))
