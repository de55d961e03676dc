"""Which map's tokens take from which, on average over the test part: from the trained network."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from excite.engine.contracts import Batches, inputs_of
from excite.models.modality_fusion import ModalityFusion
from excite.models.token_fusion import TokenFusion

Float = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class MeanAttention:
    """Mean attention over patients and heads, in the last layer.

    Args:
        tokens: Names of the T tokens: of a map and region, "clinical", "class".
        weights: (T, T), what the token of a row takes of that of a column; a row sums to 1.
        groups: Names of the G groups that `tokens` fall into: the maps, "clinical", "class".
        shares: (G, G), what a token of a row's group takes of a column's group as a whole; a row sums to 1.
        even: (G,), what each group would get if every token took the same of each.
        n: Patients that lack nothing, over whom the mean is.
        of: All patients.
    """

    tokens: tuple[str, ...]
    weights: Float
    groups: tuple[str, ...]
    shares: Float
    even: Float
    n: int
    of: int

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(self).items()}


def mean_attention(model: nn.Module, batches: Batches, maps: tuple[str, ...]) -> MeanAttention | None:
    """Return the mean attention of a network over the patients of a part that have every token.

    None of a network that has no attention between maps, and where no patient has every token.

    Args:
        maps: Names of the maps.
    """
    if not isinstance(model, ModalityFusion) or not isinstance(model.classifier, TokenFusion):
        return None
    found: list[Float] = []
    tokens: tuple[str, ...] = ()
    with torch.inference_mode():
        for batch in batches.batches(0):
            weights, tokens = model.attention_maps(*inputs_of(batch), names=maps)
            found.append(weights.double().mean(dim=1).numpy())
    of_each = np.concatenate(found)
    whole = of_each[(of_each.sum(axis=1) > 0).all(axis=1)]  # the column of a missing token is 0
    if not len(whole):
        return None
    last = ["clinical"] if model.classifier.columns else []
    groups = (*tokens[:1 if tokens[0] == "class" else 0], *maps, *last)
    places = len(model.classifier.layout.named())
    sizes = np.array([places if name in maps else 1 for name in groups])
    mean = whole.mean(axis=0)
    edges = np.cumsum(sizes) - sizes
    shares = np.add.reduceat(np.add.reduceat(mean, edges, axis=1), edges, axis=0) / sizes[:, None]
    return MeanAttention(tokens=tokens, weights=mean, groups=groups, shares=shares, even=sizes / sizes.sum(),
                         n=len(whole), of=len(of_each))
