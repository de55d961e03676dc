"""Let a CPU torch import a CUDA build of torchvision, a reference in tests and benchmarks only.

Such a wheel finds no operators beside a CPU torch and fails at import; naming the two that it asks for is enough
for its models.
"""

import torch

try:
    _operators = torch.library.Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):
        _operators.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
except RuntimeError:  # a torchvision that fits has defined them
    pass
