"""Train a head network on HC18's folder and measure circumferences in mm on unseen examinations.

    python benchmarks/heads.py HC18_FOLDER ENCODER.safetensors --out runs/heads [--recipe published] [--epochs 12]

Split by examination: about 150 images to test, 40 to validate, the rest to train. The truth is the ellipse through the
centre line of the drawn outline, moved with the augmentation and rasterised with covered areas; a prediction is
measured by the ellipse of its probability map in original pixels, two views averaged. The same command goes on where it
stopped.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from excite.data.augment import draw
from excite.data.layouts.hc18 import circumferences
from excite.data.manifest import read_manifest
from excite.data.masks import outline_of, read_drawn
from excite.data.reading import read
from excite.data.sections import AugmentSection, DataSection
from excite.ellipse import Ellipse, fit_ellipse
from excite.engine.loop import fit
from excite.engine.sections import LoopSection, OptimSection, ScheduleSection
from excite.metrics.biometry import ellipse_of
from excite.metrics.heads import head_errors, head_report
from excite.models.classifier import create_model
from excite.tasks.segmentation import SegmentationTask

WIDTH, HEIGHT = 384, 256
RECIPES = {  # options of the network
    "published": {},
    "better": {"grey_stem": "sum", "normalisation": "folded", "atrous_rates": (2, 4, 6), "min_hidden": 4},
}
AUGMENT = AugmentSection(horizontal_flip=0.5, rotation=20, scale=0.1, shift=0.1, brightness=0.1, contrast=0.2,
                         gamma=0.2)


@dataclass(frozen=True)
class Head:
    """A picture with its true ellipse and size of a pixel."""

    name: str
    unit: str
    shape: tuple[int, int]
    small: np.ndarray     # shrunk with a filter as wide as the factor, so that the warp need not
    to_small: np.ndarray  # (3, 3) from pixels of the picture
    truth: Ellipse
    spacing: tuple[float, ...]


@dataclass(frozen=True)
class Batch:
    """What the loop takes."""

    index: np.ndarray
    images: torch.Tensor
    labels: torch.Tensor


class Heads:
    """Batches of some heads; each epoch's order and changes come from (seed, epoch, head)."""

    def __init__(self, heads: list[Head], rows: list[int], *, batch: int, seed: int, train: bool) -> None:
        self.heads, self.rows, self.batch, self.seed, self.train = heads, rows, batch, seed, train

    @property
    def steps(self) -> int:
        """Return the batches of an epoch; a training drops what is left over."""
        return len(self.rows) // self.batch if self.train else -(-len(self.rows) // self.batch)

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch."""
        rows = np.array(self.rows)
        if self.train:
            rows = np.random.default_rng([self.seed, epoch]).permutation(rows)
        for step in range(start, self.steps):
            some = rows[step * self.batch:(step + 1) * self.batch]
            pairs = [rendered(self.heads[row], draw(AUGMENT, seed=self.seed, epoch=epoch, index=int(row)).matrix
                              if self.train else None) for row in some]
            yield Batch(some, *(torch.from_numpy(np.stack(part)[:, None]) for part in zip(*pairs, strict=True)))


def placed(shape: tuple[int, ...], change: np.ndarray | None = None) -> np.ndarray:
    """Return the (3, 3) map from pixel centres of a picture to those of the input, whole picture, aspect kept."""
    height, width = shape
    scale = min(WIDTH / width, HEIGHT / height)
    edges = np.array([[scale, 0, (WIDTH - scale * width) / 2], [0, scale, (HEIGHT - scale * height) / 2], [0, 0, 1]])
    if change is not None:  # in units of the input's height around its centre
        unit = np.array([[1 / HEIGHT, 0, -WIDTH / HEIGHT / 2], [0, 1 / HEIGHT, -0.5], [0, 0, 1]])
        edges = np.linalg.inv(unit) @ change @ unit @ edges
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    return np.linalg.inv(half) @ edges @ half


def rendered(head: Head, change: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the input in [0, 1] and the covered share of each pixel."""
    matrix = placed(head.shape, change)
    image = cv2.warpAffine(head.small, (matrix @ np.linalg.inv(head.to_small))[:2], (WIDTH, HEIGHT))
    moved = fit_ellipse(head.truth.points(90) @ matrix[:2, :2].T + matrix[:2, 2])
    return image.astype(np.float32) / 255, moved.coverage((HEIGHT, WIDTH))


def load(folder: Path) -> list[Head]:
    """Return all heads of an HC18 folder."""
    manifest = read_manifest(DataSection(table=folder))
    found = []
    for row in manifest.rows:
        image = read(manifest.path(row)).image[0]
        truth = outline_of(read_drawn(manifest.root / str(row.mask), image.shape))
        height, width = image.shape
        scale = min(WIDTH / width, HEIGHT / height)
        small = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
        across, down = small.shape[1] / width, small.shape[0] / height
        to_small = np.array([[across, 0, across / 2 - 0.5], [0, down, down / 2 - 0.5], [0, 0, 1]])
        found.append(Head(Path(row.image).name, str(row.group), (height, width), small, to_small, truth,
                          row.spacing or ()))
    return found


def split(heads: list[Head], seed: int) -> dict[str, list[int]]:
    """Return rows of test, val and train, whole examinations each."""
    units = sorted({head.unit for head in heads})
    np.random.default_rng(seed).shuffle(units)
    parts: dict[str, list[int]] = {"test": [], "val": [], "train": []}
    wanted = {"test": 150, "val": 40}
    for unit in units:
        part = next((name for name, count in wanted.items() if len(parts[name]) < count), "train")
        parts[part] += [row for row, head in enumerate(heads) if head.unit == unit]
    return parts


def predicted(model: torch.nn.Module, head: Head) -> np.ndarray:
    """Return probabilities in the picture's own pixels, the picture and its mirror image averaged."""
    image = torch.from_numpy(rendered(head, None)[0])[None, None]
    with torch.inference_mode():
        both = model(torch.cat((image, image.flip(-1)))).float()
    logits = ((both[0, 0] + both[1, 0].flip(-1)) / 2).numpy()
    back = np.linalg.inv(placed(head.shape))
    full = cv2.warpAffine(logits, back[:2], head.shape[::-1], flags=cv2.INTER_CUBIC, borderValue=-20.0)
    return 1 / (1 + np.exp(-full))


def measured(model: torch.nn.Module, heads: list[Head], rows: list[int], hc_mm: dict[str, float]) -> dict[str, Any]:
    """Return the report's numbers on some rows, and each row's."""
    errors = []
    for row in rows:
        head = heads[row]
        found = ellipse_of(predicted(model, head)).ellipse
        errors.append(None if found is None else head_errors(found, head.truth, head.spacing, shape=head.shape,
                                                              hc_mm=hc_mm.get(head.name)))
    report = head_report(errors, [heads[row].unit for row in rows])
    absolute = [error.adf_mm for error in errors if error is not None and error.adf_mm is not None]
    return {"numbers": {name: one.text() for name, one in report.items()}, "median_adf_mm": float(np.median(absolute)),
            "worst_adf_mm": float(max(absolute)),
            "each": {heads[row].name: None if error is None else error.df_mm
                     for row, error in zip(rows, errors, strict=True)}}


def main() -> None:
    """Train, measure, write result.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("encoder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", choices=RECIPES, default="better")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    heads, began = load(asked.folder), time.time()
    parts = split(heads, asked.seed)
    print({name: len(rows) for name, rows in parts.items()}, flush=True)
    torch.manual_seed(asked.seed)
    model = create_model("mobilenet_v2_aspp_se_unet", weights=asked.encoder, **RECIPES[asked.recipe])
    asked.out.mkdir(parents=True, exist_ok=True)
    with (asked.out / "log.jsonl").open("a", encoding="utf-8") as log:
        fit(model, SegmentationTask(("head",)),
            Heads(heads, parts["train"], batch=8, seed=asked.seed, train=True),
            Heads(heads, parts["val"], batch=8, seed=asked.seed, train=False),
            optim=OptimSection(lr=1e-3), schedule=ScheduleSection(name="cosine"),
            loop=LoopSection(epochs=asked.epochs, precision="bfloat16", ema=0.95), seed=asked.seed, folder=asked.out,
            log=lambda event: print(json.dumps(event), file=log, flush=True))
    minutes = (time.time() - began) / 60
    found = measured(model.eval(), heads, parts["test"], circumferences(next(asked.folder.glob("*_HC.csv"))))
    (asked.out / "result.json").write_text(json.dumps({"recipe": asked.recipe, "epochs": asked.epochs,
                                                       "minutes": minutes, **found}, indent=1), encoding="utf-8")
    print(json.dumps({"minutes": round(minutes, 1), **{key: found[key] for key in found if key != "each"}}, indent=1))


if __name__ == "__main__":
    main()
