"""The MobileNets' published names, and what is added that they do not say; equality is proved in test_models_peers*."""

import re

import pytest
import torch
from torch import nn

from excite.errors import ModelError
from excite.layers.form import told
from excite.models.classifier import create_model
from excite.weights.keymap import FAMILIES, LAYOUTS, guess_layout, to_excite
from excite.weights.load import load_weights


def named(*keys):
    return {key: torch.full((1,), float(index)) for index, key in enumerate(keys)}


# From the published files' own headers.
LARGE = [
    ("torchvision", "features.0.0.weight", "backbone.stem.conv.weight"),
    ("torchvision", "features.1.block.0.1.bias", "backbone.stages.0.0.branch.0.norm.bias"),
    ("torchvision", "features.1.block.1.0.weight", "backbone.stages.0.0.branch.1.conv.weight"),
    ("torchvision", "features.4.block.2.fc1.weight", "backbone.stages.2.0.attention.squeeze.weight"),
    ("torchvision", "features.4.block.3.1.running_var", "backbone.stages.2.0.branch.2.norm.running_var"),
    ("torchvision", "features.7.block.2.0.weight", "backbone.stages.3.0.branch.2.conv.weight"),
    ("torchvision", "features.15.block.2.fc2.bias", "backbone.stages.5.2.attention.excite.bias"),
    ("torchvision", "features.16.1.weight", "backbone.head.norm.weight"),
    ("torchvision", "classifier.0.bias", "backbone.embedding.0.bias"),
    ("torchvision", "classifier.3.weight", "classifier.weight"),
    ("timm", "blocks.0.0.conv_pw.weight", "backbone.stages.0.0.branch.1.conv.weight"),
    ("timm", "blocks.2.1.se.conv_reduce.weight", "backbone.stages.2.1.attention.squeeze.weight"),
    ("timm", "blocks.5.2.bn3.bias", "backbone.stages.5.2.branch.2.norm.bias"),
    ("timm_tf", "blocks.6.0.bn1.weight", "backbone.head.norm.weight"),
    ("timm_tf", "conv_head.bias", "backbone.embedding.0.bias"),
    ("timm", "classifier.weight", "classifier.weight"),
]
SMALL = [
    ("torchvision", "features.1.block.1.fc2.weight", "backbone.stages.0.0.attention.excite.weight"),
    ("torchvision", "features.1.block.2.0.weight", "backbone.stages.0.0.branch.1.conv.weight"),
    ("torchvision", "features.2.block.2.1.weight", "backbone.stages.1.0.branch.2.norm.weight"),
    ("torchvision", "features.11.block.3.0.weight", "backbone.stages.4.2.branch.2.conv.weight"),
    ("torchvision", "features.12.0.weight", "backbone.head.conv.weight"),
    ("timm", "blocks.0.0.se.conv_expand.bias", "backbone.stages.0.0.attention.excite.bias"),
    ("timm", "blocks.5.0.conv.weight", "backbone.head.conv.weight"),
]
FIRST = [
    ("timm", "conv_stem.weight", "backbone.stem.conv.weight"),
    ("timm", "bn1.running_mean", "backbone.stem.norm.running_mean"),
    ("timm", "blocks.3.5.conv_dw.weight", "backbone.stages.3.5.branch.0.conv.weight"),
    ("timm", "blocks.4.1.bn2.weight", "backbone.stages.4.1.branch.1.norm.weight"),
]


@pytest.mark.parametrize(("model_name", "layout", "key", "ours"),
                         [("mobilenet_v3_large", *row) for row in LARGE]
                         + [("mobilenet_v3_small", *row) for row in SMALL]
                         + [("mobilenet_v1", *row) for row in FIRST])
def test_a_published_name_becomes_ours(model_name, layout, key, ours):
    assert torch.equal(to_excite(named(key), model_name=model_name, layout=layout)[ours], torch.zeros(1))
    with torch.device("meta"):
        assert ours in create_model(model_name).state_dict()


@pytest.mark.parametrize(("model_name", "layout", "keys"), [
    ("mobilenet_v3_large", "torchvision", ["features.17.0.weight", "features.7.block.2.fc1.weight", "extra",
                                           "features.4.block.2.0.weight", "features.4.block.4.0.weight",
                                           "features.1.block.2.0.weight", "features.16.block.0.0.weight"]),
    ("mobilenet_v3_small", "torchvision", ["features.16.0.weight", "features.2.block.2.fc1.weight",
                                           "classifier.1.weight", "features.12.block.0.0.weight"]),
    ("mobilenet_v3_large", "timm", ["blocks.3.0.se.conv_reduce.weight", "blocks.7.0.conv.weight", "bn2.weight",
                                    "blocks.0.0.conv_pwl.weight", "blocks.6.0.conv_dw.weight"]),
    ("mobilenet_v1", "timm", ["blocks.5.0.conv_dw.weight", "blocks.0.0.conv_pwl.weight", "conv_head.weight", "bn2.bias",
                              "blocks.0.0.se.conv_reduce.weight"]),
])
def test_a_name_that_no_rule_knows_is_kept(model_name, layout, keys):
    assert set(keys) <= set(to_excite(named(*keys), model_name=model_name, layout=layout))


def test_a_family_has_its_own_networks_only():
    for name, count in (("mobilenet_v1", 1), ("mobilenet_v2", 1), ("mobilenet_v2_se", 1), ("mobilenet_v3_large", 1),
                        ("mobilenet_v3_small", 1), ("mobilenet_v2_aspp_se_unet", 0), ("mobilenet_v3", 0)):
        assert sum(bool(re.fullmatch(one.names, name)) for one in FAMILIES) == count, name


def test_layouts_are_known_by_their_marks_and_timms_twins_have_to_be_named():
    assert guess_layout(named("features.4.block.2.fc1.weight")) == "torchvision"
    assert guess_layout(named("conv_stem.weight", "blocks.0.0.conv_pw.weight")) == "timm"
    with pytest.raises(ModelError, match="timm names two sorts of MobileNetV3 alike .their padding and epsilon"):
        guess_layout(named("conv_stem.weight", "conv_head.bias"))
    assert "timm_tf" in LAYOUTS


@pytest.mark.parametrize(("model_name", "layout", "key", "form"), [
    ("mobilenet_v1", "timm", "conv_stem.weight", {"activation": "relu6", "padding": "symmetric"}),
    ("mobilenet_v2", "tonylins", "features.0.0.weight", {"padding": "symmetric"}),
    ("mobilenet_v2_se", "torchvision", "features.0.0.weight", {"padding": "symmetric"}),
    ("mobilenet_v3_small", "torchvision", "features.0.0.weight", {"norm_eps": "0.001", "padding": "symmetric"}),
    ("mobilenet_v3_small", "timm", "conv_stem.weight", {"norm_eps": "1e-05", "padding": "symmetric"}),
    ("mobilenet_v3_small", "timm_tf", "conv_stem.weight", {"norm_eps": "0.001", "padding": "tf_same"})])
def test_what_a_layout_implies_is_added(model_name, layout, key, form):
    assert told(to_excite(named(key), model_name=model_name, layout=layout)["backbone.form"]) == form
    assert "backbone.form" not in to_excite(named("classifier.weight"), model_name=model_name, layout=layout)


def test_the_gates_of_mobilenet_v3_come_with_their_form_and_place():
    mapped = to_excite(named("features.4.block.2.fc2.weight"), model_name="mobilenet_v3_large", layout="torchvision")
    gate = "backbone.stages.2.0.attention"
    assert told(mapped[f"{gate}.form"]) == {"gate": "hard_sigmoid", "squeeze": "average", "start": "paper"}
    assert told(mapped[f"{gate}.position"]) == {"position": "inner"}


def fold(model):
    """Make every norm the identity in eval(), as networks are that come from folded convolutions."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_var, 0, 3)
            layer.running_var[0] = 0
            layer.weight.data = (layer.running_var + layer.eps).sqrt()
    return model


def back(state):
    """Our names of MobileNetV2's stem, head and classifier as torchvision's; the rest stay away."""
    names = {"backbone.stem.conv.": "features.0.0.", "backbone.stem.norm.": "features.0.1.",
             "backbone.head.conv.": "features.18.0.", "backbone.head.norm.": "features.18.1."}
    return {theirs + key.removeprefix(ours): value for key, value in state.items() for ours, theirs in names.items()
            if key.startswith(ours)}


@pytest.mark.parametrize("padding", ["symmetric", "tf_same"])
def test_folded_weights_from_tensorflow_fit_either_padding_and_others_only_their_own(padding):
    model = create_model("mobilenet_v2", width=0.25, head="scaled", padding=padding)
    folded = back(fold(create_model("mobilenet_v2", width=0.25, head="scaled")).state_dict())
    assert load_weights(model, folded, layout="torchvision", strict=False).mismatched == ()
    other = dict(folded) | {"features.0.1.weight": folded["features.0.1.weight"] * 1.0001}
    if padding == "symmetric":
        assert load_weights(model, other, layout="torchvision", strict=False).mismatched == ()
        return
    with pytest.raises(ModelError, match="padding='symmetric' in the source, 'tf_same' in the network"):
        load_weights(model, other, layout="torchvision", strict=False)
