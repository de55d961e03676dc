"""Fitting a first convolution to other channels; what whole networks answer is in test_weights_load.py."""

import pytest
import torch

from excite.errors import UsageError
from excite.weights.adapt import adapt_channels


@pytest.mark.parametrize(("channels", "columns", "factor", "exact"), [
    (1, None, 1, True), (2, [0, 1], 3 / 2, False), (4, [0, 1, 2, 0], 3 / 4, False),
    (6, [0, 1, 2, 0, 1, 2], 1 / 2, True)])
def test_repeated_channels_are_the_old_ones_and_keep_the_level(channels: int, columns: list[int] | None, factor: float,
                                                               exact: bool) -> None:
    weight = torch.randn(4, 3, 3, 3, dtype=torch.float64)
    found = adapt_channels(weight, channels, mode="repeat")
    torch.testing.assert_close(found, weight.sum(1, keepdim=True) if columns is None else weight[:, columns] * factor)
    assert torch.allclose(found.sum(1), weight.sum(1)) == exact
    torch.testing.assert_close(adapt_channels(torch.ones(4, 3, 1, 1), channels, mode="repeat").sum(1),
                               torch.full((4, 1, 1), 3.0))


@pytest.mark.peers
@pytest.mark.parametrize("channels", [1, 2, 4, 6, 13])
def test_repeated_channels_are_timms(channels: int) -> None:
    from timm.models import adapt_input_conv

    weight = torch.randn(4, 3, 3, 3)
    torch.testing.assert_close(adapt_channels(weight, channels, mode="repeat"), adapt_input_conv(channels, weight))


def test_adapt_channels_refuses_nonsense() -> None:
    weight = torch.randn(4, 3, 3, 3)
    assert torch.allclose(adapt_channels(weight, 5).sum(1), weight.sum(1), atol=1e-6)
    with pytest.raises(UsageError, match="in_channels must be at least 1, got 0"):
        adapt_channels(weight, 0)
    with pytest.raises(UsageError, match="mode must be"):
        adapt_channels(weight, 1, mode="median")  # type: ignore[arg-type]
