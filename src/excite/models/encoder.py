"""A network with an encoder that can stay as it is: no gradients, and running statistics that stay put."""

from typing import Any, Literal, Self

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from excite.layers.options import check_choice
from excite.models.groups import attentions

Statistics = Literal["train", "frozen"]


class FreezableEncoder(nn.Module):
    """A network whose `encoder` is frozen and freed on purpose; gates inside it always train.

    Attributes:
        heads: Its other children, which are never frozen.
        encoder_frozen: Whether the encoder gets no gradients and stays in eval mode through train().
        statistics_frozen: Whether the BatchNorm of a freed encoder stays in eval mode through train().
    """

    heads: tuple[str, ...] = ("initial", "bridge", "ups", "skips", "blocks", "output")
    encoder: nn.Module
    encoder_frozen = False
    statistics_frozen = False

    def freeze_encoder(self) -> None:
        """Freeze the encoder: requires_grad False, and eval mode whatever train() says.

        A learning rate of 0 would let its running statistics move.
        """
        self._free(False, statistics=True)

    def unfreeze_encoder(self, *, batchnorm: Statistics) -> None:
        """Free the encoder again. An optimiser made before knows nothing of it: make a new one.

        Args:
            batchnorm: "train": its running statistics move again, for batches that are large enough to measure them;
                "frozen": they stay those that the weights came with, and only the affine values learn.

        Raises:
            UsageError: `batchnorm` is neither.
        """
        check_choice("batchnorm", batchnorm, Statistics, fix="'frozen' suits small batches")
        self._free(True, statistics=batchnorm == "frozen")

    def train(self, mode: bool = True) -> Self:
        """Go into training mode, but for what is frozen."""
        super().train(mode)
        if self.encoder_frozen or self.statistics_frozen:
            for module in _without_gates(self.encoder):
                if self.encoder_frozen or isinstance(module, _BatchNorm):
                    module.training = False
        return self

    def parameter_groups(self, *, lr: float, encoder_lr: float) -> list[dict[str, Any]]:
        """Return the groups of an optimiser: what trains outside the encoder, and in it where it is free."""
        inside = {id(one) for one in self.encoder.parameters()}
        learning = [one for one in self.parameters() if one.requires_grad]
        groups = [("network", [one for one in learning if id(one) not in inside], lr),
                  ("encoder", [one for one in learning if id(one) in inside], encoder_lr)]
        return [{"name": name, "params": values, "lr": rate} for name, values, rate in groups if values]

    def _free(self, free: bool, *, statistics: bool) -> None:
        self.encoder_frozen, self.statistics_frozen = not free, statistics
        for module in _without_gates(self.encoder):
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(free)
        self.train(self.training)


def _without_gates(encoder: nn.Module) -> list[nn.Module]:
    gates = {id(part) for _, gate in attentions(encoder) for part in gate.modules()}
    return [module for module in encoder.modules() if id(module) not in gates]
