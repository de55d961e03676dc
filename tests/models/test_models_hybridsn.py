"""HybridSN: the published counts, and equality with the network written out from torch's own layers."""

import copy
import inspect

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from excite.attention.plan import AttentionPlan
from excite.errors import DataError, ModelError, UsageError
from excite.models.classifier import create_model, list_models
from excite.models.cost import count
from excite.models.groups import freeze_trunk, split_parameters
from excite.models.hybridsn import HybridSN
from lively import assert_equal, assert_sees_its_input, lively, varied_images

SMALL = {"in_channels": 14, "num_classes": 5, "window": 11}
LAYERS = ["spectral.0.conv", "spectral.1.conv", "spectral.2.conv", "spatial.branch.conv", "dense", "hidden",
          "classifier"]


def small(**options):
    return create_model("hybridsn", **SMALL | options)


def windows(number=3, **sizes):
    side = sizes.get("window", 11)
    return varied_images(number, channels=sizes.get("in_channels", 14), size=(side, side))


def awake(model, x):
    """Random biases too, and measured statistics."""
    for name, value in model.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(value, 0.0, 0.1)
    return lively(model, x)


class Reference(nn.Module):
    """Table I of the paper, layer by layer: nothing of excite in it."""

    def __init__(self, bands, classes, window):
        super().__init__()
        side = window - 8
        self.one = nn.Conv3d(1, 8, (7, 3, 3))
        self.two = nn.Conv3d(8, 16, (5, 3, 3))
        self.three = nn.Conv3d(16, 32, (3, 3, 3))
        self.four = nn.Conv2d(32 * (bands - 12), 64, (3, 3))
        self.five = nn.Linear(64 * side * side, 256)
        self.six = nn.Linear(256, 128)
        self.seven = nn.Linear(128, classes)

    def forward(self, x):
        x = x[:, None]
        for layer in (self.one, self.two, self.three):
            x = functional.relu(layer(x))
        number, features, bands, height, width = x.shape
        x = functional.relu(self.four(x.reshape(number, features * bands, height, width)))
        x = x.reshape(number, -1)
        for layer in (self.five, self.six):
            x = functional.dropout(functional.relu(layer(x)), 0.4, self.training)
        return self.seven(x)


@pytest.mark.parametrize(("bands", "window", "classes", "parameters"), [  # S4-14
    (30, 25, 16, 5_122_176), (15, 25, 16, 4_845_696), (15, 25, 9, 4_844_793), (30, 19, 16, 2_369_664),
    (30, 21, 16, 3_156_096), (30, 23, 16, 4_073_600)])
def test_the_published_counts(bands, window, classes, parameters):
    with torch.device("meta"):
        model = create_model("hybridsn", in_channels=bands, window=window, num_classes=classes)
    assert sum(value.numel() for value in model.parameters()) == parameters


def test_each_layers_count_and_map_as_published():
    with torch.device("meta"):
        model = create_model("hybridsn")
    numbers = [sum(value.numel() for value in model.get_submodule(name).parameters()) for name in LAYERS]
    assert numbers == [512, 5_776, 13_856, 331_840, 4_735_232, 32_896, 2_064]
    cost = count(model, (30, 25, 25))
    assert cost.parameters == 5_122_176 and cost.outputs["spectral"] == (32, 18, 19, 19)
    assert cost.outputs["spatial"] == (64, 17, 17) and not cost.notes
    with torch.device("meta"):
        assert [layer.conv(torch.empty(1, channels, *size)).shape[1:] for layer, channels, size in zip(
            model.spectral, (1, 8, 16), ((30, 25, 25), (24, 23, 23), (20, 21, 21)), strict=True)] == [
                (8, 24, 23, 23), (16, 20, 21, 21), (32, 18, 19, 19)]


@pytest.mark.parametrize(("bands", "window"), [(13, 9), (15, 12), (20, 13), (30, 25)])
def test_equals_the_network_written_out(bands, window):
    model = create_model("hybridsn", in_channels=bands, num_classes=7, window=window)
    x = windows(in_channels=bands, window=window)
    model = awake(model, x)
    reference = Reference(bands, 7, window).double().eval()
    reference.load_state_dict(dict(zip(reference.state_dict(), model.state_dict().values(), strict=True)))
    with torch.no_grad():
        assert_equal(model(x), reference(x))
        torch.manual_seed(3)
        ours = model.train()(x)
        torch.manual_seed(3)
        torch.testing.assert_close(ours, reference.train()(x), rtol=1e-9, atol=1e-12)  # dropout in the same places
        reference.four.weight.copy_(reference.four.weight.flip(1))  # planted: bands folded in another order
        assert not torch.allclose(model.eval()(x), reference.eval()(x), rtol=1e-3)


def test_two_predictions_are_equal_bit_for_bit_and_training_ones_are_not():  # T4-5
    model, x = small().eval(), windows().float()
    with torch.no_grad():
        assert torch.equal(model(x), model(x))
        model.train()
        assert not torch.equal(model(x), model(x))
        still = small(dropout=0.0).train()
        assert torch.equal(still(x), still(x))


def test_a_sample_does_not_depend_on_its_batch_and_every_parameter_learns():
    x = windows(4)
    for options in ({}, {"normalisation": "batch"}, {"normalisation": "group"}, {"attention": "se"}):
        model = awake(small(**options), x)
        with torch.no_grad():
            whole = model(x)
            assert_sees_its_input(whole)
            torch.testing.assert_close(model(x[1:2]), whole[1:2], rtol=1e-9, atol=1e-12)
        model.train()(x).square().sum().backward()
        assert [key for key, value in model.named_parameters() if value.grad is None] == []


def test_normalisation_stands_behind_each_convolution_in_the_place_of_its_bias():
    plain, batch, group = (set(dict(small(normalisation=kind).named_parameters())) for kind in
                           ("none", "batch", "group"))
    assert batch == group and len(plain) == 14 and {key for key in plain - batch} == {
        f"{name}.bias" for name in LAYERS[:4]}
    assert {key for key in batch - plain} == {f"{name[:-4]}norm.{kind}" for name in LAYERS[:4]
                                              for kind in ("weight", "bias")}
    assert any(isinstance(layer, nn.BatchNorm3d) for layer in small(normalisation="batch").modules())
    assert not any("Batch" in type(layer).__name__ for layer in small(normalisation="group").modules())
    least = {"in_channels": 13, "window": 9}
    small(normalisation="group", **least).train()(torch.rand(1, 13, 9, 9))
    with pytest.raises(DataError, match=r"spatial.branch: batch normalisation over 64 channels has one value"):
        small(normalisation="batch", **least).train()(torch.rand(1, 13, 9, 9))


@pytest.mark.parametrize("position", ["standard", "pre", "post", "inner", "tail"])
def test_open_gates_change_nothing_at_first_and_can_learn(position):
    x = windows()
    opened = small(attention=AttentionPlan(position=position, start="open")).double().eval()
    plain = awake(small(), x)
    missing, unexpected = opened.load_state_dict(plain.state_dict(), strict=False)
    assert missing and not unexpected and all(key.startswith("spatial.attention.") for key in missing)
    gate = opened.spatial.attention
    assert gate.excite.out_channels == 64  # 32 kernels on the 2 bands that 14 leave, or the 64 of the layer
    with torch.no_grad():
        assert torch.equal(opened(x), plain(x))
    opened(x).square().sum().backward()
    assert float(gate.excite.bias.grad.abs().max()) > 0
    assert split_parameters(opened)["gates"] == [key for key, _ in opened.named_parameters() if ".attention." in key]


def test_the_head_is_the_last_layer_and_the_rest_stays_when_frozen():
    model = small(normalisation="batch")
    assert split_parameters(model)["head"] == ["classifier.weight", "classifier.bias"]
    freeze_trunk(model)
    before = copy.deepcopy(model.state_dict())
    model.train()(windows().float()).sum().backward()
    assert {key for key, value in model.named_parameters() if value.requires_grad} == {"classifier.weight",
                                                                                       "classifier.bias"}
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    with torch.no_grad():
        x = windows().float()
        assert torch.equal(model.eval()(x), model.classifier(model.forward_features(x)))


def test_own_weights_load_whole_and_for_other_classes_without_the_last_layer(tmp_path):
    source, x = small(normalisation="batch"), windows().float()
    save_file(source.state_dict(), tmp_path / "own.safetensors")
    model = small(normalisation="batch", weights=tmp_path / "own.safetensors").eval()
    assert torch.equal(model(x), source.eval()(x))
    other = small(normalisation="batch", num_classes=3)
    report = other.load(tmp_path / "own.safetensors")
    assert report.part == "features" and report.percent == 100
    assert torch.equal(other.eval().forward_features(x), source.forward_features(x))
    with pytest.raises(ModelError, match="the weights do not fit the network"):
        small(window=13).load(source.state_dict())


@pytest.mark.parametrize(("options", "message"), [
    ({"in_channels": 12}, r"in_channels must be at least 13 for hybridsn, got 12 .*take off 12.*; keep more principal"),
    ({"window": 8}, r"window must be at least 9 for hybridsn, got 8 .*take off 8.*; take a larger window"),
    ({"window": 9.0}, "window of network 'hybridsn' must be a whole number, got 9.0"),
    ({"in_channels": 0}, "in_channels must be a whole number of at least 13, got 0"),
    ({"num_classes": 0}, "num_classes must be a whole number of at least 1, got 0"),
    ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
    ({"normalisation": "layer"}, "normalisation must be 'none', 'batch' or 'group', got 'layer'"),
    ({"dims": 3}, "dims must be 2 for hybridsn, got 3 .bands are the channels of an image"),
    ({"attention": "se@1"}, "attention stages must be 0 to 0, got 1"),
    ({"attention": "se:position=identity"}, "hybridsn: its block cannot have this attention .it has no identity"),
    ({"windwo": 9}, "network 'hybridsn' has no option 'windwo'; did you mean 'window'")])
def test_a_wrong_argument_is_named(options, message):
    with torch.device("meta"), pytest.raises(UsageError, match=message):
        small(**options)
    assert "kwargs" not in inspect.signature(HybridSN).parameters


@pytest.mark.parametrize("shape", [(1, 13, 11, 11), (1, 14, 11, 12), (14, 11, 11), (1, 1, 14, 11, 11)])
def test_other_windows_are_refused_in_words(shape):
    with torch.device("meta"):
        model = small()
        with pytest.raises(DataError, match=r"takes \(N, 14, 11, 11\), got \(.*predict_scene takes a whole"):
            model(torch.empty(shape))


def test_bf16_autocast_trains_and_a_copy_shares_nothing():
    model, x = small(), windows().float()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(x).float().square().mean()
    loss.backward()
    assert all(value.grad.isfinite().all() for value in model.parameters())
    before, twin = model.eval()(x), copy.deepcopy(model)
    with torch.no_grad():
        for value in twin.parameters():
            value.add_(1.0)
    assert torch.equal(model(x), before)


@pytest.mark.slow
def test_export_computes_the_same_for_any_batch():
    x = windows()
    model = awake(small(attention="se"), x)
    program = torch.export.export(model, (x[:2],), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(x), model(x), rtol=1e-9, atol=1e-12)


def test_it_is_listed_with_the_published_defaults():
    assert "hybridsn" in list_models("hybrid*")
    with torch.device("meta"):
        model = create_model("hybridsn")
        assert (model.in_channels, model.window, model.classifier.out_features) == (30, 25, 16)
        assert model.name == "hybridsn" and model.dropout.p == 0.4
