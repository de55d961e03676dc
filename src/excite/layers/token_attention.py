"""Multi-head self-attention over a few tokens, some of which may be missing, and the pre-norm block around it.

Source: Vaswani et al., NeurIPS 2017, arXiv:1706.03762, section 3.2; the norm before each part, not after it: Xiong et
al., ICML 2020, arXiv:2002.04745, figure 1.
"""

import torch
from torch import Tensor, nn

from excite.errors import UsageError


class TokenAttention(nn.Module):
    """Multi-head self-attention; the weights it shows are the ones it computes with.

    The parameters are those of nn.MultiheadAttention: `inward` is its in_proj, `outward` its out_proj.

    Args:
        width: Of a token.
        heads: How many; they divide the width.

    Shape:
        (N, T, width), present (N, T) bool -> (N, T, width)

    Raises:
        UsageError: the heads do not divide the width.
    """

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        for name, value in (("width", width), ("heads", heads)):
            if type(value) is not int or value < 1:
                raise UsageError(f"{name} must be a whole number of at least 1, got {value!r}")
        if width % heads:
            near = [one for one in range(1, width + 1) if width % one == 0]
            raise UsageError(f"heads must divide the width of a token ({width}), got {heads}",
                             fix=f"heads={min(near, key=lambda one: abs(one - heads))}, or another width")
        self.heads = heads
        self.inward, self.outward = nn.Linear(width, 3 * width), nn.Linear(width, width)
        nn.init.xavier_uniform_(self.inward.weight)
        for layer in (self.inward, self.outward):
            nn.init.zeros_(layer.bias)

    def weights(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Return what each token takes of each, (N, heads, T, T); rows sum to 1, a missing token's column is 0.

        Where a sample has no token at all every weight is 1 / T.
        """
        query, key, _ = self._split(tokens)
        return self._weights(query, key, present)

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Return what each token makes of those present."""
        query, key, value = self._split(tokens)
        taken = self._weights(query, key, present) @ value
        y: Tensor = self.outward(taken.transpose(1, 2).flatten(2))
        return y

    def _split(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """Return queries, keys and values, (N, heads, T, width / heads) each."""
        parts = torch.unflatten(self.inward(tokens), 2, (3, self.heads, -1))
        return parts.permute(2, 0, 3, 1, 4).unbind(0)

    @staticmethod
    def _weights(query: Tensor, key: Tensor, present: Tensor) -> Tensor:
        scores = query @ key.transpose(2, 3) * query.shape[3] ** -0.5
        lowest = torch.finfo(scores.dtype).min  # -inf would leave NaN where nothing is present
        shares: Tensor = scores.masked_fill(~present[:, None, None], lowest).softmax(dim=3).to(query.dtype)
        return shares


class TokenBlock(nn.Module):
    """Attention over tokens and an MLP on each, both behind a norm and beside a shortcut.

    In evaluation mode it is nn.TransformerEncoderLayer(norm_first=True, activation="gelu", batch_first=True).

    Args:
        width: Of a token.
        heads: Of the attention.
        expansion: Hidden width of the MLP over `width`.
        dropout: Rate behind the attention and behind both layers of the MLP.

    Shape:
        (N, T, width), present (N, T) bool -> (N, T, width)

    Raises:
        UsageError: the heads do not divide the width.
    """

    def __init__(self, width: int, *, heads: int, expansion: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        self.before, self.attend = nn.LayerNorm(width), TokenAttention(width, heads=heads)
        self.dropout = nn.Dropout(dropout)
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, expansion * width), nn.GELU(),
                                 nn.Dropout(dropout), nn.Linear(expansion * width, width), nn.Dropout(dropout))

    def weights(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Return the weights of its attention, (N, heads, T, T)."""
        return self.attend.weights(self.before(tokens), present)

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Return the tokens, each with what it took of the others."""
        tokens = tokens + self.dropout(self.attend(self.before(tokens), present))
        y: Tensor = tokens + self.mlp(tokens)
        return y


def drop_tokens(present: Tensor, rate: float) -> Tensor:
    """Return which of those present stay, each being dropped with a chance of `rate`, but never all of a sample.

    Shape:
        (N, M) bool -> (N, M) bool
    """
    drawn = torch.rand(present.shape, device=present.device).masked_fill(~present, -1.0)
    kept = present & (drawn >= rate)
    luckiest = present & (drawn == drawn.amax(dim=1, keepdim=True))
    return torch.where(kept.any(dim=1, keepdim=True), kept, luckiest)
