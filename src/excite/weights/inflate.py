"""From the weights of a network for images to those of the same network for volumes."""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn

from excite.errors import ModelError, UsageError
from excite.layers.form import differing, told
from excite.layers.options import check_choice
from excite.weights.parts import FORMS, few, fresh_gates, weighty

Mode = Literal["centre", "mean"]


def inflate(state: Mapping[str, Tensor], like: nn.Module, *, mode: Mode = "centre") -> dict[str, Tensor]:
    """Return the state dict of a network for images as one for the same network for volumes.

    A volume that repeats one image along its depth is answered as that image: exactly, of any depth, with "centre";
    with "mean" by each convolution away from the volume's first and last slices, which see zeros beyond them. Of the
    attentions, gct and simam count the places of their map and so answer a volume otherwise (by 3e-7 and 1.5 % of a
    ResNet-18's logits at depth 16), and coordinate has weights for the depth that no image has: it is refused.

    Args:
        state: Of the 2-D network, in excite's names; other layouts go through load_weights.
        like: The network with dims=3; it is not changed.
        mode: "centre" puts a kernel into its middle slice and zeros elsewhere; "mean" repeats it along the depth,
            divided by the depth.

    Returns:
        What `like.load_state_dict` takes whole. Attention of which `state` knows nothing keeps `like`'s values.

    Shape:
        A convolution's weight: (D, C, k, k) -> (D, C, depth, k, k), depth as in `like`.

    Raises:
        UsageError: `like` has no weights of volumes, or `mode` is neither.
        ModelError: not all of `like` would be filled, or something of `state` would be left over.

    Source:
        "mean": Carreira, Zisserman, CVPR 2017, arXiv:1705.07750, section 2.4.
    """
    check_choice("mode", mode, Mode, fix="'centre' is exact on a repeated slice")
    own = like.state_dict()
    if not any(value.ndim == 5 for value in own.values()):
        raise UsageError(f"like must be a network for volumes, got {type(like).__name__} without a 3-D convolution",
                         fix="create_model(name, dims=3)")
    found, count = inflated(state, like, mode=mode)
    fresh = fresh_gates(like, found)
    found = {key: value for key, value in own.items() if key.startswith(fresh) or not weighty(key)} | found
    _refuse_part(own, found)
    if not count:
        raise UsageError("state holds no kernel of a network for images", fix="load it as it is: it is for volumes")
    return {key: own[key] if key.endswith(FORMS) else found[key] for key in own}


def inflated(state: Mapping[str, Tensor], like: nn.Module, *, mode: Mode) -> tuple[dict[str, Tensor], int]:
    """Return `state`, its kernels of images made kernels of volumes where `like` has such, and how many they were."""
    check_choice("inflate", mode, Mode)
    own, found, count = like.state_dict(), dict(state), 0
    for key, value in state.items():
        shape = own[key].shape if key in own else value.shape
        if len(shape) == 5 and value.ndim == 4 and shape[3:] == value.shape[2:]:
            found[key] = _deepened(value, shape[2], mode, like.get_submodule(key.rpartition(".")[0]))
            count += 1
    return found, count


def _deepened(weight: Tensor, depth: int, mode: Mode, layer: nn.Module) -> Tensor:
    """Return a kernel with a depth."""
    if isinstance(layer, nn.ConvTranspose3d) and layer.stride[0] == depth:  # each slice of its output sees one tap
        return weight.unsqueeze(2).repeat_interleave(depth, dim=2)
    if mode == "mean":
        return weight.unsqueeze(2).repeat_interleave(depth, dim=2) / depth
    if depth % 2 == 0:
        raise ModelError(f"a kernel of depth {depth} has no middle slice", fix="inflate with mode='mean'")
    found = weight.new_zeros((*weight.shape[:2], depth, *weight.shape[2:]))
    found[:, :, depth // 2] = weight
    return found


def _refuse_part(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Raise where the two do not agree key by key, in shapes and in what forms tell."""
    forms = [key for key in own if key.endswith(FORMS)]
    other = [f"{key}: {name}={there!r} in the source, {here!r} in the network" for key in forms if key in found
             for name, (here, there) in differing(told(own[key]), told(found[key])).items()]
    other += [f"{key}: {tuple(found[key].shape)} inflated, {tuple(own[key].shape)} in the network" for key in own
              if key in found and key not in forms and found[key].shape != own[key].shape]
    missing = [key for key in own if key not in found]
    left = [key for key in found if key not in own]
    faults = [f"{len(keys)} {word}: {few(keys)}" for word, keys in
              (("missing", missing), ("of another shape or form", other), ("unknown", left)) if keys]
    if faults:
        filled = sum(value.numel() for key, value in own.items() if key in found and found[key].shape == value.shape)
        whole = sum(value.numel() for value in own.values())
        raise ModelError(f"the weights do not fit the network for volumes: {'; '.join(faults)}",
                         why=f"{100 * filled / whole:.3g} % of it would be filled",
                         fix="build both with the same name, options and channels, one with dims=2, one with dims=3")
