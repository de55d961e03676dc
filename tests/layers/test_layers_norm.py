import pytest
import torch
from torch import nn

from excite.errors import DataError
from excite.layers.conv import ConvNormAct
from excite.layers.norm import group_norms, refuse_single


@pytest.mark.parametrize("dims", [2, 3])
def test_one_value_a_channel_is_refused_in_training_only_and_by_name(dims):
    brick = ConvNormAct(3, 8, 3, dims=dims)
    brick.place = "stages.2"
    one = torch.rand(1, 3, *[1] * dims)
    with pytest.raises(DataError, match=r"stages\.2: batch normalisation over 8 channels has one value .*norm='group'"):
        brick(one)
    brick(torch.rand(2, 3, *[1] * dims))
    brick(torch.rand(1, 3, *[1] * (dims - 1), 2))
    assert brick.eval()(one).shape == (1, 8, *[1] * dims)


def test_a_frozen_norm_and_another_norm_are_not_refused():
    brick = ConvNormAct(3, 8)
    before = brick.norm.running_mean.clone()
    brick.norm.eval()
    assert brick(torch.rand(1, 3, 1, 1)).isfinite().all() and torch.equal(brick.norm.running_mean, before)
    assert refuse_single(torch.rand(1, 8, 1, 1), nn.GroupNorm(2, 8), "here") is None


def test_groups_take_the_place_of_batches_with_the_affine_values():
    model = nn.Sequential(ConvNormAct(3, 48), ConvNormAct(48, 7), nn.BatchNorm2d(7, eps=1e-3, affine=False))
    nn.init.normal_(model[0].norm.weight)
    weight = model[0].norm.weight
    group_norms(model)
    first, second, third = model[0].norm, model[1].norm, model[2]
    assert [type(one) for one in (first, second, third)] == [nn.GroupNorm] * 3
    assert (first.num_groups, second.num_groups, third.num_groups) == (16, 1, 7 // 7)
    assert first.weight is weight and third.eps == 1e-3
    x = torch.randn(1, 3, 4, 4)
    y = nn.functional.conv2d(x, model[0].conv.weight, padding=1)
    groups = y.view(1, 16, -1)
    mean, var = groups.mean(-1, keepdim=True), groups.var(-1, unbiased=False, keepdim=True)
    expected = ((groups - mean) / (var + 1e-5).sqrt()).view_as(y) * weight.view(1, -1, 1, 1)
    torch.testing.assert_close(model[0](x), expected.relu(), rtol=1e-4, atol=1e-5)
