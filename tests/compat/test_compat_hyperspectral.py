import pytest
import torch

from excite.compat import HybridSN
from excite.errors import DataError
from excite.models.classifier import create_model


def test_the_alias_is_the_network_with_the_listings_axis_and_order_of_arguments():
    alias = HybridSN(9, 15, 19).eval()
    model = create_model("hybridsn", in_channels=15, num_classes=9, window=19).eval()
    model.load_state_dict(alias.state_dict())
    x = torch.randn(2, 15, 19, 19)
    with torch.no_grad():
        expected = model(x)
        assert torch.equal(alias(x.unsqueeze(1)), expected) and torch.equal(alias(x), expected)
        assert expected.shape == (2, 9)


def test_its_defaults_are_indian_pines():
    with torch.device("meta"):
        assert sum(one.numel() for one in HybridSN().parameters()) == 5_122_176
        assert HybridSN()(torch.rand(2, 1, 30, 25, 25)).shape == (2, 16)


def test_two_channels_are_no_listing_input():
    with torch.device("meta"), pytest.raises(DataError, match=r"the network takes \(N, 30, 25, 25\), got \(1, 2, 30"):
        HybridSN()(torch.rand(1, 2, 30, 25, 25))
