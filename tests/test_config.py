"""The config loader: YAML, overrides, and errors that name line, key and the nearest key."""

from pathlib import Path

import pytest
import torch
import yaml

from excite.config import differences, dump_yaml, load_config
from excite.errors import UsageError
from excite.jobs.kinds import with_defaults
from excite.jobs.scenes.sections import SceneConfig
from excite.jobs.sections import TrainConfig
from excite.jobs.volume_masks.sections import MaskedVolumeConfig
from excite.jobs.volumes.sections import VolumeConfig
from excite.models.classifier import create_model

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))
TASKS = {"hc18": "heads", "heads": "heads", "hippocampus": "volume_masks", "hybridsn": "scene",
         "renal_fibrosis": "volumes", "renal_fibrosis_average": "volumes", "renal_fibrosis_slices": "volumes",
         "renal_fibrosis_stack": "volumes", "renal_fibrosis_t1": "volumes", "scene": "scene",
         "ultrasound_planes": "auto"}
KINDS = {"scene": SceneConfig, "volumes": VolumeConfig, "volume_masks": MaskedVolumeConfig}


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_shipped_recipe_loads(file: Path) -> None:
    task = TASKS[file.stem]
    assert load_config(KINDS.get(task, TrainConfig), file).task == task  # type: ignore[type-var]


def test_what_fusion_has_to_beat_is_trained_as_the_fusion() -> None:
    recipes = {file.stem: load_config(VolumeConfig, file) for file in CONFIGS if file.stem.startswith("renal_fibrosis")}
    fusion = recipes.pop("renal_fibrosis")
    assert len(recipes) == 4
    for recipe in recipes.values():
        assert (recipe.loop, recipe.loss, recipe.schedule, recipe.augment) == (fusion.loop, fusion.loss,
                                                                              fusion.schedule, fusion.augment)
        assert recipe.volumes.classes == fusion.volumes.classes and recipe.volumes.shape == fusion.volumes.shape
        with torch.device("meta"):
            create_model(recipe.model.name, dims=3, in_channels=len(recipe.volumes.maps or ()), num_classes=3,
                         **recipe.model.options)


def test_the_recipe_of_the_heads_paper_is_what_was_published() -> None:
    file = next(file for file in CONFIGS if file.stem == "hc18")
    config = load_config(TrainConfig, file)
    assert "the encoder at 1e-5, the rest at 1e-3 as before" in file.read_text(encoding="utf-8")  # two rates, not one
    optim, augment, loss = config.optim, config.augment, config.loss
    assert (optim.name, optim.lr, optim.weight_decay, optim.lr * optim.trunk_lr) == ("adamw", 1e-3, 1e-4, 1e-5)
    assert (config.schedule.name, config.schedule.patience, config.schedule.gamma) == ("plateau", 5, 0.5)
    assert (augment.horizontal_flip, augment.rotation, augment.scale, augment.shift) == (0.5, 20, 0.1, 0.1)
    assert (loss.name, loss.dice_weight, loss.bce_weight) == ("dice_bce", 0.5, 0.5)
    assert 10 <= config.loop.freeze_epochs <= 20 and config.loop.trunk_statistics == "frozen"


def test_the_shipped_recipe_of_heads_is_what_train_does_by_itself() -> None:
    own = with_defaults(TrainConfig(), "heads")
    shipped = load_config(TrainConfig, next(file for file in CONFIGS if file.stem == "heads"))
    skipped = {"augment"}  # written out there; the general ones are near enough
    told = differences(*(one.model_dump(mode="json", exclude=skipped) for one in (own, shipped)))
    assert told == []


def test_the_shipped_recipe_of_scenes_is_what_train_does_by_itself() -> None:
    file = next(file for file in CONFIGS if file.stem == "scene")
    own, shipped = SceneConfig(), load_config(SceneConfig, file)
    assert differences(own.model_dump(mode="json"), shipped.model_dump(mode="json")) == []
    written = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert set(written) == set(SceneConfig.model_fields)
    for name in ("scene", "split", "reduction", "augment", "model"):
        assert set(written[name]) == set(type(getattr(own, name)).model_fields), name


def test_the_recipe_of_hybridsn_is_what_was_published() -> None:
    config = load_config(SceneConfig, next(file for file in CONFIGS if file.stem == "hybridsn"))
    split, reduction, optim, loop = config.split, config.reduction, config.optim, config.loop
    assert (split.kind, split.train, split.seed) == ("random", 0.3, 345) and split.val > 0
    assert (reduction.kind, reduction.components, reduction.whiten, reduction.scale) == ("pca", 30, True, "none")
    assert (reduction.fit_on, config.window, config.border) == ("all pixels", 25, "zero")
    assert (optim.name, optim.lr, optim.weight_decay, config.schedule.name) == ("adam", 1e-3, 0, "constant")
    assert (loop.batch_size, loop.epochs, loop.precision) == (256, 100, "float32")
    assert (loop.ema, loop.early_stopping, config.augment.enabled) == (0, None, False)
    assert (config.model.name, config.model.dropout, config.model.attention) == ("hybridsn", 0.4, None)
    assert (config.loss.name, config.loss.class_weights, config.loss.label_smoothing) == ("cross_entropy", "none", 0)


def test_the_source_recipe_is_what_was_published() -> None:
    config = load_config(TrainConfig, next(file for file in CONFIGS if file.stem == "ultrasound_planes"))
    optim = config.optim
    assert (optim.name, optim.lr, optim.momentum, optim.weight_decay) == ("sgd", 1e-3, 0.9, 0)
    assert (config.schedule.name, config.schedule.step_size, config.schedule.gamma) == ("step", 7, 0.1)
    assert (config.loop.batch_size, config.loop.epochs, config.loop.early_stopping) == (32, 30, 5)
    assert (config.preprocess.mode, config.preprocess.resize, config.preprocess.size) == ("crop", 256, 224)
    assert not config.augment.enabled and config.loss.class_weights == "none"


def test_defaults_then_file_then_values_then_set(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("optim: {lr: 1e-3, momentum: 0.5}\nseed: 7\n", encoding="utf-8")
    config = load_config(TrainConfig, file, values={"optim.lr": 0.5, "seed": None}, overrides=["optim.lr=2e-2"])
    assert config.optim.lr == 0.02  # YAML reads 2e-2 as text: it must arrive as a number
    assert (config.optim.momentum, config.seed, config.optim.name) == (0.5, 7, "adamw")


@pytest.mark.parametrize(("text", "message"), [
    ("optim:\n  lrr: 0.1\n", r"a\.yaml: line 2: unknown key 'optim.lrr'; did you mean 'optim.lr'"),
    ("lop: {}\n", r"line 1: unknown key 'lop'; did you mean 'loop'"),
    ("model:\n  attention:\n    knid: se\n", r"line 3: unknown key .*; did you mean 'model.attention.kind'"),
    ("loop:\n  epochs: 0\n", r"line 2: loop.epochs: .*greater than or equal to 1, got 0"),
    ("optim: {name: sdg}\n", r"optim.name: .*'sgd', 'adam' or 'adamw', got 'sdg'"),
    ("seed: 1\nseed: 2\n", r"line 2: seed is given twice"),
    ("- 1\n", "must hold a mapping"),
    ("seed: [1\n", "not YAML"),
    ("split: {val: 0.5, test: 0.5}\n", "must leave something for training"),
])
def test_a_fault_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        load_config(TrainConfig, file)


@pytest.mark.parametrize(("override", "message"), [
    ("optim.lr", "takes key=value"), ("optim.l=1", "did you mean 'optim.lr'"), ("seed.x=1", "unknown|valid integer"),
    ("optim.lr=abc", "valid number.*got 'abc'"), ("optim.lr=[", "cannot be read"),
])
def test_a_wrong_override_is_an_error(override: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_config(TrainConfig, overrides=[override])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.yaml: config file does not exist"):
        load_config(TrainConfig, tmp_path / "gone.yaml")


def test_a_dumped_config_reads_back_the_same(tmp_path: Path) -> None:
    config = load_config(TrainConfig, overrides=["model.attention.kind=se", "preprocess.size=96"])
    file = tmp_path / "b.yaml"
    file.write_text(dump_yaml(config), encoding="utf-8")
    assert load_config(TrainConfig, file) == config


def test_differences_name_every_leaf() -> None:
    old, new = yaml.safe_load("a: {b: 1, c: 2}\nd: 3"), yaml.safe_load("a: {b: 1, c: 5}\ne: 4")
    assert differences(old, new) == ["a.c: 2 -> 5", "d: 3 -> None", "e: None -> 4"]
