"""A bundle is written whole or not at all, and nothing wrong in it goes unnoticed."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bundles import CLASSES, linear_bundle, linear_info, seal
from excite.deploy import bundle as module
from excite.deploy.bundle import find_bundle, read_bundle, update_bundle, write_bundle
from excite.errors import EnvironmentFault, ModelError, UsageError
from excite.metrics.evaluation import evaluate
from mask_bundles import mask_bundle

FILES = {"weights.safetensors", "model.onnx", "bundle.json", "card.md", "bundle.sha256"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return linear_bundle(tmp_path / "model")


def changed(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    """Change bundle.json and make the checksums fit."""
    tree = json.loads((folder / "bundle.json").read_text())
    change(tree)
    (folder / "bundle.json").write_text(json.dumps(tree))
    seal(folder)


def test_what_is_written_reads_back(folder: Path) -> None:
    info = read_bundle(folder)
    assert {file.name for file in folder.iterdir()} == FILES
    assert info.classes == CLASSES and info.temperature == 1.0
    assert set(info.sha256) == FILES - {"bundle.json", "bundle.sha256"}
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(".")]  # nothing left behind


def test_sha256sum_agrees(folder: Path) -> None:
    done = subprocess.run(["sha256sum", "-c", "bundle.sha256"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("OK") == 4


@pytest.mark.parametrize("name", sorted(FILES - {"bundle.sha256"}))
def test_one_flipped_bit_is_found_and_the_file_named(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 4
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=rf"{name}: the file is damaged or was changed"):
        read_bundle(folder)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        read_bundle(folder)


def test_a_list_of_checksums_without_a_file_is_refused(folder: Path) -> None:
    (folder / "bundle.sha256").write_text("")
    with pytest.raises(ModelError, match="bundle.json: the file has no checksum"):
        read_bundle(folder)


@pytest.mark.parametrize(("key", "value", "message"), [
    ("format_version", 2, "bundle format 2 is unknown .this excite reads format 1.; use the excite that wrote"),
    ("temprature", 1.0, "unknown key 'temprature'.*did you mean 'temperature'"),
    ("classes", ["one", "one"], "classes must be at least two different texts"),
    ("classes", ["one", 2], "classes must be at least two different texts"),
    ("classes", "benign", "classes must be"),
    ("views", "four", "views must be one or flip, got 'four'"),
    ("temperature", 0, "temperature must be a positive number, got 0"),
    ("temperature", "1", "temperature must be a positive number"),
    ("task", "regression", "task must be classification, segmentation, heads, scene, volumes, volume_masks, got"),
    ("preprocess", [], "preprocess must be a mapping"),
    ("model", {"name": "x", "num_classes": 5}, "5 outputs, but there are 3 classes"),
])
def test_what_cannot_be_used_is_refused(folder: Path, key: str, value: object, message: str) -> None:
    changed(folder, lambda tree: tree.update({key: value}))
    with pytest.raises(ModelError, match=message):
        read_bundle(folder)


def test_a_lacking_key_is_named(folder: Path) -> None:
    changed(folder, lambda tree: tree.pop("preprocess"))
    with pytest.raises(ModelError, match="bundle.json lacks preprocess"):
        read_bundle(folder)


def test_bundle_json_that_is_no_json(folder: Path) -> None:
    (folder / "bundle.json").write_text("{")
    with pytest.raises(ModelError, match="damaged"):
        read_bundle(folder)


def test_class_names_hold_any_text(tmp_path: Path) -> None:
    names = ("=1+1", "Größe > 3", 'a "quoted", name', "NA", "007", "", "|\n# no heading")
    folder = linear_bundle(tmp_path / "odd", names)
    assert read_bundle(folder).classes == names
    assert "\n# no heading" not in (folder / "card.md").read_text(encoding="utf-8")


def test_an_update_keeps_the_network_and_renews_card_and_checksums(folder: Path) -> None:
    before = (folder / "model.onnx").read_bytes()
    update_bundle(folder, temperature=1.7, provenance={"temperature": {"n": 40, "nll_before": 0.9, "nll_after": 0.8}})
    assert read_bundle(folder).temperature == 1.7
    assert (folder / "model.onnx").read_bytes() == before
    card = (folder / "card.md").read_text()
    assert "temperature 1.700" in card and "40 validation images" in card
    assert "more confident than they should be" in card


def test_absolute_paths_do_not_leave_the_machine(tmp_path: Path) -> None:
    provenance = {"table": "/home/jane.doe/patients/busi.csv", "more": [r"C:\Users\Jane\x.csv", "a/b.csv", "/"],
                  "licence": "CC BY 4.0 / MIT"}
    folder = linear_bundle(tmp_path / "model", provenance=provenance)
    assert read_bundle(folder).provenance == {"table": "busi.csv", "more": ["x.csv", "a/b.csv", "/"],
                                              "licence": "CC BY 4.0 / MIT"}
    assert "jane" not in "".join(file.read_bytes().decode("latin-1").lower() for file in folder.iterdir())


def test_a_number_that_is_not_finite_is_refused_and_the_old_bundle_stays(folder: Path) -> None:
    with pytest.raises(ModelError, match="cannot hold these values"):
        update_bundle(folder, metrics={"accuracy": float("nan")})
    assert read_bundle(folder).metrics == {}
    assert not list(folder.parent.glob(".*"))


@pytest.mark.parametrize("at", range(3))
def test_a_fault_at_any_rename_loses_nothing(folder: Path, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    rename = Path.rename

    def broken(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls > at:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", broken)
        if at < 2:
            with pytest.raises(EnvironmentFault, match="cannot be written"):
                update_bundle(folder, temperature=2.0)
        else:
            update_bundle(folder, temperature=2.0)
    there = folder if folder.exists() else folder.with_name(f".{folder.name}.previous")
    assert read_bundle(there).temperature == (2.0 if at == 2 else 1.0)
    parts = folder.with_name("model-parts")
    write_bundle(folder, linear_info(temperature=3.0), weights=parts / "weights.safetensors", onnx=parts / "model.onnx")
    assert read_bundle(folder).temperature == 3.0
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".")] == []


def test_a_disk_that_is_full_leaves_the_old_bundle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.shutil, "copyfile", full)
    with pytest.raises(EnvironmentFault, match="No space left.*free some disk space"):
        update_bundle(folder, temperature=2.0)
    assert read_bundle(folder).temperature == 1.0


def test_other_files_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.docx").write_text("three years")
    with pytest.raises(UsageError, match="other files and no bundle; name an empty or new folder"):
        linear_bundle(tmp_path / "thesis")
    assert [file.name for file in (tmp_path / "thesis").iterdir()] == ["thesis.docx"]


def test_a_run_leads_to_its_bundle(tmp_path: Path) -> None:
    linear_bundle(tmp_path / "run" / "bundle")
    assert find_bundle(tmp_path / "run") == tmp_path / "run" / "bundle"


@pytest.mark.parametrize("name", ["best.pt", "model.pkl", "weights.npy", "model.onnx"])
def test_a_single_file_is_no_bundle_and_is_not_opened(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    with pytest.raises(ModelError, match="a file, not a bundle folder .pickled models are never read"):
        find_bundle(file)


def test_where_there_is_no_bundle_the_reason_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        find_bundle(tmp_path / "none")
    with pytest.raises(ModelError, match="bundle.json is missing"):
        find_bundle(tmp_path)
    (tmp_path / "config.yaml").touch()
    with pytest.raises(ModelError, match="this run has no bundle yet .its training has not ended"):
        find_bundle(tmp_path)


def test_the_card_tells_numbers_limits_and_licence(tmp_path: Path) -> None:
    interval = {"value": 0.834, "low": 0.771, "high": 0.894, "note": None}
    undefined = {"value": None, "low": None, "high": None, "note": "one class only"}
    metrics = {"part": "test", "n": 156, "n_units": 120, "unit_kind": "near-duplicate cluster", "classes": [*CLASSES],
               "metrics": {"balanced_accuracy": interval, "auroc_macro": undefined},
               "per_class": {"malignant": {"recall": interval, "support": 40}}, "notes": ["simulated data"]}
    folder = linear_bundle(tmp_path / "model", metrics=metrics, provenance={
        "data": {"images": 780}, "weights": {"licence": "BSD-3-Clause", "source": "torchvision"}})
    card = (folder / "card.md").read_text()
    for text in ("| balanced accuracy | 0.834 | 0.771 to 0.894 |", "| auroc macro | not defined | one class only |",
                 "| recall of malignant | 0.834", "156 images, 120 units (near-duplicate cluster)", "simulated data",
                 "Research and education only; not a medical device", "BSD-3-Clause", "images: 780", "not compared"):
        assert text in card, text


def test_the_card_begins_with_what_is_not_shown(tmp_path: Path) -> None:
    """The note is the evaluation's own, so that both keep the same words."""
    draw = np.random.default_rng(0)
    found = evaluate(np.repeat([0, 1, 2], [30, 10, 10]), draw.dirichlet((1, 1, 1), 50), CLASSES,
                     [str(place) for place in range(50)], part="test", unit_kind="image", resamples=50)
    (note,) = found.unproven
    card = (linear_bundle(tmp_path / "model", metrics=found.to_json()) / "card.md").read_text()
    assert card.count(note.split(":")[0]) == 1
    assert f"## How good it is\n\n**Beware: {note.split(':')[0]}" in card


@pytest.mark.parametrize(("count", "rough"), [(99, True), (100, False)])
def test_the_card_tells_a_temperature_that_rests_on_little(folder: Path, count: int, rough: bool) -> None:
    update_bundle(folder, temperature=1.7, provenance={"temperature": {"n": count}})
    card = (folder / "card.md").read_text()
    assert f"Calibrated on {count} validation images" in card and ("too few to trust" in card) == rough


@pytest.mark.parametrize(("changes", "message"), [
    ({"classes": ()}, r"classes must be one text, got \[\]"),
    ({"classes": ("head", "other")}, "classes must be one text"),
    ({"task": "segmentation", "classes": ()}, "classes must be at least one text"),
    ({"task": "segmentation", "classes": ("a", "a")}, "classes must be at least one text, all different"),
    ({"thresholds": {"level": 1}}, "thresholds.level must be above 0 and below 1, got 1"),
    ({"thresholds": {"level": True}}, "thresholds.level must be above 0"),
    ({"thresholds": []}, "thresholds must be a mapping"),
    ({"temperature": 1.5}, "temperature must be 1 for masks, got 1.5"),
    ({"interval": {"level": 0.9}}, "an interval must have the numbers"),
    ({"interval": {"level": 0.9, "quantile": -1, "base_mm": 1, "n": 9}}, "an interval must have"),
    ({"interval": []}, "interval must be a mapping"),
    ({"task": "segmentation", "interval": {"level": 0.9}}, "interval must be empty for segmentation"),
])
def test_a_mask_bundle_with_what_cannot_be_is_not_written(tmp_path: Path, changes: dict[str, object],
                                                          message: str) -> None:
    with pytest.raises(ModelError, match=message):
        mask_bundle(tmp_path / "b", **changes)
    assert not (tmp_path / "b").exists()


def test_a_bundle_from_before_masks_still_loads(folder: Path) -> None:
    tree = json.loads((folder / "bundle.json").read_text())
    del tree["interval"]
    (folder / "bundle.json").write_text(json.dumps(tree))
    seal(folder)
    assert read_bundle(folder).interval == {} and read_bundle(folder).task == "classification"


def test_the_card_of_masks_tells_level_interval_and_plain_numbers(tmp_path: Path) -> None:
    rows = {"adf_mm": "2.290 [1.910, 2.740]", "dice": {"value": 0.9733, "low": 0.97, "high": 0.976, "note": None},
            "hd_mm": "no interval"}
    interval = {"level": 0.9, "quantile": 1.5, "base_mm": 2.0, "n": 40}
    metrics = {"part": "test", "n": 150, "n_units": 90, "unit_kind": "examination", "metrics": rows, "notes": ["few"]}
    card = (mask_bundle(tmp_path / "b", thresholds={"level": 0.45}, interval=interval, metrics=metrics) / "card.md"
            ).read_text()
    for text in ("| adf mm | 2.290 | 1.910, 2.740 |", "| dice | 0.973 | 0.970 to 0.976 |", "| hd mm | no interval |",
                 "150 images, 90 units (examination)", "- few", "probability of 0.45 on",
                 "truth of 90 % of new pictures like the 40", "fits an ellipse", "it does not judge the plane",
                 "Research and education only", "not compared"):
        assert text in card, text
    assert "classes a picture belongs to" not in card
    plain = mask_bundle(tmp_path / "c", task="segmentation", classes=("lesion",), metrics={"dice": "0.8 [0.7, 0.9]"})
    text = (plain / "card.md").read_text()
    assert "| dice | 0.8 | 0.7, 0.9 |" in text and "whether it is lesion" in text
    assert "the bundle holds no evaluation" in (mask_bundle(tmp_path / "d") / "card.md").read_text()
