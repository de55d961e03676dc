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


def block(attention, position, shortcut=True, **options):
    torch.manual_seed(0)
    return Residual(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Tanh()), nn.Conv2d(3, 3, 1) if shortcut else None,
                    attention=attention, position=position, act=nn.ReLU(), **{"inner": 0} | options)


EXPECTED = {  # figure 5 of arXiv:1709.01507, written out; "inner" is its SE_3x3
    "standard": lambda b, s, a, x: (a(b(x)) + s(x)).relu(),
    "pre": lambda b, s, a, x: (b(a(x)) + s(x)).relu(),
    "post": lambda b, s, a, x: a((b(x) + s(x)).relu()),
    "identity": lambda b, s, a, x: (b(x) + a(s(x))).relu(),
    "inner": lambda b, s, a, x: (b[1](a(b[0](x))) + s(x)).relu(),
}


@pytest.mark.parametrize("attention", [Half, Curve])
@pytest.mark.parametrize("position", EXPECTED)
def test_attention_sits_where_the_figure_has_it(position, attention):
    one, x = block(attention(), position), torch.randn(2, 3, 4, 4)
    expected = EXPECTED[position](one.branch, one.shortcut, attention(), x)
    torch.testing.assert_close(one(x), expected)
    for other in set(EXPECTED) - {position}:  # they are told apart by this test
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


@pytest.mark.parametrize("position", EXPECTED)
@pytest.mark.parametrize("halves", [True, False])
def test_ways_that_are_joined_side_by_side_have_the_same_places(position, halves):
    one, x = block(Curve(), position, join="concat", halves=halves), torch.randn(2, 6 if halves else 3, 4, 4)
    first, second = x.chunk(2, dim=1) if halves else (x, x)
    places = dict.fromkeys(EXPECTED, lambda x: x) | {position: Curve()}
    y = places["standard"](one.branch[1](places["inner"](one.branch[0](places["pre"](second)))))
    expected = places["post"](torch.cat((places["identity"](one.shortcut(first)), y), 1).relu())
    torch.testing.assert_close(one(x), expected)


def test_a_block_that_lacks_the_place_refuses_it_and_says_so():
    one = block(Half(), "identity", shortcut=False)
    assert one.attention is None and one.refused == "no identity position, because it has no shortcut"
    one = block(Half(), "inner", inner=None)
    assert one.attention is None and one.refused.endswith("because it has no convolution inside its branch")
    assert block(Half(), "identity").refused is None and block(Half(), "post", shortcut=False).refused is None


def test_an_unknown_position_is_an_error():
    with pytest.raises(UsageError, match="position must be one of standard, pre, post, identity, inner, got 'before'"):
        block(Half(), "before")


def test_weights_of_another_position_are_refused():
    state = block(Half(), "post").state_dict()
    with pytest.raises(ModelError, match="with position='post', this one has position='standard'.*position='post'"):
        block(Half(), "standard").load_state_dict(state)
    block(Half(), "post").load_state_dict(state)


def test_an_unknown_join_is_an_error():
    with pytest.raises(UsageError, match="join must be 'sum' or 'concat', got 'product'"):
        block(None, "standard", join="product")


def test_a_gate_without_its_formula_says_what_is_missing():
    with pytest.raises(NotImplementedError, match=r"Gate has to define gate\(x\)"):
        Gate()(torch.rand(1, 1, 1, 1))
