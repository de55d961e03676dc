"""From a config to what training needs: the weights' own normalisation, the start of the gates, the classes."""

import itertools
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from excite.data.split import Split
from excite.errors import DataError, UsageError
from excite.jobs.prepare import _few_told, class_counts, prepare
from excite.models.classifier import create_model
from excite.weights import catalog
from runs import simulated_table, small_config


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated_table(tmp_path_factory.mktemp("planes"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of pretrained features, under excite's names."""
    torch.manual_seed(5)
    state = create_model("mobilenet_v2", num_classes=7, width=0.25).state_dict()
    file = tmp_path_factory.mktemp("weights") / "features.safetensors"
    save_file({key: value for key, value in state.items() if key.startswith("backbone.")}, file)
    return file


def test_without_weights_the_gates_start_as_in_the_paper_and_with_weights_open(table: Path, weights: Path) -> None:
    fresh = prepare(small_config(table, **{"model.attention.kind": "se"}))
    loaded = prepare(small_config(table, **{"model.attention.kind": "se", "model.weights": str(weights)}))
    assert fresh.model_record["attention"]["start"] == "paper"  # type: ignore[index]
    assert loaded.model_record["attention"]["start"] == "open"  # type: ignore[index]
    assert loaded.weights is not None and loaded.weights.percent == 100
    plain = prepare(small_config(table, **{"model.weights": str(weights)}))
    images = torch.from_numpy(plain.inputs(plain.split.val[:3]))
    features = [one.model.eval().backbone(images) for one in (plain, loaded)]
    assert torch.equal(*features) and float(features[0].detach().std()) > 0


def test_known_weights_bring_their_own_normalisation(table: Path, weights: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    row = catalog.Row(backbone="mobilenet_v2", tag="half", part="features", url=None, licence="x", source="x",
                      sha256=hashlib.sha256(weights.read_bytes()).hexdigest(), layout="excite",
                      preprocessing={"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "size": 224})
    monkeypatch.setattr(catalog, "CATALOG", (*catalog.CATALOG, row))
    found = prepare(small_config(table, **{"model.weights": str(weights)})).preprocess.to_json()
    assert (list(found["mean"]), list(found["std"])) == ([0.5] * 3, [0.25] * 3)
    asked = {"model.weights": str(weights), "preprocess.mean": [0.1] * 3, "preprocess.std": [0.2] * 3}
    assert list(prepare(small_config(table, **asked)).preprocess.to_json()["mean"]) == [0.1] * 3


def test_every_image_is_in_one_part_and_counted(table: Path) -> None:
    found = prepare(small_config(table))
    rows = sorted(row for part in found.split.parts.values() for row in part)
    assert rows == list(range(len(found.manifest.rows)))
    assert sum(sum(found.counts(part)) for part in found.split.parts) == len(rows)
    assert class_counts([0, 1, 1, 2], [1, 2, 3], 3) == [0, 2, 1]
    assert {"task", "network", "size", "split", "imbalance"} <= set(found.reasons)
    json.dumps(found.reasons)


def test_a_network_of_ones_own_is_taken_as_it_is(table: Path) -> None:
    own = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4))
    found = prepare(small_config(table), model=own)
    assert found.model is own and found.model_record == {} and found.weights is None


def test_classes_that_are_not_the_tables_are_refused(table: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data.classes are head, tail, the table's labels abdomen"):
        prepare(small_config(table, **{"data.classes": ["head", "tail"]}))
    ordered = prepare(small_config(table, **{"data.classes": ["thorax", "head", "femur", "abdomen"]}))
    assert ordered.classes == ("thorax", "head", "femur", "abdomen")
    assert {ordered.classes[number] for number in ordered.labels} == set(ordered.classes)


def test_one_class_is_refused(table: Path) -> None:
    lines = table.read_text(encoding="utf-8").splitlines()
    one = table.with_name("one.csv")
    one.write_text("\n".join([lines[0], *(line for line in lines[1:] if ",head," in line)]), encoding="utf-8")
    with pytest.raises(DataError, match=r"one\.csv: the table has 1 class \(labels: head\); a classifier needs"):
        prepare(small_config(one))


def test_no_table_is_a_usage_error() -> None:
    from excite.jobs.sections import TrainConfig

    with pytest.raises(UsageError, match="no table of images is given"):
        prepare(TrainConfig())


@pytest.mark.slow
@pytest.mark.real
def test_imported_weights_bring_their_normalisation_and_licence(table: Path, real_data: Path) -> None:
    """An import rewrites the file: its own sha256 is no published one, and it has to be known all the same."""
    from excite.weights.intake import take_in

    file = real_data / "weights" / "mobilenet_v2-imagenet-dequantised.safetensors"
    stored = take_in(file).path
    asked = {"model.options": {}, "model.weights": str(stored)}
    found = prepare(small_config(table, **asked))
    assert list(found.preprocess.to_json()["mean"]) == [0.5] * 3 and found.licence == "Apache-2.0"
    assert found.weights is not None and found.weights.percent == 100


@pytest.mark.parametrize(("kind", "sizes", "told"), [
    ("classification", (30, 12, 12), ""), ("heads", (30, 10, 12), ""),
    ("classification", (30, 3, 12), "3 in val: numbers of so few images say little"),
    ("heads", (30, 8, 2), "8 in val, 2 in test: numbers of so few images say little; circumferences will have no "
                          "interval: it takes 9 validation images")])
def test_parts_that_are_too_small_are_told_before_the_training(kind, sizes, told) -> None:
    edges = [0, sizes[0], sum(sizes[:2]), sum(sizes)]
    train, val, test = (tuple(range(first, last)) for first, last in itertools.pairwise(edges))
    split = Split(train=train, val=val, test=test, units=("u",) * sum(sizes), unit_kind="image", notes=())
    assert _few_told(kind, split) == told
