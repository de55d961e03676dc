"""Steps that change a value in place: a graph says so once what is used later is the changed value by its new name."""

import inspect
import operator

from torch import fx, nn

OPERATORS = {operator.iadd: operator.add, operator.imul: operator.mul, operator.isub: operator.sub,
             operator.itruediv: operator.truediv}
VIEWS = ("getitem", "view", "view_as", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "transpose",
         "permute", "movedim", "narrow", "select", "chunk", "split", "unbind", "expand", "detach", "contiguous")

SIZES = ("shape", "ndim", "size", "dim", "numel", "nelement", "ndimension")


class NotRecordedError(Exception):
    """A forward does what its graph would not; the text says what."""


def name_changed(graph: fx.Graph, block: nn.Module) -> None:
    """Let every later use of a value that a step changes in place be one of that step's own value.

    Raises:
        NotRecordedError: it is also used under the name of another value that shares its memory.
    """
    for node in graph.nodes:
        if node.target in OPERATORS and _is_number(node.args[0]):
            node.target = OPERATORS[node.target]  # a graph's code would give the old number the new one's name
        if not returns_changed(node, block):
            continue
        (value, *_), before = node.all_input_nodes, set(node.users)
        for user in later(value, node):
            user.replace_input_with(value, node)
        base = value
        while _name(base) in VIEWS and base.all_input_nodes:
            base = base.all_input_nodes[0]
            if set(later(base, node)) - {node}:
                raise NotRecordedError("its forward changes a part of a value in place and uses the value later")
        if not (before or node.users or base.op == "get_attr"):
            raise NotRecordedError(f"its forward changes {base.name} in place and does not use it again by that name")


def is_own(node: fx.Node, block: nn.Module) -> bool:
    """Return whether a value is an attribute of the block, changed in place or not at all."""
    while returns_changed(node, block):
        node = node.all_input_nodes[0]
    return node.op == "get_attr"


def later(value: fx.Node, node: fx.Node) -> list[fx.Node]:
    """Return the users of a value that come after a node."""
    return [user for user in value.users if node < user]


def returns_changed(node: fx.Node, block: nn.Module) -> bool:
    """Return whether a node is known to change its first argument and to return it."""
    if not node.args or not isinstance(node.args[0], fx.Node):
        return False
    if node.op == "call_module":
        module = block.get_submodule(str(node.target))
        return bool(getattr(module, "inplace", False)) and type(module).__module__.startswith("torch.nn.")
    name = _name(node)
    named = name.endswith("_") and not name.endswith("__")
    changes = node.op.startswith("call") and (named or node.target in OPERATORS or _asked(node))
    return changes and not _is_number(node.args[0])


def may_change(node: fx.Node, value: fx.Node, block: nn.Module) -> bool:
    """Return whether a node may change a value that it is given, a module by what it says of itself."""
    if not node.args or node.args[0] is not value:
        return False
    if node.op != "call_module":
        return returns_changed(node, block)
    module: nn.Module = block.get_submodule(str(node.target))
    while isinstance(module, nn.Sequential) and len(module):
        module = module[0]
    return bool(getattr(module, "inplace", False))


def _is_number(node: fx.Node) -> bool:
    """Return whether a value is a size or is computed from sizes: `+=` gives a new one."""
    if node.op == "call_method" or node.target is getattr:
        return (node.args[1] if node.target is getattr else node.target) in SIZES
    of_numbers = getattr(node.target, "__module__", "") in ("_operator", "builtins", "math")
    return of_numbers and bool(node.all_input_nodes) and all(map(_is_number, node.all_input_nodes))


def _asked(node: fx.Node) -> bool:
    """Return whether a function is called with inplace=True, by name or by place."""
    if node.op != "call_function" or not callable(node.target):
        return False
    try:
        given = inspect.signature(node.target).bind(*node.args, **node.kwargs).arguments
    except (TypeError, ValueError):
        given = node.kwargs
    return given.get("inplace") is True


def _name(node: fx.Node) -> str:
    return str(node.target) if node.op == "call_method" else getattr(node.target, "__name__", "")
