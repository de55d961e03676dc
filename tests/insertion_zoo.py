"""Public residual networks, with how many residual blocks each has by its paper and their stages."""

import torch

from insertion_checks import shaken
from lively import varied_images
from references import of_timm, of_torchvision


def of_monai(name, *given, **options):
    from monai.networks import nets

    return getattr(nets, name)(*given, **{"spatial_dims": 3, **options})


SIZES = {2: (64, 64), 3: (16, 32, 32)}
LARGER = {"MONAI 3-D EfficientNetBN": (32, 32, 32)}
NETWORKS = {  # builder, arguments, dims, blocks in each stage
    "torchvision resnet18": (of_torchvision, ("resnet18",), {}, 2, (2, 2, 2, 2)),
    "torchvision resnet50": (of_torchvision, ("resnet50",), {}, 2, (3, 4, 6, 3)),
    "torchvision resnext50_32x4d": (of_torchvision, ("resnext50_32x4d",), {}, 2, (3, 4, 6, 3)),
    "torchvision mobilenet_v2": (of_torchvision, ("mobilenet_v2",), {}, 2, (1, 2, 5, 2)),
    "torchvision mobilenet_v3_large": (of_torchvision, ("mobilenet_v3_large",), {}, 2, (1, 1, 2, 4, 2)),
    "torchvision convnext_tiny": (of_torchvision, ("convnext_tiny",), {"stochastic_depth_prob": 0.3}, 2, (3, 3, 9, 3)),
    "torchvision efficientnet_b0": (of_torchvision, ("efficientnet_b0",), {}, 2, (1, 1, 4, 3)),
    "torchvision regnet_y_400mf": (of_torchvision, ("regnet_y_400mf",), {}, 2, (1, 3, 6, 6)),
    "timm regnety_008": (of_timm, ("regnety_008",), {"drop_path_rate": 0.2}, 2, (1, 3, 8, 2)),
    "timm resnetv2_50": (of_timm, ("resnetv2_50",), {}, 2, (3, 4, 6, 3)),
    "timm convnext_atto": (of_timm, ("convnext_atto",), {"drop_path_rate": 0.2}, 2, (2, 2, 6, 2)),
    "timm efficientnet_b0": (of_timm, ("efficientnet_b0",), {"drop_path_rate": 0.2}, 2, (1, 1, 4, 3)),
    "timm seresnet50": (of_timm, ("seresnet50",), {}, 2, (3, 4, 6, 3)),
    "MONAI 3-D resnet50": (of_monai, ("resnet50",), {"n_input_channels": 3}, 3, (3, 4, 6, 3)),
    "MONAI 3-D SEResNet50": (of_monai, ("SEResNet50",), {"in_channels": 3}, 3, (3, 4, 6, 3)),
    "MONAI 3-D EfficientNetBN": (of_monai, ("EfficientNetBN", "efficientnet-b0"), {}, 3, (1, 1, 4, 3)),
    "MONAI 3-D UNet": (of_monai, ("UNet",), {"in_channels": 3, "out_channels": 2, "channels": (8, 16, 32),
                                             "strides": (2, 2), "num_res_units": 2}, 3, (1, 2, 1, 1)),
    "MONAI 3-D SegResNet": (of_monai, ("SegResNet",), {"in_channels": 3, "init_filters": 8}, 3,
                            (1, 2, 2, 4, 1, 1, 1)),
}
POSITIONS = ("standard", "pre", "post", "identity", "inner")


def public(label):
    """The network on shaken weights, and images for it."""
    build, names, options, dims, _ = NETWORKS[label]
    torch.manual_seed(0)
    x = varied_images(2, size=LARGER.get(label, SIZES[dims]), seed=8).float()
    return shaken(build(*names, **options), x), x


def stages(label):
    """The number of residual blocks in each stage."""
    return NETWORKS[label][-1]
