"""A network made fast for prediction in torch: its bricks become one pass each, bfloat16 where it holds."""

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeGuard, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from excite.errors import UsageError
from excite.layers.conv import ConvNormAct
from excite.layers.depthwise import Depthwise
from excite.layers.options import check_choice
from excite.layers.packed import PackedConv, packs
from excite.layers.volume import VolumeConv, hooked

Precision = Literal["auto", "float32", "bfloat16"]
ROUNDS = 3         # measured passes of each precision, after one that warms up
MARGIN = 1.1       # bfloat16 must be faster by this much
TOLERANCE = 0.01   # of the largest output, by which bfloat16 may be off
_CONVS = (nn.Conv2d, nn.Conv3d, Depthwise, VolumeConv)  # these alone, whatever is made from them


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

    The clamps of oneDNN make 0 of NaN, so NaN and infinities are looked for where they can enter: a sample with one has
    NaN for outputs, and of a network whose weights have one no brick is packed. What overflows between, from finite
    images and weights, may come out finite.

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
            return found + _broken(images, found) if self.form.packed else found

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
    """Return a copy of a network that predicts faster; the network itself stays as it is.

    Norms are folded into the convolutions before them, and channels come last in memory where the network is faster so.
    Of networks that are not excite's, and of bricks with hooks, parametrizations or layers of other kinds, only memory
    layout and precision are chosen. The result can be neither copied nor pickled: make it where it works. On a CPU
    convolution and activation become one pass, in the order of memory that is best for images like `images`; other
    sizes are computed as well. With "auto", bfloat16 is taken where it is measured to be faster on them and its outputs
    stay within `tolerance` of the largest.

    Args:
        model: Of `create_model`, with weights in float32; `form` of the result says what was done.
        images: Some that are typical, as the network takes them.
        precision: "auto", "float32" or "bfloat16".
        tolerance: Largest difference of an output that bfloat16 may make, as a share of the largest output.

    Shape:
        images (N, C, *S)

    Raises:
        UsageError: `precision` is none of the three, `tolerance` is not above 0, the images are no float32 tensor, the
            weights have another type, the outputs are not finite or not one tensor, or bfloat16 is asked for and some
            layer has none.
    """
    check_choice("precision", precision, Precision)
    _check(model, images)
    if not tolerance > 0:
        raise UsageError(f"tolerance must be above 0, got {tolerance!r}")
    if precision == "float32":
        return _formed(model, images, precision, reason="as asked for")
    if precision == "bfloat16":
        return _halved(model, images, reason="as asked for")
    plain = _formed(model, images, "float32", reason="this processor has no bfloat16")
    if not has_bfloat16(images.device.type):
        return plain
    try:
        half = _halved(model, images, reason="")
    except UsageError as error:
        plain.form = replace(plain.form, reason=str(error.why))
        return plain
    name, reason = _measured(plain, half, images, tolerance)
    chosen = half if name == "bfloat16" else plain
    chosen.form = replace(chosen.form, reason=reason)
    return chosen


def _check(model: nn.Module, images: Tensor) -> None:
    """Raise a UsageError where the network or the images are of another kind than a form can be made for."""
    if not isinstance(images, Tensor) or images.ndim not in (4, 5) or images.dtype != torch.float32:
        got = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise UsageError(f"images must be a float32 tensor (N, C, *S), got {got}",
                         fix="as the preprocessing makes them")
    if wrong := {str(one.dtype) + " on meta" * one.is_meta for one in model.parameters()} - {"torch.float32"}:
        raise UsageError(f"the network's weights must be float32, got {', '.join(sorted(wrong))}", fix="model.float()")
    with torch.inference_mode():
        found = _copied(model)(images)
    if not isinstance(found, Tensor):
        raise UsageError(f"the network must return one tensor, got {type(found).__name__}",
                         fix="wrap it in a module that returns one of them")
    if not bool(found.isfinite().all()):
        raise UsageError("the network's outputs for these images are not finite", why="weights or images are broken")


def _copied(model: nn.Module) -> nn.Module:
    """Return a copy in eval mode; weights that hooks compute, as pruning's do, are copied as values."""
    computed = {id(value): value.detach().clone() for part in model.modules() for value in vars(part).values()
                if isinstance(value, Tensor) and not value.is_leaf}
    return deepcopy(model, computed).eval()


def _halved(model: nn.Module, images: Tensor, *, reason: str) -> PredictionForm:
    """Return the network's twin in bfloat16; a UsageError where some layer cannot compute in it."""
    try:
        twin = _formed(model, images, "bfloat16", reason=reason)
        twin(images)
    except RuntimeError as error:
        raise UsageError("the network cannot compute in bfloat16", fix="precision='float32'",
                         why=f"a layer has no bfloat16 here: {str(error).splitlines()[0]}") from error
    return twin


def _broken(images: Tensor, found: Tensor) -> Tensor:
    """Return what to add to the outputs: NaN for samples in which a value is not finite, 0 for the others."""
    sums = images.sum(tuple(range(1, images.ndim)), dtype=torch.float32)
    gap = sums - sums
    return gap.view(-1, *[1] * (found.ndim - 1)) if found.shape[:1] == images.shape[:1] else gap.sum()


def _formed(model: nn.Module, images: Tensor, precision: str, *, reason: str) -> PredictionForm:
    """Return the network's twin in one precision."""
    last = bool(getattr(model, "channels_last", True))
    network = _copied(model).requires_grad_(False)
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
    """Fold the BatchNorm of every plain ConvNormAct into its convolution, in place; return how many there were."""
    folded = 0
    for brick in network.modules():
        if not _plain(brick) or type(brick.norm) not in (nn.BatchNorm2d, nn.BatchNorm3d):
            continue
        measured = cast(nn.BatchNorm2d, brick.norm)
        if measured.running_mean is not None:
            brick.conv = fuse_conv_bn_eval(brick.conv, measured)  # type: ignore[type-var]
            brick.norm = nn.Identity()
            folded += 1
    return folded


def _plain(brick: nn.Module) -> TypeGuard[ConvNormAct]:
    """Return whether a brick's layers are known, and nothing waits for their calls."""
    return (isinstance(brick, ConvNormAct) and type(brick).forward is ConvNormAct.forward
            and type(brick.conv) in _CONVS and not hooked(brick))


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
    bricks = {name: part for name, part in twin.named_modules() if _plain(part)
              and type(part.norm) is nn.Identity and packs(part.conv, getattr(part, "act", None))}
    if not all(bool(value.isfinite().all()) for value in twin.state_dict().values()):
        return 0
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
