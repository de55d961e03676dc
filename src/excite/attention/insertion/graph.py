"""A block's own forward as a graph: its children are leaves, so that their names, keys and hooks stay what they are."""

import inspect
import operator
import random
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import partialmethod
from typing import Any, NamedTuple

import torch
from torch import fx, nn
from torch._subclasses.fake_tensor import unset_fake_temporarily

from excite.attention.insertion.inplace import NotRecordedError, is_own, name_changed
from excite.attention.insertion.surroundings import lost_around

ORIGINAL = "original_forward"  # what a class with a gate calls the forward that it had
CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
SUMS = (operator.add, operator.iadd, torch.add, "add", "add_")


class Sum(NamedTuple):
    """A residual sum: its node, the last nodes of branch and shortcut, and the nodes that lead to the branch alone."""

    node: fx.Node
    branch: fx.Node
    shortcut: fx.Node
    inside: list[fx.Node]


class Value(fx.Proxy):
    """A value while it is traced; unlike torch's own, one that `+=` changes in place."""

    def _changed(self, change: Callable[..., Any], other: Any) -> Any:
        return self.tracer.create_proxy("call_function", change, (self, other), {})

    __iadd__ = partialmethod(_changed, operator.iadd)
    __isub__ = partialmethod(_changed, operator.isub)
    __imul__ = partialmethod(_changed, operator.imul)
    __itruediv__ = partialmethod(_changed, operator.itruediv)


class BlockTracer(fx.Tracer):
    """Traces one module; what it calls, children and functions of its file, is one step each.

    Args:
        block: The module.
        opened: Names of children, each a plain nn.Sequential, whose layers are steps in their place.
    """

    proxy_buffer_attributes = True  # what a forward does with its buffers is a step too

    def __init__(self, block: nn.Module, opened: Collection[str] = ()) -> None:
        functions = filter(inspect.isfunction, own_forward(block).__globals__.values())
        super().__init__(autowrap_functions=tuple(functions))
        self.traced_func_name = ORIGINAL if hasattr(type(block), ORIGINAL) else "forward"
        self.opened, self.lost = opened, dict[str, None]()

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """Return what stands for the value of a node."""
        return Value(node, self)

    def create_node(self, kind: str, *given: Any, **named: Any) -> fx.Node:
        """Note what the graph loses around a step."""
        if kind.startswith("call") and (lost := lost_around()):
            self.lost[lost] = None
        return super().create_node(kind, *given, **named)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return whether a child is one step."""
        return module_qualified_name not in self.opened


def own_forward(block: nn.Module) -> Any:
    """Return the function that computes a block without a gate, as it is written."""
    return inspect.unwrap(getattr(type(block), ORIGINAL, type(block).forward))


def traced(block: nn.Module, *, training: bool, opened: Collection[str] = ()) -> fx.Graph:
    """Return the graph of a block's own forward in training or evaluation; optional arguments have their defaults.

    Raises:
        NotRecordedError: its forward does what the graph would not.
        Exception: of any kind: its forward asks for values, or does what cannot be traced.
    """
    parameters = list(inspect.signature(own_forward(block)).parameters.values())[1:]
    settled = {one.name: one.default for one in parameters if one.default is not one.empty}
    tracer = BlockTracer(block, opened)
    with unset_fake_temporarily(), as_before(block.modules(), constants=True), _undrawn():
        block.training = training
        held = dict(block._buffers)
        graph = tracer.trace(block, settled or None)
        made = [name for name, value in held.items() if (now := block._buffers.get(name)) is not value
                and not (isinstance(now, fx.Proxy) and is_own(now.node, block))]
    if made:
        raise NotRecordedError(f"its forward sets its buffer {made[0]} anew, which the graph would not")
    if tracer.lost:
        raise NotRecordedError(f"its forward computes inside {' and '.join(tracer.lost)}, which would be lost")
    name_changed(graph, block)
    places = [node for node in graph.nodes if node.op == "placeholder" and not str(node.target).startswith("*")]
    for node, parameter in zip(places, parameters, strict=False):
        node.target = parameter.name  # a settled argument was given another name
    return graph


@contextmanager
def as_before(modules: Iterable[nn.Module], *, constants: bool = False) -> Iterator[None]:
    """Give modules the attributes and buffers back that they had, all but a graph's constants if so asked."""
    held = [(part, dict(part.__dict__), dict(part._buffers)) for part in modules]
    try:
        yield
    finally:
        for part, own, buffers in held:
            new = {name: value for name, value in part.__dict__.items() if name.startswith("_tensor_constant")}
            for now, before in ((part.__dict__, new | own if constants else own), (part._buffers, buffers)):
                now.clear()
                now.update(before)


@contextmanager
def _undrawn() -> Iterator[None]:
    """Refuse numbers drawn by chance, which a graph would hold for ever."""
    before = torch.get_rng_state(), random.getstate()
    yield
    if not torch.equal(before[0], torch.get_rng_state()) or before[1] != random.getstate():
        torch.set_rng_state(before[0])
        random.setstate(before[1])
        raise NotRecordedError("its forward draws random numbers that the graph would fix")


def function(graph: fx.Graph, title: str) -> Callable[..., Any]:
    """Return the graph as a plain function of the module and its arguments."""
    code = graph.python_code("self")
    names: dict[str, Any] = dict(code.globals)
    exec(compile(code.src, f"<{title}>", "exec"), names)
    made: Callable[..., Any] = names["forward"]
    return made


def residual_sum(graph: fx.Graph, block: nn.Module) -> Sum | None:
    """Return the last sum of a branch with convolutions and a shortcut with one at most, both from one value."""
    for node in reversed(graph.nodes):
        adds = node.op in ("call_function", "call_method") and node.target in SUMS and not node.kwargs
        if adds and len(node.args) == len(node.all_input_nodes) == 2 and (found := _sides(graph, node, block)):
            return found
    return None


def _sides(graph: fx.Graph, node: fx.Node, block: nn.Module) -> Sum | None:
    """Return which side of a sum is the branch; None where it is no residual sum."""
    one, other = node.all_input_nodes
    of_one, of_other = ancestors(one), ancestors(other)
    if not any(shared.op != "get_attr" for shared in of_one & of_other):
        return None
    only_one, only_other = of_one - of_other, of_other - of_one
    (less, shortcut, _), (most, branch, inside) = sorted(
        [(_size(only_one, block), one, only_one), (_size(only_other, block), other, only_other)],
        key=lambda side: side[0])
    if less == most or most[0] == 0 or less[0] > 1:
        return None
    return Sum(node, branch, shortcut, [step for step in graph.nodes if step in inside])


def ancestors(node: fx.Node) -> set[fx.Node]:
    """Return the nodes that a node is computed from, itself among them."""
    seen, waiting = set[fx.Node](), [node]
    while waiting:
        one = waiting.pop()
        if one not in seen:
            seen.add(one)
            waiting += one.all_input_nodes
    return seen


def module_of(node: fx.Node, block: nn.Module) -> nn.Module | None:
    """Return the module that a node calls; None where it calls none."""
    return block.get_submodule(str(node.target)) if node.op == "call_module" else None


def convolutions(node: fx.Node, block: nn.Module) -> list[nn.Module]:
    """Return the convolutions inside the module that a node calls."""
    module = module_of(node, block)
    return [] if module is None else [part for part in module.modules() if isinstance(part, CONVOLUTIONS)]


def _size(nodes: set[fx.Node], block: nn.Module) -> tuple[int, int]:
    """Return how many convolutions and how many layers of any kind a side has."""
    modules = [module for node in nodes if (module := module_of(node, block)) is not None]
    layers = sum(not list(part.children()) for module in modules for part in module.modules())
    return sum(len(convolutions(node, block)) for node in nodes), layers
