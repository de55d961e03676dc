"""Public networks, which nobody here wrote, and ours beside them.

What had to be told them to be the same network: MONAI's ResNets their first stride, which is 1 there;
pretrainedmodels' networks a pool of any size. Ours, in 3-D beside MONAI's SE networks: depth_stride=2.
"""

import importlib.util
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from lively import lively

SMALL, ODD = (64, 64), (97, 65)


def of_torchvision(name, **options):
    import torchvision

    return getattr(torchvision.models, name)(**options)


def of_timm(name, **options):
    import timm

    return timm.create_model(name, **options)


def of_monai(name, **options):
    from monai.networks import nets

    first = "in_channels" if name.startswith("SE") else "n_input_channels"
    return getattr(nets, name)(**{"spatial_dims": 2, first: 3, "num_classes": 1000} | options)


def of_pretrainedmodels(name, **options):
    file, build, pool = ("bninception", "BNInception", "global_pool") if name == "bninception" else (
        "senet", name, "avg_pool")
    package = importlib.util.find_spec("pretrainedmodels").submodule_search_locations[0]  # whole, it asks for more
    spec = importlib.util.spec_from_file_location(file, Path(package) / "models" / f"{file}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = getattr(module, build)(**({"pretrained": None} if file == "senet" else {}), **options)
    setattr(network, pool, nn.AdaptiveAvgPool2d(1))  # theirs is 7 x 7, for images of 224 only
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            nn.init.normal_(layer.bias)
    return network


BUILD = {"torchvision": of_torchvision, "timm": of_timm, "monai": of_monai, "pretrainedmodels": of_pretrainedmodels}


class Pair(NamedTuple):
    """A public network, and ours."""

    source: str
    theirs: str
    name: str
    layout: str
    options: dict = {}
    their_options: dict = {}
    sizes: tuple = (SMALL, ODD)
    images: int = 4

    @property
    def dims(self):
        return self.options.get("dims", 2)

    @property
    def label(self):
        """What the pair is called in a test's name and in a table."""
        return f"{self.source} {self.theirs}{' (3-D)' if self.dims == 3 else ''}"

    def reference(self, images):
        torch.manual_seed(0)
        return lively(BUILD[self.source](self.theirs, **self.their_options), images)


CONV2 = {"stride_in": "conv2"}
LARGE = {"sizes": (SMALL,), "images": 2}
VOLUMES = {"dims": 3, "num_classes": 10}
PAIRS = [
    Pair("torchvision", "mobilenet_v2", "mobilenet_v2", "torchvision"),
    Pair("timm", "mobilenetv2_100", "mobilenet_v2", "timm"),
    Pair("timm", "mobilenetv1_100", "mobilenet_v1", "timm", {"activation": "relu6"}),
    Pair("torchvision", "mobilenet_v3_large", "mobilenet_v3_large", "torchvision"),
    Pair("torchvision", "mobilenet_v3_small", "mobilenet_v3_small", "torchvision"),
    Pair("torchvision", "shufflenet_v2_x0_5", "shufflenet_v2", "torchvision", {"width": 0.5}),
    Pair("torchvision", "shufflenet_v2_x1_0", "shufflenet_v2", "torchvision"),
    Pair("torchvision", "shufflenet_v2_x1_5", "shufflenet_v2", "torchvision", {"width": 1.5}),
    Pair("torchvision", "shufflenet_v2_x2_0", "shufflenet_v2", "torchvision", {"width": 2.0}),
    Pair("pretrainedmodels", "bninception", "bn_inception", "cadene"),
    Pair("torchvision", "resnet18", "resnet18", "torchvision"),
    Pair("torchvision", "resnet34", "resnet34", "torchvision"),
    Pair("torchvision", "resnet50", "resnet50", "torchvision"),
    Pair("torchvision", "resnet101", "resnet101", "torchvision", **LARGE),
    Pair("torchvision", "resnet152", "resnet152", "torchvision", **LARGE),
    Pair("torchvision", "resnext50_32x4d", "resnext50_32x4d", "torchvision"),
    Pair("torchvision", "resnext101_32x8d", "resnext101_32x8d", "torchvision", **LARGE),
    Pair("timm", "resnet18", "resnet18", "torchvision"),
    Pair("timm", "resnet34", "resnet34", "torchvision"),
    Pair("timm", "resnet50", "resnet50", "torchvision"),
    Pair("timm", "resnext50_32x4d", "resnext50_32x4d", "torchvision"),
    Pair("timm", "seresnet50", "se_resnet50", "timm", CONV2),
    Pair("timm", "seresnet101", "se_resnet101", "timm", CONV2, **LARGE),
    Pair("timm", "seresnext50_32x4d", "se_resnext50_32x4d", "timm", {"ceil_pool": False}),
    Pair("timm", "legacy_seresnet50", "se_resnet50", "cadene"),
    Pair("timm", "legacy_seresnet101", "se_resnet101", "cadene", **LARGE),
    Pair("timm", "legacy_seresnet152", "se_resnet152", "cadene", **LARGE),
    Pair("timm", "legacy_seresnext50_32x4d", "se_resnext50_32x4d", "cadene"),
    Pair("timm", "legacy_seresnext101_32x4d", "se_resnext101_32x4d", "cadene", **LARGE),
    Pair("timm", "legacy_senet154", "senet154", "cadene", **LARGE),
    Pair("pretrainedmodels", "se_resnet50", "se_resnet50", "cadene"),
    Pair("pretrainedmodels", "se_resnet101", "se_resnet101", "cadene", **LARGE),
    Pair("pretrainedmodels", "se_resnext50_32x4d", "se_resnext50_32x4d", "cadene"),
    Pair("pretrainedmodels", "senet154", "senet154", "cadene", **LARGE),
    Pair("monai", "resnet18", "resnet18", "torchvision", {}, {"conv1_t_stride": 2}),
    Pair("monai", "resnet50", "resnet50", "torchvision", {}, {"conv1_t_stride": 2}),
    Pair("monai", "SEResNet50", "se_resnet50", "monai"),
    Pair("monai", "SEResNext50", "se_resnext50_32x4d", "monai"),
    Pair("monai", "SENet154", "senet154", "monai", **LARGE),
    Pair("monai", "resnet18", "resnet18", "torchvision", VOLUMES,
         {"spatial_dims": 3, "num_classes": 10, "conv1_t_stride": (1, 2, 2)}, ((5, 64, 48), (1, 33, 65)), 2),
    Pair("monai", "resnet50", "resnet50", "torchvision", VOLUMES | {"depth_stride": 2},
         {"spatial_dims": 3, "num_classes": 10, "conv1_t_stride": 2}, ((17, 64, 48),), 2),
    Pair("monai", "SEResNet50", "se_resnet50", "monai", VOLUMES | {"depth_stride": 2},
         {"spatial_dims": 3, "num_classes": 10}, ((16, 64, 48), (19, 49, 33)), 2),
    Pair("monai", "SEResNext50", "se_resnext50_32x4d", "monai", VOLUMES | {"depth_stride": 2},
         {"spatial_dims": 3, "num_classes": 10}, ((16, 64, 48), (19, 49, 33)), 2),
    Pair("monai", "SENet154", "senet154", "monai", VOLUMES | {"depth_stride": 2},
         {"spatial_dims": 3, "num_classes": 10}, ((16, 32, 48),), 2),
]


def resnet50_with_cbam(order=lambda norm, gate: nn.Sequential(norm, gate)):
    """torchvision's ResNet-50 with timm's CBAM after each block's last norm."""
    from timm.layers.cbam import CbamModule
    from torchvision.models import resnet50

    model = resnet50(num_classes=7)
    for name, block in model.named_modules():
        if name.count(".") == 1 and name.startswith("layer"):
            block.bn3 = order(block.bn3, CbamModule(block.bn3.num_features, mlp_bias=True))
    return model


def cbam_names(state):
    """Return such a state by our names."""
    inside = {"channel.fc1": "squeeze", "channel.fc2": "excite", "spatial.conv.conv": "spatial.conv",
              "spatial.conv.bn": "spatial.norm"}
    found = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[0] in ("conv1", "bn1"):
            key = f"backbone.stem.{'conv' if parts[0] == 'conv1' else 'norm'}.{parts[1]}"
        elif parts[0] == "fc":
            key = f"classifier.{parts[1]}"
        else:
            block, rest, leaf = f"backbone.stages.{int(parts[0][5]) - 1}.{parts[1]}", parts[2:-1], parts[-1]
            if rest[0] == "downsample":
                key = f"{block}.shortcut.{('conv', 'norm')[int(rest[1])]}.{leaf}"
            elif rest[:2] == ["bn3", "1"]:
                key = f"{block}.attention.{inside['.'.join(rest[2:])]}.{leaf}"
            else:
                key = f"{block}.branch.{int(rest[0][-1]) - 1}.{'conv' if rest[0][:-1] == 'conv' else 'norm'}.{leaf}"
        found[key] = value
    return found
