"""The name of the document's hyperspectral network."""

from torch import Tensor

from excite.models import hybridsn


class HybridSN(hybridsn.HybridSN):
    """HybridSN with the listing's extra axis: the bands of a window are the depth of a volume of one channel.

    Predict after `eval()`: with dropout active each test of the same network gives another result.

    Args:
        num_classes: Length of the logits.
        bands: Depth of the windows.
        window: Their side.

    Shape:
        (N, 1, bands, window, window), or without the axis of one -> logits (N, num_classes).

    Raises:
        UsageError: bands or window are too few for the convolutions. DataError: a batch of another shape.
    """

    def __init__(self, num_classes: int = 16, bands: int = 30, window: int = 25) -> None:
        super().__init__(bands, num_classes=num_classes, window=window)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return super().forward(x.squeeze(1) if x.ndim == 5 else x)
