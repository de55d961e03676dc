"""A frozen trunk: no gradients, and BatchNorm that stays put; not a learning rate of 0, which moves statistics."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from excite.errors import UsageError
from excite.models.groups import split_parameters, trunk_modules


class Trunk:
    """The part of any network that can be frozen: everything but its head and its gates.

    Parameters that do not require gradients when this object is made stay so. The loop says before each epoch which
    it is, so it needs nothing of the network itself.

    Args:
        model: The network.
    """

    def __init__(self, model: nn.Module) -> None:
        parts = split_parameters(model)
        names = set(parts["trunk"])
        self.model, self.headless = model, not parts["head"]
        self.parameters = [value for name, value in model.named_parameters() if name in names and value.requires_grad]
        self.others = any(value.requires_grad for name, value in model.named_parameters() if name not in names)
        self.modules = trunk_modules(model)

    def train(self, *, frozen: bool, statistics: bool = True) -> None:
        """Put the network into training mode, its trunk frozen or not.

        A frozen trunk is in evaluation mode as a whole: running statistics stay, dropout inside it is off. Gates
        inside the trunk and the head train.

        Args:
            frozen: The trunk stays as it is.
            statistics: BatchNorm of a free trunk measures batches; otherwise it keeps what it has, and only its
                affine values learn: for batches too small to measure.

        Raises:
            UsageError: there is no trunk to freeze, no head is known, or there is nothing to train.
        """
        if frozen and not (self.parameters and self.others):
            lack = "nothing besides its trunk to train" if self.parameters else "no trunk to freeze"
            raise UsageError(f"loop.freeze_epochs: this network has {lack}", fix="set loop.freeze_epochs=0")
        if frozen and self.headless:
            raise UsageError("loop.freeze_epochs: no head of this network is known, it would be frozen too",
                             fix='model.heads = ("NAME",) names the children that train from the first epoch on')
        self.model.train()
        for parameter in self.parameters:
            parameter.requires_grad_(not frozen)
        for module in self.modules:
            if frozen or (not statistics and isinstance(module, _BatchNorm)):
                module.training = False
