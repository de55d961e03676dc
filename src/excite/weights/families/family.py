"""What the key names of one family of networks mean, in every published layout."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from excite.layers.form import written

Rename = Callable[[str], str]
Complete = Callable[[dict[str, Tensor], Mapping[str, Tensor], str, str], None]
BRICK = {"conv": "conv", "bn": "norm", "0": "conv", "1": "norm"}  # names inside a ConvNormAct, from the usual ones
FC = {"1": "squeeze", "2": "excite"}  # SE's two layers


@dataclass(frozen=True, kw_only=True)
class Family:
    """The rules of one family.

    Args:
        names: Pattern of what create_model calls its networks.
        layouts: From a layout to the function that turns its keys into excite's; a key that it does not know it
            returns unchanged.
        complete: Called with the renamed tensors (to change in place), the published ones, the network's name and the
            layout: what the layout implies and its keys do not say.
    """

    names: str
    layouts: Mapping[str, Rename]
    complete: Complete | None = None


def say_gates(found: dict[str, Tensor], *, position: str = "standard", **facts: object) -> None:
    """Add the form and the place of every SE gate among the renamed tensors."""
    for name in [name for name in found if name.endswith(".attention.excite.weight")]:
        gate = name.removesuffix("excite.weight")
        found[f"{gate}form"] = written({"start": "paper", "gate": "sigmoid", "squeeze": "average"} | facts)
        found[f"{gate}position"] = written({"position": position})
