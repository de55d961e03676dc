"""A run on masks is the same only with the same masks and pixel sizes: hashes.json holds them, a change is told."""

import csv
import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from excite.config import load_config
from excite.data.phantom.heads import FOLDER, simulate_heads
from excite.data.row import Row
from excite.data.targets import mask_contents
from excite.errors import DataError, UsageError
from excite.jobs.evaluate import evaluate
from excite.jobs.sections import TrainConfig
from excite.jobs.train import train

SETTINGS: dict[str, object] = {
    "preprocess.size": (32, 48), "loop.epochs": 1, "loop.batch_size": 4, "loop.threads": 1,
    "loop.precision": "float32", "predict.parity_images": 2, "split.test": 0.3, "split.val": 0.3}


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def fit(folder: Path, run: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 5, padding=2), nn.ReLU(), nn.Conv2d(4, 1, 5, padding=2))
    own = {"data.table": folder / "heads.csv", "cache.folder": folder / "cache"}
    train(load_config(TrainConfig, values=SETTINGS | own), model=network, out=run, images=False)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `data`, a table of heads, and `run`, trained on it."""
    folder = tmp_path_factory.mktemp("heads")
    source = simulate_heads(folder / "data", patients=10, images=1, size=(96, 144))
    with source.open(encoding="utf-8") as read, (folder / "data/heads.csv").open("w", encoding="utf-8") as written:
        lines = csv.writer(written, lineterminator="\n")
        lines.writerow(("image", "mask", "group", "spacing"))
        for name, spacing, *_ in list(csv.reader(read))[1:]:
            image = f"{FOLDER}/{name}"
            lines.writerow((image, image.replace(".png", "_Annotation.png"), name[:3], spacing))
    fit(folder / "data", folder / "run")
    return folder


@pytest.fixture
def again(begun: Path, tmp_path: Path) -> Path:
    """Return a copy of both in another place."""
    return shutil.copytree(begun, tmp_path / "moved")


@pytest.mark.slow
def test_every_mask_and_spacing_is_on_record_and_the_same_data_elsewhere_resume(begun: Path, again: Path) -> None:
    hashes = json.loads((begun / "run/hashes.json").read_text(encoding="utf-8"))
    rows = list(csv.DictReader((begun / "data/heads.csv").open(encoding="utf-8")))
    assert len(hashes) == len(rows) == 10
    for line, row in enumerate(rows, start=2):
        told = hashes[f"{line}: {row['image']}"].split(" ", 6)
        assert (told[0], told[5]) == (sha256(begun / "data" / row["image"]), sha256(begun / "data" / row["mask"]))
        assert told[6] == f"spacing ({float(row['spacing'])},)"
    fit(again / "data", again / "run")


@pytest.mark.slow
def test_a_changed_mask_is_another_run(again: Path) -> None:
    mask = again / f"data/{FOLDER}/003_HC_Annotation.png"
    before = sha256(mask)
    with Image.open(mask) as picture:
        Image.fromarray(np.roll(np.asarray(picture), 1, axis=1)).save(mask)
    with pytest.raises(UsageError) as refused:
        fit(again / "data", again / "run")
    text = refused.value.message()
    assert "another data: 4: training_set/003_HC.png: " in text and text.count("training_set/") == 1
    assert f"mask {before} spacing" in text and f"mask {sha256(mask)} spacing" in text


@pytest.mark.slow
def test_a_changed_pixel_size_is_another_run(again: Path) -> None:
    table = again / "data/heads.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    spacing = lines[5].rpartition(",")[2]
    lines[5] = lines[5].replace(f",{spacing}", f",{float(spacing) * 1.01:.9g}")
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(UsageError) as refused:
        fit(again / "data", again / "run")
    text = refused.value.message()
    assert "another data: 6: training_set/005_HC.png: " in text and text.count("training_set/") == 1
    assert f"spacing ({float(spacing)},)' -> " in text


def test_masks_are_told_by_bytes_wherever_they_lie_and_by_page(tmp_path: Path) -> None:
    left, right = (np.uint8(255) * np.eye(6, dtype=np.uint8)[::step] for step in (1, -1))
    for name, pixels in (("l.png", left), ("r.png", right)):
        Image.fromarray(pixels).save(tmp_path / name)
    Image.fromarray(left).save(tmp_path / "pages.tif", save_all=True, append_images=[Image.fromarray(right)])
    with zipfile.ZipFile(tmp_path / "masks.zip", "w") as archive:
        archive.write(tmp_path / "l.png", "inner/left.png")
    one, other, pages = (sha256(tmp_path / name) for name in ("l.png", "r.png", "pages.tif"))
    masks = ("l.png|r.png", "r.png|l.png", "masks.zip#inner/left.png", "pages.tif#page=1", "pages.tif#page=2")
    found = mask_contents([Row(image="a.png", line=2, mask=mask) for mask in masks], tmp_path)
    assert found == [f"{one}|{other}", f"{other}|{one}", one, f"{pages}#page=1", f"{pages}#page=2"]
    with pytest.raises(DataError, match="the file does not exist"):
        mask_contents([Row(image="a.png", line=2, mask="gone.png")], tmp_path)


@pytest.mark.slow
def test_an_evaluation_leaves_out_pictures_whose_mask_has_changed(begun: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(begun, tmp_path / "other")
    own = json.loads((folder / "run/split.json").read_text(encoding="utf-8"))["test"]
    with (folder / "run/manifest.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    masks = [Path(rows[row]["mask"]) for row in own]
    kept = masks[0].read_bytes()
    try:
        masks[0].write_bytes(masks[1].read_bytes())
        found = evaluate(folder / "run", out=tmp_path)
        assert [Path(one["file"]).name for one in found.failed] == [Path(rows[own[0]]["image"]).name]
        assert "its mask is not the one that the run split" in found.failed[0]["error"] and found.n == len(own) - 1
    finally:
        masks[0].write_bytes(kept)
