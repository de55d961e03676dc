"""Mean attention by map: of whole patients only, equal to the network's own weights added up by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from excite.jobs.volumes.attention import mean_attention
from excite.models.classifier import create_model

SHAPE = (4, 32, 32)


def network(**options):
    torch.manual_seed(1)
    return create_model("modality_fusion", dims=3, in_channels=2, num_classes=2, width=16,
                        trunk_options={"width": 0.25}, **options).eval()


def source(images, *beside):
    batches = [SimpleNamespace(images=images[part], beside=tuple(one[part] for one in beside))
               for part in (slice(0, 3), slice(3, None))]
    return SimpleNamespace(batches=lambda epoch: iter(batches))


@pytest.mark.parametrize("pooling", ["mean", "class"])
def test_shares_are_the_networks_own_weights_over_whole_patients(pooling):
    model = network(clinical=2, pooling=pooling)
    with torch.no_grad():
        for block in model.classifier.blocks:
            for one in block.parameters():
                one.mul_(3)
    images = torch.randn(5, 2, *SHAPE)
    values = torch.randn(5, 2)
    images[1, 0] = 0
    values[4] = torch.nan
    values[2, 0] = torch.nan  # one of two values is known: the token is there
    found = mean_attention(model, source(images, values), ("t1", "adc"))
    assert (found.n, found.of) == (3, 5) and found.groups == (*(["class"] * (pooling == "class")), "t1", "adc",
                                                              "clinical")
    with torch.no_grad():
        weights, tokens = model.attention_maps(images[[0, 2, 3]], values[[0, 2, 3]], names=("t1", "adc"))
    mean = weights.double().mean(dim=(0, 1)).numpy()
    np.testing.assert_allclose(found.weights, mean, atol=1e-6)
    assert found.tokens == tokens
    for row, name in enumerate(found.groups):
        for column, other in enumerate(found.groups):
            ours, theirs = ([place for place, token in enumerate(tokens) if token.startswith(one)]
                            for one in (name, other))
            assert found.shares[row, column] == pytest.approx(mean[np.ix_(ours, theirs)].sum(axis=1).mean())
    np.testing.assert_allclose(found.shares.sum(axis=1), 1, atol=1e-6)
    assert found.even.sum() == pytest.approx(1) and found.even[-1] == pytest.approx(1 / len(tokens))
    assert found.to_json()["shares"] == found.shares.tolist()


def test_other_networks_and_patients_that_all_lack_something_have_none():
    images = torch.randn(5, 2, *SHAPE)
    images[:, 1] = 0
    assert mean_attention(network(), source(images), ("t1", "adc")) is None
    other = create_model("resnet18", dims=3, in_channels=2, num_classes=2)
    assert mean_attention(other, source(images), ("t1", "adc")) is None
    assert mean_attention(network(form="published"), source(images + 1), ("t1", "adc")) is None
