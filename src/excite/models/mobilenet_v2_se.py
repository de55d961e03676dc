"""MobileNetV2 with Squeeze-and-Excitation, as a published 3-D network for volumes has it.

MobileNetV2 itself has no SE; where it sits is this network's own choice, so it is named: on each block's output.
Source: Sandler et al., arXiv:1801.04381, table 2; Kopuklu et al., arXiv:1904.02422, for its form in 3-D; Hu et al.,
arXiv:1709.01507.
"""

from typing import Literal

from excite.attention.plan import AttentionPlan
from excite.errors import UsageError
from excite.layers.options import check_choice
from excite.layers.padding import Padding
from excite.layers.width import Rounding
from excite.models.mobilenet_v2 import MobileNetV2, kaiming_gates
from excite.models.registry import BACKBONES
from excite.models.senet import Reduction, se_plan

SEOn = Literal["output", "expansion"]


@BACKBONES.register("mobilenet_v2_se")
def mobilenet_v2_se(in_channels: int = 3, *, dims: int = 2, width: float = 1.0, se_reduction: Reduction = None,
                    se_in_blocks: bool = True, se_on: SEOn = "output", rounding: Rounding = "truncate",
                    padding: Padding = "symmetric", depth_stride: int = 1,
                    attention: AttentionPlan | None = None) -> MobileNetV2:
    """Return MobileNetV2 with SE in every block, or once at its tail.

    Args:
        width: Multiplies the channels of every layer but the last one, which never has less than 1280.
        se_reduction: Of the SE, one number or one a stage; 8 unless told otherwise.
        se_in_blocks: SE in every block; else a single one after the last 1x1, which costs seven times as much.
        se_on: Where in a block: "output", after the projection's norm and before the sum; "expansion", after the
            depth-wise convolution, which costs nineteen times as much.
        rounding: "truncate", as the published network has it, or "divisible", see MobileNetV2.
        attention: Another attention than this SE.

    Raises:
        UsageError: `attention` is given with the SE's own arguments, `se_on` is neither place or is given for the
            tail, or an argument of MobileNetV2 is wrong.
    """
    check_choice("se_on", se_on, SEOn)
    if not se_in_blocks and se_on != "output":
        raise UsageError("se_on='expansion' and se_in_blocks=False cannot be given together",
                         fix="the tail has no expansion: leave se_on out")
    if attention is not None and (not se_in_blocks or se_on != "output"):
        raise UsageError("se_in_blocks or se_on and attention cannot be given together",
                         fix="say the place in the plan: AttentionPlan(position=...)")
    plan = se_plan(se_reduction, attention, default=8)
    if attention is None:
        place: Literal["standard", "inner", "tail"] = "inner" if se_on == "expansion" else "standard"
        plan = AttentionPlan(kind="se", position=place if se_in_blocks else "tail", options=plan.options)
    network = MobileNetV2(in_channels, dims=dims, width=width, rounding=rounding, padding=padding,
                          depth_stride=depth_stride, attention=plan)
    if attention is None:
        kaiming_gates(network)
    return network
