"""Normalisation: what a batch of one cannot train, and groups in its place."""

from math import gcd, prod

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from excite.errors import DataError, UsageError

OVER_BATCH = "over_batch"  # mark of a norm that groups cannot take the place of
GROUPS = 32  # Wu and He, ECCV 2018, arXiv:1803.08494, table 3


def refuse_single(x: Tensor, norm: nn.Module, place: str | None) -> None:
    """Raise where batch normalisation in training would have one value a channel to measure.

    Args:
        x: What it would normalise, (N, C, *S).
        norm: Any norm.
        place: Its name in the network, where known.

    Raises:
        DataError: it would.
    """
    if norm.training and isinstance(norm, _BatchNorm) and x.shape[0] == 1 and prod(x.shape[2:]) == 1:
        raise DataError(f"batch normalisation over {x.shape[1]} channels has one value a channel to measure",
                        where=place, why="a batch of one and a map of one place, in training",
                        fix="give two samples a batch or larger images, or create_model(..., norm='group')")


def group_norms(model: nn.Module) -> None:
    """Put group normalisation in the place of every batch normalisation, affine values kept.

    Raises:
        UsageError: a norm works on one value a channel, which no group can measure.

    Source: Wu, He, "Group Normalization", ECCV 2018, arXiv:1803.08494; 32 groups, fewer where they do not divide.
    """
    if not any(isinstance(one, _BatchNorm) for one in model.modules()):
        raise UsageError(f"norm='group' finds no batch normalisation in a {type(model).__name__}",
                         fix="hybridsn: normalisation='group'")
    for parent in list(model.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, _BatchNorm):
                if getattr(layer, OVER_BATCH, False):
                    raise UsageError(f"norm='group' cannot take the place of the norm in a {type(parent).__name__}",
                                     why="it compares one value a channel over the batch",
                                     fix="choose another attention, or norm='batch' and batches of two")
                groups = nn.GroupNorm(gcd(GROUPS, layer.num_features), layer.num_features, eps=layer.eps)
                if layer.affine:
                    groups.weight, groups.bias = layer.weight, layer.bias
                setattr(parent, name, groups)
