"""Where a gate goes into a block's graph, for each of the five positions of a residual block.

    standard    before the sum, on the branch: after layer scale, before drop-path
    pre         before the branch
    post        after the sum and what follows it without weights of more than one dimension: norm, activation
    identity    on the shortcut, before the sum
    inner       inside the branch, after its last convolution over space that another layer follows, norm and
                activation included

Source: Hu et al. 2018, arXiv:1709.01507, figure 5.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from excite.attention.insertion.graph import convolutions, module_of, residual_sum, traced
from excite.attention.insertion.inplace import later, may_change
from excite.layers.residual import Position


class NoPlaceError(Exception):
    """A block lacks a position; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What an edit of the graph needs, in names, so that it can be stored and made again.

    Args:
        value: The node whose value the gate scales.
        users: The nodes that get the scaled value instead, in their order.
        channels: Of the value.
        opened: Children whose layers are steps of the graph.
    """

    value: str
    users: tuple[str, ...]
    channels: int
    opened: tuple[str, ...] = ()


class View:
    """One form of a block: its graph in training or evaluation, its residual sum, the size of every value.

    Args:
        block: The module.
        training: Which form.
        given: What the block was called with, shapes without values; inside the same fake mode.
        measured: Sizes of the values of this block's graphs, by their text; a graph that is not there is run and added.
        opened: Children whose layers are steps of the graph.

    Raises:
        NoPlaceError: this form has no residual sum.
    """

    def __init__(self, block: nn.Module, *, training: bool, given: tuple[Any, ...],
                 measured: dict[str, dict[str, tuple[int, ...]]], opened: Collection[str] = ()) -> None:
        self.block, self.training, self.given = block, training, given
        self.measured, self.opened = measured, tuple(opened)
        self.graph = traced(block, training=training, opened=opened)
        found = residual_sum(self.graph, block)
        if found is None:
            raise NoPlaceError(f"it has no residual sum in {'training' if training else 'evaluation'}")
        self.sum, text = found, str(self.graph)
        if text not in measured:
            measured[text] = {}
            _Sizes(block, self.graph, measured[text]).run(*given)
        self.sizes = measured[text]

    @property
    def size(self) -> tuple[int, ...]:
        """Of the sum; none where it is not one of two maps of that size."""
        one, branch, shortcut = (self.sizes.get(node.name, ()) for node in self.sum[:3])
        return one if one == branch == shortcut else ()

    def cut(self, position: Position) -> Cut:
        """Return where the gate goes.

        Raises:
            NoPlaceError: the block lacks the position.
        """
        return _CUTS[position](self)

    def between(self, value: fx.Node, users: Collection[fx.Node]) -> Cut:
        """Return the cut between a value and some of its users.

        Raises:
            NoPlaceError: the value is no map, is used by nothing, or is changed in place for others too.
        """
        size = self.sizes.get(value.name, ())
        if len(size) != len(self.size):
            raise NoPlaceError("what stands there is no map")
        if not users:
            raise NoPlaceError("nothing uses what stands there")
        if any(may_change(user, value, self.block) and set(later(value, user)) - set(users) for user in users):
            raise NoPlaceError("what stands there is changed in place and used again")
        return Cut(value=value.name, users=tuple(node.name for node in self.graph.nodes if node in users),
                   channels=size[1], opened=self.opened)

    def onward(self, node: fx.Node) -> fx.Node:
        """Return the last of the norms, activations and dropouts that follow a node and that alone use it."""
        while len(node.users) == 1:
            (user,) = node.users
            if (user.op not in ("call_module", "call_function") or user.all_input_nodes != [node]
                    or self.sizes.get(user.name) != self.sizes.get(node.name) or self.heavy(user)
                    or "Permute" in type(module_of(user, self.block)).__name__):
                break
            node = user
        return node

    def heavy(self, node: fx.Node) -> bool:
        """Return whether a node calls a module that multiplies by more than one number a channel."""
        module = module_of(node, self.block)
        return module is not None and any(_is_heavy(part) for part in module.modules())


class _Sizes(fx.Interpreter):
    """Runs a graph step by step and notes the sizes."""

    def __init__(self, block: nn.Module, graph: fx.Graph, sizes: dict[str, tuple[int, ...]]) -> None:
        super().__init__(block, graph=graph)
        self.sizes = sizes

    def run_node(self, n: fx.Node) -> Any:
        made = super().run_node(n)
        if isinstance(made, Tensor):
            self.sizes[n.name] = tuple(made.shape)
        return made


def _standard(view: View) -> Cut:
    value, user = view.sum.branch, view.sum.node
    while value in view.sum.inside and _drops(value, view.block):
        value, user = value.all_input_nodes[0], value
    return view.between(value, {user})


def _pre(view: View) -> Cut:
    inside = set(view.sum.inside)
    forks = {given for node in inside for given in node.all_input_nodes if given not in inside}
    forks = {given for given in forks if given.op != "get_attr"}
    if len(forks) != 1:
        raise NoPlaceError(f"its branch begins at {len(forks)} values")
    (fork,) = forks
    users = inside & fork.users.keys()
    if any(may_change(node, fork, view.block) for node in users):
        raise NoPlaceError("its branch begins with a change in place, which the shortcut sees too")
    return view.between(fork, users)


def _post(view: View) -> Cut:
    value = view.onward(view.sum.node)
    return view.between(value, value.users)


def _identity(view: View) -> Cut:
    return view.between(view.sum.shortcut, {view.sum.node})


def _inner(view: View) -> Cut:
    heavy = [node for node in view.sum.inside if view.heavy(node)]
    for node in reversed(heavy):
        if not any(max(conv.kernel_size) > 1 for conv in convolutions(node, view.block)):  # type: ignore[arg-type]
            continue
        if _can_open(node, view.block):
            opened = (*view.opened, str(node.target))
            return View(view.block, training=view.training, given=view.given, measured=view.measured,
                        opened=opened).cut("inner")
        if node is not heavy[-1]:
            value = view.onward(node)
            return view.between(value, value.users)
    raise NoPlaceError("its branch has no convolution over space that another layer follows")


def _drops(node: fx.Node, block: nn.Module) -> bool:
    """Return whether a node drops a branch or values by chance: what scales must come before it."""
    module = module_of(node, block)
    name = getattr(node.target, "__name__", "") if module is None else type(module).__name__
    return any(word in name.lower() for word in ("drop", "stochastic"))


def _can_open(node: fx.Node, block: nn.Module) -> bool:
    """Return whether a node calls a plain row of layers, more than one of them heavy."""
    module = module_of(node, block)
    plain = module is not None and type(module).forward is nn.Sequential.forward
    return module is not None and plain and sum(map(_is_heavy, module.modules())) > 1


def _is_heavy(part: nn.Module) -> bool:
    return any(one.ndim > 1 for one in part.parameters(recurse=False))


_CUTS: dict[Position, Callable[[View], Cut]] = {"standard": _standard, "pre": _pre, "post": _post,
                                                     "identity": _identity, "inner": _inner}
