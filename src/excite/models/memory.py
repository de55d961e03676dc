"""Memory of maps: the largest step of a pass, and what training keeps for the way back."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class MapMemory(TorchDispatchMode):
    """Watches the maps of all operations in the block; weights and buffers are none, views share their map's memory.

    Args:
        weights: Parameters and buffers of the network.

    Attributes:
        largest: Bytes of the maps that one operation reads and writes, at their most. An operation in place reads and
            writes the same map, which counts once. Less memory than this no order of work can do with; a shortcut that
            waits meanwhile comes on top.
    """

    def __init__(self, weights: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.largest = 0
        self._weights = {_key(one) for one in weights}
        self._kept: dict[int, torch.UntypedStorage] = {}
        self._saving = torch.autograd.graph.saved_tensors_hooks(self._keep, _never)

    @property
    def kept(self) -> int:
        """Bytes of the maps that automatic differentiation keeps until the backward pass, each counted once."""
        return sum(one.nbytes() for one in self._kept.values())

    def __enter__(self) -> "MapMemory":
        self._saving.__enter__()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *fault: Any) -> None:
        super().__exit__(*fault)  # type: ignore[no-untyped-call]
        self._saving.__exit__(*fault)

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and note what it reads and writes."""
        made = operation(*args, **(kwargs or {}))
        maps = {_key(one): one.untyped_storage().nbytes() for one in tree_leaves((args, kwargs, made))
                if isinstance(one, Tensor) and _key(one) not in self._weights}
        self.largest = max(self.largest, sum(maps.values()))
        return made

    def _keep(self, saved: Tensor) -> None:
        if _key(saved) not in self._weights:
            self._kept[_key(saved)] = saved.untyped_storage()  # held, so that its key stays its own


def _key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _never(packed: Any) -> Tensor:
    raise RuntimeError("a pass that is only watched has no way back")
