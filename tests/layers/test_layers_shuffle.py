import pytest
import torch
from torch import nn
from torch.nn import functional

from excite.errors import UsageError
from excite.layers.pool import FarPool, MaxPool, PlaneMean
from excite.layers.shuffle import ChannelShuffle, channel_shuffle


def order(channels, groups, dims=2):
    x = torch.arange(channels, dtype=torch.float32).view(1, channels, *[1] * dims)
    return channel_shuffle(x, groups).flatten().int().tolist()


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_twelve_channels_in_three_groups_are_dealt_out(dims):  # S4-10
    assert order(12, 3, dims) == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]
    assert order(12, 4, dims) != order(12, 3, dims)  # its inverse, which a wrong view gives


@pytest.mark.parametrize("size", [(5, 7), (3, 5, 4)])
@pytest.mark.parametrize("groups", [1, 2, 3, 4, 6, 12])
def test_equals_torchs_own_and_is_undone_by_its_inverse(size, groups):
    x = torch.randn(2, 12, *size)
    mixed = ChannelShuffle(groups)(x)
    assert torch.equal(mixed, functional.channel_shuffle(x, groups))
    assert torch.equal(channel_shuffle(mixed, 12 // groups), x)
    assert torch.equal(mixed, x) == (groups in (1, 12))


@pytest.mark.parametrize(("channels", "groups", "message"), [
    (10, 3, "groups must divide the 10 channels, got 3; these do: 1, 2, 5, 10"),
    (12, 0, "groups must be a whole number of at least 1, got 0"),
    (12, -3, "groups must be a whole number of at least 1, got -3"),
    (12, 1.5, "groups must be a whole number of at least 1, got 1.5"),
    (12, True, "groups must be a whole number of at least 1, got True"),
])
def test_channels_that_do_not_divide_are_a_clear_error(channels, groups, message):  # T4-4
    with pytest.raises(UsageError, match=message):
        channel_shuffle(torch.rand(1, channels, 2, 2), groups)


def test_nothing_is_printed(capsys):  # T4-4
    channel_shuffle(torch.rand(1, 12, 2, 2), 3)
    assert capsys.readouterr().out == ""


def seen(network, channels):
    """Which inputs each output channel depends on."""
    x = torch.rand(1, channels, 1, 1, requires_grad=True)
    return torch.stack([torch.autograd.grad(network(x)[0, index].sum(), x)[0].flatten() != 0
                        for index in range(channels)])


def test_groups_stay_apart_but_for_the_shuffle():  # T4-8
    first, second = nn.Conv2d(12, 12, 1, groups=3), nn.Conv2d(12, 12, 1, groups=3)
    apart = seen(nn.Sequential(first, second), 12)
    assert torch.equal(apart, torch.block_diag(*[torch.ones(4, 4)] * 3).bool())
    reached = seen(nn.Sequential(first, ChannelShuffle(3), second), 12)
    assert all(bool(reached[:, 4 * group:4 * group + 4].any(1).all()) for group in range(3))


def test_a_depthwise_convolution_is_the_one_with_a_group_a_channel():  # T4-8
    layer, x = nn.Conv2d(4, 8, 3, groups=4, bias=False), torch.rand(1, 4, 5, 5)
    one_by_one = [functional.conv2d(x[:, c:c + 1], layer.weight[2 * c:2 * c + 2]) for c in range(4)]
    torch.testing.assert_close(layer(x), torch.cat(one_by_one, 1))


@pytest.mark.parametrize("size", [(2, 2), (3, 2), (9, 16), (33, 48)])
def test_the_far_pool_is_caffes_and_goes_on_to_maps_of_one_place(size):
    x = torch.randn(2, 3, *size).relu()
    assert torch.equal(FarPool()(x), nn.MaxPool2d(3, 2, ceil_mode=True)(x))
    assert torch.equal(FarPool()(x), MaxPool(ceil=True)(x))
    one = x[:, :, :1]
    assert torch.equal(FarPool()(one), MaxPool(ceil=True)(torch.cat((one, one), 2)))


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (9, 16), (33, 47)])
def test_the_far_pool_rounds_up_as_the_convolution_beside_it(size):
    x = torch.randn(1, 2, *size).relu()
    pooled = FarPool(up=True)(x)
    assert pooled.shape[2:] == nn.Conv2d(2, 2, 3, 2, 1)(x).shape[2:]
    even = FarPool()(x)
    assert torch.equal(pooled[:, :, :even.shape[2], :even.shape[3]], even) and pooled[..., -1, -1].equal(
        x[..., pooled.shape[2] * 2 - 2:, pooled.shape[3] * 2 - 2:].amax((2, 3)))


@pytest.mark.parametrize(("pool", "flat"), [
    (FarPool(dims=3), FarPool()), (FarPool(dims=3, up=True), FarPool(up=True)),
    (PlaneMean(dims=3, stride=2), PlaneMean(stride=2)), (PlaneMean(dims=3), PlaneMean())])
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_a_volume_of_one_repeated_slice_is_pooled_as_that_image(pool, flat, depth):
    image = torch.randn(1, 2, 9, 13).relu()
    pooled = pool(image[:, :, None].expand(-1, -1, depth, -1, -1))
    expected = flat(image)
    assert pooled.shape[2] == (depth if getattr(pool.pool, "stride", 2) == (1, 1, 1) else -(-depth // 2))
    for index in range(pooled.shape[2]):
        torch.testing.assert_close(pooled[:, :, index], expected)


def test_a_mean_over_the_depth_too_would_darken_the_first_slice():
    volume = torch.ones(1, 1, 3, 5, 5)
    assert float(PlaneMean(dims=3)(volume)[0, 0, 0, 2, 2]) == 1
    assert float(nn.AvgPool3d(3, 1, 1)(volume)[0, 0, 0, 2, 2]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("stride", [1, 2])
def test_the_plane_mean_counts_the_zeros_around(stride):
    x = torch.rand(1, 2, 7, 6)
    torch.testing.assert_close(PlaneMean(stride=stride)(x), nn.AvgPool2d(3, stride, 1, count_include_pad=True)(x))
    assert not torch.allclose(PlaneMean(stride=stride)(x), nn.AvgPool2d(3, stride, 1, count_include_pad=False)(x))


def test_a_volume_with_a_depth_stride_is_pooled_in_depth_as_in_the_plane():
    x = torch.randn(1, 2, 9, 13, 8).relu()
    assert torch.equal(FarPool(dims=3, thin=False)(x), MaxPool(dims=3, ceil=True, thin=False)(x))
    assert not torch.equal(FarPool(dims=3, thin=False)(x), FarPool(dims=3)(x)[:, :, :4])
