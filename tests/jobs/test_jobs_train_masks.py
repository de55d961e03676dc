"""A training on masks ends with a bundle that measures: bright ellipses, in HC18's format and as regions."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from excite.attention.plan import AttentionPlan
from excite.config import load_config
from excite.deploy.runtime import Predictor
from excite.ellipse import Ellipse
from excite.engine.loop import fit
from excite.errors import DataError, UsageError
from excite.jobs.estimate import dry_run
from excite.jobs.prepare import Prepared, prepare
from excite.jobs.sections import TrainConfig
from excite.jobs.train import Run, train
from excite.metrics.mask_evaluation import MaskEvaluation
from excite.models.mobilenet_v2 import MobileNetV2
from excite.models.unet import UNet
from excite.outcome.heads import HeadPrediction
from excite.outcome.masks import MaskPrediction

SHAPE, SPACING = (90, 130), 0.8
SETTINGS: dict[str, object] = {
    "preprocess.size": (64, 96), "loop.batch_size": 4, "loop.threads": 1, "loop.precision": "float32",
    "loop.ema": 0.0, "predict.parity_images": 4, "split.test": 0.25, "split.val": 0.3, "model.weights": "none"}


def pictures(folder: Path, count: int = 40) -> dict[str, Ellipse]:
    """Write HC18's folder of bright ellipses, and the same as regions beside a table; return the truths."""
    random, truths, lines = np.random.default_rng(0), {}, []
    (folder / "training_set").mkdir(parents=True)
    y, x = np.indices(SHAPE)
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    for number in range(count):
        ellipse = Ellipse(65 + random.uniform(-8, 8), 45 + random.uniform(-5, 5), random.uniform(28, 38),
                          random.uniform(20, 27), random.uniform(0, np.pi))
        inside = ellipse.coverage(SHAPE)
        marks = cv2.resize(random.uniform(-45, 45, (12, 17)), SHAPE[::-1])  # or all would look alike, and stay together
        picture = 60 + 120 * inside + marks + random.normal(0, 6, SHAPE)
        stroke = np.abs(ellipse.distances(points)).reshape(SHAPE) <= 1.2
        name = f"{number // 2:03d}_{'' if number % 2 == 0 else '2'}HC"
        for file, pixels in ((name, picture), (f"{name}_Annotation", 255 * stroke),
                             (f"{name}_region", 255 * (inside > 0.5))):
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / "training_set" / f"{file}.png")
        truths[f"{name}.png"] = ellipse
        lines.append((f"{name}.png", SPACING, ellipse.scaled(SPACING, SPACING).circumference))
    write(folder / "training_set_pixel_size_and_HC.csv",
          [("filename", "pixel size(mm)", "head circumference (mm)"), *lines])
    rows = [(f"training_set/{name}", f"training_set/{name[:-4]}_region.png", name[:3], SPACING) for name, *_ in lines]
    write(folder / "regions.csv", [("image", "mask", "group", "spacing"), *rows])
    return truths


def write(file: Path, rows: list[tuple[object, ...]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)


def little() -> UNet:
    torch.manual_seed(0)
    return UNet(MobileNetV2(1, width=0.25), channels=(32, 16, 16, 8), finest=2, up="linear",
                attention=AttentionPlan(options={"reduction": 4}))


def plain() -> nn.Module:
    """Return what can learn brightness in a few steps."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 5, padding=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 1, 5, padding=2))


@dataclass(frozen=True, kw_only=True)
class Made:
    """A finished run on heads."""

    folder: Path
    truths: dict[str, Ellipse]
    run: Run
    network: nn.Module

    def config(self, table: str = ".", **changes: object) -> TrainConfig:
        own = {"data.table": self.folder / table, "cache.folder": self.folder / "cache", "loop.epochs": 8,
               "optim.lr": 0.01, "augment.rotation": 5, "augment.brightness": 0, "augment.contrast": 0,
               "augment.gamma": 0}
        config: TrainConfig = load_config(TrainConfig, values=SETTINGS | own | changes)
        return config


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("heads")
    found = Made(folder=folder, truths=pictures(folder), run=None, network=plain())  # type: ignore[arg-type]
    run = train(found.config(), model=found.network, out=folder / "run")
    return Made(folder=folder, truths=found.truths, run=run, network=found.network)


def test_heads_are_measured_in_millimetres_on_unseen_examinations(made: Made) -> None:
    evaluation = made.run.evaluation
    assert isinstance(evaluation, MaskEvaluation) and evaluation.task == "heads"
    assert evaluation.metrics["found"].value == 1 and evaluation.metrics["dice"].value > 0.95
    mean = np.mean([ellipse.scaled(SPACING, SPACING).circumference for ellipse in made.truths.values()])
    assert evaluation.metrics["adf_mm"].value < 0.03 * mean
    config = made.run.manifest
    units = made.run.split.units
    parts = made.run.split.parts
    assert not {units[row] for row in parts["test"]} & {units[row] for row in parts["train"]}
    assert len(config.rows) == sum(map(len, parts.values()))


def test_the_bundle_holds_level_and_interval_and_predicts_what_was_evaluated(made: Made) -> None:
    predictor = Predictor(made.run.folder)
    assert predictor.info.task == "heads" and predictor.info.classes == ("head",)
    assert 0.3 <= predictor.info.level <= 0.7
    val, test = (len(made.run.split.parts[part]) for part in ("val", "test"))
    assert predictor.info.interval["n"] == val != test  # both are fitted on the validation part
    assert f" {val} validation images" in predictor.info.provenance["level"]
    rows = [made.run.manifest.rows[row] for row in made.run.split.test]
    found = list(predictor.predict([made.run.manifest.path(row) for row in rows],
                                   spacings=[row.spacing for row in rows]))
    errors = []
    for row, one in zip(rows, found, strict=True):
        assert isinstance(one, HeadPrediction) and one.hc_mm is not None and one.interval_mm is not None
        assert one.interval_mm[0] < one.hc_mm < one.interval_mm[1]
        errors.append(abs(one.hc_mm - made.truths[Path(row.image).name].scaled(SPACING, SPACING).circumference))
    assert np.mean(errors) == pytest.approx(made.run.evaluation.metrics["adf_mm"].value, abs=0.15)


def test_the_report_shows_agreement_and_the_log_dice(made: Made) -> None:
    page = made.run.report.read_text(encoding="utf-8")
    assert "Bland" in page and "All images here are SIMULATED" not in page
    log = [json.loads(line) for line in (made.run.folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    dices = [event["val"]["dice"] for event in log if event["event"] == "epoch"]
    assert len(dices) == 8 and dices[-1] > dices[0]


def test_the_same_command_only_reports_again_and_another_table_is_refused(made: Made, tmp_path: Path) -> None:
    again = train(made.config(), model=plain(), out=made.run.folder)
    assert again.fit.history == made.run.fit.history
    with pytest.raises(UsageError, match="loss.dice_weight: 0.2 -> 0.7"):
        train(made.config(**{"loss.dice_weight": 0.7}), model=plain(), out=made.run.folder)


def test_a_table_of_regions_is_segmented_by_the_same_loop(made: Made, tmp_path: Path) -> None:
    config = made.config("regions.csv", **{"data.classes": ["lesion"]})
    run = train(config, model=plain(), out=tmp_path / "run")
    assert isinstance(run.evaluation, MaskEvaluation) and run.evaluation.task == "segmentation"
    assert run.evaluation.metrics["dice"].value > 0.9 and "adf_mm" not in run.evaluation.metrics
    one = Predictor(run.folder)(made.folder / "training_set" / "000_HC.png")[0]
    assert isinstance(one, MaskPrediction) and one.area_mm2 is None  # a file alone knows no pixel size
    area = np.pi * made.truths["000_HC.png"].a * made.truths["000_HC.png"].b
    assert one.area_px == pytest.approx(area, rel=0.3)


def test_what_cannot_be_trained_is_refused_before_the_first_epoch(made: Made, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="loop.sampler must be shuffle"):
        prepare(made.config(**{"loop.sampler": "balanced"}), model=little())
    rows = list(csv.reader((made.folder / "regions.csv").open(encoding="utf-8")))
    rows[3][1] = ""
    write(made.folder / "hole.csv", [tuple(row) for row in rows])
    with pytest.raises(DataError, match="no mask|no label"):
        prepare(made.config("hole.csv"), model=little())


def test_a_frozen_encoder_stays_bit_by_bit_and_its_statistics_for_good(made: Made, tmp_path: Path) -> None:
    """T1-1, T1-9: no gradient, no running statistics; in the second phase its kernels move, its statistics do not."""
    prepared = prepare(made.config(**{"loop.batch_size": 8}), model=little())
    rates = {"loop.epochs": 2, "loop.freeze_epochs": 1, "loop.trunk_statistics": "frozen", "loop.ema": 0.0}
    before = {name: value.clone() for name, value in prepared.model.state_dict().items()}
    moved = {epochs: _moved(prepared, before, made.config(**rates | {"loop.epochs": epochs}), tmp_path / str(epochs))
             for epochs in (1, 2)}
    assert not [name for name in moved[1] if name.startswith("encoder.")]
    assert [name for name in moved[1] if name.startswith("blocks.") and "running" in name]
    second = [name for name in moved[2] if name.startswith("encoder.")]
    assert [name for name in second if name.endswith("conv.weight")]
    assert not [name for name in second if "running" in name]


def _moved(prepared: Prepared, before: dict[str, Tensor], config: TrainConfig, folder: Path) -> list[str]:
    """Return the tensors that a training from the same start changes."""
    prepared.model.load_state_dict(before)
    fit(prepared.model, prepared.task, prepared.loader("train", train=True), prepared.loader("val"),
        optim=config.optim, schedule=config.schedule, loop=config.loop, seed=0, folder=folder, log=lambda event: None)
    return [name for name, value in prepared.model.state_dict().items() if not torch.equal(value, before[name])]


def test_a_rehearsal_says_the_recipe_that_the_kind_of_work_fills_in(made: Made) -> None:
    found = dry_run(made.config(**{"loop.batch_size": None, "loop.epochs": None, "preprocess.size": 64}))
    assert "batch 8, 40 epochs" in found["recipe"]
    assert found["task"].startswith("heads of head: every mask is an outline")
