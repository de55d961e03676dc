"""Networks and images that an equality test can tell apart."""

import torch
from torch import Tensor, nn


def varied_images(count: int = 4, *, channels: int = 3, size: tuple[int, ...] = (64, 64), seed: int = 0) -> Tensor:
    """Return images that differ in brightness and contrast, not only in their noise."""
    dice = torch.Generator().manual_seed(seed)
    images = torch.rand(count, channels, *size, dtype=torch.float64, generator=dice)
    spread = torch.linspace(0.2, 2.0, count, dtype=torch.float64).view(-1, *[1] * (1 + len(size)))
    offset = torch.randn(count, channels, *[1] * len(size), dtype=torch.float64, generator=dice)
    return images * spread + offset


def lively(model: nn.Module, images: Tensor) -> nn.Module:
    """Give `model` random affine weights and measured statistics: a fresh one hardly sees its input."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0.0, 0.2)
            layer.momentum = None
    with torch.no_grad():
        model.double().train()(images)
    return model.eval()


def assert_sees_its_input(outputs: Tensor) -> None:
    """Check that the output changes by more than 1 % with the input."""
    assert (outputs[0] - outputs[1]).abs().max() > 0.01 * outputs.abs().max()


def assert_equal(ours: Tensor, theirs: Tensor) -> None:
    """Check the house's equality: max|a-b| <= 1e-9 max|a| in float64, of outputs that change with the input."""
    assert ours.dtype == theirs.dtype == torch.float64
    assert_sees_its_input(theirs)
    assert float((ours - theirs).abs().max()) <= 1e-9 * float(theirs.abs().max())
