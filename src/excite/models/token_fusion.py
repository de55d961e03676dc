"""What turns the vectors of several maps into logits: attention between tokens, its published form, or no attention.

Vectors of pooled maps that are concatenated along their channels are ONE token, and attention over one token does
nothing: its only weight is 1, whatever query and key are. Tokens have to exist before anything attends. In
`TokenFusion` they are the regions of each map; in `ChannelFusion`, the published form, they are the regions alone, each
with the channels of all maps. `LateFusion` is what both have to beat: an answer of each map, and their mean.

Source: the published description of MobileNetV2-SE for renal fibrosis, which concatenates the maps' features "along the
channel dimension" before multi-head self-attention and an MLP; learned embeddings and the class token: Dosovitskiy et
al., ICLR 2021, arXiv:2010.11929, equations 1 to 4.
"""

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from excite.errors import DataError, UsageError
from excite.layers.token_attention import TokenAttention, TokenBlock, drop_tokens

Pooling = Literal["mean", "class"]


class Layout(NamedTuple):
    """How the vectors of a sample lie in one: map after map, region after region, then 1 or 0 for each map there."""

    modalities: int
    regions: tuple[int, ...]
    channels: int

    @property
    def places(self) -> int:
        """Regions of a map."""
        return prod(self.regions)

    def joined(self, parts: Tensor, present: Tensor) -> Tensor:
        """Return (N, modalities, places, channels) and (N, modalities) as one vector a sample."""
        return torch.cat((parts.flatten(1), present.to(parts.dtype)), dim=1)

    def parted(self, vectors: Tensor, *, drop: float = 0.0) -> tuple[Tensor, Tensor]:
        """Return what `joined` was given, maps dropped at a rate of `drop`; of what is missing only zeros."""
        present = vectors[:, -self.modalities:] > 0.5
        if drop:
            present = drop_tokens(present, drop)
        parts = torch.unflatten(vectors[:, :-self.modalities], 1, (self.modalities, self.places, self.channels))
        return parts.masked_fill(~present[:, :, None, None], 0.0), present

    def named(self) -> list[str]:
        """Return the regions' names: "0.0.1", their indices from the near corner."""
        return [".".join(map(str, one)) for one in product(*map(range, self.regions))]


class Fusion(nn.Module):
    """What both forms have: the layout of their vectors, and the rate at which maps are dropped in training."""

    def __init__(self, layout: Layout, *, modality_dropout: float) -> None:
        super().__init__()
        self.layout, self.modality_dropout = layout, modality_dropout

    def parted(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return the vectors, (N, modalities, places, channels), and which maps are there, (N, modalities)."""
        return self.layout.parted(vectors, drop=self.modality_dropout if self.training else 0.0)


class TokenFusion(Fusion):
    """Tokens of maps and regions, embedded, attending to each other; their mean or a class token; an MLP.

    Each map has a projection of its own: what is high in one map of a disease is low in another, and the sum of tokens
    that one matrix made of all maps could tell them apart through what is not linear only.

    Args:
        layout: Of the vectors.
        num_classes: Length of the logits.
        width: Of a token.
        heads: Of the attention; they divide the width.
        layers: Blocks of attention and MLP.
        pooling: "mean" of the tokens that are there, or a "class" token, which is always there.
        dropout: Rate in the blocks and before the last layer.
        modality_dropout: Rate at which maps are dropped in training, never all of a sample.
        clinical: Columns of one more token; 0 for none.

    Shape:
        (N, modalities * places * channels + modalities) and (N, clinical) -> (N, num_classes)
    """

    def __init__(self, layout: Layout, *, num_classes: int, width: int, heads: int, layers: int, pooling: Pooling,
                 dropout: float, modality_dropout: float, clinical: int) -> None:
        super().__init__(layout, modality_dropout=modality_dropout)
        self.columns = clinical
        self.blocks = nn.ModuleList(TokenBlock(width, heads=heads, dropout=dropout) for _ in range(layers))
        self.project = nn.ModuleList(nn.Linear(layout.channels, width, bias=False) for _ in range(layout.modalities))
        self.modality, self.region = nn.Embedding(layout.modalities, width), nn.Embedding(layout.places, width)
        self.summary = nn.Parameter(torch.empty(1, width)) if pooling == "class" else None
        self.clinical = nn.Linear(2 * clinical, width) if clinical else None
        for embedding in (self.modality.weight, self.region.weight, self.summary):
            if embedding is not None:
                nn.init.trunc_normal_(embedding, std=0.02)
        self.mlp = _mlp(width, width, num_classes, dropout=dropout)

    def forward(self, vectors: Tensor, clinical: Tensor | None = None) -> Tensor:
        """Return the logits; a clinical value that is NaN is missing, and so are all where `clinical` is None."""
        tokens, present = self.tokens(vectors, clinical)
        for block in self.blocks:
            tokens = block(tokens, present)
        y: Tensor = self.mlp(self._pooled(tokens, present))
        return y

    def tokens(self, vectors: Tensor, clinical: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the tokens, (N, T, width), and which of them are there, (N, T)."""
        parts, present = self.parted(vectors)
        own = torch.stack([project(part) for project, part in zip(self.project, parts.unbind(1), strict=True)], dim=1)
        tokens = (own + self.modality.weight[:, None] + self.region.weight).flatten(1, 2)
        present = present.repeat_interleave(self.layout.places, dim=1)
        if self.clinical is not None:
            token, there = self._of_columns(clinical, vectors)
            tokens, present = torch.cat((tokens, token), dim=1), torch.cat((present, there), dim=1)
        elif clinical is not None:
            raise UsageError("clinical columns are given to a network that was built without",
                             fix="create_model('modality_fusion', clinical=K)")
        if self.summary is not None:
            tokens = torch.cat((self.summary.expand(tokens.shape[0], 1, -1).to(tokens.dtype), tokens), dim=1)
            present = torch.cat((torch.ones_like(present[:, :1]), present), dim=1)
        return tokens, present

    def weights(self, vectors: Tensor, clinical: Tensor | None = None, *, layer: int = -1) -> Tensor:
        """Return the attention of one of its layers, (N, heads, T, T)."""
        if layer not in range(-len(self.blocks), len(self.blocks)):
            raise UsageError(f"layer must be one of {len(self.blocks)}, counted from 0, got {layer}")
        tokens, present = self.tokens(vectors, clinical)
        for block in list(self.blocks)[:layer]:
            tokens = block(tokens, present)
        y: Tensor = self.blocks[layer].weights(tokens, present)  # type: ignore[operator]
        return y

    def named(self, maps: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the tokens, from those of the maps."""
        found = [f"{name} {region}" if self.layout.places > 1 else name
                 for name in maps for region in self.layout.named()]
        return (*(["class"] if self.summary is not None else []), *found, *(["clinical"] if self.columns else []))

    def _of_columns(self, clinical: Tensor | None, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return the token of the clinical columns, (N, 1, width), and whether one of them is known, (N, 1)."""
        if clinical is None:
            clinical = like.new_full((like.shape[0], self.columns), torch.nan)
        if clinical.ndim != 2 or clinical.shape[1] != self.columns:
            raise DataError(f"clinical must have the shape (N, {self.columns}), got {tuple(clinical.shape)}",
                            fix="give NaN for what is not known of a patient")
        known = ~clinical.isnan()
        told = torch.cat((clinical.nan_to_num(nan=0.0), known.to(clinical.dtype)), dim=1).to(like.dtype)
        token: Tensor = self.clinical(told)  # type: ignore[misc]
        return token[:, None], known.any(dim=1, keepdim=True)

    def _pooled(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Return one vector a sample; zeros where nothing is there."""
        if self.summary is not None:
            return tokens[:, 0]
        summed = tokens.masked_fill(~present[:, :, None], 0.0).sum(dim=1)
        return summed / present.sum(dim=1, keepdim=True).clamp(min=1)


class ChannelFusion(Fusion):
    """The published form: regions are tokens, each with the channels of all maps; attention, mean, an MLP.

    A missing map is zeros in every token: the attention cannot be told of it.

    Args:
        layout: Of the vectors; more than one region.
        num_classes: Length of the logits.
        width: Hidden width of the MLP.
        heads: Of the attention; they divide modalities * channels.
        dropout: Rate before the last layer.
        modality_dropout: Rate at which maps are dropped in training, never all of a sample.

    Shape:
        (N, modalities * places * channels + modalities) -> (N, num_classes)

    Raises:
        UsageError: there is one region only, or the heads do not divide the width.
    """

    def __init__(self, layout: Layout, *, num_classes: int, width: int, heads: int, dropout: float,
                 modality_dropout: float) -> None:
        super().__init__(layout, modality_dropout=modality_dropout)
        if layout.places < 2:
            raise UsageError(f"regions must be more than one with form='published', got {layout.regions}",
                             why="the maps' vectors in a row are one token, and attention over one token does nothing",
                             fix="regions=(1, 2, 2), or form='tokens'")
        channels = layout.modalities * layout.channels
        self.attend = TokenAttention(channels, heads=heads)
        self.mlp = _mlp(channels, width, num_classes, dropout=dropout)

    def forward(self, vectors: Tensor, clinical: Tensor | None = None) -> Tensor:
        """Return the logits."""
        tokens, present = self.tokens(vectors, clinical)
        y: Tensor = self.mlp(self.attend(tokens, present).mean(dim=1))
        return y

    def tokens(self, vectors: Tensor, clinical: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the tokens, (N, places, modalities * channels), and which of them are there: all."""
        if clinical is not None:
            raise UsageError("clinical columns and form='published' cannot be given together", fix="form='tokens'")
        parts, _ = self.parted(vectors)
        tokens = parts.transpose(1, 2).flatten(2)
        return tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)

    def weights(self, vectors: Tensor, clinical: Tensor | None = None, *, layer: int = -1) -> Tensor:
        """Return the attention, (N, heads, T, T)."""
        return self.attend.weights(*self.tokens(vectors, clinical))

    def named(self, maps: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the tokens: the regions'."""
        return tuple(self.layout.named())


class LateFusion(Fusion):
    """An MLP of each map's regions, and the mean of the maps' probabilities: no map knows of another.

    Args:
        layout: Of the vectors.
        num_classes: Length of the logits.
        width: Hidden width of the MLPs.
        dropout: Rate before the last layer.
        modality_dropout: Rate at which maps are dropped in training, never all of a sample.

    Shape:
        (N, modalities * places * channels + modalities) -> (N, num_classes), logarithms of probabilities
    """

    def __init__(self, layout: Layout, *, num_classes: int, width: int, dropout: float,
                 modality_dropout: float) -> None:
        super().__init__(layout, modality_dropout=modality_dropout)
        self.mlps = nn.ModuleList(_mlp(layout.places * layout.channels, width, num_classes, dropout=dropout)
                                  for _ in range(layout.modalities))

    def forward(self, vectors: Tensor, clinical: Tensor | None = None) -> Tensor:
        """Return the logarithm of the mean of the probabilities that the maps which are there give."""
        if clinical is not None:
            raise UsageError("clinical columns and form='average' cannot be given together", fix="form='tokens'")
        parts, present = self.parted(vectors)
        single = torch.stack([mlp(part) for mlp, part in zip(self.mlps, parts.flatten(2).unbind(1), strict=True)], 1)
        shares = single.softmax(dim=2).masked_fill(~present[:, :, None], 0.0).sum(dim=1)
        shares = shares / present.sum(dim=1, keepdim=True).clamp(min=1)
        return shares.clamp(min=torch.finfo(torch.float32).tiny).log()


def _mlp(given: int, hidden: int, made: int, *, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(given), nn.Linear(given, hidden), nn.GELU(), nn.Dropout(dropout),
                         nn.Linear(hidden, made))
