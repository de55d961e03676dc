import pytest
import torch
from torch import nn

from excite.errors import ModelError, UsageError
from excite.layers.gate import Gate
from excite.layers.residual import Residual


class Half(Gate):
    def gate(self, x):
        return torch.full_like(x[:, :, :1, :1], 0.5)


class Curve(nn.Module):
    """An attention that is no gate."""

    def forward(self, x):
        return x.square() - x


def block(attention, position, shortcut=True):
    torch.manual_seed(0)
    return Residual(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1) if shortcut else None, attention=attention,
                    position=position, act=nn.ReLU())


EXPECTED = {  # figure 5 of arXiv:1709.01507, written out
    "standard": lambda b, s, a, x: (a(b(x)) + s(x)).relu(),
    "pre": lambda b, s, a, x: (b(a(x)) + s(x)).relu(),
    "post": lambda b, s, a, x: a((b(x) + s(x)).relu()),
    "identity": lambda b, s, a, x: (b(x) + a(s(x))).relu(),
}


@pytest.mark.parametrize("attention", [Half, Curve])
@pytest.mark.parametrize("position", EXPECTED)
def test_attention_sits_where_the_figure_has_it(position, attention):
    one, x = block(attention(), position), torch.randn(2, 3, 4, 4)
    expected = EXPECTED[position](one.branch, one.shortcut, attention(), x)
    torch.testing.assert_close(one(x), expected)
    for other in set(EXPECTED) - {position}:  # the four are told apart by this test
        assert not torch.allclose(EXPECTED[other](one.branch, one.shortcut, attention(), x), expected)


def test_a_gate_before_the_sum_is_one_pass_and_equal_to_two():
    one, x = block(Half(), "standard"), torch.randn(2, 3, 4, 4)
    assert one.fused and not block(Curve(), "standard").fused and not block(Half(), "post").fused
    fused = one(x)
    one.fused = False
    torch.testing.assert_close(one(x), fused, rtol=0, atol=1e-6)


def test_hooks_on_a_gate_are_called_once_a_pass():
    one, calls = block(Half(), "standard"), []
    one.attention.register_forward_hook(lambda *_: calls.append(1))
    one(torch.randn(1, 3, 4, 4))
    assert calls == [1]


def test_a_block_without_a_sum_refuses_the_identity_position_and_says_so():
    one = block(Half(), "identity", shortcut=False)
    assert one.attention is None and one.refused == "identity"
    assert block(Half(), "identity").refused is None and block(Half(), "post", shortcut=False).refused is None


def test_an_unknown_position_is_an_error():
    with pytest.raises(UsageError, match="position must be one of standard, pre, post, identity, got 'before'"):
        block(Half(), "before")


def test_weights_of_another_position_are_refused():
    state = block(Half(), "post").state_dict()
    with pytest.raises(ModelError, match="attention at position 'post', this network at 'standard'.*position='post'"):
        block(Half(), "standard").load_state_dict(state)
    block(Half(), "post").load_state_dict(state)


def test_a_gate_without_its_formula_says_what_is_missing():
    with pytest.raises(NotImplementedError, match=r"Gate has to define gate\(x\)"):
        Gate()(torch.rand(1, 1, 1, 1))
