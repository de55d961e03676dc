"""ShuffleNetV2 and BN-Inception equal public packages, the weights crossing over by the key map."""

import pytest
import torch
from torch import nn

from excite.attention.plan import AttentionPlan
from excite.errors import ModelError
from excite.layers.pool import PlaneMean
from excite.models.classifier import create_model
from excite.weights.keymap import guess_layout, to_excite
from excite.weights.load import load_weights
from lively import assert_equal, lively, varied_images
from references import of_pretrainedmodels

pytestmark = pytest.mark.peers


def shufflenet_v2(width):
    import torchvision

    return getattr(torchvision.models, f"shufflenet_v2_x{str(width).replace('.', '_')}")()


def bn_inception(num_classes=7):
    return of_pretrainedmodels("bninception", num_classes=num_classes)


@pytest.mark.parametrize("width", [0.5, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("size", [(64, 64), (97, 65)])
def test_shufflenet_v2_equals_torchvisions_given_its_weights(width, size):
    images = varied_images(4, size=size)
    reference = lively(shufflenet_v2(width), images)
    state = reference.state_dict()
    assert guess_layout(state) == "torchvision"
    ours = create_model("shufflenet_v2", width=width).double().eval()
    ours.load_state_dict(to_excite(state, model_name="shufflenet_v2", layout="torchvision"))
    with torch.no_grad():
        assert_equal(ours(images), reference(images))


def test_a_shufflenet_whose_halves_are_swapped_would_be_found_out():
    images = varied_images(4)
    reference = lively(shufflenet_v2(0.5), images)
    wrong = create_model("shufflenet_v2", width=0.5).double().eval()
    wrong.load_state_dict(to_excite(reference.state_dict(), model_name="shufflenet_v2", layout="torchvision"))
    wrong.backbone.stages[1][2].forward = lambda x, unit=wrong.backbone.stages[1][2]: type(unit).forward(
        unit, torch.cat(x.chunk(2, dim=1)[::-1], dim=1))
    with torch.no_grad(), pytest.raises(AssertionError):
        assert_equal(wrong(images), reference(images))


# Where a module strides, theirs needs an even map: its convolutions round up, its pool rounds down.
@pytest.mark.parametrize("size", [(64, 64), (97, 65), (224, 160)])
def test_bn_inception_equals_pretrainedmodels_given_its_weights(size):
    images = varied_images(3, size=size)
    reference = lively(bn_inception(), images)
    state = reference.state_dict()
    assert guess_layout(state) == "cadene"
    ours = create_model("bn_inception", num_classes=7).double().eval()
    ours.load_state_dict(to_excite(state, model_name="bn_inception", layout="cadene"))
    with torch.no_grad():
        assert_equal(ours(images), reference(images))


def test_bn_inception_trains_as_theirs_without_the_biases():
    images = varied_images(3)
    reference = lively(bn_inception(), images)
    ours = create_model("bn_inception", num_classes=7).double()
    ours.load_state_dict(to_excite(reference.state_dict(), model_name="bn_inception", layout="cadene"))
    assert_equal(ours.train()(images).detach(), reference.train()(images).detach())
    biases = sum(layer.bias.numel() for layer in reference.modules() if isinstance(layer, nn.Conv2d))
    counts = [sum(value.numel() for value in one.parameters()) for one in (reference, ours)]
    assert biases == counts[0] - counts[1] == 10_016
    whole = bn_inception(1000)
    assert sum(value.numel() for value in whole.parameters()) == 11_295_240


@pytest.mark.parametrize("fault", ["bias", "pool", "count_include_pad"])
def test_a_bn_inception_of_another_form_would_be_found_out(fault):
    images = varied_images(3)
    reference = lively(bn_inception(), images)
    wrong = create_model("bn_inception", num_classes=7).double().eval()
    state = to_excite(reference.state_dict(), model_name="bn_inception", layout="cadene")
    if fault == "bias":  # dropped, not folded
        state["backbone.stages.2.1.branch.ways.one.norm.running_mean"] = reference.inception_4a_1x1_bn.running_mean
    wrong.load_state_dict(state)
    if fault == "pool":
        wrong.backbone.stages[3][2].branch.ways["pool"][0] = PlaneMean()
    if fault == "count_include_pad":
        wrong.backbone.stages[1][1].branch.ways["pool"][0] = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    with torch.no_grad(), pytest.raises(AssertionError):
        assert_equal(wrong(images), reference(images))


def test_bn_inceptions_weights_enter_the_trunk_of_se_inception_whole():
    state = bn_inception().state_dict()
    before = {key: value.clone() for key, value in state.items()}
    plan = AttentionPlan(start="open", options={"reduction": 16})
    model = create_model("se_inception", num_classes=7, attention=plan)
    report = load_weights(model, state)
    assert report.percent == 100 and not report.unexpected and any("gates" in note for note in report.notes)
    assert all(torch.equal(state[key], before[key]) for key in state)  # folding leaves the source alone


def test_a_bias_without_its_norm_is_not_dropped():
    state = {key: value for key, value in bn_inception().state_dict().items() if not key.startswith("conv2_3x3_bn")}
    mapped = to_excite(state, model_name="bn_inception", layout="cadene")
    assert "backbone.stages.0.2.conv.bias" in mapped
    with pytest.raises(ModelError, match=r"stages\.0\.2\.conv\.bias"):
        load_weights(create_model("bn_inception", num_classes=7), state)
