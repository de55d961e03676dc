"""A frozen trunk: no gradients, and BatchNorm that stays put; not a learning rate of 0, which moves statistics."""

from torch import nn

from excite.errors import UsageError
from excite.models.groups import split_parameters


class Trunk:
    """The part of a network that can be frozen: everything but its head and its gates.

    Parameters that do not require gradients when this object is made stay so.

    Args:
        model: The network.
    """

    def __init__(self, model: nn.Module) -> None:
        groups = split_parameters(model)
        names = set(groups["trunk"])
        self.model = model
        self.parameters = [value for name, value in model.named_parameters() if name in names and value.requires_grad]
        self.others = any(value.requires_grad for name, value in model.named_parameters() if name not in names)
        self.modules = _trunk_modules(model, names, set(groups["head"]))

    def train(self, *, frozen: bool) -> None:
        """Put the network into training mode, its trunk frozen or not.

        A frozen trunk is in evaluation mode as a whole: running statistics stay, dropout inside it is off. Gates
        inside the trunk and the head train.

        Raises:
            UsageError: there is no trunk to freeze, or nothing else to train.
        """
        if frozen and not (self.parameters and self.others):
            lack = "nothing besides its trunk to train" if self.parameters else "no trunk to freeze"
            raise UsageError(f"loop.freeze_epochs: this network has {lack}", fix="set loop.freeze_epochs=0")
        self.model.train()
        for parameter in self.parameters:
            parameter.requires_grad_(not frozen)
        for module in self.modules if frozen else ():
            module.training = False


def _trunk_modules(module: nn.Module, trunk: set[str], head: set[str], *, prefix: str = "",
                   inside: bool = False) -> list[nn.Module]:
    """Return the modules with parameters of the trunk and none of the head; one without any goes with its parent."""
    names = {prefix + name for name, _ in module.named_parameters()}
    inside = inside if not names else bool(names & trunk) and not names & head
    found = [module] if inside else []
    for name, child in module.named_children():
        found += _trunk_modules(child, trunk, head, prefix=f"{prefix}{name}.", inside=inside)
    return found
