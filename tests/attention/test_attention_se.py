import copy

import numpy as np
import pytest
import torch
from gate_toy import assert_same, awake, dense, flat, hard_sigmoid, sigmoid, wide
from safetensors.torch import load_file, save_file

from excite.attention.se import SqueezeExcitation
from excite.errors import ModelError, UsageError
from lively import assert_equal, varied_images


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("start", ["paper", "open"])
@pytest.mark.parametrize("size", [(5, 7), (3, 5, 4)])
def test_equals_the_equations_in_numpy(size, start, bias):
    se = SqueezeExcitation(32, dims=len(size), reduction=8, bias=bias, start=start).double()
    torch.nn.init.normal_(se.excite.weight)
    x = torch.randn(3, 32, *size, dtype=torch.float64)
    z = x.numpy().reshape(3, 32, -1).mean(-1)  # eq. 2
    w1, w2 = (layer.weight.detach().numpy().reshape(layer.weight.shape[:2]) for layer in (se.squeeze, se.excite))
    b1, b2 = ((layer.bias.detach().numpy() if bias else 0) for layer in (se.squeeze, se.excite))
    s = 1 / (1 + np.exp(-(np.maximum(z @ w1.T + b1, 0) @ w2.T + b2)))  # eq. 3
    s *= 2 if start == "open" else 1
    expected = x.numpy() * s.reshape(3, 32, *[1] * len(size))  # eq. 4
    np.testing.assert_allclose(se(x).detach().numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_an_open_gate_is_exactly_one_and_can_learn(dtype):
    se = SqueezeExcitation(32, start="open").to(dtype)
    x = torch.randn(2, 32, 5, 5).to(dtype)
    assert torch.equal(se(x), x)
    se(x).float().square().sum().backward()
    assert float(se.excite.weight.grad.abs().max()) > 0 and float(se.excite.bias.grad.abs().max()) > 0


def test_a_fresh_published_gate_is_about_a_half():
    torch.manual_seed(0)
    gate = SqueezeExcitation(256).gate(torch.randn(8, 256, 7, 7)).detach()
    assert 0.4 < float(gate.mean()) < 0.6 and gate.shape == (8, 256, 1, 1)


@pytest.mark.parametrize("channels", [1, 8, 12, 15])
def test_fewer_channels_than_the_reduction_leave_one(channels):  # T3-6
    se = SqueezeExcitation(channels, reduction=16)
    assert se.squeeze.out_channels == 1
    assert se(torch.rand(2, channels, 3, 3)).shape == (2, channels, 3, 3)


@pytest.mark.parametrize("reduction", [0, -4, 2.5, "16"])
def test_a_wrong_reduction_is_named(reduction):
    with pytest.raises(UsageError, match="reduction must be a whole number of at least 1, got"):
        SqueezeExcitation(16, reduction=reduction)


def test_a_wrong_start_is_named():
    with pytest.raises(UsageError, match="start must be 'paper' or 'open', got 'closed'"):
        SqueezeExcitation(16, start="closed")


@pytest.mark.parametrize(("saved", "own"), [("paper", "open"), ("open", "paper")])
@pytest.mark.parametrize("strict", [True, False])
def test_one_form_never_loads_into_the_other(saved, own, strict):
    state = SqueezeExcitation(16, start=saved).state_dict()
    gate = SqueezeExcitation(16, start=own)
    before = copy.deepcopy(gate.state_dict())
    with pytest.raises(ModelError, match=rf"a network with start=.*build the network with start='{saved}'"):
        gate.load_state_dict(state, strict=strict)
    assert all(torch.equal(value, before[key]) for key, value in gate.state_dict().items())


def test_weights_without_their_form_are_refused_and_a_state_without_gates_is_not():
    state = SqueezeExcitation(16).state_dict()
    del state["form"]
    with pytest.raises(ModelError, match="gates come without their form.*load them with excite.load_weights"):
        SqueezeExcitation(16).load_state_dict(state, strict=False)
    holder = torch.nn.ModuleDict({"attention": SqueezeExcitation(16)})
    assert holder.load_state_dict({}, strict=False).missing_keys


def test_moves_copies_and_saves_whole(tmp_path):  # T3-2, T3-3
    se = SqueezeExcitation(16, start="open").double()
    assert {value.dtype for value in se.parameters()} == {torch.float64}
    twin = copy.deepcopy(se)
    torch.nn.init.ones_(twin.excite.bias)
    assert float(se.excite.bias.detach().abs().max()) == 0
    save_file(twin.state_dict(), tmp_path / "se.safetensors")
    se.load_state_dict(load_file(tmp_path / "se.safetensors"))
    x = torch.randn(1, 16, 3, 3, dtype=torch.float64)
    assert torch.equal(se(x), twin(x))


@pytest.mark.parametrize("squeeze", ["average", "max"])
@pytest.mark.parametrize("gate", ["sigmoid", "hard_sigmoid"])
@pytest.mark.parametrize("start", ["paper", "open"])
@pytest.mark.parametrize("size", [(5, 7), (3, 5, 4)])
def test_every_squeeze_and_gate_equals_its_equation(size, start, gate, squeeze):
    x = varied_images(3, channels=16, size=size) * 3
    se = awake(SqueezeExcitation(16, dims=len(size), reduction=4, squeeze=squeeze, gate=gate, start=start), x)
    (w1, b1), (w2, b2) = dense(se.squeeze), dense(se.excite)
    z = flat(x).mean(-1) if squeeze == "average" else flat(x).max(-1)
    found = np.maximum(z @ w1.T + b1, 0) @ w2.T + b2
    factors = (sigmoid if gate == "sigmoid" else hard_sigmoid)(found) * (2 if start == "open" else 1)
    assert_same(se(x), x.numpy() * wide(factors, len(size)))
    other = (hard_sigmoid if gate == "sigmoid" else sigmoid)(found) * (2 if start == "open" else 1)
    with pytest.raises(AssertionError):
        assert_same(se(x), x.numpy() * wide(other, len(size)))


@pytest.mark.parametrize(("channels", "options", "squeezed"), [
    (24, {}, 1), (24, {"min_channels": 4}, 4), (256, {"min_channels": 4}, 16), (16, {"reduction": 4, "divisor": 8}, 8),
    (72, {"reduction": 4, "divisor": 8}, 24), (120, {"reduction": 4, "divisor": 8}, 32),
    (672, {"reduction": 4, "divisor": 8}, 168), (960, {"reduction": 4, "divisor": 8}, 240),
    (8, {"divisor": 8, "min_channels": 2}, 8)])
def test_squeezes_to_at_least_and_to_multiples(channels, options, squeezed):
    assert SqueezeExcitation(channels, **options).squeeze.out_channels == squeezed


@pytest.mark.parametrize("name", ["min_channels", "divisor"])
@pytest.mark.parametrize("value", [0, 1.5, True])
def test_a_wrong_number_is_named(name, value):
    with pytest.raises(UsageError, match=f"{name} must be a whole number of at least 1, got"):
        SqueezeExcitation(16, **{name: value})


@pytest.mark.parametrize(("saved", "own", "message"), [
    ({"squeeze": "max"}, {}, "squeeze='max', this one has squeeze='average'"),
    ({}, {"gate": "hard_sigmoid"}, "gate='sigmoid', this one has gate='hard_sigmoid'"),
    ({"gate": "hard_sigmoid", "start": "open"}, {}, "start='open', gate='hard_sigmoid', this one has start='paper'")])
def test_weights_of_another_squeeze_or_gate_are_refused(saved, own, message):
    state = SqueezeExcitation(16, **saved).state_dict()
    with pytest.raises(ModelError, match=message):
        SqueezeExcitation(16, **own).load_state_dict(state)


def test_an_unknown_squeeze_or_gate_is_named():
    with pytest.raises(UsageError, match="squeeze must be 'average' or 'max', got 'median'"):
        SqueezeExcitation(16, squeeze="median")
    with pytest.raises(UsageError, match="gate must be one of sigmoid, hard_sigmoid, got 'tanh'"):
        SqueezeExcitation(16, gate="tanh")


@pytest.mark.peers
@pytest.mark.parametrize("channels", [16, 72, 120])
@pytest.mark.parametrize("gate", ["sigmoid", "hard_sigmoid"])
def test_equals_torchvisions_module_given_its_weights(channels, gate):
    from torchvision.models._utils import _make_divisible
    from torchvision.ops.misc import SqueezeExcitation as Theirs

    scale = torch.nn.Hardsigmoid if gate == "hard_sigmoid" else torch.nn.Sigmoid
    theirs = Theirs(channels, _make_divisible(channels // 4, 8), scale_activation=scale).double()
    torch.nn.init.normal_(theirs.fc2.weight)
    ours, x = (SqueezeExcitation(channels, reduction=4, divisor=8, gate=gate).double(),
               varied_images(4, channels=channels, size=(9, 11)) * 4)
    ours.load_state_dict({"squeeze.weight": theirs.fc1.weight, "squeeze.bias": theirs.fc1.bias,
                          "excite.weight": theirs.fc2.weight, "excite.bias": theirs.fc2.bias, "form": ours.form})
    with torch.no_grad():
        assert_equal(ours(x), theirs(x))


@pytest.mark.peers
def test_equals_timms_module_given_its_weights():
    from timm.models.senet import SEModule

    theirs, x = SEModule(64, 16).double(), torch.randn(4, 64, 9, 11, dtype=torch.float64)
    ours = SqueezeExcitation(64).double()
    ours.load_state_dict({"squeeze.weight": theirs.fc1.weight, "squeeze.bias": theirs.fc1.bias,
                          "excite.weight": theirs.fc2.weight, "excite.bias": theirs.fc2.bias,
                          "form": ours.form})
    with torch.no_grad():
        assert_equal(ours(x), theirs(x))
