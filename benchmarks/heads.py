"""Head networks on HC18's folder by the same job, split, recipe and measurement, compared in pairs.

    python benchmarks/heads.py HC18_FOLDER ENCODER.safetensors --out runs/hc18 [--networks ours published peer ...]

The networks are those of NETWORKS below. peer, segmentation_models_pytorch's Unet with the same encoder weights and
our recipe, needs that package: the environment of `make test-peers`. Each is a run of `excite train` in a folder of its
own, so the same command goes on where it stopped. About 150 pictures of whole examinations to test, 42 to validate,
the rest to train.
"""

import argparse
import csv
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file
from torch import Tensor, nn

from excite.config import load_config
from excite.jobs.bench_heads import peers
from excite.jobs.sections import TrainConfig
from excite.jobs.train import train
from excite.metrics.intervals import bootstrap
from excite.progress import spoken

SHOWN = ("adf_mm", "median_adf_mm", "df_mm", "head_hd_mm", "dice", "coverage", "width_mm")
CONFIGS = Path(__file__).parents[1] / "configs"
STRIDE2 = {"finest": 2, "up": "transposed"}  # a decoder of twice the side
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {  # config, what differs from it
    "ours":            ("heads.yaml", {}),                                            # `excite train HC18_FOLDER`
    "stride2":         ("heads.yaml", STRIDE2),
    "published_rates": ("heads.yaml", STRIDE2 | {"atrous_rates": (6, 12, 18)}),
    "stride16":        ("heads.yaml", {"output_stride": 16, "atrous_rates": (4, 8, 12)}),
    "published":       ("hc18.yaml",  {}),                                            # network and recipe
    "published_net":   ("heads.yaml", {"separable": False, "finest": 1, "up": "transposed",  # by our recipe
                                       "atrous_rates": (6, 12, 18), "min_hidden": 1}),
    "peer":            ("heads.yaml", {}),
}
MEAN, STD = 0.449, 0.226  # of ImageNet's three channels


class Peer(nn.Module):
    """The public U-Net, from grey pictures in [0, 1] to logits."""

    heads = ("decoder", "segmentation_head")

    def __init__(self, encoder: Path) -> None:
        super().__init__()
        package, why = peers()
        if package is None:
            raise SystemExit(f"segmentation_models_pytorch cannot be used: {why}")
        net = package.Unet("mobilenet_v2", encoder_weights=None, in_channels=1, classes=1)
        weights = load_file(encoder)
        stem = next(key for key, value in weights.items() if value.ndim == 4 and value.shape[1] == 3)
        weights[stem] = weights[stem].sum(dim=1, keepdim=True)
        net.encoder.load_state_dict(weights)  # strict: every value of the features, and no other
        self.encoder, self.decoder, self.segmentation_head = net.encoder, net.decoder, net.segmentation_head

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, 1, H, W), H and W multiples of 32."""
        return self.segmentation_head(self.decoder(self.encoder((x - MEAN) / STD)))


def config_of(network: str, asked: argparse.Namespace) -> TrainConfig:
    """Return the config of a network: the same split and seed for all."""
    config, options = NETWORKS[network]
    values: dict[str, Any] = {"data.table": asked.folder, "split.test": 0.357, "split.val": 0.1, "seed": asked.seed,
                              "loop.threads": asked.threads, "loop.epochs": asked.epochs,
                              "model.weights": None if network == "peer" else asked.encoder,
                              **{f"model.options.{name}": value for name, value in options.items()}}
    found: TrainConfig = load_config(TrainConfig, CONFIGS / config, values=values)
    return found


def rows_of(run: Path) -> dict[str, tuple[str, float]]:
    """Return the unit and the signed difference in mm of each test picture, by its name; NaN: no head was found."""
    with (run / "predictions-test.csv").open(encoding="utf-8", newline="") as stream:
        return {Path(row["file"]).name: (row["unit"], float(row["df_mm"] or "nan")) for row in csv.DictReader(stream)}


def in_pairs(first: Path, second: Path) -> str:
    """Return how much larger the first run's mean size of difference is on the same pictures, with its interval."""
    ours, theirs = rows_of(first), rows_of(second)
    if ours.keys() != theirs.keys():
        raise SystemExit(f"{first} and {second} have other test pictures")
    units = [ours[name][0] for name in ours]
    gap = np.array([abs(ours[name][1]) - abs(theirs[name][1]) for name in ours])
    known = ~np.isnan(gap)
    found = bootstrap(lambda weights: {"gap": (weights[:, known] @ gap[known]) / weights[:, known].sum(axis=1)}, units)
    return f"{found['gap'].text()} mm over {int(known.sum())} pictures"


def main() -> None:
    """Train what is not there, then tell each and each pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("encoder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--networks", nargs="+", choices=tuple(NETWORKS), default=["ours", "published"])
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--seed", type=int, default=42)
    asked = parser.parse_args()
    for network in asked.networks:
        began = time.time()
        model = Peer(asked.encoder) if network == "peer" else None
        run = train(config_of(network, asked), model=model, out=asked.out / network, progress=spoken())
        told = {name: run.evaluation.metrics[name].text() for name in SHOWN}
        print(json.dumps({"network": network, "minutes": round((time.time() - began) / 60, 1), **told}), flush=True)
    for place, first in enumerate(asked.networks):
        for second in asked.networks[place + 1:]:
            print(f"ADF of {first} minus {second}: {in_pairs(asked.out / first, asked.out / second)}")


if __name__ == "__main__":
    main()
