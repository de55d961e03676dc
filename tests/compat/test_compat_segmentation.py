"""The names of the document on fetal heads: its arguments, its counts, and what pretrained=True means here."""

import inspect

import pytest
import torch

from excite.attention.se import SqueezeExcitation
from excite.compat import (
    ASPP,
    ASPPResidualSEUNet,
    DoubleResidualBlockSE,
    MobileNetV2ASPPResidualSEUNet,
    ResidualBlockSE,
    SEBlock,
)
from excite.errors import EnvironmentFault, ModelError, UsageError
from excite.models.classifier import create_model
from excite.models.mobilenet_v2 import MobileNetV2
from lively import varied_images

pytestmark = pytest.mark.filterwarnings("ignore:ASPP")


def count(build, *arguments, **named):
    with torch.device("meta"):
        return sum(value.numel() for value in build(*arguments, **named).parameters())


@pytest.mark.parametrize(("build", "arguments", "expected"), [
    (ASPP, (1280, 512), 20_322_304), (ASPP, (1280, 512, [6, 12, 18], 0.5, False), 20_322_304),
    (ASPPResidualSEUNet, (), 38_378_805), (ASPPResidualSEUNet, (3, 2, 64), 38_378_805 + 2 * 576 + 65),
    (ResidualBlockSE, (352, 256), 1_500_944), (ResidualBlockSE, (64, 32, 16), 30_050), (SEBlock, (96,), 1_254),
    (ResidualBlockSE, (64, 64), 2 * 36_864 + 256 + 64 * 4 * 2 + 68),
    (DoubleResidualBlockSE, (64, 64), 2 * (2 * 36_864 + 256 + 64 * 4 * 2 + 68))])
def test_counts_are_the_documents(build, arguments, expected):
    assert count(build, *arguments) == expected


def test_the_published_network_with_its_arguments():
    with torch.device("meta"):
        model = MobileNetV2ASPPResidualSEUNet(in_channels=1, out_channels=1, pretrained=False, freeze_encoder=True,
                                              reduction_ratio=16, atrous_rates=[6, 12, 18], aspp_dropout=0.5,
                                              aspp_use_groupnorm=True)
    sizes = [sum(value.numel() for value in model.parameters() if value.requires_grad in kind)
             for kind in ((True, False), (True,), (False,))]
    assert sizes == [25_253_893, 23_030_597, 2_223_296]


@pytest.mark.parametrize("build", [MobileNetV2ASPPResidualSEUNet, ASPPResidualSEUNet, ASPP])
def test_no_default_is_a_list_that_could_be_changed(build):  # T1-10
    parameters = inspect.signature(build).parameters
    assert parameters["atrous_rates"].default == (6, 12, 18)
    assert not any(isinstance(one.default, list | dict) for one in parameters.values())


def test_pretrained_needs_weights_at_hand_and_never_becomes_random():  # T1-10
    assert inspect.signature(MobileNetV2ASPPResidualSEUNet).parameters["pretrained"].default is True
    with pytest.raises(EnvironmentFault, match="weights 'imagenet' of mobilenet_v2 are not at hand .nothing is fetched "
                                               "unless asked for, and random values never stand in silently"):
        MobileNetV2ASPPResidualSEUNet()
    state = {f"backbone.{key}": value for key, value in MobileNetV2(3).state_dict().items()}
    with pytest.raises(ModelError, match="missing"):
        MobileNetV2ASPPResidualSEUNet(weights={key: state[key] for key in list(state)[:40]})
    model = MobileNetV2ASPPResidualSEUNet(weights=state)
    assert torch.equal(model.encoder.head.conv.weight, state["backbone.head.conv.weight"])
    mean = state["backbone.stem.conv.weight"].mean(1, keepdim=True)  # as published: a third of what fits, T1-2
    assert torch.allclose(model.encoder.stem.conv.weight, mean)
    assert model.encoder_frozen and not model.encoder.stem.conv.weight.requires_grad


def test_forward_gives_logits_and_one_flag_the_documents_sigmoid():  # T1-3
    x = varied_images(2, channels=1, size=(33, 47)).float()
    plain = ASPPResidualSEUNet(base_channels=4, atrous_rates=(1,)).eval()
    first = ASPPResidualSEUNet(base_channels=4, atrous_rates=(1,), probabilities=True).eval()
    first.load_state_dict(plain.state_dict())
    with torch.no_grad():
        assert plain(x).shape == x.shape and float(plain(x).abs().max()) > 0
        assert torch.equal(first(x), plain(x).sigmoid())
    assert MobileNetV2ASPPResidualSEUNet(pretrained=False).gives == "logits"


def test_the_documents_call_gives_the_documents_shape():  # S1-08
    model = MobileNetV2ASPPResidualSEUNet(pretrained=False).eval()
    with torch.no_grad():
        assert model(torch.randn(2, 1, 256, 256)).shape == (2, 1, 256, 256)
        assert model(torch.randn(1, 1, 256, 256)).shape == (1, 1, 256, 256)


def test_weights_are_those_of_create_models_network():
    ours = create_model("mobilenet_v2_aspp_se_unet", atrous_rates=(1,)).eval()
    theirs = MobileNetV2ASPPResidualSEUNet(pretrained=False, atrous_rates=[1]).eval()
    theirs.load_state_dict(ours.state_dict())
    x = varied_images(2, channels=1, size=(64, 64)).float()
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))


def test_se_is_between_the_convolutions_and_the_sum():
    block, x = ResidualBlockSE(8, 12, 4).eval(), torch.rand(2, 8, 9, 9)
    with torch.no_grad():
        expected = (block.attention(block.branch(x)) + block.shortcut(x)).relu()
        assert torch.allclose(block(x), expected, atol=1e-6)
        assert not torch.allclose((block.branch(x) + block.shortcut(x)).relu(), expected, atol=1e-3)
    assert isinstance(block.attention, SqueezeExcitation)
    assert isinstance(ResidualBlockSE(8, 8).shortcut, torch.nn.Identity)


def test_wrong_arguments_are_named():
    with pytest.raises(UsageError, match="rates must be whole numbers"):
        MobileNetV2ASPPResidualSEUNet(pretrained=False, atrous_rates=[])
    with pytest.raises(UsageError, match="reduction must be a whole number of at least 1, got 0"):
        ASPPResidualSEUNet(reduction_ratio=0)
    with pytest.raises(UsageError, match="base must be a whole number of at least 1, got 0"):
        ASPPResidualSEUNet(base_channels=0)
