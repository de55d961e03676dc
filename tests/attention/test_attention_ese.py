import pytest
import torch
from gate_toy import assert_same, awake, dense, flat, hard_sigmoid, sigmoid, wide

from excite.attention.ese import EffectiveSqueezeExcitation
from excite.errors import ModelError, UsageError
from lively import assert_equal, varied_images

SIZES = [(5, 7), (3, 5, 4)]


@pytest.mark.parametrize("gate", ["hard_sigmoid", "sigmoid"])
@pytest.mark.parametrize("start", ["paper", "open"])
@pytest.mark.parametrize("size", SIZES)
def test_equals_the_equation_in_numpy(size, start, gate):
    x = varied_images(3, channels=12, size=size) * 3
    ese = awake(EffectiveSqueezeExcitation(12, dims=len(size), gate=gate, start=start), x)
    weight, bias = dense(ese.excite)
    assert weight.shape == (12, 12)
    found = flat(x).mean(-1) @ weight.T + bias
    assert found.min() < -3 or gate == "sigmoid"  # the hard sigmoid's corner is met
    factors = (hard_sigmoid if gate == "hard_sigmoid" else sigmoid)(found) * (2 if start == "open" else 1)
    assert_same(ese(x), x.numpy() * wide(factors, len(size)))


def test_another_function_is_another_form_and_an_unknown_one_is_named():
    state = EffectiveSqueezeExcitation(8).state_dict()
    with pytest.raises(ModelError, match="a network with gate='hard_sigmoid', this one has gate='sigmoid'"):
        EffectiveSqueezeExcitation(8, gate="sigmoid").load_state_dict(state)
    with pytest.raises(UsageError, match="gate must be one of sigmoid, hard_sigmoid, got 'relu'"):
        EffectiveSqueezeExcitation(8, gate="relu")


def test_the_plain_sigmoid_would_be_found_out():
    x = varied_images(3, channels=12)
    ese = awake(EffectiveSqueezeExcitation(12), x)
    weight, bias = dense(ese.excite)
    with pytest.raises(AssertionError):
        assert_same(ese(x), x.numpy() * wide(sigmoid(flat(x).mean(-1) @ weight.T + bias), 2))


@pytest.mark.peers
@pytest.mark.parametrize("channels", [12, 64])
def test_equals_timms_module_given_its_weights(channels):
    from timm.layers.squeeze_excite import EffectiveSEModule

    theirs, x = EffectiveSEModule(channels).double(), varied_images(4, channels=channels, size=(9, 11)) * 4
    torch.nn.init.normal_(theirs.fc.bias)
    ours = EffectiveSqueezeExcitation(channels).double()
    ours.load_state_dict({"excite.weight": theirs.fc.weight, "excite.bias": theirs.fc.bias, "form": ours.form})
    with torch.no_grad():
        assert_equal(ours(x), theirs(x))
