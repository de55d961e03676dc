"""Weights of a network with inserted attention in a file that names the plan, so that they can be put back."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from excite.attention.insertion.insert import inserted_plan
from excite.attention.insertion.report import InsertReport
from excite.attention.plan import AttentionPlan
from excite.errors import ModelError, UsageError
from excite.models.insertion import insert_attention
from excite.weights.intake import read_state, write_state
from excite.weights.parts import few
from excite.weights.store import digest, metadata, stored_checksum

WORD = "excite_inserted"  # of a file's header: the plan


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
    plan, path = inserted_plan(model), Path(path)
    if plan is None:
        raise UsageError(f"{type(model).__name__} has no inserted attention", fix="insert_attention(model, plan) first")
    if path.suffix != ".safetensors":
        raise UsageError(f"the weights are written as .safetensors, got {path.name}", fix="give a name that ends so")
    state = {key: value.detach().clone().contiguous() for key, value in model.state_dict().items()}
    write_state(path, state, {**(words or {}), WORD: json.dumps(plan.record())})


def load_inserted(model: nn.Module, path: str | Path) -> InsertReport:
    """Insert the attention that a file of `save_inserted` names into `model`, in place, and load its weights, all.

    Args:
        model: The network as it was built before the insertion, with as many classes.
        path: Of `save_inserted` or of `excite models insert`.

    Raises:
        UsageError: the plan does not fit the network. ModelError: the file is damaged, holds no plan, or its weights do
            not fit; the network may have its gates then, and its own weights.
    """
    path = Path(path)
    state = read_state(path)
    if stored_checksum(path) not in (None, digest(path)):
        raise ModelError("the weights file is damaged: its sha256 is not the stored one", where=path)
    written = metadata(path).get(WORD)
    if written is None:
        raise ModelError("the file names no inserted attention", where=path,
                         fix="insert_attention(model, plan) and model.load_state_dict put a plain state dict back")
    report = insert_attention(model, _plan(written, path))
    fit(model, state, path)
    return report


def fit(model: nn.Module, state: Mapping[str, Tensor], path: Path, *, fresh: Sequence[str] | None = None) -> None:
    """Load `state` into `model`, all of it.

    Args:
        model: Any network.
        state: Its weights.
        path: Where they are from, for messages.
        fresh: Beginnings of keys that stay as they are, like "fc."; None where there is no such choice.

    Raises:
        ModelError: a key is missing, unexpected or of another shape; the network is unchanged.
    """
    spared = tuple(fresh or ())
    own = {key: value for key, value in model.state_dict().items() if not key.startswith(spared)}
    given = {key: value for key, value in state.items() if not key.startswith(spared)}
    faults = {"missing": own.keys() - given.keys(), "unexpected": given.keys() - own.keys(),
              "of another shape": {key for key in own.keys() & given.keys() if own[key].shape != given[key].shape}}
    words = [f"{len(keys)} {what}: {few(sorted(keys))}" for what, keys in faults.items() if keys]
    if words:
        raise ModelError(f"the weights do not fit this {type(model).__name__}", where=path, why="; ".join(words),
                         fix="build the network as it was when they were saved, with as many classes"
                             + (", or name what stays fresh: --fresh fc." if fresh is not None else ""))
    model.load_state_dict(given, strict=False)


def _plan(written: str, path: Path) -> AttentionPlan:
    """Return the plan in a file's header."""
    try:
        record = json.loads(written)
        tuples = {name: None if record[name] is None else tuple(record[name]) for name in ("stages", "blocks")}
        return AttentionPlan(**{**record, **tuples})
    except (ValueError, KeyError, TypeError) as fault:
        raise ModelError("the plan in the file's header cannot be read", where=path, why=str(fault)[:160]) from None
