"""Explanations from bundle and files to pictures: at the files' own size, of what the bundle says, and doubts told."""

import json
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from excite.data.preprocess import Preprocess
from excite.data.sections import PreprocessSection
from excite.deploy.bundle import ONNX, WEIGHTS, BundleInfo, read_bundle, write_bundle
from excite.deploy.runtime import Predictor
from excite.deploy.ship import export_bundle
from excite.errors import DataError, ModelError, UsageError
from excite.jobs.explain.explain import explain_files
from excite.jobs.explain.heat import overlaid, placed
from excite.jobs.explain.png import png
from excite.models.classifier import create_model
from excite.outcome.maps import Place

SIZE, CLASSES = 32, ("empty", "square")


def squares(folder, count=8, *, size=(48, 64)):
    """Write dark noisy pictures, every second one with a bright square; return files and where it is, or None."""
    folder.mkdir(parents=True)
    files, boxes, random = [], [], np.random.default_rng(len(str(count)))
    for place in range(count):
        picture, box = random.integers(0, 60, size), None
        if place % 2:
            row, column = (int(random.integers(2, side - 16)) for side in size)
            box = slice(row, row + 14), slice(column, column + 14)
            picture[box] = 230
        files.append(folder / f"scan {place}.png")
        boxes.append(box)
        Image.fromarray(picture.astype(np.uint8)).save(files[-1])
    return files, boxes


def trained(images, labels, *, steps=60):
    """Return a small network that finds the square after some steps."""
    torch.manual_seed(0)
    model = create_model("resnet20", in_channels=1, num_classes=2).train()
    best = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(steps):
        best.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        best.step()
    return model.eval()


@pytest.fixture(scope="module")
def square_bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("squares")
    files, boxes = squares(folder / "train", 24)
    preprocess = Preprocess(PreprocessSection(size=SIZE, channels=1, mean=(0.2,), std=(0.25,)))
    images = np.stack([preprocess(np.asarray(Image.open(file))[None]) for file in files])
    model = trained(torch.from_numpy(images), torch.tensor([int(box is not None) for box in boxes]))
    info = BundleInfo(name="squares", classes=CLASSES, preprocess=preprocess.to_json(),
                      model={"name": "resnet20", "in_channels": 1, "num_classes": 2})
    export_bundle(model, folder / "bundle", info=info, images=images[:8])
    return folder / "bundle"


def other(folder, bundle, **changes):
    """Return a copy of a bundle with other fields in its info."""
    write_bundle(folder, replace(read_bundle(bundle), **changes), weights=bundle / WEIGHTS, onnx=bundle / ONNX)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gradcam", "occlusion"])
def test_pictures_have_the_files_size_and_the_predictions_answer(square_bundle, tmp_path, method):
    files, boxes = squares(tmp_path / "new", 6)
    found = explain_files(square_bundle, files, out=tmp_path / "out", checks=0, threads=1, method=method,
                    layer="backbone.stages.2" if method == "gradcam" else None)
    assert (found.n, found.failed, found.counts) == (6, 0, {"empty": 3, "square": 3})
    tree = json.loads((tmp_path / "out" / "explanations.json").read_text(encoding="utf-8"))
    for file, box, one in zip(files, boxes, tree["explanations"], strict=True):
        said = Predictor(square_bundle, threads=1)([file])[0]
        assert one["label"] == one["explained"] == said.label == CLASSES[box is not None]
        assert one["probability"] == pytest.approx(said.probabilities[said.label], abs=1e-4)
        drawn, plain = (np.asarray(Image.open(path).convert("RGB")).astype(float) for path in (one["files"][0], file))
        assert drawn.shape == plain.shape == (48, 64, 3)
        if box is not None and method == "occlusion":  # Grad-CAM's own maps are tested with networks that are built
            changed = np.abs(drawn - plain).sum(2)
            assert changed[box].mean() > 3 * changed.mean()
            [told] = [note for note in one["notes"] if note.startswith("hiding the brightest place takes")]
            lost = float(told.split()[5])  # a small window takes little of a square that fills several
            assert 0 <= lost <= one["probability"] and ("next to nothing" in told) == (lost < 0.05)


@pytest.mark.slow
def test_checks_page_and_json_tell_the_same(square_bundle, tmp_path):
    files, _ = squares(tmp_path / "new", 4)
    given = []
    found = explain_files(square_bundle, files, out=tmp_path / "out", checks=2, threads=1, each=given.append)
    assert found.checked == 2
    one = json.loads((tmp_path / "out" / "explanations.json").read_text(encoding="utf-8"))["explanations"]
    assert ["checks" in entry for entry in one] == [True, True, False, False]
    checks = one[0]["checks"]
    assert len(checks["deletion"]["random_areas"]) == 19
    assert [depth["layers"] for depth in checks["randomisation"]["depths"]][0] == 1
    assert len(checks["randomisation"]["depths"]) == 5
    assert checks["randomisation"]["words"].startswith("networks with random weights give other pictures")
    page = found.page.read_text(encoding="utf-8")
    assert all(words in page for words in given[0].checks.words)
    assert page.count("data:image/jpeg") == 4
    assert found.doubted == sum(not entry["checks"]["deletion"]["passed"] for entry in one[:2])


@pytest.mark.slow
def test_a_network_that_hardly_sees_its_input_is_told(square_bundle, tmp_path):
    files, _ = squares(tmp_path / "new", 4)
    preprocess = Preprocess.from_json(json.loads((square_bundle / "bundle.json").read_text())["preprocess"])
    images = np.stack([preprocess(np.asarray(Image.open(file))[None]) for file in files])
    torch.manual_seed(1)
    model = create_model("resnet20", in_channels=1, num_classes=2).eval()
    model.classifier.weight.data *= 0.01
    info = BundleInfo(name="fresh", classes=CLASSES, preprocess=preprocess.to_json(),
                      model={"name": "resnet20", "in_channels": 1, "num_classes": 2})
    export_bundle(model, tmp_path / "fresh", info=info, images=images)
    found = explain_files(tmp_path / "fresh", files, out=tmp_path / "out", checks=4, threads=1)
    assert found.doubted == 4
    page = found.page.read_text(encoding="utf-8")
    assert "None of the 4 checked pictures passed its checks. Do not read these pictures as reasons." in page
    assert "the answer hardly depends on this file" in page


def test_a_mirror_image_counts_as_in_the_prediction(square_bundle, tmp_path):
    files, _ = squares(tmp_path / "new", 2)
    bundle = other(tmp_path / "flip", square_bundle, views="flip", temperature=2.0)
    explain_files(bundle, files, out=tmp_path / "out", checks=0, threads=1, page=False)
    one = json.loads((tmp_path / "out" / "explanations.json").read_text(encoding="utf-8"))["explanations"][0]
    said = Predictor(bundle, threads=1)([files[0]])[0]
    assert one["probability"] == pytest.approx(max(said.probabilities.values()), abs=1e-4)
    assert not (tmp_path / "out" / "explain.html").exists()


def test_files_that_fail_are_told_and_the_rest_is_done(square_bundle, tmp_path):
    files, _ = squares(tmp_path / "new", 2)
    broken = tmp_path / "new" / "broken.png"
    broken.write_bytes(b"no picture")
    found = explain_files(square_bundle, [files[0], broken, files[1]], out=tmp_path / "out", checks=0, threads=1)
    assert (found.n, found.failed) == (3, 1)
    entries = json.loads((tmp_path / "out" / "explanations.json").read_text(encoding="utf-8"))["explanations"]
    assert ["error" in entry for entry in entries] == [False, True, False]
    assert str(broken) in entries[1]["error"]
    with pytest.raises(DataError, match="1 of 3 files could not be used") as told:
        found.raise_failures()
    assert told.value.exit_code == 3


def test_another_class_and_what_cannot_be(square_bundle, tmp_path):
    files, _ = squares(tmp_path / "new", 1)
    given = []
    explain_files(square_bundle, files, out=tmp_path / "out", label="square", checks=0, threads=1, each=given.append)
    said = Predictor(square_bundle, threads=1)([files[0]])[0]
    assert (given[0].predicted, given[0].explained) == ("empty", "square")
    assert given[0].probability == pytest.approx(said.probabilities["square"], abs=1e-4)
    with pytest.raises(UsageError, match="the network has no class 'sqare'; did you mean 'square'"):
        explain_files(square_bundle, files, out=tmp_path / "out", label="sqare")
    with pytest.raises(UsageError, match="the network has no layer 'backbone.stage.1'; did you mean 'backbone.stages"):
        explain_files(square_bundle, files, out=tmp_path / "out", layer="backbone.stage.1")
    with pytest.raises(UsageError, match="method must be gradcam or occlusion, got 'integrated'"):
        explain_files(square_bundle, files, out=tmp_path / "out", method="integrated")
    with pytest.raises(UsageError, match="the folder holds other files and no explanations"):
        explain_files(square_bundle, files, out=tmp_path / "new")
    with pytest.raises(DataError, match="there is no image to explain"):
        explain_files(square_bundle, [square_bundle], out=tmp_path / "out")


def test_a_network_unlike_the_bundles_onnx_file_is_refused(square_bundle, tmp_path):
    files, _ = squares(tmp_path / "new", 1)
    state = load_file(square_bundle / "weights.safetensors")
    state["classifier.weight"] = state["classifier.weight"] * 1.01
    save_file(state, tmp_path / "weights.safetensors")
    write_bundle(tmp_path / "odd", read_bundle(square_bundle), weights=tmp_path / "weights.safetensors",
                 onnx=square_bundle / ONNX)
    with pytest.raises(ModelError, match="the network in torch says something else than the bundle's model.onnx"):
        explain_files(tmp_path / "odd", files, out=tmp_path / "out", threads=1)


def test_importance_lies_where_the_cell_lies_in_the_file():
    preprocess = Preprocess(PreprocessSection(size=32, channels=1, mean=(0.0,), std=(1.0,)))
    shape = (60, 120)
    cells = np.zeros((8, 8), np.float32)
    cells[3, 1] = 1.0  # of a letterbox: rows 8 to 24 of the input show the picture
    found = placed(cells, Place(preprocess.inverse((1, *shape)), shape), (32, 32))
    row, column = np.unravel_index(found.argmax(), shape)
    assert found.shape == shape
    assert (row, column) == pytest.approx(((14 - 8) * 60 / 16 - 0.5, 6 * 120 / 32 - 0.5), abs=2)


def test_a_png_holds_every_pixel():
    picture = np.random.default_rng(0).integers(0, 256, (7, 5, 3)).astype(np.uint8)
    assert np.array_equal(np.asarray(Image.open(BytesIO(png(picture)))), picture)
    assert np.array_equal(np.asarray(Image.open(BytesIO(png(picture[:1, :1])))), picture[:1, :1])


def test_nothing_is_drawn_where_nothing_counts():
    image = np.random.default_rng(0).integers(0, 256, (1, 20, 30)).astype(np.uint8)
    importance = np.zeros((20, 30), np.float32)
    importance[5, 6] = 1.0
    drawn = overlaid(image, importance, value_range=(0, 255))
    same = (drawn == image[0][..., None]).all(axis=2)
    assert same.sum() == 20 * 30 - 1
    assert not same[5, 6]


def test_its_own_pictures_are_not_explained_and_every_checked_one_counts(square_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("excite.jobs.explain.explain.SHOWN", 1)
    files, _ = squares(tmp_path / "scans", 2)
    for _ in range(2):
        found = explain_files(square_bundle, [tmp_path / "scans"], out=tmp_path / "scans" / "why", checks=2, page=False)
        assert (found.n, found.checked) == (2, 2)
    assert len(list((tmp_path / "scans").rglob("*.png"))) == 2 * len(files)
