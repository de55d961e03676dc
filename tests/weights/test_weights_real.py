"""The real weights: whole loads into our networks, and an accuracy that somebody else measured."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from excite.errors import ModelError
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


def test_weights_of_pytorchs_padding_are_refused_by_tensorflows(real_data: Path) -> None:
    # Those that come from TensorFlow have folded norms, and fit both: how they do is measured below.
    source = real_data / "weights/mobilenet_v2-imagenet-features.safetensors"
    with pytest.raises(ModelError, match="padding='symmetric' in the source, 'tf_same' in the network"):
        load_weights(create_model("mobilenet_v2", padding="tf_same"), source)


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


@pytest.fixture(scope="module")
def photos(real_data: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the 300 photos of 300 classes, and their classes."""
    folder = real_data / "imagenet_sample"
    with next(folder.glob("*.csv")).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    images = torch.from_numpy(np.stack([photo(folder / row["image"]) for row in rows]))
    return images, torch.tensor([int(row["class_index"]) for row in rows])


def right(model: torch.nn.Module, images: torch.Tensor, truth: torch.Tensor) -> tuple[int, int]:
    """Return how many photos have their class first, and among the first five."""
    with torch.inference_mode():
        top = torch.cat([model(some).topk(5).indices for some in images.split(50)])
    return int((top[:, 0] == truth).sum()), int((top == truth[:, None]).any(1).sum())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_small"])
@pytest.mark.parametrize(("padding", "measured"), [("symmetric", "plain_torchvision"),
                                                   ("tf_same", "with_tf_same_padding")])
def test_the_dequantised_weights_classify_as_their_page_says(
        real_data: Path, photos: tuple[torch.Tensor, torch.Tensor], name: str, padding: str, measured: str) -> None:
    source = real_data / f"weights/{name}-imagenet-dequantised.safetensors"
    page = json.loads(source.with_suffix(".json").read_text(encoding="utf-8"))["measured"][measured]
    model = create_model(name, padding=padding).eval()
    report = load_weights(model, source, name=name)
    assert (report.percent, report.part, report.unexpected) == (100, "all", ()), report.text()
    images, truth = photos
    assert len(images) == len(set(truth.tolist())) == 300
    found = right(model, images, truth)
    assert found == (round(300 * page["shared300_top1"]), round(300 * page["shared300_top5"]))  # to the photo


@pytest.mark.slow
def test_two_swapped_blocks_would_be_found_out(
        real_data: Path, photos: tuple[torch.Tensor, torch.Tensor]) -> None:
    model = create_model("mobilenet_v3_small", padding="tf_same").eval()
    load_weights(model, real_data / "weights/mobilenet_v3_small-imagenet-dequantised.safetensors")
    blocks = model.backbone.stages[2]
    one, other = blocks[1].state_dict(), blocks[2].state_dict()  # of the same shapes
    blocks[1].load_state_dict(other)
    blocks[2].load_state_dict(one)
    first, _ = right(model, *photos)
    assert first < 200  # 216 as published
