"""The networks that draw heads, beside a public package's, in one run: what they count, what they take, what they keep.

"Efficient" against "accurate" is a claim about time as well as about parameters; here both stand in one table.
"""

import importlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from excite.errors import EnvironmentFault
from excite.jobs.model_cost import machine
from excite.models.classifier import create_model
from excite.models.cost import Cost, count
from excite.models.encoder import FreezableEncoder
from excite.models.measure import repeated, using_threads

SIZE = (256, 384)
BATCHES = (1, 16)
PEERS = "segmentation_models_pytorch"
OPERATORS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class Network(NamedTuple):
    """A network of the table; those with a pretrained encoder keep it frozen."""

    label: str
    name: str
    options: Mapping[str, Any] = {}
    peer: bool = False
    frozen: bool = True


NETWORKS = (
    Network("efficient, published",   "mobilenet_v2_aspp_se_unet"),
    Network("efficient, rates 2 4 6", "mobilenet_v2_aspp_se_unet", {"atrous_rates": (2, 4, 6), "min_hidden": 4}),
    Network("the same to stride 2",   "mobilenet_v2_aspp_se_unet", {"atrous_rates": (2, 4, 6), "min_hidden": 4,
                                                                     "finest": 2}),
    Network("and separable",          "mobilenet_v2_aspp_se_unet", {"atrous_rates": (2, 4, 6), "min_hidden": 4,
                                                                     "finest": 2, "separable": True}),
    Network("to stride 4: ours",      "mobilenet_v2_aspp_se_unet", {"atrous_rates": (2, 4, 6), "min_hidden": 4,
                                                                     "finest": 4, "separable": True, "up": "linear"}),
    Network("accurate",               "aspp_se_unet", frozen=False),
    Network("smp Unet",               "Unet", peer=True),
    Network("smp DeepLabV3Plus",      "DeepLabV3Plus", peer=True),
)


class Percentiles(NamedTuple):
    """Milliseconds of one work: the 50th and the 95th percentile of so many repeats."""

    p50: float
    p95: float
    repeats: int


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A network: its counts for one image, milliseconds of a pass by batch, and of a training step where asked.

    `notes` says what it warned of for this size of image.
    """

    network: Network
    cost: Cost
    notes: tuple[str, ...]
    passes: dict[int, Percentiles]
    step: Percentiles | None

    def fps(self, batch: int) -> float:
        """Return images a second in batches of so many."""
        return 1e3 * batch / self.passes[batch].p50


@dataclass(frozen=True, kw_only=True)
class Bench:
    """All that `excite bench heads` says.

    Args:
        rows: The networks that were there.
        size: Height and width of the images, which have one channel.
        batches: Images a pass.
        step_batch: Images a training step; 0: no step was taken.
        peers: Version of the public package, or why it is not there.
        compared: Whether it is there.
    """

    rows: list[Measured]
    size: tuple[int, int]
    batches: tuple[int, ...]
    step_batch: int
    channels_last: bool
    peers: str
    compared: bool
    machine: dict[str, Any]


def bench_heads(*, size: tuple[int, int] = SIZE, batches: tuple[int, ...] = BATCHES, seconds: float = 60.0,
                threads: int | None = None, step_batch: int = 0, channels_last: bool = False) -> Bench:
    """Count and time all networks; every work in turns, three rounds at least however long they take.

    Args:
        size: Height and width of the images.
        batches: Images a pass.
        seconds: To spend.
        threads: Of torch; None: all usable cores.
        step_batch: Images of a training step in float32 with the encoder frozen; 0: no step is timed.
        channels_last: Channels last in memory, for all.

    Raises:
        UsageError: a network cannot take the size. EnvironmentFault: there is not memory enough.
    """
    package, words = peers()
    networks = [one for one in NETWORKS if package is not None or not one.peer]
    costs = [counted(one, size, package) for one in networks]
    with using_threads(threads) as used, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the count has told them
        works: dict[tuple[int, int], Callable[[], object]] = {}
        for place, one in enumerate(networks):
            works |= {(place, key): work for key, work in _works(one, size, batches, step_batch, channels_last,
                                                                 package).items()}
        times = _timed(works, seconds)
    rows = [Measured(network=one, cost=costs[place][0], notes=costs[place][1], step=times.get((place, 0)),
                     passes={batch: times[place, batch] for batch in batches}) for place, one in enumerate(networks)]
    return Bench(rows=rows, size=size, batches=batches, step_batch=step_batch, channels_last=channels_last,
                 peers=words, compared=package is not None, machine=machine(used))


def peers() -> tuple[ModuleType | None, str]:
    """Return segmentation_models_pytorch with its version, or None and why it cannot be had."""
    try:
        package = _imported()
    except (ImportError, RuntimeError, OSError) as fault:
        return None, f"{PEERS} cannot be imported ({' '.join(str(fault).split())[:80]})"
    return package, f"{PEERS} {package.__version__}"


def counted(network: Network, size: tuple[int, int], package: ModuleType | None) -> tuple[Cost, tuple[str, ...]]:
    """Return what a network costs for one grey image, its encoder frozen where it would be, and its warnings."""
    with warnings.catch_warnings(record=True) as told, torch.device("meta"):
        warnings.simplefilter("always")
        cost = count(build(network, package), (1, *size))
    return cost, tuple(dict.fromkeys(str(one.message) for one in told if issubclass(one.category, UserWarning)))


def build(network: Network, package: ModuleType | None) -> nn.Module:
    """Return a network for one grey channel and one mask, with random weights."""
    if not network.peer:
        model = create_model(network.name, in_channels=1, num_classes=1, **network.options)
    else:
        model = getattr(package, network.name)("mobilenet_v2", encoder_weights=None, in_channels=1, classes=1)
    if network.frozen:
        freeze(model)
    return model


def freeze(model: nn.Module) -> None:
    """Freeze the encoder; a public network's by gradients alone, as its users do."""
    if isinstance(model, FreezableEncoder):
        model.freeze_encoder()
        return
    for parameter in model.get_submodule("encoder").parameters():
        parameter.requires_grad_(False)


def _imported() -> ModuleType:
    """Import the package, where torchvision is built for another torch too: two of its operators are named then."""
    try:
        return importlib.import_module(PEERS)
    except RuntimeError as fault:
        if "torchvision::nms" not in str(fault):
            raise
    operators = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        operators.define(name + OPERATORS)  # type: ignore[no-untyped-call]
    return importlib.import_module(PEERS)


def _works(network: Network, size: tuple[int, int], batches: tuple[int, ...], step_batch: int, channels_last: bool,
           package: ModuleType | None) -> dict[int, Callable[[], object]]:
    """Return a pass for each batch, and under 0 a training step where one is asked for."""
    form = torch.channels_last if channels_last else torch.contiguous_format
    model = build(network, package).to(memory_format=form)  # type: ignore[call-overload]
    trained = build(network, package).to(memory_format=form) if step_batch else None  # type: ignore[call-overload]

    def passing(images: torch.Tensor) -> Callable[[], object]:
        def work() -> object:
            with torch.inference_mode():
                return model.eval()(images)
        return work

    found = {batch: passing(torch.rand(batch, 1, *size).contiguous(memory_format=form)) for batch in batches}
    if trained is not None:
        found[0] = stepping(trained, torch.rand(step_batch, 1, *size).contiguous(memory_format=form))
    return found


def stepping(model: nn.Module, images: torch.Tensor) -> Callable[[], object]:
    """Return a training step in float32: forward, cross-entropy of a disc, backward, Adam."""
    optimiser = torch.optim.Adam([one for one in model.parameters() if one.requires_grad], lr=1e-3)
    height, width = images.shape[2:]
    down, along = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    masks = (down**2 + along**2 < 0.5).float().expand(images.shape)

    def step() -> float:
        model.train()
        optimiser.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(model(images), masks)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return float(loss.detach())

    return step


def _timed(works: dict[tuple[int, int], Callable[[], object]],
           seconds: float) -> dict[tuple[int, int], Percentiles]:
    """Return the percentiles of all works, which take turns."""
    named = {str(key): work for key, work in works.items()}
    try:
        times = repeated(named, seconds=seconds, least=3)
    except RuntimeError as fault:
        if "allocat" not in str(fault) and "memory" not in str(fault):
            raise
        raise EnvironmentFault("there is not memory enough for these networks", why=str(fault).splitlines()[0][:120],
                               fix="a smaller --size or --batch") from None
    return {key: _percentiles(times[str(key)]) for key in works}


def _percentiles(milliseconds: list[float]) -> Percentiles:
    middle, high = np.percentile(milliseconds, (50, 95))
    return Percentiles(float(middle), float(high), len(milliseconds))
