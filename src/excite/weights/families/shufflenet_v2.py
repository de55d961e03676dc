"""ShuffleNetV2, as torchvision names it."""

import re

from excite.weights.families.family import BRICK, Family

# The convolutions of a unit's two branches, in torchvision's rows: place of convolution and norm -> brick.
_BRANCH_1 = {"0": "0.conv", "1": "0.norm", "2": "1.conv", "3": "1.norm"}
_BRANCH_2 = {"0": "0.conv", "1": "0.norm", "3": "1.conv", "4": "1.norm", "5": "2.conv", "6": "2.norm"}


def torchvision(key: str) -> str:
    """torchvision: `stageS.U.branch1` is the shortcut of a unit that strides, `branch2` its branch."""
    if match := re.fullmatch(r"fc\.(weight|bias)", key):
        return f"classifier.{match[1]}"
    if match := re.fullmatch(r"conv([15])\.([01])\.(\w+)", key):
        return f"backbone.{'stem' if match[1] == '1' else 'head'}.{BRICK[match[2]]}.{match[3]}"
    match = re.fullmatch(r"stage([234])\.(\d+)\.branch([12])\.(\d)\.(\w+)", key)
    layer = (_BRANCH_1 if match[3] == "1" else _BRANCH_2).get(match[4]) if match else None
    if match is None or layer is None:
        return key
    way = "shortcut" if match[3] == "1" else "branch"
    return f"backbone.stages.{int(match[1]) - 2}.{match[2]}.{way}.{layer}.{match[5]}"


FAMILY = Family(names="shufflenet_v2", layouts={"torchvision": torchvision})
