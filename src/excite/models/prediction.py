"""A network made fast for prediction in torch: its bricks become one pass each, bfloat16 where it holds."""

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from excite.errors import UsageError
from excite.layers.conv import ConvNormAct
from excite.layers.options import check_choice
from excite.layers.packed import PackedConv, packs

Precision = Literal["auto", "float32", "bfloat16"]
ROUNDS = 3         # measured passes of each precision, after one that warms up
MARGIN = 1.1       # bfloat16 must be faster by this much
TOLERANCE = 0.01   # of the largest output, by which bfloat16 may be off


@dataclass(frozen=True, kw_only=True)
class Form:
    """How a network computes, and why.

    Args:
        precision: Of weights and maps.
        channels_last: Whether channels come last in memory.
        folded: Norms that are part of a convolution now.
        packed: Convolutions that are one pass with their activation now.
        reason: For the precision.
    """

    precision: str
    channels_last: bool
    folded: int
    packed: int
    reason: str


class PredictionForm(nn.Module):
    """A network's twin for prediction: same inputs, float32 outputs, no gradients; `for_prediction` makes it.

    Args:
        network: In eval mode, changed already.
        form: What was changed.
    """

    def __init__(self, network: nn.Module, form: Form) -> None:
        super().__init__()
        self.network, self.form = network, form

    def forward(self, images: Tensor) -> Tensor:
        """Return the network's output."""
        with torch.inference_mode():
            kind = torch.bfloat16 if self.form.precision == "bfloat16" else torch.float32
            layout = _layout(images.ndim, last=self.form.channels_last)
            found: Tensor = self.network(images.to(kind).contiguous(memory_format=layout)).float()
        return found

    def train(self, mode: bool = True) -> "PredictionForm":
        """Stay in eval mode.

        Raises:
            UsageError: training mode is asked for; the norms are no more.
        """
        if mode:
            raise UsageError("this network is for prediction only", why="its norms are folded into its convolutions",
                             fix="train the network that it was made from")
        return super().train(False)


def for_prediction(model: nn.Module, images: Tensor, *, precision: Precision = "auto",
                   tolerance: float = TOLERANCE) -> PredictionForm:
    """Return a copy of one of excite's networks that predicts faster; the network itself stays as it is.

    Norms are folded into the convolutions before them, and channels come last in memory where the network is faster so.
    On a CPU convolution and activation become one pass, in the order of memory that is best for images like `images`;
    other sizes are computed as well. With "auto", bfloat16 is taken where it is measured to be faster on them and its
    outputs stay within `tolerance` of the largest.

    Args:
        model: Of `create_model`, with weights in float32.
        images: Some that are typical, as the network takes them.
        precision: "auto", "float32" or "bfloat16".
        tolerance: Largest difference of an output that bfloat16 may make, as a share of the largest output.

    Shape:
        images (N, C, *S)

    Raises:
        UsageError: `precision` is none of the three, or `tolerance` is not above 0.
    """
    check_choice("precision", precision, Precision)
    if not tolerance > 0:
        raise UsageError(f"tolerance must be above 0, got {tolerance!r}")
    if precision != "auto":
        return _formed(model, images, precision, reason="as asked for")
    plain = _formed(model, images, "float32", reason="this processor has no bfloat16")
    if not has_bfloat16(images.device.type):
        return plain
    half = _formed(model, images, "bfloat16", reason="")
    name, reason = _measured(plain, half, images, tolerance)
    chosen = half if name == "bfloat16" else plain
    chosen.form = replace(chosen.form, reason=reason)
    return chosen


def _formed(model: nn.Module, images: Tensor, precision: str, *, reason: str) -> PredictionForm:
    """Return the network's twin in one precision."""
    last = bool(getattr(model, "channels_last", True))
    network = deepcopy(model).eval().requires_grad_(False)
    folded = fold(network)
    if precision == "bfloat16":
        network.to(torch.bfloat16)
    for parameter in network.parameters():
        parameter.data = parameter.data.contiguous(memory_format=_layout(parameter.ndim, last=last))
    twin = PredictionForm(network, Form(precision=precision, channels_last=last, folded=folded, packed=0,
                                       reason=reason))
    twin.form = replace(twin.form, packed=_pack(twin, images))
    return twin.eval()


def fold(network: nn.Module) -> int:
    """Fold the BatchNorm of every ConvNormAct into its convolution, in place; return how many there were."""
    folded = 0
    for brick in network.modules():
        if isinstance(brick, ConvNormAct) and isinstance(brick.norm, _BatchNorm):
            brick.conv = fuse_conv_bn_eval(brick.conv, brick.norm)  # type: ignore[type-var]
            brick.norm = nn.Identity()
            folded += 1
    return folded


def has_bfloat16(device: str = "cpu") -> bool:
    """Return whether the device computes in bfloat16 itself."""
    if torch.device(device).type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    found = torch.cpu.get_capabilities()
    return any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _measured(plain: PredictionForm, half: PredictionForm, images: Tensor, tolerance: float) -> tuple[str, str]:
    """Return the precision to take, and why."""
    expected, found = plain(images), half(images)
    apart = float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12))
    if not apart <= tolerance:
        return "float32", f"bfloat16 is off by {apart:.1e} of the largest output, {tolerance:g} at most is allowed"
    taken = [[_milliseconds(partial(one, images)) for one in (plain, half)] for _ in range(ROUNDS)]
    float32, bfloat16 = map(min, zip(*taken, strict=True))
    return ("bfloat16" if float32 / bfloat16 >= MARGIN else "float32",
            f"measured: {bfloat16:.1f} ms in bfloat16, {float32:.1f} ms in float32; outputs {apart:.1e} apart")


def _milliseconds(work: Callable[[], object]) -> float:
    """Return how long `work` takes, by processor time, which other work on the machine disturbs least."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    began = clock()
    work()
    return (clock() - began) * 1e3


def _pack(twin: PredictionForm, images: Tensor) -> int:
    """Make one pass of each folded brick, in place; return how many."""
    bricks = {name: part for name, part in twin.named_modules() if isinstance(part, ConvNormAct)
              and isinstance(part.norm, nn.Identity) and packs(part.conv, getattr(part, "act", None))}
    sizes: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(conv: nn.Module, given: tuple[Tensor, ...]) -> None:
            sizes[name] = tuple(given[0].shape)
        return hook

    hooks = [brick.conv.register_forward_pre_hook(note(name)) for name, brick in bricks.items()]
    twin(images)
    for hook in hooks:
        hook.remove()
    for name, size in sizes.items():
        brick = bricks[name]
        packed = PackedConv(brick.conv, getattr(brick, "act", None), size)
        twin.set_submodule(name, nn.Sequential(brick.pad, packed) if hasattr(brick, "pad") else packed)
    return len(sizes)


def _layout(rank: int, *, last: bool) -> torch.memory_format:
    return {4: torch.channels_last, 5: torch.channels_last_3d}.get(rank, torch.contiguous_format) if last \
        else torch.contiguous_format
