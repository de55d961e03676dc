import pytest
import torch
from torch import nn

from excite.errors import DataError, UsageError
from excite.layers.options import check_options, read_value
from excite.layers.pool import GlobalMean, MaxPool


@pytest.mark.parametrize("size", [(2, 2), (3, 2), (9, 16), (33, 48), (112, 113)])
def test_the_ceil_pool_is_bit_equal_to_ceil_mode_after_a_relu(size):
    x = torch.randn(2, 3, *size).relu()
    assert torch.equal(MaxPool(ceil=True)(x), nn.MaxPool2d(3, 2, ceil_mode=True)(x))
    assert torch.equal(MaxPool()(x), nn.MaxPool2d(3, 2, padding=1)(x))


def test_without_a_relu_the_ceil_pool_would_differ():
    x = -1 - torch.rand(1, 1, 8, 8)
    assert not torch.equal(MaxPool(ceil=True)(x), nn.MaxPool2d(3, 2, ceil_mode=True)(x))


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_a_volume_is_pooled_in_the_plane_as_an_image(depth):
    image = torch.randn(1, 2, 10, 13).relu()
    volume = image[:, :, None].expand(-1, -1, depth, -1, -1)
    pooled = MaxPool(dims=3, ceil=True)(volume)
    assert pooled.shape[2] == -(-depth // 2)
    assert all(torch.equal(pooled[:, :, slice_], MaxPool(ceil=True)(image)) for slice_ in range(pooled.shape[2]))


def test_a_map_too_small_for_the_ceil_pool_is_a_clear_error():
    with pytest.raises(DataError, match=r"maps of at least 2 x 2, got 1 x 5; give images of at least 3 pixels a side"):
        MaxPool(ceil=True)(torch.rand(1, 1, 1, 5))


@pytest.mark.parametrize("dims", [2, 3])
def test_the_global_mean_is_torchs_adaptive_pool(dims):
    x = torch.randn(2, 3, *[5, 7, 4][:dims])
    reference = (nn.AdaptiveAvgPool2d if dims == 2 else nn.AdaptiveAvgPool3d)(1)
    torch.testing.assert_close(GlobalMean(dims=dims)(x), reference(x).flatten(1))


def build(size, *, width=1.0, groups=1):
    return size, width, groups


def test_a_misspelt_option_names_the_nearest():
    with pytest.raises(UsageError, match="thing has no option 'wdith'; did you mean 'width'. options: groups, width"):
        check_options("thing", build, ["wdith"], fixed=("size",))


def test_right_options_and_open_ended_builders_pass():
    check_options("thing", build, ["width", "dropout"], fixed=("size",), also=("dropout",))
    check_options("thing", lambda **anything: anything, ["wdith"])
    with pytest.raises(UsageError, match="has no option 'size'"):
        check_options("thing", build, ["size"], fixed=("size",))


def typed(size, *, wide=False, count=1, share=0.5, word="a", free=None):
    return size


@pytest.mark.parametrize(("name", "value", "kind"), [
    ("wide", "no", "true or false"), ("wide", 1, "true or false"), ("count", "1", "a whole number"),
    ("count", True, "a whole number"), ("count", (1, 2.5), "a whole number"), ("share", "abc", "a number"),
    ("share", True, "a number"), ("word", 3, "a word")])
def test_a_value_of_another_kind_is_named(name, value, kind):
    with pytest.raises(UsageError, match=f"{name} of thing must be {kind}, got"):
        check_options("thing", typed, {name: value}, fixed=("size",))


def test_values_of_the_right_kind_pass_one_or_several():
    check_options("thing", typed, {"wide": True, "count": (1, 2), "share": 1, "word": "b", "free": [None]},
                  fixed=("size",))


@pytest.mark.parametrize(("text", "value"), [
    ("1", 1), ("1e-3", 0.001), ("True", True), ("none", None), ("a", "a"), ("1,2.5,no", (1, 2.5, "no"))])
def test_text_is_read_as_what_it_looks_like(text, value):
    assert read_value(text) == value and type(read_value(text)) is type(value)
