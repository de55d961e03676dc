"""Attention over tokens equals torch's own, shows the weights it computes with, and never sees what is missing."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from excite.errors import UsageError
from excite.layers.regions import region_means
from excite.layers.token_attention import TokenAttention, TokenBlock, drop_tokens
from lively import assert_equal


def tokens(count=5, *, width=12, samples=4):
    """Return tokens, and which of them are there: every sample has another set."""
    present = torch.ones(samples, count, dtype=torch.bool)
    for row in range(samples):
        present[row, :row] = False
    return torch.randn(samples, count, width, dtype=torch.float64), present


def torchs(ours, width, heads):
    """Return torch's attention with the weights of ours."""
    theirs = nn.MultiheadAttention(width, heads, batch_first=True).double()
    theirs.load_state_dict({"in_proj_weight": ours.inward.weight, "in_proj_bias": ours.inward.bias,
                            "out_proj.weight": ours.outward.weight, "out_proj.bias": ours.outward.bias})
    return theirs


def lively_attention(width=12, heads=3):
    ours = TokenAttention(width, heads=heads).double()
    for value in ours.parameters():
        nn.init.normal_(value, 0.0, 0.5)
    return ours


@pytest.mark.parametrize("heads", [1, 3, 12])
def test_it_equals_torchs_multi_head_attention(heads):
    ours, (x, present) = lively_attention(heads=heads), tokens()
    made, weights = torchs(ours, 12, heads)(x, x, x, key_padding_mask=~present, average_attn_weights=False)
    assert_equal(ours(x, present), made)
    assert_equal(ours.weights(x, present), weights)


def test_a_block_equals_torchs_encoder_layer():
    x, present = tokens()
    ours = TokenBlock(12, heads=3, expansion=2).double().eval()
    for value in ours.parameters():
        nn.init.normal_(value, 0.0, 0.5)
    theirs = nn.TransformerEncoderLayer(12, 3, 24, activation="gelu", batch_first=True, norm_first=True).double()
    theirs.self_attn.load_state_dict(torchs(ours.attend, 12, 3).state_dict())
    for mine, other in ((ours.before, theirs.norm1), (ours.mlp[0], theirs.norm2), (ours.mlp[1], theirs.linear1),
                        (ours.mlp[4], theirs.linear2)):
        other.load_state_dict(mine.state_dict())
    assert_equal(ours(x, present), theirs.eval()(x, src_key_padding_mask=~present))


def test_the_weights_sum_to_one_and_a_missing_token_has_none():
    x, present = tokens()
    weights = lively_attention().weights(x, present)
    torch.testing.assert_close(weights.sum(dim=3), torch.ones(4, 3, 5, dtype=torch.float64))
    assert bool((weights.movedim(3, 1)[~present] == 0).all()) and bool((weights.movedim(3, 1)[present] > 0).all())


def test_a_missing_token_changes_no_other_and_a_sample_without_any_is_finite():
    ours, (x, present) = lively_attention(), tokens()
    other = x.masked_fill(~present[:, :, None], 1e6)
    assert torch.equal(ours(x, present)[present], ours(other, present)[present])
    nothing = torch.zeros_like(present)
    assert ours(x, nothing).isfinite().all() and bool((ours.weights(x, nothing) == 1 / 5).all())


def test_over_one_token_attention_does_nothing():  # T0-4
    x = torch.randn(4, 1, 12)
    naive = nn.MultiheadAttention(12, 3, batch_first=True)
    before, weights = naive(x, x, x)
    with torch.no_grad():
        naive.in_proj_weight[:24].normal_()  # other queries and keys altogether
    assert torch.equal(weights, torch.ones(4, 1, 1)) and torch.equal(naive(x, x, x)[0], before)
    linear = functional.linear(functional.linear(x, naive.in_proj_weight[24:]), naive.out_proj.weight)
    torch.testing.assert_close(before, linear)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_masks_hold_in_half_precision(kind):
    x, present = tokens()
    weights = lively_attention().to(kind).weights(x.to(kind), present)
    assert weights.dtype == kind and weights.isfinite().all() and bool((weights.movedim(3, 1)[~present] == 0).all())


def test_arguments_are_checked():
    with pytest.raises(UsageError, match=r"heads must divide the width of a token \(130\), got 4") as fault:
        TokenAttention(130, heads=4)
    assert "heads=5, or another width" in fault.value.message()
    for wrong in (0, -1, 2.0, True):
        with pytest.raises(UsageError, match="heads must be a whole number of at least 1"):
            TokenAttention(12, heads=wrong)


def test_tokens_are_dropped_at_their_rate_never_all_and_the_same_for_a_seed():
    present = torch.tensor([[True, True, True], [True, False, True], [False, True, False], [False] * 3]).repeat(5000, 1)
    torch.manual_seed(3)
    kept = drop_tokens(present, 0.4)
    torch.manual_seed(3)
    assert torch.equal(drop_tokens(present, 0.4), kept)
    assert not bool((kept & ~present).any())
    assert torch.equal(kept.any(dim=1), present.any(dim=1))
    share = kept.view(5000, 4, 3).double().mean(dim=0)
    # a map stays with 0.6, or as the last one: 0.4^3 / 3 of three, 0.4^2 / 2 of two, always where it is alone
    expected = torch.tensor([[0.6 + 0.4**3 / 3] * 3, [0.68, 0, 0.68], [0, 1, 0], [0, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(share, expected, rtol=0, atol=0.03)


@pytest.mark.parametrize(("sizes", "regions"), [((4, 4), (2, 2)), ((7, 5), (2, 3)), ((1, 1), (2, 2)),
                                                ((1, 4, 4), (1, 2, 2)), ((3, 7, 5), (2, 2, 4)), ((2, 3, 3), (1, 1, 1))])
def test_region_means_are_adaptive_pooling(sizes, regions):
    x = torch.randn(2, 3, *sizes, dtype=torch.float64)
    pool = functional.adaptive_avg_pool2d if len(sizes) == 2 else functional.adaptive_avg_pool3d
    torch.testing.assert_close(region_means(x, regions), pool(x, regions), rtol=1e-12, atol=1e-12)
