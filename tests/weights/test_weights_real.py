"""The real weights: whole loads into our networks, and an accuracy that somebody else measured."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from excite.models.classifier import create_model
from excite.weights.catalog import find
from excite.weights.intake import take_in
from excite.weights.load import load_weights
from excite.weights.store import at_hand, resolve, verify

pytestmark = pytest.mark.real


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXCITE_WEIGHTS", str(tmp_path / "store"))


@pytest.mark.parametrize(("file", "tag", "part"), [
    ("mobilenet_v2-imagenet-features", "imagenet", "features"),
    ("mobilenet_v2-imagenet-dequantised", "imagenet-dequantised", "all"),
])
def test_files_are_recognised_and_load_whole(real_data: Path, file: str, tag: str, part: str) -> None:
    source = real_data / "weights" / f"{file}.safetensors"
    facts = json.loads(source.with_suffix(".json").read_text(encoding="utf-8"))
    row = find("mobilenet_v2", tag)
    entry = take_in(source)
    assert entry.row is row and row is not None and entry.path == at_hand(row) == resolve(tag, "mobilenet_v2")
    assert entry.values == facts["values"] and verify(entry.path, row).ok and verify(source, row).ok
    assert list(row.preprocessing["mean"]) == facts["preprocessing"]["mean"]
    assert list(row.preprocessing["std"]) == facts["preprocessing"]["std"]
    for given in (source, entry.path, tag):
        report = load_weights(create_model("mobilenet_v2"), given, name="mobilenet_v2")
        assert (report.percent, report.part) == (100, part), report.text()
    assert row.layout_of(facts["sha256"]) == "torchvision"
    assert row.sha256 in (facts["sha256"], facts["source"].split("sha256 ")[1].split(";")[0])  # the .pt is not here


def photo(file: Path) -> np.ndarray:  # type: ignore[type-arg]
    """Return what the weights' own page says: short side 256, bilinear, the centre 224, (p - 127.5) / 127.5."""
    with Image.open(file) as opened:
        image = opened.convert("RGB")
    width, height = image.size
    size = (256, int(256 * height / width)) if width <= height else (int(256 * width / height), 256)
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((image.width - 224) / 2), round((image.height - 224) / 2)
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32)
    return ((pixels - 127.5) / 127.5).transpose(2, 0, 1)


@pytest.mark.slow
def test_the_dequantised_weights_classify_as_their_page_says(real_data: Path) -> None:
    folder = real_data / "imagenet_sample"
    model = create_model("mobilenet_v2").eval()
    load_weights(model, real_data / "weights/mobilenet_v2-imagenet-dequantised.safetensors")
    with next(folder.glob("*.csv")).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 300
    first = five = 0
    with torch.inference_mode():
        for start in range(0, len(rows), 50):
            some = rows[start:start + 50]
            logits = model(torch.from_numpy(np.stack([photo(folder / row["image"]) for row in some])))
            truth = torch.tensor([int(row["class_index"]) for row in some])
            top = logits.topk(5).indices
            first += int((top[:, 0] == truth).sum())
            five += int((top == truth[:, None]).any(1).sum())
    assert (first, five) == (241, 286)  # .8033 and .9533 of 300
