"""Weights of a network with inserted attention in a file that names the plan, so that they can be put back."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from excite.attention.insertion.insert import NAME, inserted_places, inserted_plan
from excite.attention.insertion.report import InsertReport
from excite.attention.plan import AttentionPlan
from excite.errors import ModelError, UsageError
from excite.models.insertion import insert_attention
from excite.weights.intake import read_state, write_state
from excite.weights.parts import few
from excite.weights.store import digest, metadata, stored_checksum

WORD = "excite_inserted"  # of a file's header: the plan, and the blocks that have it


def save_inserted(model: nn.Module, path: str | Path, *, words: Mapping[str, str] | None = None) -> None:
    """Write the weights of a network with inserted attention as safetensors, the plan beside them in its header.

    Args:
        model: With inserted attention.
        path: A .safetensors file; an old one stays until the new one is whole.
        words: More for the header.

    Raises:
        UsageError: nothing was inserted into `model`, or the file's name ends otherwise.
        EnvironmentFault: the file cannot be written.
    """
    model, path = _unwrapped(model), Path(path)
    plan = inserted_plan(model)
    if plan is None:
        raise UsageError(f"{type(model).__name__} has no inserted attention", fix="insert_attention(model, plan) first")
    if path.suffix != ".safetensors":
        raise UsageError(f"the weights are written as .safetensors, got {path.name}", fix="give a name that ends so")
    refuse_meta(model)
    other = [key for key, value in model.state_dict().items() if not isinstance(value, Tensor)]
    if other:
        raise UsageError(f"the network's state holds more than tensors: {few(other)}",
                         fix="save it by torch.save, and the plan, inserted_plan(model).text(), beside it")
    state = {key: value.detach().cpu().clone().contiguous() for key, value in model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_state(path, state, {**(words or {}), **header_of(model)})


def header_of(model: nn.Module) -> dict[str, str]:
    """Return what the header of a file of the network's weights says, so that they can be put back."""
    plan = inserted_plan(model)
    return {} if plan is None else {WORD: json.dumps({**plan.record(), "places": inserted_places(model)})}


def refuse_meta(model: nn.Module) -> None:
    """Raise where the network's weights are nowhere."""
    if any(value.is_meta for value in model.state_dict().values()):
        raise UsageError("the network is on the meta device, where weights have no values",
                         fix='model.to_empty(device="cpu") and load them first')


def load_inserted(model: nn.Module, path: str | Path, *, input_size: Sequence[int] | None = None) -> InsertReport:
    """Insert the attention that a file of `save_inserted` names into `model`, in place, and load its weights, all.

    Args:
        model: The network as it was built before the insertion, with as many classes.
        path: Of `save_inserted`, of `excite models insert`, or weights.safetensors of a bundle.
        input_size: As in insert_attention; the gates go where the file says they were.

    Raises:
        UsageError: the plan does not fit the network. ModelError: the file is damaged, holds no plan, or its weights do
            not fit; the network may have its gates then, and its own weights.
    """
    path = Path(path)
    refuse_meta(model)
    state = read_state(path)
    if stored_checksum(path) not in (None, digest(path)):
        raise ModelError("the weights file is damaged: its sha256 is not the stored one", where=path)
    written = metadata(path).get(WORD)
    if written is None:
        raise ModelError("the file names no inserted attention", where=path,
                         fix="insert_attention(model, plan) and model.load_state_dict put a plain state dict back")
    report = insert_attention(_unwrapped(model), _plan(written, path), input_size=input_size)
    fit(_unwrapped(model), state, path)
    return report


def fit(model: nn.Module, state: Mapping[str, Tensor], path: Path, *, fresh: Sequence[str] | None = None) -> None:
    """Load `state` into `model`, all of it.

    Args:
        model: Any network.
        state: Its weights.
        path: Where they are from, for messages.
        fresh: Beginnings of keys that stay as they are, like "fc."; None where there is no such choice.

    Raises:
        ModelError: a key is missing, unexpected or of another shape or kind, and the network is unchanged; or two keys
            that are one tensor in the network have different values.
    """
    spared = tuple(fresh or ())
    own = {key: value for key, value in model.state_dict().items()
           if isinstance(value, Tensor) and not key.startswith(spared)}
    given = {key: value for key, value in state.items() if not key.startswith(spared)}
    both = own.keys() & given.keys()
    faults = {"missing": own.keys() - given.keys(), "unexpected": given.keys() - own.keys(),
              "of another shape": {key for key in both if own[key].shape != given[key].shape},
              "of another kind of number": {key for key in both if not _alike(own[key], given[key])}}
    if any(f".{NAME}" in key for key in faults["unexpected"]) and inserted_plan(model) is None:
        raise ModelError("the weights have inserted attention, the network has none", where=path,
                         fix="excite.load_inserted(model, FILE) puts both back")
    words = [f"{len(keys)} {what}: {few(sorted(keys))}" for what, keys in faults.items() if keys]
    if words:
        raise ModelError(f"the weights do not fit this {type(model).__name__}", where=path, why="; ".join(words),
                         fix="build the network as it was when they were saved, with as many classes"
                             + (", or name what stays fresh: --fresh fc." if fresh is not None else ""))
    model.load_state_dict(given, strict=False)
    apart = [key for key, value in model.state_dict().items()
             if key in given and not torch.equal(value, given[key].to(value))]
    if apart:
        raise ModelError(f"{few(apart)} share memory in the network and differ in the file", where=path,
                         fix="it is of a network in which these layers are apart")


def _alike(own: Tensor, given: Tensor) -> bool:
    """Return whether numbers of one kind stand for those of the other: of floating point all do, 8-bit ones aside."""
    floats = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    return own.dtype == given.dtype or (own.dtype in floats and given.dtype in floats)


def _unwrapped(model: nn.Module) -> nn.Module:
    """Return the network inside what torch.compile, DataParallel or DistributedDataParallel put around it."""
    model = getattr(model, "_orig_mod", model)
    return model.module if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel) else model


def _plan(written: str, path: Path) -> AttentionPlan:
    """Return the plan in a file's header, its places said by the names of the blocks that had gates."""
    try:
        record = json.loads(written)
        places = record.pop("places")
        values = any(isinstance(value, tuple | list) for value in record["options"].values())
        if values or not all(places):  # one value a stage, or the network itself is the block: as it was said
            tuples = {name: None if record[name] is None else tuple(record[name]) for name in ("stages", "blocks")}
            return AttentionPlan(**{**record, **tuples})
        return AttentionPlan(**{**record, "stages": None, "blocks": tuple(places)})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        raise ModelError("the plan in the file's header cannot be read", where=path, why=str(fault)[:160]) from None
