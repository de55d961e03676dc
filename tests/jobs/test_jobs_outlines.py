"""Rings that are the structure itself stay rings, in training and in evaluation; what was decided is told and kept."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

from excite.config import load_config
from excite.deploy.bundle import read_bundle
from excite.errors import DataError, UsageError
from excite.jobs.evaluate import evaluate
from excite.jobs.mask_rows import rule_of
from excite.jobs.prepare import prepare
from excite.jobs.sections import TrainConfig
from excite.jobs.train import train
from excite.metrics.mask_evaluation import MaskEvaluation
from mask_bundles import mask_bundle, mask_info

SHAPE = (90, 130)
SETTINGS: dict[str, object] = {
    "preprocess.size": (64, 96), "loop.batch_size": 4, "loop.threads": 1, "loop.precision": "float32", "loop.epochs": 1,
    "loop.ema": 0.0, "predict.parity_images": 4, "split.test": 0.25, "split.val": 0.3, "model.weights": "none",
    "split.by": "image"}


def ring(number: int, thick: int) -> np.ndarray:
    """Return a ring; -1 fills it, 0 draws none."""
    picture = np.zeros(SHAPE, np.uint8)
    if thick:
        cv2.ellipse(picture, (60 + number, 42 + number % 5), (38, 30), 10 * number, 0, 360, (255,), thick)
    return picture


def write_rings(folder: Path, *, thick: list[int]) -> Path:
    """Write pictures in which the ring is bright, their masks and a table."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [("image", "mask")]
    for number, width in enumerate(thick):
        mask, random = ring(number, width), np.random.default_rng(number)
        marks = cv2.resize(random.uniform(0, 60, (12, 17)), SHAPE[::-1])  # or all would look alike, and stay together
        for name, pixels in ((f"{number:02d}.png", np.clip(marks + 0.7 * mask, 0, 255)), (f"{number:02d}_m.png", mask)):
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
        rows.append((f"{number:02d}.png", f"{number:02d}_m.png"))
    with (folder / "table.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return folder / "table.csv"


def plain() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 5, padding=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 1, 5, padding=2))


def config_of(table: Path, **changes: object) -> TrainConfig:
    own = {"data.table": table, "cache.folder": table.parent / "cache"}
    config: TrainConfig = load_config(TrainConfig, values=SETTINGS | own | changes)
    return config


@pytest.fixture(scope="module")
def thin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rings(tmp_path_factory.mktemp("thin"), thick=[2] * 20)


def test_rings_thin_and_thick_are_none_filled_and_it_is_told(tmp_path: Path) -> None:
    found = prepare(config_of(write_rings(tmp_path, thick=[2, 2, 12, 2] * 5)), model=plain())
    assert found.kind == "segmentation" and found.config.data.outlines == "no"
    assert {target.kind for target in found.targets} == {"region"}
    height, width = found.preprocess.stored_shape(SHAPE)
    for target in found.targets:
        inside = target.render(np.eye(2, 3), (height, width))
        assert inside[height // 2, width // 2] == 0 and inside.sum() > 100
    assert "15 of 20 look like outlines along an ellipse and none is filled" in found.reasons["task"]
    assert "data.outlines=yes" in found.reasons["task"]


def test_outlines_are_heads_as_ever_and_the_decision_is_kept(thin: Path) -> None:
    found = prepare(config_of(thin), model=plain())
    assert found.kind == "heads" and found.config.data.outlines == "yes"
    assert {target.kind for target in found.targets} == {"ellipse"}
    assert "every mask is an outline along an ellipse" in found.reasons["task"]
    asked = prepare(config_of(thin, task="segmentation"), model=plain())
    assert asked.config.data.outlines == "yes" and "--set data.outlines=no" in asked.reasons["task"]
    assert prepare(config_of(thin, **{"data.outlines": "no"}), model=plain()).kind == "segmentation"


def test_heads_are_all_outlines_or_all_filled(thin: Path, tmp_path: Path) -> None:
    filled = prepare(config_of(write_rings(tmp_path / "a", thick=[-1] * 20), task="heads"), model=plain())
    assert filled.kind == "heads" and filled.config.data.outlines == "no"
    with pytest.raises(DataError, match=r"1 of 20 masks cannot be used .*02_m.png: the mask is no outline"):
        prepare(config_of(write_rings(tmp_path / "b", thick=[2, 2, -1, 2, *[2] * 16]), task="heads"), model=plain())
    with pytest.raises(UsageError, match="data.outlines must be auto or yes for heads, got 'no' .20 masks look"):
        prepare(config_of(thin, task="heads", **{"data.outlines": "no"}), model=plain())


@pytest.mark.slow
def test_rings_that_are_the_structure_are_hollow_in_training_and_evaluation(thin: Path, tmp_path: Path) -> None:
    config = load_config(TrainConfig, values=SETTINGS | {"data.table": thin, "cache.folder": tmp_path / "cache",
                                                         "task": "segmentation"}, overrides=["data.outlines=no"])
    inside = next(iter(prepare(config, model=plain()).loader("val").batches(0))).labels.numpy()
    height, width = inside.shape[-2:]
    assert not inside[..., height // 2, width // 2].any() and inside.sum() > 100
    run = train(config, model=plain(), out=tmp_path / "run")
    assert isinstance(run.evaluation, MaskEvaluation) and run.evaluation.task == "segmentation"
    for found in (run.evaluation, evaluate(run.folder / "bundle", thin, resamples=20)):
        assert isinstance(found, MaskEvaluation)
        sizes = {row.file: row.sizes.truth for row in found.rows}
        assert sizes == {name: (ring(int(Path(name).name[:2]), 2) > 0).sum() for name in sizes}
        assert any("look like outlines along an ellipse; none is filled" in note for note in found.notes)
    assert read_bundle(run.folder / "bundle").provenance["outlines"] == "no"
    assert yaml.safe_load((run.folder / "config.yaml").read_text(encoding="utf-8"))["data"]["outlines"] == "no"
    assert train(config, model=plain(), out=tmp_path / "run").fit.history == run.fit.history


@pytest.mark.slow
@pytest.mark.parametrize(("task", "thick"), [("auto", [2]), ("segmentation", [2]), ("auto", [2, 12])])
def test_a_run_whose_decision_was_left_to_it_goes_on_with_the_same_command(tmp_path: Path, task: str, thick: list[int]
                                                                           ) -> None:
    config = config_of(write_rings(tmp_path, thick=thick * (20 // len(thick))), task=task)
    run = train(config, model=plain(), out=tmp_path / "run")
    stored = yaml.safe_load((run.folder / "config.yaml").read_text(encoding="utf-8"))
    assert stored["data"]["outlines"] == ("yes" if thick == [2] else "no")
    assert train(config, model=plain(), out=tmp_path / "run").fit.history == run.fit.history
    other = "no" if thick == [2] else "yes"
    with pytest.raises(UsageError, match="data.outlines: "):
        train(config_of(tmp_path / "table.csv", task=task, **{"data.outlines": other}), model=plain(),
              out=tmp_path / "run")


def test_a_bundle_says_how_the_truth_is_read(tmp_path: Path) -> None:
    assert rule_of(mask_info(task="segmentation", provenance={"outlines": "no"})) is False
    assert rule_of(mask_info(task="segmentation", provenance={"outlines": "yes"})) is None
    assert rule_of(mask_info(task="segmentation")) is None
    assert rule_of(mask_info(task="heads", provenance={"outlines": "no"})) is None  # a head is never a ring
    table = write_rings(tmp_path, thick=[2] * 6)
    areas = {}
    for said in ("yes", "no"):
        made = mask_bundle(tmp_path / said, size=SHAPE, task="segmentation", provenance={"outlines": said})
        found = evaluate(made, table, resamples=20)
        assert isinstance(found, MaskEvaluation)
        areas[said] = found.rows[0].sizes.truth
        assert any("none is filled" in note for note in found.notes) == (said == "no")
    assert areas["no"] == (ring(0, 2) > 0).sum()
    assert areas["yes"] == pytest.approx(np.pi * 38 * 30, rel=0.02)


@pytest.mark.parametrize("said", ["yes", "no", "auto"])
def test_a_command_line_says_it_in_one_word(said: str) -> None:
    assert load_config(TrainConfig, overrides=[f"data.outlines={said}"]).data.outlines == said
    with pytest.raises(UsageError, match=r"data\.outlines"):
        load_config(TrainConfig, overrides=["data.outlines=perhaps"])


def test_a_turned_picture_is_among_the_reasons(tmp_path: Path) -> None:
    table = write_rings(tmp_path, thick=[12] * 20)
    exif = Image.Exif()
    exif[0x0112] = 3
    for name in ("03.png", "07.png"):
        with Image.open(tmp_path / name) as image:
            image.load()
            image.save(tmp_path / name, exif=exif.tobytes())
    found = prepare(config_of(table), model=plain())
    assert found.reasons["orientation"].startswith(
        "2 pictures are turned by their EXIF orientation and their masks are not: look at the overlays")
    assert found.reasons["orientation"].endswith("the first is 03.png")
