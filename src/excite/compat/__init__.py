"""The source documents' names as thin aliases: their arguments and their order, this package's code.

The names are resolved on first use; each document has a file of its own here.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from excite.compat.fibrosis import get_fine_tuning_parameters, get_model
    from excite.compat.hyperspectral import HybridSN
    from excite.compat.light import (
        ConvBNReLU,
        InvertedResidual,
        MobileNetV2,
        channel_shuffle,
        hsigmoid,
        hswish,
        mobilenet_v3_large,
        mobilenet_v3_small,
    )
    from excite.compat.se import SEBottleneck, SEModule, SEResNet50, SEResNet50_Simple
    from excite.compat.segmentation import (
        ASPP,
        ASPPResidualSEUNet,
        DoubleResidualBlockSE,
        MobileNetV2ASPPResidualSEUNet,
        ResidualBlockSE,
        SEBlock,
    )
    from excite.compat.ultrasound import UltrasoundDataset, calculate_metrics, predict_image

_WHERE = {
    "HybridSN": "hyperspectral",
    "ConvBNReLU": "light", "InvertedResidual": "light", "MobileNetV2": "light", "channel_shuffle": "light",
    "hsigmoid": "light", "hswish": "light", "mobilenet_v3_large": "light", "mobilenet_v3_small": "light",
    "SEBottleneck": "se", "SEModule": "se", "SEResNet50": "se", "SEResNet50_Simple": "se",
    "ASPP": "segmentation", "ASPPResidualSEUNet": "segmentation", "DoubleResidualBlockSE": "segmentation",
    "MobileNetV2ASPPResidualSEUNet": "segmentation", "ResidualBlockSE": "segmentation", "SEBlock": "segmentation",
    "UltrasoundDataset": "ultrasound", "calculate_metrics": "ultrasound", "predict_image": "ultrasound",
    "get_fine_tuning_parameters": "fibrosis", "get_model": "fibrosis",
}
__all__ = ["ASPP", "ASPPResidualSEUNet", "ConvBNReLU", "DoubleResidualBlockSE", "HybridSN", "InvertedResidual",
           "MobileNetV2", "MobileNetV2ASPPResidualSEUNet", "ResidualBlockSE", "SEBlock", "SEBottleneck", "SEModule",
           "SEResNet50", "SEResNet50_Simple", "UltrasoundDataset", "calculate_metrics", "channel_shuffle",
           "get_fine_tuning_parameters", "get_model", "hsigmoid", "hswish", "mobilenet_v3_large", "mobilenet_v3_small",
           "predict_image"]


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'excite.compat' has no attribute {name!r}")
    value = getattr(import_module(f"excite.compat.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
