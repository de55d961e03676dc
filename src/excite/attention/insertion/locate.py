"""The residual blocks of any network: modules whose own forward adds a branch and a shortcut.

Found by tracing, not by names: every module's forward alone, its children one step each. Channels and sizes come from a
forward pass with shapes and no values.
"""

import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch._subclasses.fake_tensor import DataDependentOutputException

from excite.attention.insertion.cut import Cut, NoPlaceError, View
from excite.attention.insertion.graph import as_before, own_forward, residual_sum, traced
from excite.attention.insertion.inplace import NotRecordedError
from excite.errors import UsageError
from excite.layers.residual import Position

SIDES = (64, 224)  # of the default input, along every axis: the first that the network takes


@dataclass(frozen=True, kw_only=True)
class Block:
    """A residual block of a network.

    Args:
        name: In the network.
        module: Itself.
        stage: Counted from 0; a new one begins where the blocks' outputs change their size.
        index: In its stage, counted from 0.
        cuts: By position: where a gate goes in training (True) and in evaluation; or why there is no such place.
    """

    name: str
    module: nn.Module
    stage: int
    index: int
    cuts: dict[Position, dict[bool, Cut] | str]

    @property
    def place(self) -> str:
        """Return "stage.block"."""
        return f"{self.stage}.{self.index}"


@dataclass(frozen=True, kw_only=True)
class Located:
    """What a network has.

    Args:
        blocks: In the order in which they are run.
        dims: Spatial dimensions.
        input_size: (C, *S) that its sizes are for.
        passed_over: Modules that are no places though they might look it, as sentences.
    """

    blocks: tuple[Block, ...]
    dims: int
    input_size: tuple[int, ...]
    passed_over: tuple[str, ...]


def located(model: nn.Module, *, input_size: Sequence[int] | None = None) -> Located:
    """Return the residual blocks of `model`; nothing is computed, the network stays as it is.

    Args:
        model: Any network of images or volumes that takes one tensor.
        input_size: (C, *S) of an input; from the first convolution where it is None, 64 along every axis, or
            224 where 64 is too small.

    Raises:
        UsageError: it has no convolution over two or three dimensions, cannot take such an input, or looks at values.
    """
    first = next((one for one in model.modules() if isinstance(one, nn.Conv2d | nn.Conv3d)), None)
    if first is None:
        raise UsageError(f"{type(model).__name__} has no convolution over two or three dimensions",
                         fix="attention goes into networks of images or volumes")
    dims = len(first.kernel_size)
    sizes = [(first.in_channels, *[side] * dims) for side in SIDES] if input_size is None else [_checked(input_size)]
    with as_before(model.modules()):
        candidates, passed_over = _candidates(model)
        return _located(model, sizes, first.weight, candidates, passed_over)


def _located(model: nn.Module, sizes: list[tuple[int, ...]], like: Tensor, candidates: dict[str, nn.Module],
             passed_over: list[str]) -> Located:
    """Return which of the candidates are blocks, with the sizes of an input as large as one of `sizes`."""
    with _shapes_only(model):
        dims = len(sizes[0]) - 1
        size, given = _run(model, sizes, like, candidates) if candidates else (sizes[0], {})
        views = {name: _views(candidates[name], call, name, passed_over) for name, call in given.items()}
        found = {name: both for name, both in views.items()
                 if both and all(len(view.size) == dims + 2 for view in both.values())}
        around = [name for name in found if any(_inside(other, name) for other in found)]
        passed_over += [f"{name or 'the network itself'} has a sum around other blocks" for name in around]
        blocks = _blocks({name: (candidates[name], both) for name, both in found.items() if name not in around})
        return Located(blocks=tuple(blocks), dims=dims, input_size=size, passed_over=tuple(passed_over))


def _checked(size: Sequence[int]) -> tuple[int, ...]:
    if not isinstance(size, Sequence) or not size or any(type(side) is not int or side < 1 for side in size):
        raise UsageError(f"input_size must be (channels, *sizes) of whole numbers of at least 1, got {size!r}",
                         fix="for example (3, 224, 224)")
    return tuple(size)


def _candidates(model: nn.Module) -> tuple[dict[str, nn.Module], list[str]]:
    """Return the modules whose own forward has a residual sum, and sentences for those that cannot be traced."""
    found, closed = dict[str, nn.Module](), dict[str, str]()
    for name, module in model.named_modules():
        convolution = any(isinstance(part, nn.Conv2d | nn.Conv3d) for child in module.children()
                          for part in child.modules())
        if not convolution or type(module).forward in (nn.Module.forward, nn.Sequential.forward):
            continue
        try:
            if residual_sum(traced(module, training=False), module) is not None:
                found[name] = module
        except Exception as fault:  # of any kind: it is the network's own code
            closed[name] = _reason(fault)
    return found, [f"{name or 'the network itself'} cannot be traced: {why}" for name, why in closed.items()
                   if not any(_inside(other, name) or _inside(name, other) for other in found)]


@contextmanager
def _shapes_only(model: nn.Module) -> Iterator[None]:
    """Compute shapes alone inside the block, in evaluation mode; modes and buffers are for the caller to restore."""
    log = logging.getLogger("torch._subclasses.fake_tensor")  # prints what fails though another way succeeds
    level, dice = log.level, random.getstate()
    log.setLevel(logging.CRITICAL + 1)
    try:
        for module in model.modules():
            module.training = False
            for name, value in module._buffers.items():  # small ones are computed even here
                module._buffers[name] = None if value is None else value.clone()
        with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
            yield
    finally:
        log.setLevel(level)
        random.setstate(dice)


def _run(model: nn.Module, sizes: list[tuple[int, ...]], like: Tensor,
         watched: dict[str, nn.Module]) -> tuple[tuple[int, ...], dict[str, tuple[Any, ...]]]:
    """Return the first size that the network takes, and what each watched module is then called with, in that order."""
    given: dict[str, tuple[Any, ...]] = {}
    hooks = [module.register_forward_pre_hook(partial(_note, given, name), with_kwargs=True)
             for name, module in watched.items()]
    try:
        for size in sizes:
            given.clear()
            try:
                with as_before(model.modules()):
                    model(torch.empty(1, *size, device=like.device, dtype=like.dtype))
                return size, given
            except DataDependentOutputException as fault:
                raise UsageError(f"{type(model).__name__} looks at values in its forward", why=_short(fault),
                                 fix="insert into the part of it that does not") from fault
            except Exception as fault:  # of any kind: it is the network's own code
                refusal = fault
        shown = " x ".join(map(str, sizes[-1]))
        raise UsageError(f"{type(model).__name__} cannot take an input of {shown}", why=_short(refusal),
                         fix="say what it takes: input_size=(channels, *sizes)") from refusal
    finally:
        for hook in hooks:
            hook.remove()


def _note(given: dict[str, tuple[Any, ...]], name: str, module: nn.Module, unnamed: Any, named: Any) -> None:
    if name not in given:
        given[name] = signature(own_forward(module)).bind(module, *unnamed, **named).args[1:]


def _views(module: nn.Module, given: tuple[Any, ...], name: str, passed_over: list[str]) -> dict[bool, View]:
    """Return both forms of a module as it is called; none, and a sentence, where it cannot be traced so."""
    measured = dict[str, dict[str, tuple[int, ...]]]()
    try:
        return {training: View(module, training=training, given=given, measured=measured) for training in (True, False)}
    except Exception as fault:  # of any kind: it is the network's own code
        passed_over.append(f"{name or 'the network itself'} cannot be followed as it is called: {_reason(fault)}")
        return {}


def _blocks(found: dict[str, tuple[nn.Module, dict[bool, View]]]) -> Iterator[Block]:
    """Yield the blocks with their stages."""
    stage, index, last = -1, 0, None
    for name, (module, views) in found.items():
        size = views[False].size[2:]
        stage, index = (stage, index + 1) if size == last else (stage + 1, 0)
        last = size
        cuts = {position: _cuts(views, position) for position in get_args(Position)}
        yield Block(name=name, module=module, stage=stage, index=index, cuts=cuts)


def _cuts(views: dict[bool, View], position: Position) -> dict[bool, Cut] | str:
    """Return the cuts of a position, or why there are none."""
    try:
        return {training: view.cut(position) for training, view in views.items()}
    except NoPlaceError as lack:
        return str(lack)


def _inside(name: str, other: str) -> bool:
    """Return whether one module is a part of another."""
    return name != other and (not other or name.startswith(f"{other}."))


def _reason(fault: Exception) -> str:
    """Return why code that is not ours has no graph."""
    if isinstance(fault, NotRecordedError | NoPlaceError):
        return str(fault)
    return f"its forward computes with values or makes tensors of them, which no graph records ({_short(fault)})"


def _short(fault: Exception) -> str:
    """Return the first line of what went wrong in code that is not ours."""
    return " ".join(str(fault).split("\n")[0].split())[:150]
