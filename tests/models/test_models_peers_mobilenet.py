"""Equality of the MobileNets with public packages; the weights cross over by the key map, which is so proved."""

import pytest
import torch
from torch import nn

from excite.errors import ModelError
from excite.models.classifier import create_model
from excite.weights.keymap import guess_layout, to_excite
from excite.weights.load import load_weights
from lively import assert_equal, lively, varied_images

pytestmark = pytest.mark.peers


def torchvisions(name, **options):
    from torchvision.models import mobilenetv3

    table, last = mobilenetv3._mobilenet_v3_conf(name, **options)
    return mobilenetv3.MobileNetV3(table, last, num_classes=10)


def timms(name, **options):
    import timm

    return timm.create_model(name, num_classes=10, **options)


def assert_loads_and_equals(reference, name, layout, *, size=(64, 64), **options):
    """Load 100 % of the reference's state into ours and compare both on images of two sizes."""
    torch.manual_seed(0)
    images = varied_images(4, size=size)
    lively(reference, images)
    ours = create_model(name, num_classes=10, **options).double().eval()
    report = load_weights(ours, reference.state_dict(), layout=layout)
    assert (report.percent, report.part, report.missing, report.unexpected) == (100, "all", (), ())
    for more in (images, varied_images(3, size=(97, 65), seed=1)):
        with torch.no_grad():
            assert_equal(ours(more), reference(more))
    return ours


@pytest.mark.parametrize("name", ["mobilenet_v3_large", "mobilenet_v3_small"])
@pytest.mark.parametrize(("theirs", "options"), [
    ({}, {}), ({"width_mult": 0.75}, {"width": 0.75}), ({"width_mult": 0.35}, {"width": 0.35}),
    ({"reduced_tail": True}, {"reduced_tail": True}), ({"dilated": True}, {"dilated": True}),
    ({"reduced_tail": True, "dilated": True, "width_mult": 1.25},
     {"reduced_tail": True, "dilated": True, "width": 1.25})])
def test_mobilenet_v3_equals_torchvisions(name, theirs, options):
    reference = torchvisions(name, **theirs)
    assert guess_layout(reference.state_dict()) == "torchvision"
    assert_loads_and_equals(reference, name, "auto", **options)


@pytest.mark.parametrize("name", ["large", "small"])
@pytest.mark.parametrize(("theirs", "layout", "options"), [
    ("mobilenetv3_{}_100", "timm", {"norm_eps": 1e-5}),
    ("tf_mobilenetv3_{}_100", "timm_tf", {"padding": "tf_same"})])
def test_mobilenet_v3_equals_timms(name, theirs, layout, options):
    reference = timms(theirs.format(name))
    with pytest.raises(ModelError, match="timm names two sorts of MobileNetV3 alike .*timm_tf for weights of a tf_"):
        guess_layout(reference.state_dict())
    assert_loads_and_equals(reference, f"mobilenet_v3_{name}", layout, **options)


@pytest.mark.parametrize("size", [(64, 64), (33, 47)])
@pytest.mark.parametrize("width", [1.0, 0.75, 0.5, 0.25, 1.25])
def test_mobilenet_v1_equals_timms(width, size):
    from timm.models.efficientnet import _gen_mobilenet_v1

    reference = _gen_mobilenet_v1("mobilenetv1_100", width, num_classes=10)
    assert guess_layout(reference.state_dict()) == "timm"
    assert_loads_and_equals(reference, "mobilenet_v1", "auto", size=size, width=width, activation="relu6")


@pytest.mark.parametrize(("reference", "layout", "name", "wrong", "message"), [
    ("mobilenetv1_100", "timm", "mobilenet_v1", {}, "activation='relu6' in the source, 'relu' in the network"),
    ("mobilenetv3_small_100", "timm", "mobilenet_v3_small", {}, "norm_eps='1e-05' in the source, '0.001' in the netw"),
    ("tf_mobilenetv3_small_100", "timm_tf", "mobilenet_v3_small", {}, "padding='tf_same' in the source, 'symmetric'"),
    ("mobilenetv3_small_100", "timm", "mobilenet_v3_small", {"norm_eps": 1e-5, "padding": "tf_same"},
     "padding='symmetric' in the source, 'tf_same' in the network")])
def test_a_network_of_another_form_refuses_the_weights_and_its_outputs_do_differ(reference, layout, name, wrong,
                                                                                 message):
    images = varied_images(4)
    theirs = lively(timms(reference), images)
    ours = create_model(name, num_classes=10, **wrong).double().eval()
    with pytest.raises(ModelError, match=message):
        load_weights(ours, theirs.state_dict(), layout=layout)
    mapped = to_excite(theirs.state_dict(), model_name=name, layout=layout)
    ours.load_state_dict({**mapped, "backbone.form": ours.backbone.form})
    with torch.no_grad(), pytest.raises(AssertionError):
        assert_equal(ours(images), theirs(images))


@pytest.mark.parametrize(("name", "wrong"), [("mobilenet_v3_large", {"dilated": True}),
                                             ("mobilenet_v3_small", {"norm_eps": 1e-5})])
def test_a_wrong_dilation_or_epsilon_would_be_found_out(name, wrong):
    images = varied_images(4)
    reference = lively(torchvisions(name), images)
    ours = create_model(name, num_classes=10, **wrong).double().eval()
    mapped = to_excite(reference.state_dict(), model_name=name, layout="torchvision")
    ours.load_state_dict({**mapped, "backbone.form": ours.backbone.form})
    with torch.no_grad(), pytest.raises(AssertionError):
        assert_equal(ours(images), reference(images))


@pytest.mark.parametrize("name", ["mobilenet_v3_large", "mobilenet_v3_small"])
def test_first_weights_and_dropout_are_torchvisions(name):
    reference, ours = torchvisions(name), create_model(name, num_classes=10)
    mapped = to_excite(reference.state_dict(), model_name=name, layout="torchvision")
    compared = 0
    for key, value in ours.named_parameters():
        if value.ndim > 1 and value.numel() > 8000:
            assert float(value.detach().std()) == pytest.approx(float(mapped[key].std()), rel=0.06), key
            compared += 1
        elif value.ndim == 1:
            assert torch.equal(value.detach(), mapped[key]), key
    assert compared > 20 and ours.dropout.p == reference.classifier[2].p
    theirs = {(one.eps, one.momentum) for one in reference.modules() if isinstance(one, nn.BatchNorm2d)}
    assert theirs == {(one.eps, one.momentum) for one in ours.modules() if isinstance(one, nn.BatchNorm2d)}
