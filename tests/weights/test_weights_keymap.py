"""The key map on names alone; that the values arrive where they belong is proved in models/test_models_peers.py."""

import pytest
import torch

from excite.errors import ModelError
from excite.layers.form import told
from excite.models.classifier import create_model
from excite.weights.keymap import LAYOUTS, guess_layout, to_excite


def named(*keys):
    return {key: torch.full((1,), float(index)) for index, key in enumerate(keys)}


@pytest.mark.parametrize(("key", "layout"), [
    ("backbone.stem.conv.weight", "excite"),
    ("features.3.conv.1.0.weight", "torchvision"),
    ("features.3.conv.3.weight", "tonylins"),
    ("layer0.conv1.weight", "cadene"),
    ("layer2.1.se_module.fc1.weight", "cadene"),
    ("layer2.1.se.fc1.weight", "timm"),
    ("layer2.1.conv1.adn.N.weight", "monai"),
    ("layer2.0.project.conv.weight", "monai"),
    ("layer2.1.se_layer.fc.0.weight", "monai"),
    ("conv_stem.weight", "timm"),
    ("layer1.0.conv1.weight", "torchvision"),
    ("module.layer1.0.conv1.weight", "torchvision"),
])
def test_the_layout_is_known_by_its_marks(key, layout):
    assert guess_layout(named(key)) == layout and layout in LAYOUTS


@pytest.mark.parametrize("state", [{}, named("blocks.0.attn.qkv.weight")])
def test_an_unknown_layout_is_an_error_that_says_what_to_do(state):
    with pytest.raises(ModelError, match="layout of these weights is not known .*; name it, layout=.*: excite, "):
        guess_layout(state)


# From the published files' own headers.
MOBILENET = [
    ("torchvision", "features.0.0.weight", "backbone.stem.conv.weight"),
    ("torchvision", "features.1.conv.0.1.bias", "backbone.stages.0.0.branch.0.norm.bias"),
    ("torchvision", "features.1.conv.1.weight", "backbone.stages.0.0.branch.1.conv.weight"),
    ("torchvision", "features.1.conv.2.running_var", "backbone.stages.0.0.branch.1.norm.running_var"),
    ("torchvision", "features.2.conv.0.0.weight", "backbone.stages.1.0.branch.0.conv.weight"),
    ("torchvision", "features.10.conv.1.0.weight", "backbone.stages.3.3.branch.1.conv.weight"),
    ("torchvision", "features.17.conv.3.weight", "backbone.stages.6.0.branch.2.norm.weight"),
    ("torchvision", "features.18.1.num_batches_tracked", "backbone.head.norm.num_batches_tracked"),
    ("torchvision", "classifier.1.bias", "classifier.bias"),
    ("tonylins", "features.1.conv.3.weight", "backbone.stages.0.0.branch.1.conv.weight"),
    ("tonylins", "features.2.conv.3.weight", "backbone.stages.1.0.branch.1.conv.weight"),
    ("tonylins", "features.2.conv.7.running_mean", "backbone.stages.1.0.branch.2.norm.running_mean"),
    ("tonylins", "conv.0.weight", "backbone.head.conv.weight"),
    ("tonylins", "features.18.0.weight", "backbone.head.conv.weight"),
    ("tonylins", "classifier.weight", "classifier.weight"),
    ("timm", "blocks.0.0.conv_pw.weight", "backbone.stages.0.0.branch.1.conv.weight"),
    ("timm", "blocks.2.1.conv_pw.weight", "backbone.stages.2.1.branch.0.conv.weight"),
    ("timm", "bn2.bias", "backbone.head.norm.bias"),
]
RESNET = [
    ("torchvision", "conv1.weight", "backbone.stem.conv.weight"),
    ("torchvision", "layer1.0.downsample.1.running_mean", "backbone.stages.0.0.shortcut.norm.running_mean"),
    ("torchvision", "fc.weight", "classifier.weight"),
    ("cadene", "layer0.bn1.weight", "backbone.stem.norm.weight"),
    ("cadene", "layer4.2.conv3.weight", "backbone.stages.3.2.branch.2.conv.weight"),
    ("cadene", "layer3.5.se_module.fc1.bias", "backbone.stages.2.5.attention.squeeze.bias"),
    ("cadene", "last_linear.bias", "classifier.bias"),
    ("monai", "layer0.conv1.weight", "backbone.stem.conv.weight"),
    ("monai", "layer2.0.conv2.conv.weight", "backbone.stages.1.0.branch.1.conv.weight"),
    ("monai", "layer2.0.project.adn.N.running_var", "backbone.stages.1.0.shortcut.norm.running_var"),
    ("monai", "layer3.5.se_layer.fc.2.bias", "backbone.stages.2.5.attention.excite.bias"),
]
SENET154 = [
    ("cadene", "layer0.conv1.weight", "backbone.stem.0.conv.weight"),
    ("cadene", "layer0.bn3.bias", "backbone.stem.2.norm.bias"),
    ("monai", "layer0.bn2.running_mean", "backbone.stem.1.norm.running_mean"),
    ("monai", "layer1.0.project.conv.weight", "backbone.stages.0.0.shortcut.conv.weight"),
    ("timm", "last_linear.weight", "classifier.weight"),
]


@pytest.mark.parametrize(("model_name", "layout", "key", "ours"),
                         [("mobilenet_v2", *row) for row in MOBILENET] + [("se_resnet50", *row) for row in RESNET] +
                         [("senet154", *row) for row in SENET154])
def test_a_published_name_becomes_ours(model_name, layout, key, ours):
    mapped = to_excite(named(key), model_name=model_name, layout=layout)
    assert torch.equal(mapped[ours], torch.zeros(1))


@pytest.mark.parametrize(("model_name", "layout", "keys"), [
    ("mobilenet_v2", "torchvision", ["features.19.0.weight", "features.2.conv.2.0.weight", "features.2.conv.5.weight",
                                     "features.2.conv.0.weight", "classifier.4.weight", "extra", "features.x"]),
    ("mobilenet_v2", "tonylins", ["features.2.conv.2.weight", "features.2.conv.9.weight", "features.1.conv.6.weight"]),
    ("mobilenet_v2", "timm", ["blocks.1.0.se.fc1.weight", "blocks.0.0.conv_pwl.weight", "head.weight"]),
    ("se_resnet50", "cadene", ["layer5.0.conv1.weight", "layer1.0.conv4.weight", "layer1.0.se_module.fc3.weight"]),
    ("se_resnet50", "monai", ["layer1.0.conv4.conv.weight", "layer1.0.se_layer.fc.1.weight", "layer0.conv2.weight"]),
    ("senet154", "cadene", ["layer0.conv4.weight", "conv1.weight"]),
])
def test_a_name_that_no_rule_knows_is_kept(model_name, layout, keys):
    mapped = to_excite(named(*keys), model_name=model_name, layout=layout)
    assert set(keys) <= set(mapped)


def test_every_name_of_the_network_is_hit_once():
    model = create_model("se_resnext50_32x4d")
    keys = {key for key in model.state_dict() if not key.endswith((".position", ".form"))}
    cadene = named("layer0.conv1.weight", *(f"layer0.bn1.{leaf}" for leaf in LEAVES), "last_linear.weight",
                   "last_linear.bias")
    for layer, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(blocks):
            names = [f"{kind}{n}" for kind in ("conv", "bn") for n in (1, 2, 3)] + ["se_module.fc1", "se_module.fc2"]
            names += ["downsample.0", "downsample.1"] if block == 0 else []
            for name in names:
                leaves = LEAVES if "bn" in name or name == "downsample.1" else LEAVES[:2 if "fc" in name else 1]
                cadene |= named(*(f"layer{layer}.{block}.{name}.{leaf}" for leaf in leaves))
    mapped = to_excite(cadene, model_name="se_resnext50_32x4d", layout="cadene")
    assert keys <= set(mapped) == set(model.state_dict())


LEAVES = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def test_published_gates_come_with_their_form_and_place():
    mapped = to_excite(named("layer1.0.se_module.fc2.weight"), model_name="se_resnet50", layout="cadene")
    assert told(mapped["backbone.stages.0.0.attention.form"])["start"] == "paper"
    assert told(mapped["backbone.stages.0.0.attention.position"]) == {"position": "standard"}


@pytest.mark.parametrize(("model_name", "key", "layout", "form"), [
    ("resnet50", "conv1.weight", "torchvision", ("conv2", "False")),
    ("se_resnet50", "layer0.conv1.weight", "cadene", ("conv1", "True")),
    ("se_resnet50", "layer0.conv1.weight", "timm", ("conv1", "True")),
    ("se_resnet50", "layer1.0.se.fc1.weight", "timm", ("conv2", "False")),
    ("se_resnext50_32x4d", "layer0.conv1.weight", "cadene", ("conv2", "True")),
    ("senet154", "layer0.conv1.weight", "cadene", ("conv2", "True")),
    ("se_resnet101", "layer0.conv1.weight", "monai", ("conv1", "True"))])
def test_what_a_layout_implies_of_stride_and_pool_is_added(model_name, key, layout, form):
    found = told(to_excite(named(key), model_name=model_name, layout=layout)["backbone.form"])
    assert (found["stride_in"], found["ceil_pool"]) == form


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_basic_blocks_have_one_place_to_stride_so_their_form_does_not_tell(name):
    assert told(to_excite(named("conv1.weight"), model_name=name, layout="torchvision")["backbone.form"]) == \
        {"ceil_pool": "False"}


def test_monais_linear_gates_become_convolutions_of_as_many_axes_as_the_network():
    for axes in (2, 3):
        state = {"layer0.conv1.weight": torch.ones(64, 3, *[7] * axes), "layer1.0.se_layer.fc.0.weight":
                 torch.arange(12.0).view(3, 4)}
        mapped = to_excite(state, model_name="se_resnet50", layout="monai")
        gate = mapped["backbone.stages.0.0.attention.squeeze.weight"]
        assert gate.shape == (3, 4, *[1] * axes) and torch.equal(gate.flatten(), torch.arange(12.0))
        assert told(mapped["backbone.form"]).get("depth_stride") == (None if axes == 2 else "2")


def test_a_bias_before_a_norm_goes_into_its_mean():
    mapped = to_excite({"layer1.0.downsample.0.bias": torch.tensor([1.0, 2.0]),
                        "layer1.0.downsample.1.running_mean": torch.tensor([5.0, 5.0])}, model_name="resnet50",
                       layout="torchvision")
    assert mapped["backbone.stages.0.0.shortcut.norm.running_mean"].tolist() == [4.0, 3.0]
    assert "backbone.stages.0.0.shortcut.conv.bias" not in mapped
    alone = to_excite({"layer1.0.downsample.0.bias": torch.ones(2)}, model_name="resnet50", layout="torchvision")
    assert "backbone.stages.0.0.shortcut.conv.bias" in alone  # nothing to go into: loading reports it


def test_torchvisions_resnet_is_refused_by_the_caffe_form_and_taken_by_its_own():
    donor = create_model("resnet50", num_classes=2)
    back = {key.replace("backbone.stem.conv", "conv1"): value for key, value in donor.state_dict().items()
            if key == "backbone.stem.conv.weight"}
    mapped = to_excite(back, model_name="se_resnet50", layout="torchvision")
    with pytest.raises(ModelError, match="ceil_pool='False', stride_in='conv2', this one has ceil_pool='True'"):
        create_model("se_resnet50", num_classes=2).load_state_dict(mapped, strict=False)
    create_model("se_resnet50", num_classes=2, stride_in="conv2").load_state_dict(mapped, strict=False)


def test_a_prefix_before_all_keys_is_taken_off():
    mapped = to_excite(named("module.conv1.weight", "module.fc.bias"), model_name="resnet50", layout="torchvision")
    assert {"backbone.stem.conv.weight", "classifier.bias"} <= set(mapped)
    mapped = to_excite(named("module.conv1.weight", "fc.bias"), model_name="resnet50", layout="torchvision")
    assert "module.conv1.weight" in mapped


def test_two_names_for_one_tensor_are_an_error():
    with pytest.raises(ModelError, match="two keys of the weights mean classifier.weight .one is last_linear.weight"):
        to_excite(named("fc.weight", "last_linear.weight"), model_name="resnet50", layout="cadene")


@pytest.mark.parametrize(("model_name", "layout", "message"), [
    ("mobilenet_v2", "cadene", "no rule turns layout 'cadene' into mobilenet_v2; its layouts: excite, torchvision, "),
    ("hybridsn", "timm", "no rule turns layout 'timm' into hybridsn; its layouts: excite$")])
def test_a_missing_rule_is_an_error_that_names_the_others(model_name, layout, message):
    with pytest.raises(ModelError, match=message):
        to_excite(named("a"), model_name=model_name, layout=layout)


def test_our_own_names_pass_through():
    state = named("backbone.stem.conv.weight", "anything")
    assert to_excite(state, model_name="mobilenet_v2", layout="excite") == state
