"""What one network costs: counted on shapes alone, timed on this machine, and what its source says."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from excite.attention.plan import AttentionPlan
from excite.attention.words import parse
from excite.errors import EnvironmentFault, UsageError
from excite.jobs.environment import cpu
from excite.layers.options import read_value
from excite.models.classifier import create_model, own_attention
from excite.models.cost import Cost, count
from excite.models.measure import Timing, interleaved, using_threads
from excite.models.published import ROWS, Published
from excite.models.registry import NETWORKS
from excite.models.sections import RESERVED

PIXELS, SMALL, CLIP = 224, 32, (16, 112, 112)
LARGEST = 65_536  # pixels a side


@dataclass(frozen=True, kw_only=True)
class Order:
    """Which network, for which input.

    Args:
        name: One of `list_models()`.
        dims: 2 for images, 3 for volumes.
        channels: Of the input.
        classes: Length of the logits.
        attention: As in "se@2,3:position=pre"; None for the network's own.
        options: Of create_model.
        sizes: Of the input; None: `usual_sizes`.
    """

    name: str
    dims: int = 2
    channels: int = 3
    classes: int = 1000
    attention: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    sizes: tuple[int, ...] | None = None

    def build(self) -> nn.Module:
        """Return the network, with random weights; nothing is computed inside `with torch.device("meta")`."""
        plan = AttentionPlan(**parse(self.attention)) if self.attention else None
        return create_model(self.name, dims=self.dims, in_channels=self.channels, num_classes=self.classes,
                            attention=plan, **self.options)


def usual_order(name: str, *, channels: int | None = None, classes: int | None = None, **more: Any) -> Order:
    """Return an order with 3 channels and 1000 classes unless told otherwise, 1 and 1, or what a network says."""
    usual = (3, 1000)
    if name in NETWORKS:
        usual = getattr(NETWORKS[name], "usual_channels", 1), getattr(NETWORKS[name], "usual_classes", 1)
    return Order(name=name, channels=usual[0] if channels is None else channels,
                 classes=usual[1] if classes is None else classes, **more)


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What is known of a network without computing: its cost for one input, and notes on how it was built."""

    order: Order
    size: tuple[int, ...]
    cost: Cost
    notes: tuple[str, ...]


def counted(order: Order) -> Counted:
    """Count a network on shapes alone.

    Raises:
        UsageError: it cannot be built so, or cannot take the input. DataError: the same, from a layer that knows why.
    """
    with warnings.catch_warnings(record=True) as told, torch.device("meta"):
        warnings.simplefilter("always")
        model = order.build()
        size = (order.channels, *(order.sizes or usual_sizes(model, order.dims)))
        cost = count(model, size)
    own = own_attention(order.name, **order.options) if order.attention else None
    replaced = [f"in the place of the network's own attention, {own.text()}"] if own else []
    return Counted(order=order, size=size, cost=cost,
                   notes=(*replaced, *(str(one.message) for one in told), *cost.notes))


def timed(order: Order, size: Sequence[int], *, batch: int = 1, threads: int | None = None,
          seconds: float = 2.0) -> dict[str, Timing]:
    """Return the milliseconds of a pass in evaluation mode without gradients, in both memory layouts in turns.

    Args:
        order: The network; its weights are random, which changes no time.
        size: (channels, *sizes) of the input.
        batch: Samples a pass.
        threads: Of torch; None: all usable cores.
        seconds: To spend; five repeats at least.
    """
    try:
        with using_threads(threads), torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the count has told them
            return interleaved(passes(order, size, batch=batch), seconds=seconds)
    except RuntimeError as fault:
        if "allocat" not in str(fault) and "memory" not in str(fault):
            raise
        raise EnvironmentFault("there is not memory enough for this pass", why=str(fault).splitlines()[0][:120],
                               fix="a smaller --size or --batch, or --no-time") from None


def passes(order: Order, size: Sequence[int], *, batch: int = 1) -> dict[str, Callable[[], object]]:
    """Return a pass of the network as torch stores images, "contiguous", and where it can one with channels last."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the count has told them
        model = order.build().eval()
    images = torch.rand(batch, *size)
    if {one.ndim for one in model.parameters()} >= {4, 5}:  # torch turns kernels of one rank at a time
        return {"contiguous": lambda: model(images)}
    last = torch.channels_last if len(size) == 3 else torch.channels_last_3d
    turned = deepcopy(model).to(memory_format=last)  # type: ignore[call-overload]
    images_last = images.contiguous(memory_format=last)
    return {"contiguous": lambda: model(images), "channels_last": lambda: turned(images_last)}


def usual_sizes(model: nn.Module, dims: int) -> tuple[int, ...]:
    """Return the sizes that a network is published for; in 3-D 16 slices.

    224, or 32 where the stem of a classifier keeps the size, or what the network says.
    """
    side = getattr(model, "usual_side", PIXELS)
    small = all(step == 1 for step in getattr(getattr(model, "backbone", None), "strides", [(2,)])[0])
    plane = (SMALL, SMALL) if small else (side, side) if dims == 2 else CLIP[1:]
    return plane if dims == 2 else (CLIP[0], *plane)


def published(found: Counted) -> list[Published]:
    """Return what sources say of exactly this network; of its multiply-adds, for this input."""
    order = found.order
    return [row if row.size == found.size else row._replace(macs=None) for row in ROWS
            if (row.network, row.dims, dict(row.options), row.classes) == (order.name, order.dims,
                                                                           dict(order.options), order.classes)
            and row.size[0] == order.channels and order.attention is None
            and (row.size == found.size or row.parameters is not None)]


def machine(threads: int) -> dict[str, Any]:
    """Return what a measured time depends on."""
    return {"cpu": cpu()["name"], "threads": threads, "torch": torch.__version__}


def read_sizes(text: str | None, dims: int | None) -> tuple[tuple[int, ...] | None, int]:
    """Return sizes and dimensions from "224", "224x160" or "16x112x112"; one number is every side.

    Raises:
        UsageError: `text` is not of that form, or has another number of sides than `dims`.
    """
    if dims not in (None, 2, 3):
        raise UsageError(f"--dims must be 2 (images) or 3 (volumes), got {dims!r}")
    if text is None:
        return None, dims or 2
    sides = text.lower().split("x")
    if not all(side.strip().isdecimal() and 0 < int(side) <= LARGEST for side in sides) or len(sides) > 3:
        raise UsageError(f"--size must be N, HxW or DxHxW of 1 to {LARGEST} a side, got {text!r}",
                         fix="for example 224, 224x160 or 16x112x112")
    sizes = tuple(int(side) for side in sides)
    if len(sizes) == 1:
        return sizes * (dims or 2), dims or 2
    if dims is not None and dims != len(sizes):
        raise UsageError(f"--size {text} has {len(sizes)} sides, --dims is {dims}",
                         fix="give HxW for images, DxHxW for volumes")
    return sizes, len(sizes)


def read_options(texts: Sequence[str]) -> dict[str, Any]:
    """Return the options of create_model from "width=0.5" and the like; "32,16,16,8" is one value a stage.

    Raises:
        UsageError: a text is not of the form NAME=VALUE, a name comes twice, or it has a flag of its own.
    """
    found = read_pairs(texts)
    for name in set(RESERVED) & found.keys():
        raise UsageError(f"--option {name} is no option of a network", fix="it has a flag of its own, see --help")
    return found


def read_pairs(texts: Sequence[str]) -> dict[str, Any]:
    """Return {name: value} of "NAME=VALUE".

    Raises:
        UsageError: a text is not of that form, or a name comes twice.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value) or name in found:
            raise UsageError(f"--option must be NAME=VALUE, each name once, got {text!r}",
                             fix="for example --option width=0.5")
        found[name] = read_value(value)
    return found
