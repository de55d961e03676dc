import io

import numpy as np
import pytest
import torch
from torch import nn

from excite.errors import DataError, ModelError, UsageError
from excite.models.classifier import create_model
from excite.models.scene_prediction import TiledScene, predict_scene
from excite.progress import Progress
from excite.tiling import Tile


def small(**options):
    return create_model("hybridsn", **{"in_channels": 13, "num_classes": 4, "window": 9} | options)


def scene(height=20, width=17, bands=13):
    return np.random.default_rng(0).standard_normal((height, width, bands)).astype(np.float32)


class Middle(nn.Module):
    """Knows the pixel in the middle alone."""

    def __init__(self, window):
        super().__init__()
        self.place = (window - 1) // 2

    def forward(self, x):
        assert not self.training
        return x[:, :, self.place, self.place]


@pytest.mark.parametrize("window", [1, 4, 5, 30])
@pytest.mark.parametrize("border", ["reflect", "zero"])
def test_the_window_of_each_pixel_has_it_in_its_middle(window, border):
    cube = scene(7, 9, 3)
    model = Middle(window).train()
    labels, probabilities = predict_scene(model, cube, window=window, method="windows", tile=4, border=border, batch=5)
    assert model.training
    assert np.array_equal(labels, cube.argmax(2)) and labels.dtype == np.int32
    np.testing.assert_allclose(probabilities, np.exp(cube) / np.exp(cube).sum(2, keepdims=True), rtol=1e-5)


def test_whole_and_windows_agree_and_the_network_keeps_its_mode():
    model, cube = small().train(), scene()
    whole = predict_scene(model, cube, tile=8)
    windows = predict_scene(model, cube, method="windows", batch=32)
    assert model.training and all(part.training for part in model.modules())
    assert np.array_equal(whole[0], windows[0]) and len(np.unique(whole[0])) > 1
    np.testing.assert_allclose(whole[1], windows[1], atol=1e-6)
    np.testing.assert_allclose(whole[1].sum(2), 1, rtol=1e-6)
    assert np.array_equal(whole[0], whole[1].argmax(2))
    assert not np.array_equal(predict_scene(model, cube, border="zero")[1], whole[1])


def test_two_predictions_are_equal_bit_for_bit():  # T4-5
    model, cube = small().train(), scene()
    for method in ("whole", "windows"):
        first, again = (predict_scene(model, cube, method=method, threads=1) for _ in range(2))
        assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])


def test_a_memory_map_is_read_by_tiles_and_gives_the_same(tmp_path):
    cube, model = scene(60, 40), small()
    np.save(tmp_path / "cube.npy", cube)
    mapped = np.load(tmp_path / "cube.npy", mmap_mode="r")
    expected, found = (predict_scene(model, one, tile=16) for one in (cube, mapped))
    assert np.array_equal(found[0], expected[0]) and np.array_equal(found[1], expected[1])
    made = TiledScene(model, mapped, tile=16)
    assert made.tiles[0] == Tile(0, 0, 15, 13) and sum(one.height * one.width for one in made.tiles) == 2400


def test_progress_counts_pixels():
    stream = io.StringIO()
    predict_scene(small(), scene(), tile=10, threads=1, progress=Progress(stream, every=0))
    assert [line.split(",")[0] for line in stream.getvalue().splitlines()] == [
        f"predicting pixels: {done}/340" for done in (80, 170, 250, 340)]


def test_what_is_trained_further_is_predicted_anew():
    model, cube = small(), scene()
    before = predict_scene(model, cube)[1]
    with torch.no_grad():
        model.spectral[0].conv.weight.mul_(2.0)
    assert not np.allclose(predict_scene(model, cube)[1], before, atol=1e-4)


@pytest.mark.parametrize(("options", "message"), [
    ({"method": "all"}, "method must be 'whole' or 'windows', got 'all'"),
    ({"border": "edge"}, "border must be 'reflect' or 'zero', got 'edge'; it has to be that of the training"),
    ({"window": 11}, "window must be 9, which the model was built for, got 11; leave window out"),
    ({"tile": 0}, "tile must be a whole number of at least 1, got 0"),
    ({"method": "windows", "batch": 2.0}, "batch must be a whole number of at least 1, got 2.0"),
    ({"method": "windows", "precision": "bfloat16"}, "precision is for method='whole'"),
    ({"threads": 0}, "threads must be a whole number of at least 1, got 0")])
def test_a_wrong_argument_is_named(options, message):
    with pytest.raises(UsageError, match=message):
        predict_scene(small(), scene(), **options)


def test_a_model_without_a_window_has_to_be_told():
    with pytest.raises(UsageError, match="window must be a whole number of at least 1, got None; the side of the win"):
        predict_scene(Middle(3), scene(), method="windows")


@pytest.mark.parametrize(("cube", "message"), [
    (scene(bands=12), "the model takes 13 bands, the cube has 12; bands are the last axis"),
    (scene()[0], r"the cube must be an array \(H, W, bands\) of float32, got float32 \(17, 13\)"),
    (scene().astype(np.uint16), r"got uint16 \(20, 17, 13\); reduce and scale the scene as for the training"),
    (scene()[:0], r"got float32 \(0, 17, 13\)"), ([[1.0]], "got list")])
def test_what_is_no_scene_for_the_model_is_refused(cube, message):
    with pytest.raises(DataError, match=message):
        predict_scene(small(), cube)


def test_a_value_that_is_not_finite_is_told_with_its_place():
    cube = scene(40, 40)
    cube[30, 31, 5] = np.nan
    with pytest.raises(DataError, match="not finite within 9 pixels of rows 20 to 39, columns 20 to 39; mask or fill"):
        predict_scene(small(), cube, tile=20)


def test_a_model_that_gives_no_logits_is_named():
    with pytest.raises(ModelError, match=r"the model must give logits \(12, classes\), got \(12, 2, 3, 3\)"):
        predict_scene(nn.Identity(), scene(3, 4, 2), window=3, method="windows")
