"""Which parameters are trunk, which are gates, which are the head; and a trunk that stays as it is."""

from collections.abc import Iterator

from torch import nn

from excite.attention.insertion.form import GatedBlock
from excite.attention.registry import ATTENTION
from excite.errors import UsageError
from excite.layers.residual import Residual
from excite.models.backbone import Backbone

HEADS = ("classifier", "fc", "last_linear", "head", "_fc")  # of excite, torchvision, timm and MONAI


class Freezable(nn.Module):
    """A network whose trunk `freeze_trunk` can keep as it is."""

    trunk_frozen = False

    def train(self, mode: bool = True) -> "Freezable":
        """Go into training mode; a frozen trunk stays in eval mode, so that its running statistics stay put."""
        super().train(mode)
        for module in trunk_modules(self) if self.trunk_frozen else ():
            module.training = False
        return self


def split_parameters(model: nn.Module) -> dict[str, list[str]]:
    """Return the names of the parameters by part: "trunk", "gates" (attention), "head".

    The head is the top-level child with a name in HEADS, or in the network's own attribute `heads`; a network without
    one has all the rest in its trunk.
    """
    inside = {f"{name}.{parameter}" for name, module in attentions(model) for parameter, _ in module.named_parameters()}
    parts: dict[str, list[str]] = {"trunk": [], "gates": [], "head": []}
    heads = head_names(model)
    for name, _ in model.named_parameters():
        part = "gates" if name in inside else "head" if name.split(".")[0] in heads else "trunk"
        parts[part].append(name)
    return parts


def head_names(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the top-level children that are the head: those of `heads`, which may be a child itself.

    Raises:
        UsageError: `heads` names something else than children.
    """
    heads = getattr(model, "heads", HEADS)
    if isinstance(heads, nn.Module):
        return (*HEADS, "heads")
    children = {name for name, _ in model.named_children()}
    if heads is not HEADS and children.isdisjoint(heads):  # some may be left out of a network
        raise UsageError(f"model.heads names {', '.join(heads)}, which is no child of this {type(model).__name__}",
                         fix=f"its children: {', '.join(children)}")
    return tuple(heads)


def attentions(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the attention modules of `model` with their names: where a plan puts them, and of a registered kind."""
    kinds = tuple(kind for name in ATTENTION if isinstance(kind := ATTENTION[name], type))
    joined = {id(part.attention) for part in model.modules()
              if isinstance(part, Residual | Backbone) and part.attention is not None}
    joined |= {id(getattr(part, part.insertion.gate)) for part in model.modules() if isinstance(part, GatedBlock)}
    for name, module in model.named_modules():
        if isinstance(module, kinds) or id(module) in joined:
            yield name, module


def trunk_modules(model: nn.Module) -> list[nn.Module]:
    """Return the modules below the head, without the attention inside."""
    gates = {id(part) for _, gate in attentions(model) for part in gate.modules()}
    heads = head_names(model)
    below = [child for name, child in model.named_children()
             if name not in heads and any(True for _ in (*child.parameters(), *child.buffers()))]
    return [module for child in below for module in child.modules() if id(module) not in gates]


def freeze_trunk(model: nn.Module, *, frozen: bool = True) -> None:
    """Freeze what is neither head nor gate, or free it again.

    A frozen trunk gets no gradients and stays in eval mode whenever `model.train()` is called: a learning rate of 0
    would let its running statistics move, and a schedule that sets rates would let it train.

    Raises:
        UsageError: `model` is none of `create_model`'s, which alone keep a part in eval mode; or it has no trunk.
    """
    if not isinstance(model, Freezable):
        raise UsageError(f"the trunk of a {type(model).__name__} cannot be frozen here",
                         why="its train() would set BatchNorm free again", fix="build it with create_model")
    names = set(split_parameters(model)["trunk"])
    if not names:
        raise UsageError("this network has no trunk to freeze")
    for name, parameter in model.named_parameters():
        if name in names:
            parameter.requires_grad_(not frozen)
    model.trunk_frozen = frozen
    model.train(model.training)
