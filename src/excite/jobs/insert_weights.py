"""Attention in a network of another library, from its name and a file of its weights to a file with the gates."""

import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from excite.errors import EnvironmentFault, ModelError, UsageError
from excite.models.inserted_weights import fit, save_inserted
from excite.models.insertion import InsertReport, insert_attention
from excite.registry import nearest
from excite.weights.intake import read_state

FORM = "torchvision.models:resnet50"
GIVEN = ("weights", "pretrained", "weights_backbone")  # options by which a function loads weights itself


@dataclass(frozen=True, kw_only=True)
class Insertion:
    """What was done.

    Args:
        report: Of the insertion.
        apart: Largest difference of an output before and after, on random inputs; None where no output is a tensor.
        keys: Of the weights that were loaded; 0 where there was no file.
        fresh: Keys that were left as the network makes them.
        out: The file that was written, if any.
    """

    report: InsertReport
    apart: float | None
    keys: int
    fresh: tuple[str, ...]
    out: Path | None


def insert_weights(network: str, attention: str, *, options: Mapping[str, object], weights: Path | None = None,
                   fresh: Sequence[str] = (), out: Path | None = None, input_size: Sequence[int] | None = None,
                   measure: bool = False) -> Insertion:
    """Build a network, load its weights, insert attention, look at the outputs of both and write the weights.

    Args:
        network: "module:function" of what builds it.
        attention: As a line of text.
        options: Arguments of the function.
        weights: A .safetensors, .pth or .pt file of its state dict.
        fresh: Beginnings of keys that are not taken from the file, "fc." where the classes are others.
        out: A .safetensors file to write.
        input_size: (C, *S)
        measure: Time a pass before and after.

    Raises:
        UsageError: the name, the options or the plan are wrong. ModelError: the weights do not fit.
    """
    if out is not None and weights is not None and out.exists() and out.samefile(weights):
        raise UsageError("--out would overwrite --weights", fix="name another file")
    if out is not None and weights is None and not set(GIVEN) & options.keys():
        raise UsageError("--out has nothing to write without --weights", why="the network's values would be random",
                         fix="name the file of its weights, or leave --out out")
    model = built(network, options).eval()
    left = _left(model, fresh)
    if weights is not None:
        _refuse_file(weights)
        fit(model, read_state(weights), weights, fresh=fresh)
    keys = len(model.state_dict()) - len(left) if weights is not None else 0
    before = deepcopy(model)
    report = insert_attention(model, attention, input_size=input_size, measure=measure)
    apart = _apart(before, model, report.input_size)
    if report.unchanged and apart:
        raise ModelError(f"the outputs are {apart:.2g} apart, although the gates are open", where=network,
                         why="the insertion changed what a block computes, or the network draws random numbers",
                         fix="nothing was written; report this network to the project")
    if out is not None:
        save_inserted(model, out, words={"network": network, "options": json.dumps(dict(options), default=str)})
    return Insertion(report=report, apart=apart, keys=keys, fresh=left, out=out)


def _refuse_file(weights: Path) -> None:
    if not weights.is_file():
        raise EnvironmentFault("there is no such weights file", where=weights, fix="check the path")
    if weights.suffix.lower() not in (".safetensors", ".pth", ".pt"):
        raise UsageError(f"--weights must be a .safetensors, .pth or .pt file, got {weights.name}",
                         fix="torch.save(model.state_dict(), FILE) writes one")


def _left(model: nn.Module, fresh: Sequence[str]) -> tuple[str, ...]:
    """Return the keys that begin as `fresh` says."""
    for one in fresh:
        if not one or not any(key.startswith(one) for key in model.state_dict()):
            raise UsageError(f"--fresh {one or repr(one)} means none of the network's keys",
                             fix=f"its last: {', '.join(list(model.state_dict())[-2:])}")
    return tuple(key for key in model.state_dict() if key.startswith(tuple(fresh)))


def built(network: str, options: Mapping[str, object]) -> nn.Module:
    """Return the network that "module:function" builds with `options`.

    Raises:
        UsageError: there is no such function, it does not take the options, or gives something else than a network.
        EnvironmentFault: the module cannot be imported.
    """
    place, colon, name = network.partition(":")
    if not (colon and place and name):
        raise UsageError(f"a network of another library is named MODULE:FUNCTION, got {network!r}",
                         fix=f"for example {FORM}")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # as python -m does
    try:
        module = import_module(place)
    except Exception as fault:  # of any kind: it is the other library's own code
        said = " ".join(str(fault).split())[:200]
        raise EnvironmentFault(f"{place} cannot be imported", why=f"{type(fault).__name__}: {said}",
                               fix="check its name, and that it works in this environment: python -c 'import "
                                   f"{place}'") from None
    make = getattr(module, name, None)
    if not callable(make):
        names = [one for one in dir(module) if not one.startswith("_") and callable(getattr(module, one))]
        deeper = f"did you mean {place}.models:{name}?" if hasattr(getattr(module, "models", None), name) else ""
        raise UsageError(f"{place} has no function {name!r}",
                         fix=deeper or nearest(name, names).rstrip("; ") or f"as in {FORM}")
    try:
        inspect.signature(make).bind(**options)
    except TypeError as fault:
        raise UsageError(f"{network} does not take these options", why=str(fault),
                         fix="--option NAME=VALUE, each an argument of that function") from None
    try:
        model: Any = make(**options)
    except Exception as fault:  # of any kind: it is the other library's own check
        raise UsageError(f"{network} cannot be built", why=f"{type(fault).__name__}: {fault}",
                         fix="check its options") from None
    if not isinstance(model, nn.Module):
        raise UsageError(f"{network} gives a {type(model).__name__}, no network", fix=f"as in {FORM}")
    return model


def _apart(before: nn.Module, after: nn.Module, size: Sequence[int]) -> float | None:
    """Return the largest difference of any output of both on random inputs; None where no output is a tensor."""
    kind = next((one.dtype for one in before.parameters() if one.is_floating_point()), torch.float32)
    x = torch.randn(2, *size, generator=torch.Generator().manual_seed(0)).to(kind)
    with torch.inference_mode():
        old, new = ([one for one in tree_leaves(model.eval()(x)) if isinstance(one, Tensor)]
                    for model in (before, after))
    return max((float((a - b).abs().max()) for a, b in zip(old, new, strict=True)), default=None)
