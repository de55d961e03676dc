import pytest
import torch

from excite.errors import UsageError
from excite.layers.width import check_width, make_divisible, scaling
from excite.models.classifier import create_model


@pytest.mark.parametrize(("width", "widths"), [  # of 32, 16, 24, 320: truncated, and to multiples of 8
    (0.45, ((14, 7, 10, 144), (16, 8, 16, 144))), (1.4, ((44, 22, 33, 448), (48, 24, 32, 448))),
    (0.7, ((22, 11, 16, 224), (24, 16, 16, 224)))])
def test_the_two_roundings_are_the_published_ones(width, widths):
    for rounding, expected in zip(("truncate", "divisible"), widths, strict=True):
        assert tuple(map(scaling(width, rounding), (32, 16, 24, 320))) == expected


def test_another_divisor_rounds_to_its_multiples():
    assert [scaling(0.35, "divisible", 4)(channels) for channels in (32, 24, 96)] == [12, 8, 32]
    assert make_divisible(45, 4) == 44 != make_divisible(45) == 48


def test_truncation_gives_odd_numbers_and_rounding_none():  # T0-7
    assert scaling(0.45, "truncate")(16) == 7
    assert all(scaling(w, "divisible")(c) % 8 == 0 for w in (0.2, 0.45, 0.7, 1.3) for c in (16, 24, 32, 96, 320))


def test_a_width_that_leaves_no_channel_is_a_clear_error():  # T0-7
    with torch.device("meta"), pytest.raises(UsageError, match="width 0.03 leaves no channel of 32; 1/32 is the le"):
        create_model("mobilenet_v2_se", dims=3, width=0.03)
    with torch.device("meta"), pytest.raises(UsageError, match="width 0.04 leaves no channel of 16; 1/16 is the le"):
        create_model("mobilenet_v2_se", dims=3, width=0.04)
    with torch.device("meta"):
        assert create_model("mobilenet_v2_se", dims=3, width=0.0625).backbone.channels[:3] == [2, 1, 1]
        assert create_model("mobilenet_v2", width=0.01).backbone.channels[0] == 8  # at least the divisor


@pytest.mark.parametrize(("rounding", "divisor", "message"), [
    ("up", 8, "rounding must be 'divisible' or 'truncate', got 'up'"),
    ("divisible", 0, "round_nearest must be a whole number of at least 1, got 0"),
    ("divisible", 2.5, "round_nearest must be a whole number of at least 1, got 2.5")])
def test_a_wrong_rounding_or_divisor_is_named(rounding, divisor, message):
    with pytest.raises(UsageError, match=message):
        scaling(1.0, rounding, divisor)


@pytest.mark.parametrize("width", [0, -0.5, 10.5, float("nan")])
def test_a_wrong_width_is_named(width):
    with pytest.raises(UsageError, match="width must be above 0 and at most 10, got .*; 1 is the paper's network"):
        check_width(width)
