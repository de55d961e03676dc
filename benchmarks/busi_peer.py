"""The peer to meet on BUSI: torchvision's MobileNetV2, a plain training script, on the very split of an excite run.

    python benchmarks/busi_peer.py RUN_FOLDER WEIGHTS.safetensors [--seed 0]

Letterbox 224, 12 epochs of bf16 and channels_last, flips, rotation and scale, balanced class weights, AdamW with a
cosine, two views at prediction. Trains on train + val of the run (a script that selects nothing needs no val part)
or on train only with --train-only; prints balanced accuracy and macro AUROC on the run's test part with 95 %
intervals from the same bootstrap over the same units. Needs torchvision.
"""

import argparse
import csv
import json
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import peers  # noqa: E402, F401, I001
import torchvision  # noqa: E402

from excite.metrics.evaluation import evaluate  # noqa: E402

SIZE = 224


def letterboxed(path: Path) -> np.ndarray:
    """Return a grey picture, aspect kept, centred on black."""
    picture = np.asarray(Image.open(path).convert("L"))
    height, width = picture.shape
    scale = SIZE / max(height, width)
    small = cv2.resize(picture, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    out = np.zeros((SIZE, SIZE), np.uint8)
    top, left = (SIZE - small.shape[0]) // 2, (SIZE - small.shape[1]) // 2
    out[top:top + small.shape[0], left:left + small.shape[1]] = small
    return out


def augmented(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Flip, rotate by +-15 degrees, scale by +-15 %."""
    if rng.random() < 0.5:
        image = image[:, ::-1]
    matrix = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), rng.uniform(-15, 15), rng.uniform(0.85, 1.15))
    return cv2.warpAffine(np.ascontiguousarray(image), matrix, (SIZE, SIZE))


def tensor(images: np.ndarray) -> torch.Tensor:
    """Return (N, 3, S, S) with ImageNet's mean and std."""
    x = torch.from_numpy(images.astype(np.float32) / 255)[:, None].expand(-1, 3, -1, -1)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((x - mean[:, None, None]) / std[:, None, None]).contiguous(memory_format=torch.channels_last)


def train(images: np.ndarray, labels: np.ndarray, weights: Path, classes: int, seed: int, epochs: int) -> nn.Module:
    """Train the plain way."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = torchvision.models.mobilenet_v2(num_classes=classes)
    missing = model.load_state_dict(load_file(weights), strict=False).missing_keys
    assert missing == ["classifier.1.weight", "classifier.1.bias"], missing
    model = model.to(memory_format=torch.channels_last)
    counts = np.bincount(labels, minlength=classes)
    loss = nn.CrossEntropyLoss(weight=torch.tensor(len(labels) / (classes * counts), dtype=torch.float32))
    batch, steps = 32, len(labels) // 32
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * steps)
    for epoch in range(epochs):
        model.train()
        order = rng.permutation(len(labels))
        for step in range(steps):
            rows = order[step * batch:(step + 1) * batch]
            x = tensor(np.stack([augmented(images[row], rng) for row in rows]))
            with torch.autocast("cpu", torch.bfloat16):
                value = loss(model(x), torch.from_numpy(labels[rows]))
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            schedule.step()
        print(f"epoch {epoch + 1}/{epochs} loss {value.item():.3f}", file=sys.stderr)
    return model.eval()


def main() -> None:
    """Train on the run's split and print the two numbers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--train-only", action="store_true")
    arguments = parser.parse_args()
    config = json.loads((arguments.run / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    classes = list(config["classes"])
    with (arguments.run / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    split = json.loads((arguments.run / "split.json").read_text(encoding="utf-8"))
    parts = {name: split[name] if name in split else split["parts"][name] for name in ("train", "val", "test")}
    images = np.stack([letterboxed(Path(row["image"])) for row in rows])
    labels = np.array([classes.index(row["label"]) for row in rows])
    chosen = parts["train"] if arguments.train_only else [*parts["train"], *parts["val"]]
    began = time.monotonic()
    model = train(images[chosen], labels[chosen], arguments.weights, len(classes), arguments.seed, arguments.epochs)
    seconds = time.monotonic() - began
    test = np.array(parts["test"])
    with torch.no_grad():
        x = tensor(images[test])
        probabilities = ((model(x).softmax(1) + model(x.flip(3)).softmax(1)) / 2).double().numpy()
    units = [split["units"][row] for row in test]
    found = evaluate(labels[test], probabilities, classes, units, part="test", unit_kind=split["unit_kind"])
    metrics = found.to_json()["metrics"]
    print(json.dumps({"peer": "torchvision mobilenet_v2", "seed": arguments.seed, "train_images": len(chosen),
                      "test_images": len(test), "seconds": round(seconds), "threads": torch.get_num_threads(),
                      **{name: metrics[name] for name in ("balanced_accuracy", "auroc_macro")}}))


if __name__ == "__main__":
    main()
