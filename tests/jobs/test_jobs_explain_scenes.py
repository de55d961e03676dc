"""Explanations of scenes: a file of bands for each class, whose parts sum to the logit over that of the mean."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from excite.deploy.bundle import update_bundle
from excite.deploy.scene_predictor import ScenePredictor
from excite.errors import UsageError
from excite.jobs.explain.explain import explain_files
from excite.jobs.scenes.predict import read_for
from scene_bundles import BANDS, CLASSES, KEPT, cube, logits_of, network, reduction, scene_bundle

pytestmark = pytest.mark.slow
WINDOW = 9


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a network, its bundle and a cube."""
    folder, model = tmp_path_factory.mktemp("scene"), network(WINDOW).eval()
    bundle = scene_bundle(folder / "b", model, window=WINDOW)
    update_bundle(bundle, model={"name": "hybridsn", "in_channels": KEPT, "num_classes": len(CLASSES),
                                 "options": {"window": WINDOW}})
    np.save(folder / "cube.npy", cube())
    return model, bundle, folder / "cube.npy"


def test_the_parts_of_the_bands_sum_to_the_logit_over_that_of_the_mean_spectrum(made, tmp_path):
    model, bundle, file = made
    found = explain_files(bundle, [file], out=tmp_path / "out", checks=1, threads=1)
    entries = json.loads((tmp_path / "out" / "explanations.json").read_text(encoding="utf-8"))["explanations"]
    assert [one["explained"] for one in entries] == list(CLASSES)
    assert ["checks" in one for one in entries] == [True, False, False]
    assert found.page.read_text(encoding="utf-8").count("What each band gives to") >= len(CLASSES)
    predictor = ScenePredictor(bundle, threads=1)
    labels = predictor(read_for(predictor, file)).labels
    logits = logits_of(model, reduction().apply(cube()), WINDOW)
    mean = reduction().apply(cube().reshape(-1, BANDS).mean(0, keepdims=True))[0]
    with torch.no_grad():
        empty = model(torch.from_numpy(mean)[None, :, None, None].expand(1, -1, WINDOW, WINDOW))[0].numpy()
    for place, one in enumerate(entries):
        with Path(one["files"][0]).open(encoding="utf-8", newline="") as stream:
            rows = list(csv.reader(stream))[1:]
        parts = np.array([float(row[1]) for row in rows])
        assert parts == pytest.approx(one["bands"]["importance"], abs=1e-5)
        pixels = np.argwhere(labels == place + 1)
        some = pixels[np.unique(np.linspace(0, len(pixels) - 1, 10).round().astype(int))]
        expected = logits[tuple(some.T)][:, place].mean() - empty[place]
        assert len(parts) == BANDS
        assert parts.sum() == pytest.approx(expected, abs=0.02 * float(abs(logits).max()))


def test_maps_of_windows_and_unknown_classes_are_refused(made, tmp_path):
    _, bundle, file = made
    with pytest.raises(UsageError, match="method must be integrated or occlusion for cubes, without a layer, got"):
        explain_files(bundle, [file], out=tmp_path / "out", method="gradcam")
    with pytest.raises(UsageError, match="the network has no class 'tre'; did you mean 'tree'"):
        explain_files(bundle, [file], out=tmp_path / "out", label="tre")
    found = explain_files(bundle, [file, tmp_path / "none.npy"], out=tmp_path / "out", label="tree", checks=0,
                          threads=1, method="occlusion", page=False)
    assert (found.n, found.failed, found.counts) == (2, 1, {"tree": 1})
