"""Which keys of a network its source has to fill: the declared part, without the gates that it knows nothing of."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from torch import Tensor, nn

from excite.errors import ModelError

HEAD = "classifier."
FORMS = ("form", ".position")  # keys that tell in words what shapes do not, see layers/form.py
COUNTER = "num_batches_tracked"  # of BatchNorm: a counter and no weight
Shapes = Mapping[str, Tensor]


def choose_part(own: Shapes, mapped: Shapes, part: str, name: str, notes: list[str]) -> Literal["features", "all"]:
    """Return which part is loaded, with a word where the classifier is left out.

    Raises:
        ModelError: `part` is "all", and the source has no classifier.
    """
    has = [key for key in mapped if key.startswith(HEAD)]
    if part == "features" or (part == "auto" and not has):
        notes.append("the classifier stays fresh" + ("" if has else ": the source has none"))
        return "features"
    if part == "auto" and any(key in own and own[key].shape != mapped[key].shape for key in has):
        there, here = (shapes[has[0]].shape[0] for shapes in (mapped, own))
        notes.append(f"the classifier stays fresh: the source has {there} classes, the network {here}")
        return "features"
    if part == "all" and not has:
        raise ModelError("the source has no classifier", where=name, fix="part='features', or another file")
    return "all"


def fresh_gates(model: nn.Module, keys: Iterable[str]) -> tuple[str, ...]:
    """Return the prefixes of the attention that a source with `keys` knows nothing of; one with some must have all."""
    keys = tuple(keys)
    prefixes = [name + "." for name, module in model.named_modules() if name.rsplit(".", 1)[-1] == "attention"
                and module.state_dict()]
    fresh = tuple(prefix for prefix in prefixes if not any(key.startswith(prefix) for key in keys))
    if len(fresh) < len(prefixes) and any(".attention." in key for key in keys):
        return ()
    return fresh


def weighty(key: str) -> bool:
    """Return whether a network is another without this key: not so for counters, and forms that a layout implies."""
    return not key.endswith(COUNTER) and (".attention." in key or not key.endswith(FORMS))


def few(keys: Sequence[str], most: int = 4) -> str:
    """Return the first of `keys`, and how many more there are."""
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")
