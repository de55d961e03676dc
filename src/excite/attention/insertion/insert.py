"""Attention put into the residual blocks of a network that others built."""

import re
import warnings
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import cast, get_args

from torch import fx, jit, nn

from excite.attention.insertion.form import GatedBlock, Insertion, attach, formed
from excite.attention.insertion.locate import Block, Located, located
from excite.attention.insertion.report import InsertedGate, InsertReport
from excite.attention.plan import AttentionPlan
from excite.attention.words import BLOCK, PLACES, parse
from excite.errors import UsageError
from excite.layers.gate import Gate
from excite.layers.residual import Position, Residual
from excite.registry import nearest

NAME = "attention"  # of the child that a block gets


def insert(model: nn.Module, plan: AttentionPlan | str = "se", *,
           input_size: Sequence[int] | None = None) -> InsertReport:
    """Put attention into `model`, in place; arguments and errors as in excite.insert_attention."""
    wanted = planned(plan)
    _refuse_network(model)
    found = located(model, input_size=input_size)
    covered = _covered(model, wanted, found)
    position = cast(Position, wanted.position)  # planned() refuses the tail
    made, refused = list[tuple[Block, nn.Module, Insertion]](), list[str]()
    for block in covered:
        cuts = block.cuts[position]
        if isinstance(cuts, str):
            refused.append(f"{block.name or 'itself'} ({block.place}): no {position} position, because {cuts}")
            continue
        gate = wanted.build(cuts[False].channels, block.stage, dims=found.dims)
        made.append((block, gate, Insertion(plan=wanted, gate=_free_name(block.module), cuts=cuts)))
    if not made:
        raise UsageError(f"no covered block of {type(model).__name__} has the position {position!r}", why=refused[0],
                         fix="choose another position or other blocks")
    before, keys = _parameters(model), model.state_dict().keys()
    forms = [formed(block.module, insertion) for block, _, insertion in made]  # all, before anything is changed
    for (block, gate, insertion), form in zip(made, forms, strict=True):
        attach(block.module, _beside(gate, block.module), insertion, form)
    return InsertReport(
        plan=wanted.text(), position=position, unchanged=all(_is_open(gate, wanted) for _, gate, _ in made),
        places=tuple(_inserted(*one) for one in made), refused=tuple(refused), passed_over=found.passed_over,
        left=tuple(block.name for block in found.blocks if block not in covered), input_size=found.input_size,
        new_keys=tuple(key for key in model.state_dict() if key not in keys), parameters=(before, _parameters(model)))


def planned(plan: AttentionPlan | str) -> AttentionPlan:
    """Return the plan; a line of text that says no start is one of open gates.

    Raises:
        UsageError: it is neither, or attention at the tail.
    """
    if isinstance(plan, str):
        said = parse(plan)
        if said.get("position", "tail") not in PLACES:
            ours = get_args(Position)
            raise UsageError(f"attention position must be one of {', '.join(ours)}, got {said['position']!r}",
                             fix=nearest(said["position"], list(ours)).strip() or None)
        plan = AttentionPlan(**{"start": "open"} | said)
    elif not isinstance(plan, AttentionPlan):
        raise UsageError(f"plan must be an AttentionPlan or its line of text, got {type(plan).__name__}",
                         fix='for example "se@2,3:position=pre"')
    elif plan.start == "paper":
        warnings.warn("the plan's start is 'paper': fresh gates are not 1 and the network's outputs change; "
                      "AttentionPlan(start='open') keeps them", stacklevel=4)
    if plan.position == "tail":
        raise UsageError("attention at the tail has no place in the blocks of another network",
                         fix=f"one of {', '.join(get_args(Position))}")
    return plan


def inserted_plan(model: nn.Module) -> AttentionPlan | None:
    """Return the plan that was inserted into `model`, or None; with it in a new network the state dict loads."""
    return next((block.insertion.plan for block in _gated(model)), None)


def inserted_places(model: nn.Module) -> list[str]:
    """Return the names of the blocks that have inserted attention, in the network's order."""
    return [name for name, part in model.named_modules() if isinstance(part, GatedBlock)]


def _refuse_network(model: nn.Module) -> None:
    """Raise where attention cannot be put into a network of this kind."""
    if not isinstance(model, nn.Module):
        raise UsageError(f"model must be a network, a torch.nn.Module, got {type(model).__name__}")
    there, kind = inserted_plan(model), type(model).__name__
    if there is not None:
        raise UsageError(f"{kind} has inserted attention already: {there.text()}",
                         fix="build the network anew; one plan takes one value of an option for each stage")
    if isinstance(model, jit.ScriptModule | fx.GraphModule) or hasattr(model, "_orig_mod"):
        raise UsageError(f"the network, now {kind}, is compiled or traced", why="its blocks' own code is gone",
                         fix="insert first, then compile or trace")
    if any(isinstance(part, Residual) for part in model.modules()):
        raise UsageError(f"{kind} has excite's own blocks, which take attention when they are built",
                         fix='create_model(name, attention="se:start=open", weights=...) keeps its outputs too')


def _covered(model: nn.Module, plan: AttentionPlan, found: Located) -> list[Block]:
    """Return the blocks that a plan is for.

    Raises:
        UsageError: there are none, or the plan names a stage or a block that is not there.
    """
    if not found.blocks:
        raise UsageError(f"{type(model).__name__} has no residual sum that attention could go to",
                         why=found.passed_over[0] if found.passed_over else
                         "no module adds a branch of convolutions and a shortcut in its own forward",
                         fix="networks that concatenate (DenseNet, ShuffleNet), plain ones (VGG) and transformers have "
                             "none; excite's attentions can be put into one's own modules by hand")
    plan.check(found.blocks[-1].stage + 1)
    for pattern in plan.blocks or ():
        if not any(_matches(block, pattern) for block in found.blocks):
            names = ", ".join(f"{block.place} = {block.name}" for block in found.blocks)
            raise UsageError(f"no residual block is called {pattern}", fix=f"its blocks: {names}")
    covered = [block for block in found.blocks if (plan.stages is None or block.stage in plan.stages)
               and (plan.blocks is None or any(_matches(block, pattern) for pattern in plan.blocks))]
    if not covered:
        raise UsageError("no block is in both, the stages and the blocks of the plan", fix="leave one of them out")
    return covered


def _matches(block: Block, pattern: str) -> bool:
    """Return whether a pattern means a block: as "stage.block", or by its module's name or one that it is inside."""
    if re.fullmatch(BLOCK, pattern):
        return fnmatchcase(block.place, pattern)
    return fnmatchcase(block.name, pattern) or fnmatchcase(block.name, f"{pattern}.*")


def _inserted(block: Block, gate: nn.Module, insertion: Insertion) -> InsertedGate:
    """Return what the report says of one gate."""
    return InsertedGate(
        block=block.name, place=block.place, channels=insertion.cuts[False].channels,
        gate=f"{block.name}.{insertion.gate}".lstrip("."), parameters=_parameters(gate),
        lacks={position: cuts for position, cuts in block.cuts.items() if isinstance(cuts, str)})


def _free_name(block: nn.Module) -> str:
    """Return a name for the gate that the block does not use."""
    name, number = NAME, 2
    while hasattr(block, name):
        name, number = f"{NAME}_{number}", number + 1
    return name


def _beside(gate: nn.Module, block: nn.Module) -> nn.Module:
    """Return the gate where the block's weights are, in their number kind and its mode."""
    weight = next(one for one in block.parameters() if one.is_floating_point())
    return gate.to(weight.device, weight.dtype).train(block.training)


def _is_open(gate: nn.Module, plan: AttentionPlan) -> bool:
    return (gate.start if isinstance(gate, Gate) else plan.start) == "open"


def _gated(model: nn.Module) -> Iterator[GatedBlock]:
    return (part for part in model.modules() if isinstance(part, GatedBlock))


def _parameters(model: nn.Module) -> int:
    return sum(one.numel() for one in model.parameters())
