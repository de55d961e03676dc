"""The U-Net around any backbone: attention in every block, shallow encoders, sizes and dimensions."""

import pytest
import torch

from excite.attention.se import SqueezeExcitation
from excite.errors import UsageError
from excite.layers.residual import Residual
from excite.models.classifier import create_model
from lively import assert_sees_its_input, lively, varied_images


def gated(model):
    blocks = [part for part in model.modules() if isinstance(part, Residual)]
    return sum(block.attention is not None for block in blocks), len(blocks)


@pytest.mark.parametrize(("encoder", "options", "dims"), [
    ("resnet20", {}, 3), ("resnet20", {}, 2), ("resnet18", {"depth_stride": 2}, 3), ("shufflenet_v2", {}, 2),
    ("mobilenet_v2", {"width": 0.25}, 3)])
def test_any_encoder_gives_a_map_a_class_at_the_inputs_size(encoder, options, dims):
    model = create_model("unet", dims=dims, in_channels=2, num_classes=3, encoder=encoder, encoder_options=options)
    size = (9, 33, 30)[:dims]
    assert model.eval()(torch.rand(1, 2, *size)).shape == (1, 3, *size)


def test_se_is_in_every_block_of_encoder_and_decoder_or_in_none():
    plain = create_model("unet", dims=3)
    se = create_model("unet", dims=3, attention="se")
    assert gated(plain) == (0, 11) and gated(se) == (11, 11)
    assert gated(create_model("unet", dims=3, attention="se@0")) == (3, 11)
    more = sum(one.numel() for one in se.parameters()) - sum(one.numel() for one in plain.parameters())
    squeezed = [(16, 3), (32, 3), (64, 3), (32, 1), (16, 1)]  # channels and blocks; 16 times fewer within
    assert more == sum(count * (2 * c * max(c // 16, 1) + c + max(c // 16, 1)) for c, count in squeezed)


def test_fewer_stages_are_the_first_ones():
    torch.manual_seed(0)
    whole = create_model("unet", dims=3, encoder="resnet18", encoder_options={"depth_stride": 2})
    shallow = create_model("unet", dims=3, encoder="resnet18", encoder_options={"depth_stride": 2}, stages=2)
    assert shallow.strides == (8, 8, 8) and whole.strides == (32, 32, 32)
    assert len(shallow.encoder.stages) == 2 and shallow.encoder.out_channels == 128
    assert shallow.eval()(torch.rand(1, 1, 16, 16, 16)).shape == (1, 1, 16, 16, 16)
    for stages in (0, 5, 1.5):
        with pytest.raises(UsageError, match="stages must be from 1 to 4"):
            create_model("unet", encoder="resnet18", stages=stages)


def test_it_sees_its_input():
    images = varied_images(2, size=(16, 20))[:, :1]
    volumes = images[:, :, None].repeat(1, 1, 8, 1, 1) * torch.linspace(0.5, 1.5, 8).reshape(1, 1, 8, 1, 1)
    model = create_model("unet", dims=3, num_classes=3, attention="se").double().eval()
    volumes = volumes.double()
    lively(model, volumes)
    with torch.no_grad():
        assert_sees_its_input(model(volumes))


def test_wrong_names_are_errors():
    with pytest.raises(UsageError, match="unknown model 'resnet2'"):
        create_model("unet", encoder="resnet2")
    with pytest.raises(UsageError, match="network 'resnet20' has no option 'wide'"):
        create_model("unet", encoder_options={"wide": 2})


@pytest.mark.parametrize(("attend", "skips", "blocks", "encoder"), [
    (("skips",), 5, 0, 0), (("decoder",), 0, 5, 0), (("encoder",), 0, 0, 17), (("skips", "decoder"), 5, 5, 0)])
def test_attention_goes_where_it_is_said(attend: tuple[str, ...], skips: int, blocks: int, encoder: int) -> None:
    network = create_model("unet", in_channels=3, num_classes=1, attention="se", encoder="mobilenet_v2", attend=attend)
    found = [sum(isinstance(part, SqueezeExcitation) for part in getattr(network, place).modules())
             for place in ("skips", "blocks", "encoder")]
    assert found == [skips, blocks, encoder]


def test_where_attention_goes_is_checked() -> None:
    for attention, attend, told in (("se", ("skip",), "attend must be one or more of encoder, decoder, skips"),
                                    ("se", "skips", "attend must be"), (None, ("skips",), "needs an attention")):
        with pytest.raises(UsageError, match=told):
            create_model("unet", in_channels=3, num_classes=1, attention=attention, attend=attend)
