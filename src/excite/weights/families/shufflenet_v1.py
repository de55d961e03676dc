"""ShuffleNetV1, as its authors' released networks (Megvii) name it."""

import re
from collections.abc import Mapping

from torch import Tensor

from excite.layers.form import written
from excite.weights.families.family import BRICK, Family

# Units a stage: table 1 of arXiv:1707.01083.
SHUFFLENET_V1_UNITS = (4, 8, 4)
# In a unit of the released form the shuffle is the branch's third layer.
_MAIN = {"1.0": "0.conv", "1.1": "0.norm", "1.3": "1.conv", "1.4": "1.norm", "2.0": "3.conv", "2.1": "3.norm"}


def megvii(key: str) -> str:
    """megvii: `features.I` is all units in one row, a unit's layers are in `branch_main_1` and `branch_main_2`."""
    if match := re.fullmatch(r"classifier\.0\.(weight|bias)", key):
        return f"classifier.{match[1]}"
    if match := re.fullmatch(r"first_conv\.([01])\.(\w+)", key):
        return f"backbone.stem.{BRICK[match[1]]}.{match[2]}"
    match = re.fullmatch(r"features\.(\d+)\.branch_main_([12]\.\d)\.(\w+)", key)
    place = _place(int(match[1])) if match else None
    if match is None or place is None or match[2] not in _MAIN:
        return key
    return f"backbone.stages.{place[0]}.{place[1]}.branch.{_MAIN[match[2]]}.{match[3]}"


def complete(found: dict[str, Tensor], state: Mapping[str, Tensor], name: str, layout: str) -> None:
    """Say which shuffle these weights are for; their classifier has no bias, which is one of zeros."""
    if any(key.startswith("backbone.") for key in found):
        found["backbone.form"] = written({"shuffle": "released"})
    weight = found.get("classifier.weight")
    if weight is not None:
        found.setdefault("classifier.bias", weight.new_zeros(weight.shape[0]))


def _place(index: int) -> tuple[int, int] | None:
    """Return (stage, unit) of `features.index`."""
    for stage, units in enumerate(SHUFFLENET_V1_UNITS):
        if index < units:
            return stage, index
        index -= units
    return None


FAMILY = Family(names="shufflenet_v1", layouts={"megvii": megvii}, complete=complete)
