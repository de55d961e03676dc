"""A named layer of a network: found, suggested, and its maps kept while the network runs, gradients from there on."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from excite.errors import UsageError
from excite.registry import nearest

# what gives the last map before the pooling in excite's networks, and where the stages before it are
OWN = {"bridge": "encoder", "backbone": "backbone", "spatial": "spatial"}
LEAST = 4  # places along a side of the plane


@contextmanager
def kept(model: nn.Module, layers: Sequence[str]) -> Iterator[list[Tensor]]:
    """Give the list of maps that the layers make while the network runs in this block, in the order of the calls.

    Gradients begin at these maps: what comes before is computed without.

    Args:
        model: Any network.
        layers: Names as `model.named_modules()` has them.

    Raises:
        UsageError: a layer is unknown, or gives something else than one map.
    """
    found: list[Tensor] = []

    def keep(part: nn.Module, given: Any, made: Any) -> Tensor:
        if not isinstance(made, Tensor) or made.ndim < 4:
            got = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
            raise UsageError(f"layer must give maps (N, C, *S), {type(part).__name__} gives {got}",
                             fix="name one before the pooling")
        found.append(made.detach().requires_grad_(True))
        return found[-1].clone()  # what follows may write into it

    hooks = [find_layer(model, name).register_forward_hook(keep) for name in layers]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """Return a part of a network by its name.

    Raises:
        UsageError: it has no such part; the nearest name is told.
    """
    parts: dict[str, nn.Module] = dict(model.named_modules())
    if not name or name not in parts:
        known = [one for one in parts if one]
        outer = [one for one, _ in model.named_children()]
        raise UsageError(f"the network has no layer {name!r}", fix=f"{nearest(name, known)}its parts: "
                         f"{', '.join(outer)}, and theirs: model.named_modules()")
    return parts[name]


class Usual(NamedTuple):
    """Layers to explain with, and why not the last ones, in a sentence; empty where they are."""

    layers: list[str]
    note: str = ""


def usual_layers(model: nn.Module, example: Tensor) -> Usual:
    """Return the layers that give the last maps before the pooling; of a network for masks, those at its narrowest.

    Where these have fewer than 4 places along a side of the plane, the last stage that has as many is taken.

    Args:
        model: In eval mode.
        example: An input of one sample.

    Shape:
        example (1, C, *S)

    Raises:
        UsageError: no part of the network gives maps.
    """
    sizes, masks = _made(model, example)
    if not sizes:
        raise UsageError(f"no layer of {type(model).__name__} gives maps (N, C, *S)", fix="name one with layer")
    children = dict(model.named_children())
    if "trunks" in children:
        prefixes = [f"trunks.{name}" for name, _ in children["trunks"].named_children()]
        return _fine([prefixes, *_stages(model, prefixes)], sizes)
    for name, trunk in OWN.items():
        if name in children and name in sizes:
            return _fine([[name], *_stages(model, [trunk])], sizes)
    fewest = min(map(prod, sizes.values()))
    return Usual([[name for name, size in sizes.items() if not masks or prod(size) == fewest][-1]])


def _stages(model: nn.Module, prefixes: Sequence[str]) -> list[list[str]]:
    """Return the stages of backbones, the last first."""
    count = len(list(getattr(model.get_submodule(prefixes[0]), "stages", ())))
    return [[f"{one}.stages.{stage}" for one in prefixes] for stage in reversed(range(count))]


def _fine(candidates: Sequence[list[str]], sizes: Mapping[str, tuple[int, ...]]) -> Usual:
    """Return the first candidates whose maps have enough places, else the finest."""
    known = [one for one in candidates if one[0] in sizes]
    chosen = next((one for one in known if min(sizes[one[0]][-2:]) >= LEAST),
                  max(known, key=lambda one: min(sizes[one[0]][-2:])))
    if chosen is known[0]:
        return Usual(chosen)
    last, size = (" x ".join(map(str, sizes[one[0]])) for one in (known[0], chosen))
    return Usual(chosen, f"the last maps have {last} places, too few to show a place: {chosen[0]} with {size} is shown")


def _made(model: nn.Module, example: Tensor) -> tuple[dict[str, tuple[int, ...]], bool]:
    """Return the size of the last map of each part, in the order in which the parts end, and whether outputs are maps.

    What has one place only, such as a pooled map, is left out where the part is not one of excite's own last ones.
    """
    found: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Any:
        def hook(part: nn.Module, given: Any, made: Any) -> None:
            own = name in OWN or name.startswith("trunks.")
            if isinstance(made, Tensor) and made.ndim >= 4 and (own or min(made.shape[2:]) > 1):
                found.pop(name, None)
                found[name] = tuple(made.shape[2:])
        return hook

    hooks = [part.register_forward_hook(note(name)) for name, part in model.named_modules() if name]
    with torch.no_grad():
        outputs = model(example)
    for hook in hooks:
        hook.remove()
    return found, outputs.ndim == example.ndim
