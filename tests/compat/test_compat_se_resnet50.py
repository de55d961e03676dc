"""SE-ResNet-50 in the document's two ways: equal to each other, to the plan's network, and free of its traps (D3)."""

import copy
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from excite.attention.plan import AttentionPlan
from excite.compat import SEModule, SEResNet50, SEResNet50_Simple
from excite.errors import EnvironmentFault, ModelError
from excite.layers.residual import Residual
from excite.models.classifier import create_model
from lively import assert_equal, assert_sees_its_input, lively, varied_images

WAYS = [SEResNet50, SEResNet50_Simple]
PLAIN_30 = 23_569_502


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def model(request):
    return request.param(num_classes=4)


def gates(model):
    return [module for module in model.modules() if isinstance(module, SEModule)]


@pytest.mark.parametrize("way", WAYS)
def test_counts_are_the_documents(way):
    with torch.device("meta"):
        assert sum(value.numel() for value in way(30).parameters()) == 26_100_494 == PLAIN_30 + 2_530_992
        assert sum(value.numel() for value in way(1000).parameters()) == 28_088_024


def test_both_ways_and_the_plan_are_one_network():  # S3-05
    images = varied_images(3)
    one = lively(SEResNet50(num_classes=4), images)
    other = SEResNet50_Simple(num_classes=4).double().eval()
    planned = create_model("resnet50", num_classes=4, attention=AttentionPlan()).double().eval()
    assert one.state_dict().keys() == other.state_dict().keys() == planned.state_dict().keys()
    other.load_state_dict(one.state_dict())
    planned.load_state_dict(one.state_dict())
    with torch.no_grad():
        expected = one(images)
        assert_sees_its_input(expected)
        assert torch.equal(other(images), expected) and torch.equal(planned(images), expected)


def test_each_block_has_a_gate_of_its_own_that_runs_once(model):  # T3-1
    calls = []
    for place, gate in enumerate(gates(model)):
        gate.register_forward_hook(lambda *_, place=place: calls.append(place))
    model.eval()(torch.rand(1, 3, 32, 32))
    assert calls == list(range(16))
    assert len({gate.squeeze.weight.data_ptr() for gate in gates(model)}) == 16


def test_the_late_binding_of_the_document_would_be_found_out():
    """The planted fault: all blocks of a stage share the last gate."""
    model = SEResNet50_Simple(num_classes=4)
    for stage in model.backbone.stages:
        blocks = [block for block in stage if isinstance(block, Residual)]
        for block in blocks:
            block.attention = blocks[-1].attention
    with pytest.raises(AssertionError):
        test_each_block_has_a_gate_of_its_own_that_runs_once(model)


def test_gates_are_registered_trained_moved_and_saved(model, tmp_path):  # T3-2
    inside = [key for key, _ in model.named_parameters() if ".attention." in key]
    assert len(inside) == 16 * 4
    groups = torch.optim.SGD(model.parameters(), lr=0.1).param_groups
    seen = {id(value) for group in groups for value in group["params"]}
    assert all(id(value) in seen for key, value in model.named_parameters() if key in inside)
    model(torch.rand(2, 3, 32, 32)).square().sum().backward()
    assert all(value.grad is not None for value in model.parameters())
    wide = copy.deepcopy(model).double().eval()
    x = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    assert wide(x).dtype == torch.float64
    assert {value.device.type for value in copy.deepcopy(model).to("meta").parameters()} == {"meta"}
    save_file(wide.state_dict(), tmp_path / "weights.safetensors")
    again = type(model)(num_classes=4).double().eval()
    again.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(again(x), wide(x))


def test_a_plain_network_refuses_weights_with_gates(model):  # T3-2: no silent loss of the gates
    with pytest.raises(RuntimeError, match="Unexpected key.*attention.squeeze"):
        create_model("resnet50", num_classes=4).load_state_dict(model.state_dict())


def test_the_whole_object_can_be_saved_and_loaded(model, tmp_path):  # T3-3: no function of the instance in the way
    torch.save(model.eval(), tmp_path / "model.pt")
    again = torch.load(tmp_path / "model.pt", weights_only=False)
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(again(x), model(x))


def test_a_copy_has_gates_of_its_own(model):  # T3-3
    twin = copy.deepcopy(model.eval())
    x = torch.rand(2, 3, 32, 32)
    before = model(x)
    with torch.no_grad():
        for gate in gates(twin):
            gate.excite.bias.add_(3.0)
    assert torch.equal(model(x), before) and not torch.equal(twin(x), before)
    assert not {gate.squeeze.weight.data_ptr() for gate in gates(model)} & {
        gate.squeeze.weight.data_ptr() for gate in gates(twin)}


@pytest.mark.parametrize("way", WAYS)
def test_plain_weights_come_whole_and_change_no_output(way):  # T3-4, T3-5
    images = varied_images(3)
    plain = lively(create_model("resnet50", num_classes=4), images)
    model = way(num_classes=4, weights=plain.state_dict())
    statistics = [key for key in plain.state_dict() if "running_" in key or "num_batches" in key]
    inside = [key for key in statistics if ".branch." in key]
    assert len(inside) == 144  # 48 norms, three entries each: what the document lost
    assert all(torch.equal(model.state_dict()[key].double(), plain.state_dict()[key].float().double())
               for key in statistics)
    assert {gate.start for gate in gates(model)} == {"open"}
    with torch.no_grad():
        same = create_model("resnet50", num_classes=4)
        same.load_state_dict(plain.state_dict())
        assert torch.equal(model.double().eval()(images), same.double().eval()(images))


def test_without_weights_the_gates_are_the_published_ones(model):  # T3-5
    assert {gate.start for gate in gates(model)} == {"paper"}
    values = torch.cat([gate.gate(torch.randn(2, gate.excite.out_channels, 4, 4)).flatten() for gate in gates(model)])
    assert 0.4 < float(values.detach().mean()) < 0.6


@contextmanager
def without_network():
    import socket

    def refuse(*_, **__):
        raise AssertionError("a connection was tried")

    kept, socket.socket.connect = socket.socket.connect, refuse
    try:
        yield
    finally:
        socket.socket.connect = kept


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_fetched_and_weights_that_are_not_there_are_an_error(way):  # T3-7
    with without_network(), pytest.raises((EnvironmentFault, ModelError), match="imagenet|resnet50"):
        way(num_classes=4, weights="imagenet")


@pytest.mark.peers
@pytest.mark.parametrize("way", WAYS)
def test_equals_timms_seresnet50_given_its_weights(way):
    import timm

    from excite.weights.keymap import to_excite

    images = varied_images(4)
    reference = lively(timm.create_model("seresnet50", num_classes=30), images)
    model = way(num_classes=30).double().eval()
    model.load_state_dict(to_excite(reference.state_dict(), model_name="se_resnet50", layout="timm"))
    with torch.no_grad():
        assert_equal(model(images), reference(images))


def test_the_reduction_goes_to_every_gate():
    ratios = {gate.excite.weight.shape[0] / gate.excite.weight.shape[1] for gate in gates(SEResNet50(4, reduction=8))}
    assert ratios == {8}
    assert all(isinstance(gate.squeeze, nn.Conv2d) for gate in gates(SEResNet50_Simple(4, reduction=8)))
