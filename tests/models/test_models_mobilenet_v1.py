"""What is peculiar to MobileNetV1; what every network owes is in test_contract_models.py."""

import pytest
import torch
from torch import nn

from excite.attention.plan import AttentionPlan
from excite.errors import ModelError, UsageError
from excite.models.classifier import create_model
from excite.models.cost import count
from lively import assert_equal, lively, varied_images

# Table 1 of arXiv:1704.04861, as printed: (stride, channels) of the pairs. The last stride is a slip for 1, see below.
TABLE_1 = [(1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512), *[(1, 512)] * 5, (2, 1024), (1, 1024)]


def cost(**arguments):
    size = arguments.pop("size", 224)
    with torch.device("meta"):
        return count(create_model("mobilenet_v1", **arguments), (3, size, size))


@pytest.mark.parametrize(("width", "parameters", "macs"), [  # macs: table 6, in millions
    (1.0, 4_231_976, 569), (0.75, 2_585_560, 325), (0.5, 1_331_592, 149), (0.25, 470_072, 41)])
def test_costs_are_those_of_the_paper(width, parameters, macs):
    found = cost(width=width)
    assert found.parameters == parameters
    assert abs(found.macs / 1e6 - macs) < 0.6
    # Tables 6 and 7 print 4.2, 2.6, 1.3 and 0.5 million.
    assert round(found.parameters / 1e6, 1) == {1.0: 4.2, 0.75: 2.6, 0.5: 1.3, 0.25: 0.5}[width]


@pytest.mark.parametrize(("width", "millions"), [(0.5, 1.17), (1.0, 3.91), (1.5, 8.22), (2.0, 14.10)])
def test_a_volume_costs_the_parameters_of_kopuklus_table_8(width, millions):  # arXiv:1904.02422
    with torch.device("meta"):
        model = create_model("mobilenet_v1", dims=3, num_classes=600, width=width, rounding="truncate")
    assert round(sum(value.numel() for value in model.parameters()) / 1e6, 2) == millions


@pytest.mark.parametrize(("side", "macs"), [(224, 569), (192, 418), (160, 290), (128, 186)])
def test_rho_is_the_inputs_size_and_changes_products_only(side, macs):  # table 7; T4-9
    found = cost(size=side)
    assert found.parameters == 4_231_976 and abs(found.macs / 1e6 - macs) < 0.7


def test_the_cost_of_one_layer_is_that_of_table_3():  # S4-04: 14 x 14, 512 to 512, of the stage's five such pairs
    with torch.device("meta"):
        pair = create_model("mobilenet_v1").backbone.stages[3][1]
    found = count(pair, (512, 14, 14))
    assert round(found.macs / 1e6, 1) == 52.3
    full = count(nn.Conv2d(512, 512, 3, padding=1, bias=False, device="meta"), (512, 14, 14))
    assert round(full.macs / 1e6, 1) == 462.4 and found.macs / full.macs == pytest.approx(1 / 512 + 1 / 9)


def reference(in_channels, dims):
    """Table 1 written out from torch's own layers."""
    conv, norm = (nn.Conv2d, nn.BatchNorm2d) if dims == 2 else (nn.Conv3d, nn.BatchNorm3d)

    def layer(channels, out, kernel, stride, groups=1):
        return [conv(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False), norm(out), nn.ReLU()]

    layers, channels = layer(in_channels, 32, 3, 2 if dims == 2 else (1, 2, 2)), 32
    for stride, out in TABLE_1:
        layers += layer(channels, channels, 3, stride, channels) + layer(channels, out, 1, 1)
        channels = out
    pool = nn.AdaptiveAvgPool2d(1) if dims == 2 else nn.AdaptiveAvgPool3d(1)
    return nn.Sequential(*layers, pool, nn.Flatten(), nn.Linear(channels, 5))


@pytest.mark.parametrize("size", [(64, 96), (5, 64, 48)])
def test_equals_the_table_written_out(size):
    images = varied_images(4, size=size)
    theirs = lively(reference(3, len(size)), images)
    ours = create_model("mobilenet_v1", dims=len(size), num_classes=5).double().eval()
    values = list(theirs.state_dict().values())  # both are in the order of the table
    names = [name for name in ours.state_dict() if name != "backbone.form"]
    ours.load_state_dict(dict(zip(names, values, strict=True)) | {"backbone.form": ours.backbone.form})
    with torch.no_grad():
        assert_equal(ours(images), theirs(images))


def test_relu6_is_another_network():
    images = varied_images(4) * 20
    plain = lively(create_model("mobilenet_v1", num_classes=5), images)
    cut = create_model("mobilenet_v1", num_classes=5, activation="relu6").double().eval()
    with pytest.raises(ModelError, match="a network with activation='relu', this one has activation='relu6'"):
        cut.load_state_dict(plain.state_dict())
    cut.load_state_dict(plain.state_dict() | {"backbone.form": cut.backbone.form})
    with torch.no_grad():
        assert not torch.allclose(cut(images), plain(images), rtol=0.01)
    with pytest.raises(UsageError, match="activation must be 'relu' or 'relu6', got 'swish'"):
        create_model("mobilenet_v1", activation="swish")


@pytest.mark.parametrize("position", ["standard", "pre", "post", "inner"])
def test_attention_fits_every_place_but_the_shortcut(position):
    model = create_model("mobilenet_v1", attention=AttentionPlan(position=position))
    assert len(model.backbone.attended()) == 13 and not model.backbone.refused()
    seen = {"standard": 64, "post": 64, "pre": 32, "inner": 32}[position]
    assert model.backbone.stages[0][0].attention.squeeze.in_channels == seen


def test_a_shortcut_it_has_not():
    with pytest.raises(UsageError, match="no block of the planned stages can have this attention .stages.0.0 has no"):
        create_model("mobilenet_v1", attention=AttentionPlan(position="identity"))
