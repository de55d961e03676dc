"""The library's networks and the public ones that they are timed beside; equal outputs are proved first."""

import warnings
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from excite.jobs.bench_networks_peers import imported
from excite.models.classifier import create_model
from excite.weights.catalog import Row, find
from excite.weights.load import load_weights

PROBES = {2: (4, 3, 64, 64), 3: (2, 1, 32, 64, 64)}  # inputs of the proof
EQUAL = 1e-9  # of the largest output, in float64

TORCHVISION, TIMM, MONAI = "torchvision.models", "timm.models", "monai.networks.nets"


class Peer(NamedTuple):
    """A public network: how it is built, and in which module."""

    module: str
    name: str
    options: Mapping[str, Any] = {}

    @property
    def package(self) -> str:
        """Which has to be installed."""
        return self.module.partition(".")[0]

    @property
    def label(self) -> str:
        """What tables call it."""
        return f"{self.package} {self.name}"


class Match(NamedTuple):
    """A network of the library, and what it is timed beside.

    `same`: the peer is the same network, and takes the same weights. `tag`: of the catalog's row whose top-1 the
    picture shows, the classic training at 224 for all.
    """

    label: str
    name: str
    peers: tuple[Peer, ...]
    options: Mapping[str, Any] = {}
    dims: int = 2
    same: bool = True
    tag: str = ""

    @property
    def published(self) -> Row | None:
        """The row of the catalog with its published accuracy."""
        return find(self.name, self.tag)


def _monai(name: str, channels: str = "in_channels", classes: str = "num_classes", **options: Any) -> Peer:
    return Peer(MONAI, name, {"spatial_dims": 3, channels: 1, classes: 2, **options})


MATCHES = (
    Match("mobilenet_v2", "mobilenet_v2", (Peer(TORCHVISION, "mobilenet_v2"),), tag="imagenet-torchvision-v1"),
    Match("mobilenet_v3_large", "mobilenet_v3_large", (Peer(TORCHVISION, "mobilenet_v3_large"),), tag="imagenet"),
    Match("shufflenet_v2", "shufflenet_v2", (Peer(TORCHVISION, "shufflenet_v2_x1_0"),), tag="imagenet"),
    Match("resnet18", "resnet18", (Peer(TORCHVISION, "resnet18"),), tag="imagenet"),
    Match("resnet50", "resnet50", (Peer(TORCHVISION, "resnet50"),), tag="imagenet"),
    Match("resnext50_32x4d", "resnext50_32x4d", (Peer(TORCHVISION, "resnext50_32x4d"),), tag="imagenet"),
    Match("se_resnet50", "se_resnet50", (Peer(TIMM, "legacy_seresnet50"),), tag="imagenet"),
    Match("se_resnet50 conv2", "se_resnet50", (Peer(TIMM, "seresnet50"),), {"stride_in": "conv2"}),
    Match("resnet50 3-D", "resnet50", (_monai("resnet50", "n_input_channels", conv1_t_stride=2),),
          {"depth_stride": 2}, dims=3),
    Match("mobilenet_v2_se 3-D", "mobilenet_v2_se", (
        _monai("SEResNet50"), _monai("DenseNet121", classes="out_channels"),
        _monai("EfficientNetBN", model_name="efficientnet-b0", pretrained=False)), dims=3, same=False),
)


@dataclass(frozen=True, kw_only=True)
class Built:
    """A match with its networks.

    Args:
        ours: The library's, with the peer's weights where it is the same.
        peers: Those whose packages are there.
        words: Of each package its version, or why it is missing.
        apart: Largest difference of an output, as a share of the largest output, in float64; None: nothing to compare.
    """

    match: Match
    ours: nn.Module
    peers: list[tuple[Peer, nn.Module]]
    words: dict[str, str]
    apart: float | None

    @property
    def equal(self) -> bool:
        """Whether the peer is proved to be the same network."""
        return self.apart is not None and self.apart <= EQUAL


def build(match: Match) -> Built:
    """Build a match, its weights at random and in each call the same.

    Those of a same network are the peer's, and the outputs are compared.
    """
    peers, words, apart = [], {}, None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for peer in match.peers:
            module, words[peer.package] = imported(peer.module)
            if module is not None:
                peers.append((peer, getattr(module, peer.name)(**peer.options)))
        ours = _ours(match)
        if match.same and peers:
            load_weights(ours, peers[0][1].state_dict())
            apart = difference(match, peers[0][1])
    return Built(match=match, ours=ours, peers=peers, words=words, apart=apart)


def difference(match: Match, theirs: nn.Module) -> float:
    """Return how far the outputs of the peer and of ours with its weights are apart, both in float64.

    A fresh network hardly sees its input: norms get affine values at random and statistics that are measured first.
    """
    size = PROBES[match.dims]
    dice = torch.Generator().manual_seed(0)
    images = torch.rand(size, dtype=torch.float64, generator=dice)
    images = images * torch.linspace(0.2, 2.0, size[0], dtype=torch.float64).view(-1, *[1] * (len(size) - 1))
    probe, twin = _enlivened(deepcopy(theirs).double(), images), _ours(match).double().eval()
    load_weights(twin, probe.state_dict())
    with torch.inference_mode():
        expected, found = probe(images), twin(images)
    return float((found - expected).abs().max() / expected.abs().max())


def _enlivened(model: nn.Module, images: Tensor) -> nn.Module:
    for layer in model.modules():
        if isinstance(layer, _BatchNorm):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0.0, 0.2)
            layer.momentum = None
    with torch.no_grad():
        model.train()(images)
    return model.eval()


def _ours(match: Match) -> nn.Module:
    channels, classes = (3, 1000) if match.dims == 2 else (1, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return create_model(match.name, dims=match.dims, in_channels=channels, num_classes=classes, **match.options)
