import warnings

import pytest
import torch
from torch import nn

from excite.attention.plan import AttentionPlan
from excite.errors import ModelError, UsageError
from excite.layers.residual import Residual
from excite.models.classifier import create_model
from excite.models.cost import count
from excite.weights.inflate import inflate
from lively import assert_equal, lively, varied_images

MODULES = ("1.0", "1.1", "2.0", "2.1", "2.2", "2.3", "2.4", "3.0", "3.1", "3.2")
OUTS = (256, 320, 576, 576, 576, 608, 608, 1056, 1024, 1024)
SQUEEZED = (16, 20, 36, 36, 36, 38, 38, 66, 64, 64)  # as the released SE-BN-Inception has them


def build(name, **options):
    with torch.device("meta"):
        return create_model(name, **options)


def test_counts_are_the_published_ones():  # S4-12
    plain, attended = (count(build(name), (3, 224, 224)) for name in ("bn_inception", "se_inception"))
    # With a bias in each of its convolutions, 10,016 in all, as in pretrainedmodels: 11,295,240.
    assert plain.parameters == 11_285_224
    assert attended.parameters == 11_931_622  # 45.5 MiB of float32
    assert plain.macs / 1e9 == pytest.approx(2.03, abs=0.005)  # arXiv:1709.01507, table 2
    assert attended.macs / 1e9 == pytest.approx(2.04, abs=0.01)
    extra = sum(2 * out * squeezed + squeezed + out for out, squeezed in zip(OUTS, SQUEEZED, strict=True))
    assert attended.parameters - plain.parameters == extra == attended.by_part["attention"][0]


def test_every_module_has_its_own_gate_of_the_released_size():
    backbone = build("se_inception").backbone
    assert backbone.attended() == [f"stages.{place}" for place in MODULES] and backbone.refused() == []
    gates = [backbone.get_submodule(f"stages.{place}.attention") for place in MODULES]
    assert tuple(gate.squeeze.out_channels for gate in gates) == SQUEEZED
    assert tuple(gate.excite.out_channels for gate in gates) == OUTS
    assert build("bn_inception").backbone.attended() == []


@pytest.mark.parametrize("place", ["1.0", "2.0", "3.2"])
def test_a_module_is_its_written_out_formula(place):
    images = varied_images(3)
    model = lively(create_model("se_inception", num_classes=3), images)
    stage, block = map(int, place.split("."))
    module = model.backbone.stages[stage].get_submodule(str(block))
    nn.init.normal_(module.attention.excite.weight)
    with torch.no_grad():
        x = model.backbone.features(images)[stage]
        if stage == 1:
            x = model.backbone.stages[1].pool(x)
        for other in range(block):
            x = model.backbone.stages[stage].get_submodule(str(other))(x)
        ways = module.branch.ways
        parts = [ways["one"](x)] if "one" in ways else []
        parts += [ways["three"](x), ways["doubled"](x)]
        if place == "1.0":
            parts.append(ways["pool"][1](nn.functional.avg_pool2d(x, 3, 1, 1)))
        elif place == "2.0":
            parts.append(nn.functional.max_pool2d(x, 3, 2, ceil_mode=True))
        else:
            parts.append(ways["pool"][1](nn.functional.max_pool2d(x, 3, 1, 1)))
        y = torch.cat(parts, 1)
        gate, mean = module.attention, y.mean((2, 3), keepdim=True)
        assert_equal(module(x), y * gate.excite(gate.squeeze(mean).relu()).sigmoid())
        with pytest.raises(AssertionError):
            assert_equal(module(x), y)


def test_attention_before_and_after_a_module_and_none_on_a_shortcut():
    images = varied_images(3)
    for position in ("pre", "post"):
        plan = AttentionPlan(position=position, options={"reduction": 8})
        model = lively(create_model("bn_inception", num_classes=3, attention=plan), images)
        block = model.backbone.stages[2][2]
        nn.init.normal_(block.attention.excite.weight)
        with torch.no_grad():
            x = torch.rand(3, 576, 4, 4, dtype=torch.float64)
            expected = block.branch(block.attention(x)) if position == "pre" else block.attention(block.branch(x))
            assert torch.equal(block(x), expected)
    for position in ("identity", "inner"):
        with pytest.raises(UsageError, match=f"no block of the planned stages.*no {position} position"):
            build("bn_inception", attention=AttentionPlan(position=position))


def test_the_first_stage_has_no_module_for_attention():
    with pytest.raises(UsageError, match="stage 0 of the network has no block for attention"):
        build("bn_inception", attention=AttentionPlan(stages=(0,)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = build("bn_inception", attention=AttentionPlan(stages=(3,), blocks=("3.0",)))
    assert model.backbone.attended() == ["stages.3.0"]


def test_the_reduction_is_an_option_and_excludes_a_plan():
    first = build("se_inception", reduction=4).backbone.stages[1].get_submodule("0")
    assert isinstance(first, Residual) and first.attention.squeeze.out_channels == 64
    by_stage = build("se_inception", reduction=(1, 4, 8, 32)).backbone.stages[3][0]
    assert by_stage.attention.squeeze.out_channels == 33
    with pytest.raises(UsageError, match="reduction and attention cannot be given together"):
        build("se_inception", reduction=4, attention=AttentionPlan())


def test_odd_maps_are_rounded_down_as_in_caffe_and_up_in_a_module():
    backbone = build("bn_inception").backbone
    maps = backbone.features(torch.rand(1, 3, 75, 139, device="meta"))
    # 75: 38, then 19 and 9 as in Caffe, then 5 and 3 as the modules' convolutions have it, where Caffe's cannot run.
    assert [tuple(one.shape[2:]) for one in maps] == [(38, 70), (19, 35), (9, 17), (5, 9), (3, 5)]


def test_a_volume_of_one_repeated_image_is_answered_as_that_image():
    images = varied_images(3, size=(64, 48))
    flat = lively(create_model("se_inception", num_classes=5), images)
    deep = create_model("se_inception", dims=3, num_classes=5).double().eval()
    deep.load_state_dict(inflate(flat.state_dict(), deep))
    with torch.no_grad():
        volumes = images[:, :, None].expand(-1, -1, 3, -1, -1)
        assert_equal(deep(volumes), flat(images))
        mean = deep.backbone.stages[1].get_submodule("0").branch.ways["pool"][0]
        # The planted failure: a mean over the depth too, with zeros beyond the first and last slice.
        mean.forward = lambda x: nn.functional.avg_pool3d(nn.functional.pad(x, (1,) * 6), 3, 1)
        with pytest.raises(AssertionError):
            assert_equal(deep(volumes), flat(images))


def test_a_volumes_depth_stride_is_told_from_another():
    state = create_model("bn_inception", dims=3, num_classes=2).state_dict()
    model = create_model("bn_inception", dims=3, depth_stride=2, num_classes=2)
    assert model.backbone.strides[-1] == (32, 32, 32)
    with pytest.raises(ModelError, match="build the network with depth_stride='1'"):
        model.load_state_dict(state)
