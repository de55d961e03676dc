"""Multiply-adds, layer by layer: our own count by the textbook, held against torch's counter, which sees operations.

A layer that the textbook table knows is counted from its output and its weights. What another module multiplies itself,
torch's counter sees; where neither can know, the module is named. So nothing is 0 without a word.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

Rule = Callable[[nn.Module, Tensor, Tensor], int]


def _convolution(layer: nn.Module, given: Tensor, made: Tensor) -> int:
    """Each output value is a sum over the kernel and the input channels of its group."""
    return made.numel() * layer.get_parameter("weight")[0].numel()


def _transposed(layer: nn.Module, given: Tensor, made: Tensor) -> int:
    """Each input value goes into the kernel's places and the output channels of its group."""
    return given.numel() * layer.get_parameter("weight")[0].numel()


def _linear(layer: nn.Module, given: Tensor, made: Tensor) -> int:
    """Each output value is a sum over the input's features."""
    return made.numel() * layer.get_parameter("weight").shape[1]


RULES: dict[type[nn.Module], Rule] = {
    nn.Conv1d: _convolution, nn.Conv2d: _convolution, nn.Conv3d: _convolution,
    nn.ConvTranspose1d: _transposed, nn.ConvTranspose2d: _transposed, nn.ConvTranspose3d: _transposed,
    nn.Linear: _linear,
}
LOOKUPS = (nn.Embedding, nn.EmbeddingBag, nn.LayerNorm)  # matrices that nothing is multiplied with in a sum


class MacCounter:
    """Counts what every module of `model` multiplies and adds by itself while the block runs.

    Attributes:
        macs: {name of a module: its multiply-adds, those of its children aside}.
        notes: A sentence for the modules of a kind whose count is not the textbook's alone.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.macs: dict[str, int] = {}
        self.notes: list[str] = []
        self._said: dict[str, list[str]] = {}
        self._ours: dict[str, int] = {}
        self._theirs: dict[str, int] = {}
        self._open: list[list[int]] = []  # of each module being run: torch's count at its start, and of its children
        self._counter = FlopCounterMode(display=False)
        self._hooks: list[Any] = []

    def __enter__(self) -> "MacCounter":
        for name, module in self.model.named_modules():
            self._hooks += [module.register_forward_pre_hook(self._before),
                            module.register_forward_hook(partial(self._after, name), with_kwargs=True)]
        self._counter.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, kind: Any, *rest: Any) -> None:
        self._counter.__exit__(kind, *rest)  # type: ignore[no-untyped-call]
        for hook in self._hooks:
            hook.remove()
        if kind is None:
            for name in self._theirs:
                self._settle(name, self.model.get_submodule(name))
            self.notes = [f"{names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}: {text}"
                          for text, names in self._said.items()]

    def _before(self, module: nn.Module, given: Any) -> None:
        self._open.append([self._counter.get_total_flops(), 0])

    def _after(self, name: str, module: nn.Module, given: Any, named: dict[str, Any], made: Any) -> None:
        began, inside = self._open.pop()
        whole = self._counter.get_total_flops() - began
        if self._open:
            self._open[-1][1] += whole
        self._theirs[name] = self._theirs.get(name, 0) + whole - inside
        rule = _rule(module)
        if rule is not None:
            first = given[0] if given else next(iter(named.values()))
            self._ours[name] = self._ours.get(name, 0) + rule(module, first, made)

    def _settle(self, name: str, module: nn.Module) -> None:
        """Decide what a module's count is; torch counts a multiplication and an addition as two."""
        seen, own, kind = self._theirs[name] // 2, self._ours.get(name), type(module).__name__
        self.macs[name] = max(seen, own or 0)
        if own is None and seen:
            self._note(name, f"{kind} multiplies in its own forward; counted by torch's counter alone")
        elif own is not None and own != seen:
            self._note(name, f"{kind} is {own:,} by the textbook, {seen:,} by torch's counter; the larger is taken")
        elif own is None and _has_matrix(module) and not isinstance(module, LOOKUPS):
            self._note(name, f"{kind} has weights of its own, and no counter knows what it does with them; counted "
                             "as 0")

    def _note(self, name: str, text: str) -> None:
        self._said.setdefault(text, []).append(name or "the network itself")


def _rule(module: nn.Module) -> Rule | None:
    return next((RULES[kind] for kind in type(module).__mro__ if kind in RULES), None)


def _has_matrix(module: nn.Module) -> bool:
    return any(sum(side > 1 for side in one.shape) > 1 for one in module.parameters(recurse=False))
