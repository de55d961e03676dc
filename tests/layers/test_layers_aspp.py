import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

from excite.errors import DataError, ModelError, UsageError
from excite.layers.aspp import ASPP
from excite.layers.conv import ConvNormAct
from lively import assert_equal, lively, varied_images


def parameters(*channels, **arguments):
    with torch.device("meta"):
        return sum(value.numel() for value in ASPP(*channels, **arguments).parameters())


@pytest.mark.parametrize(("channels", "arguments", "count"), [
    ((1280, 512), {}, 20_322_304),
    ((1280, 512), {"groupnorm": False}, 20_322_304),   # either norm has a weight and a bias a channel
    ((512, 1024), {}, 20_459_520),
    ((1280, 512), {"separable": True}, 656_384 * 2 + 3 * (1280 * 9 + 2 * 1280 + 656_384) + 1_311_744),
    ((1280, 512), {"dims": 3}, 20_322_304 + 3 * 18 * 1280 * 512),
    ((1280, 512), {"rates": (2, 4)}, 20_322_304 - 5_899_264 - 512 * 512),
])
def test_parameters_are_those_of_the_listing(channels, arguments, count):
    assert parameters(*channels, **arguments) == count


def test_each_branch_costs_what_the_listing_has():
    with torch.device("meta"):
        found = {name: sum(value.numel() for value in part.parameters())
                 for name, part in ASPP(1280, 512).named_children()}
    assert found == {"point": 656_384, "atrous": 3 * 5_899_264, "pool": 656_384, "project": 1_311_744, "dropout": 0}


def by_hand(layer, x):
    """The layer in plain functions."""
    conv = functional.conv2d if x.ndim == 4 else functional.conv3d

    def brick(part, x, **arguments):
        y = conv(x, part.conv.weight, **arguments)
        if isinstance(part.norm, nn.GroupNorm):
            return functional.group_norm(y, part.norm.num_groups, part.norm.weight, part.norm.bias).relu()
        return functional.batch_norm(y, part.norm.running_mean, part.norm.running_var, part.norm.weight,
                                     part.norm.bias).relu()

    space = tuple(range(2, x.ndim))
    parts = [brick(layer.point, x)]
    parts += [brick(branch, x, padding=rate, dilation=rate)
              for rate, branch in zip(layer.rates, layer.atrous, strict=True)]
    mean = brick(layer.pool, x.mean(space, keepdim=True))
    parts.append(functional.interpolate(mean, x.shape[2:], mode="bilinear" if x.ndim == 4 else "trilinear",
                                        align_corners=False))
    return brick(layer.project, torch.cat(parts, 1))


@pytest.mark.parametrize(("dims", "size", "groupnorm"), [(2, (7, 9), True), (2, (5, 6), False), (3, (4, 5, 6), True)])
def test_equals_its_formula(dims, size, groupnorm):
    images = varied_images(3, channels=6, size=size)
    layer = lively(ASPP(6, 64, rates=(1, 3), dims=dims, groupnorm=groupnorm), images)
    if groupnorm:
        nn.init.uniform_(layer.pool.norm.weight, 0.5, 1.5)
        nn.init.normal_(layer.pool.norm.bias)
        assert layer.pool.norm.num_groups == 32
    with torch.no_grad():
        expected = by_hand(layer, images)
        assert_equal(layer(images), expected)
        layer.rates = (1, 2)  # planted: a branch at another rate
        assert not torch.allclose(by_hand(layer, images), expected, rtol=1e-3)


def dead_taps(layer, x):
    """Weights of the 3x3 kernels whose tap gets no gradient at all, by rate."""
    layer.zero_grad()
    layer(x).square().sum().backward()
    found = {}
    for rate, branch in zip(layer.rates, layer.atrous, strict=True):
        weight = next(branch.parameters())
        alive = weight.grad.abs().amax((0, 1)) > 0
        if not alive.all():
            found[rate] = int((~alive).sum()) * weight[:, :, 0, 0].numel()
    return found


def test_the_published_rates_leave_ten_million_weights_without_gradient_at_256():
    layer = ASPP(1280, 512, dropout=0)
    x = torch.randn(2, 1280, 8, 8)
    with pytest.warns(UserWarning, match="rates 12 and 18 reach the 8 x 8 map: 10,485,760 of the kernels' weights"):
        found = dead_taps(layer, x)
    assert found == layer.dead((8, 8)) and sum(found.values()) == 10_485_760
    assert round(100 * sum(found.values()) / 23_030_597, 1) == 45.5


@pytest.mark.parametrize(("size", "rates", "separable"), [
    ((16, 16), (6, 12, 18), False), ((8, 8), (2, 4, 6), False), ((17, 25), (6, 17, 24), False), ((3, 1), (1, 2), True),
    ((8, 5), (5, 8), True)])
def test_dead_weights_are_those_that_gradients_show(size, rates, separable):
    layer = ASPP(8, 8, rates=rates, dropout=0, separable=separable)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert dead_taps(layer, torch.randn(4, 8, *size)) == layer.dead(size)


def test_the_warning_comes_once_and_only_where_a_rate_reaches_the_map():
    layer = ASPP(4, 8, rates=(2, 4)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(torch.rand(1, 4, 5, 5))
    with pytest.warns(UserWarning, match="rate 4 reaches the 9 x 4 map: 192 of") as told:
        layer(torch.rand(1, 4, 9, 4))
        layer(torch.rand(1, 4, 4, 4))
    assert len(told) == 1


def test_a_batch_of_one_trains_with_group_norm_and_says_what_else_to_do():  # T1-4
    x = torch.rand(1, 4, 2, 2)
    assert ASPP(4, 32, rates=(1,))(x).isfinite().all()
    with pytest.raises(DataError, match="batch normalisation over 32 channels has one value a channel"):
        ASPP(4, 32, rates=(1,), groupnorm=False)(x)
    with pytest.raises(DataError, match="has one value a channel"), pytest.warns(UserWarning):
        ASPP(4, 32, rates=(1,))(torch.rand(1, 4, 1, 1))  # its other norms are of the batch


@pytest.mark.parametrize(("channels", "groups"), [(512, 32), (64, 32), (32, 16), (48, 8), (9, 1), (2, 1)])
def test_a_group_never_has_a_single_value(channels, groups):
    layer = ASPP(4, channels, rates=(1,))
    assert layer.pool.norm.num_groups == groups and layer(torch.rand(2, 4, 3, 3)).isfinite().all()


def test_dropout_is_behind_the_projection_and_off_in_eval_mode():
    layer, x = ASPP(4, 256, rates=(1,), dropout=0.5), torch.rand(2, 4, 9, 9)
    whole = layer.eval()(x)
    assert torch.equal(layer(x), whole)
    layer.dropout.train()
    dropped = layer(x)
    kept = dropped != 0
    assert torch.allclose(dropped[kept], 2 * whole[kept]) and 0.4 < float(kept[whole != 0].float().mean()) < 0.6


def test_weights_of_other_rates_are_refused():
    with pytest.raises(ModelError, match="a network with rates='1,2', this one has rates='1,3'"):
        ASPP(4, 8, rates=(1, 3)).load_state_dict(ASPP(4, 8, rates=(1, 2)).state_dict())


@pytest.mark.parametrize("rates", [(), (0,), (6, -1), (6.0,), 6, "6", (True,), None])
def test_wrong_rates_are_named(rates):
    with pytest.raises(UsageError, match="rates must be whole numbers of at least 1, got"):
        ASPP(4, 8, rates=rates)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
    ({"out_channels": 1}, "out_channels must be a whole number of at least 2, got 1"),
    ({"in_channels": 0}, "in_channels must be a whole number of at least 1, got 0"),
    ({"dims": 4}, "dims must be 2 .* got 4")])
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(UsageError, match=message):
        ASPP(**{"in_channels": 4, "out_channels": 8} | arguments)


def test_a_list_of_rates_is_copied():
    rates = [1, 2]
    layer = ASPP(4, 8, rates=rates)
    rates.append(3)
    assert layer.rates == (1, 2) and copy.deepcopy(layer).rates == (1, 2)
    assert all(isinstance(branch, ConvNormAct) for branch in layer.atrous)
