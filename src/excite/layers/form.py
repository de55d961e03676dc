"""What weights do not show in their shapes, saved beside them in words and compared when they are loaded."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from excite.errors import ModelError


def written(facts: Mapping[str, object]) -> Tensor:
    """Return facts as the bytes of "name=value; ...", in the order of their names."""
    text = "; ".join(f"{name}={facts[name]}" for name in sorted(facts))
    return torch.tensor(list(text.encode()), dtype=torch.uint8)


def told(form: Tensor) -> dict[str, str]:
    """Return the facts that a saved form tells; what cannot be read tells nothing."""
    text = bytes(form.flatten().to(torch.uint8).tolist()).decode(errors="replace")
    return dict(part.split("=", 1) for part in text.split("; ") if "=" in part)


def differing(own: Mapping[str, str], saved: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return {name: (own, saved)} of the facts that both tell, and tell differently."""
    return {name: (own[name], saved[name]) for name in own if name in saved and own[name] != saved[name]}


class Formed(nn.Module):
    """A module that saves its form and refuses weights of another: same shapes, other outputs.

    A form that tells fewer facts than the module's own, as that of published weights, is compared in those.

    Raises:
        ModelError: on loading weights of another form.
    """

    facts: dict[str, str]
    form: Tensor

    def set_form(self, **facts: object) -> None:
        """Say what the shapes of this module's weights do not."""
        self.facts = {name: str(value) for name, value in facts.items()}
        self.register_buffer("form", written(self.facts))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        key = f"{prefix}form"
        if key in state_dict and "form" in self._buffers:
            refuse_other_form(self.facts, told(state_dict[key]), prefix.rstrip(".") or type(self).__name__)
            state_dict[key] = self.form
        super()._load_from_state_dict(state_dict, prefix, *rest)


def refuse_other_form(own: Mapping[str, str], saved: Mapping[str, str], where: str) -> None:
    """Raise where two forms differ in a fact that both tell.

    Raises:
        ModelError: with both values, and what to build the network with.
    """
    wrong = differing(own, saved)
    if wrong:
        theirs = ", ".join(f"{name}={saved!r}" for name, (_, saved) in wrong.items())
        mine = ", ".join(f"{name}={own!r}" for name, (own, _) in wrong.items())
        raise ModelError(f"the weights are those of a network with {theirs}, this one has {mine}", where=where,
                         why="the shapes are the same, the outputs are not", fix=f"build the network with {theirs}")
