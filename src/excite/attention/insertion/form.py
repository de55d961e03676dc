"""A block with a gate: a subclass of its own class that computes an edited form of its forward.

The class keeps its name and stays an instance of what it was. The edited functions are not saved: they are made again
from the names of the cut when the block is copied or read from a file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from excite.attention.insertion.cut import Cut
from excite.attention.insertion.graph import ORIGINAL, function, traced
from excite.attention.plan import AttentionPlan
from excite.errors import ModelError
from excite.layers.form import refuse_other_form, told, written


@dataclass(frozen=True, kw_only=True)
class Insertion:
    """What was put into a block.

    Args:
        plan: As it was asked for.
        gate: Name of the child that is the attention.
        cuts: Where it stands, in training (True) and in evaluation.
    """

    plan: AttentionPlan
    gate: str
    cuts: dict[bool, Cut]


_MADE: dict[type[nn.Module], type["GatedBlock"]] = {}


class GatedBlock(nn.Module):
    """What a block's class gets with its gate; `gated` makes the class of both."""

    kind: ClassVar[type[nn.Module]]
    insertion: Insertion
    forms: dict[bool, Callable[..., Any]]

    def forward(self, *given: Any, **named: Any) -> Any:
        """Return what the block would, with the gate in its place."""
        return self.forms[self.training](self, *given, **named)

    def form_again(self) -> None:
        """Make the functions of both forms."""
        self.forms = formed(self, self.insertion)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _empty, (self.kind,), {name: value for name, value in self.__dict__.items() if name != "forms"}

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.form_again()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        key = f"{prefix}{self.insertion.gate}.position"
        if key in state_dict:
            own = {"position": self.insertion.plan.position}
            refuse_other_form(own, told(state_dict[key]), prefix.rstrip(".") or "block")
        super()._load_from_state_dict(state_dict, prefix, *rest)


def gated(kind: type[nn.Module]) -> type[GatedBlock]:
    """Return the class of a block of `kind` with a gate, one for each kind."""
    if kind not in _MADE:
        facts = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__,
                 "kind": kind, ORIGINAL: kind.forward}
        _MADE[kind] = type(kind.__name__, (GatedBlock, kind), facts)
    return _MADE[kind]


def formed(block: nn.Module, insertion: Insertion) -> dict[bool, Callable[..., Any]]:
    """Return the functions of both forms of `block`, which stays as it is.

    Raises:
        ModelError: the block's forward is another than when the cuts were made.
    """
    return {training: edited(block, training=training, cut=cut, gate=insertion.gate)
            for training, cut in insertion.cuts.items()}


def attach(block: nn.Module, gate: nn.Module, insertion: Insertion, forms: dict[bool, Callable[..., Any]]) -> None:
    """Make `block` one with a gate, in place, that computes `forms`."""
    gate.register_buffer("position", written({"position": insertion.plan.position}))
    block.add_module(insertion.gate, gate)
    block.__class__ = gated(type(block))
    assert isinstance(block, GatedBlock)
    block.insertion, block.forms = insertion, forms


def edited(block: nn.Module, *, training: bool, cut: Cut, gate: str) -> Callable[..., Any]:
    """Return a block's forward with the call of its child `gate` where `cut` says.

    Raises:
        ModelError: the block's forward is another than when the cut was made.
    """
    graph = traced(block, training=training, opened=cut.opened)
    nodes = {node.name: node for node in graph.nodes}
    lost = {cut.value, *cut.users} - nodes.keys()
    if lost:
        raise ModelError(f"{type(block).__name__} has no step {', '.join(sorted(lost))} any more",
                         why="the attention was inserted into another version of it",
                         fix="insert it into a new network and load the state dict")
    value, users = nodes[cut.value], [nodes[name] for name in cut.users]
    with graph.inserting_before(users[0]):
        call = graph.call_module(gate, (value,))
    for user in users:
        user.replace_input_with(value, call)
    graph.lint()
    return function(graph, f"{type(block).__name__} with attention")


def _empty(kind: type[nn.Module]) -> GatedBlock:
    return object.__new__(gated(kind))
