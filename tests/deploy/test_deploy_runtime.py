"""What a Predictor answers is what numpy computes from the same weights, in any batch and order."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from scipy.special import softmax

from bundles import CLASSES, SIZE, linear_bundle, linear_onnx, pictures, seal, weights
from excite import load
from excite.data.preprocess import Preprocess
from excite.data.sections import PreprocessSection
from excite.deploy import runtime
from excite.deploy.bundle import update_bundle
from excite.deploy.runtime import Predictor
from excite.ellipse import Ellipse
from excite.errors import DataError, ModelError, UsageError
from excite.outcome.heads import HeadPrediction
from excite.outcome.prediction import ClassPrediction, FailedPrediction
from mask_bundles import GAIN, bright, bright_onnx, mask_bundle, saved


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return linear_bundle(tmp_path_factory.mktemp("linear") / "model", views="flip", temperature=1.6)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return pictures(tmp_path_factory.mktemp("images"), 11)


def by_numpy(file: Path, *, temperature: float, flip: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities and features of the linear network, without onnxruntime."""
    values = weights()
    x = Preprocess(PreprocessSection(size=SIZE))(np.asarray(Image.open(file))[None]).astype(np.float64)
    views = [x, x[..., ::-1]] if flip else [x]
    logits = np.stack([values["weight"].astype(np.float64) @ view.ravel() + values["bias"] for view in views])
    return softmax(logits / temperature, axis=1).mean(axis=0), x.mean(axis=(1, 2))


@pytest.mark.parametrize("view", ["one", "flip"])
@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_probabilities_and_features_are_those_of_numpy(bundle: Path, images: list[Path], view: str,
                                                       batch_size: int) -> None:
    predictor = Predictor(bundle, threads=1, views=view)
    found = list(predictor.predict(images, batch_size=batch_size, features=True))
    assert [one.file for one in found] == [str(file) for file in images]
    for one, file in zip(found, images, strict=True):
        assert isinstance(one, ClassPrediction)
        chances, features = by_numpy(file, temperature=1.6, flip=view == "flip")
        assert list(one.probabilities) == list(CLASSES)
        np.testing.assert_allclose(list(one.probabilities.values()), chances, rtol=0, atol=1e-5)
        np.testing.assert_allclose(one.features, features, rtol=0, atol=1e-5)
        assert one.label == CLASSES[chances.argmax()]
    assert len({one.label for one in found}) > 1  # the network sees its input


def test_views_differ_and_are_mirrored(bundle: Path, images: list[Path]) -> None:
    predictor = load(bundle)
    batch = np.stack([predictor.prepare(file)[0] for file in images])
    views = predictor.views(batch)
    assert views.shape == (2, len(images), 3)
    np.testing.assert_allclose(predictor.views(batch[..., ::-1].copy()), views[::-1], rtol=0, atol=1e-5)
    assert np.abs(views[0] - views[1]).max() > 0.1


def test_arrays_in_their_three_forms_equal_the_file(bundle: Path, images: list[Path]) -> None:
    picture = np.asarray(Image.open(images[0]))
    forms = [picture, np.stack([picture] * 3, axis=-1), picture[None], np.stack([picture] * 3)]
    found = load(bundle)([images[0], *forms])
    for one in found:
        assert isinstance(one, ClassPrediction)
        np.testing.assert_allclose(list(one.probabilities.values()), list(found[0].probabilities.values()), atol=1e-6)
    assert [one.file for one in found[1:]] == ["array 1", "array 2", "array 3", "array 4"]


def test_one_alone_needs_no_list(bundle: Path, images: list[Path]) -> None:
    predictor = load(bundle)
    assert len(predictor(images[0])) == len(predictor(str(images[0]))) == 1
    assert len(predictor(np.asarray(Image.open(images[0])))) == 1
    assert predictor([]) == []


@pytest.mark.parametrize(("array", "message"), [
    (np.zeros((8, 8)), "must be uint8, uint16 or float32, got float64"),
    (np.zeros((8, 8), np.int64), "got int64"),
    (np.zeros((2, 8, 8), np.uint8), r"must have the shape .* got \(2, 8, 8\)"),
    (np.zeros((8, 8, 4), np.uint8), r"got \(8, 8, 4\)"),
    (np.zeros((1, 3, 8, 8), np.uint8), r"got \(1, 3, 8, 8\)"),
    (np.zeros((3, 8, 3), np.uint8), "can be read in two ways"),
    (np.zeros((0, 8), np.uint8), "must have the shape"),
])
def test_other_arrays_are_refused(bundle: Path, array: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(bundle).prepare(array)
    [one] = load(bundle)(array)
    assert isinstance(one, FailedPrediction) and one.error.startswith("array 0: ")


def test_a_bad_file_is_reported_in_its_place_and_the_rest_is_done(bundle: Path, images: list[Path],
                                                                  tmp_path: Path) -> None:
    cut, text = tmp_path / "cut.png", tmp_path / "text.png"
    cut.write_bytes(images[0].read_bytes()[:200])
    text.write_text("no picture")
    asked = [cut, images[0], tmp_path / "none.png", images[1], text, images[2], images[3], cut]
    for batch_size in (1, 2, 16):
        found = list(load(bundle).predict(asked, batch_size=batch_size))
        assert [one.file for one in found] == [str(file) for file in asked]
        failed = [isinstance(one, FailedPrediction) for one in found]
        assert failed == [True, False, True, False, True, False, False, True]
        assert all(one.file in one.error for one in found if isinstance(one, FailedPrediction))


def test_a_decoder_that_breaks_in_its_own_way_stops_nothing(bundle: Path, images: list[Path],
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    from excite.deploy import intake
    whole = intake.read

    def broken(path: Path) -> object:
        if path == images[1]:
            raise RuntimeError("plugin text\nof three\nlines")
        return whole(path)

    monkeypatch.setattr(intake, "read", broken)
    found = load(bundle)(images[:3])
    assert [type(one) for one in found] == [ClassPrediction, FailedPrediction, ClassPrediction]
    assert "RuntimeError: plugin text of three lines" in found[1].error


def test_pixels_and_outputs_that_are_not_finite_are_never_class_0(tmp_path: Path, images: list[Path]) -> None:
    preprocess = Preprocess(PreprocessSection(size=SIZE), value_range=(0.0, 1.0), depth="float32").to_json()
    bundle = linear_bundle(tmp_path / "deep", preprocess=preprocess)
    bad = np.ones((20, 20), np.float32)
    bad[3, 3] = np.nan
    first, second = load(bundle)([bad, np.ones((20, 20), np.float32)])
    assert isinstance(first, FailedPrediction) and "not finite" in first.error and "array 0" in first.error
    assert isinstance(second, ClassPrediction)
    values = weights()
    values["bias"][1] = np.nan
    [one] = load(linear_bundle(tmp_path / "broken", values=values))([images[0]])
    assert isinstance(one, FailedPrediction) and str(images[0]) in one.error and "not finite" in one.error


def test_files_are_read_only_a_little_ahead(bundle: Path, images: list[Path]) -> None:
    asked = 0

    def many() -> object:
        nonlocal asked
        for _ in range(1000):
            asked += 1
            yield images[0]

    stream = load(bundle).predict(many(), batch_size=2)
    next(stream)
    stream.close()
    assert asked <= 10


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a network whose sums have 81 terms."""
    kernel = np.random.default_rng(0).uniform(0, 1, (1, 1, 9, 9))
    blur = bright_onnx((GAIN * kernel / kernel.sum()).astype(np.float32))
    return mask_bundle(tmp_path_factory.mktemp("heads") / "model", blur, size=(256, 384), views="flip")


@pytest.fixture(scope="module")
def head_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of heads, one of text and one that is not there."""
    folder = tmp_path_factory.mktemp("head files")
    files = [saved(bright(Ellipse(250.0 + 7 * place, 170.0, 100.0 + 3 * place, 80.0, 0.3 * place), (360, 520)),
                   folder / f"{place}.png") for place in range(7)]
    text = folder / "text.png"
    text.write_text("no picture")
    return [*files[:3], text, *files[3:], folder / "none.png"]


def test_masks_and_millimetres_do_not_hang_on_the_number_of_threads(heads: Path, head_files: list[Path]) -> None:
    one = list(Predictor(heads, threads=1).predict(head_files, spacing=(0.2,), maps=True))
    several, two = Predictor(heads, threads=3), Predictor(heads, threads=2)
    for found in (list(several.predict(head_files, spacing=(0.2,), maps=True)),
                  [mine for file in head_files for mine in two.predict(file, spacing=(0.2,), maps=True)]):
        assert [mine.file for mine in found] == [str(file) for file in head_files]
        for mine, right in zip(found, one, strict=True):
            if isinstance(right, FailedPrediction):
                assert mine == right
                continue
            assert isinstance(mine, HeadPrediction) and isinstance(right, HeadPrediction)
            assert mine.hc_mm == pytest.approx(right.hc_mm, abs=1e-3) and mine.notes == right.notes
            assert mine.spread_mm == pytest.approx(right.spread_mm, abs=1e-3)
            np.testing.assert_allclose(mine.probabilities, right.probabilities, rtol=0, atol=1e-5)
            assert np.array_equal(mine.probabilities >= 0.5, right.probabilities >= 0.5)
    assert [isinstance(right, FailedPrediction) for right in one] == [False] * 3 + [True] + [False] * 4 + [True]
    assert len({right.hc_mm for right in one if isinstance(right, HeadPrediction)}) == 7


def test_a_network_of_one_thread_is_opened_once_and_only_for_several_files(heads: Path, head_files: list[Path],
                                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    opened, whole = [], runtime.open_session

    def counted(file: Path, *, threads: int) -> object:
        opened.append(threads)
        return whole(file, threads=threads)

    monkeypatch.setattr(runtime, "open_session", counted)
    alone, several = Predictor(heads, threads=1), Predictor(heads, threads=2)
    alone(head_files[:2])
    several(head_files[0])
    several(head_files[:1])
    list(several.predict(head_files[:3], batch_size=2))
    assert opened == [1, 2]
    several(head_files[:3])
    several(head_files[:2])
    assert opened == [1, 2, 1]


def test_heads_are_read_only_a_little_ahead_and_no_thread_outlives_them(heads: Path, head_files: list[Path]) -> None:
    asked = 0

    def many() -> Iterator[Path]:
        nonlocal asked
        for _ in range(1000):
            asked += 1
            yield head_files[0]

    stream = Predictor(heads, threads=3).predict(many())
    for handed in range(1, 8):
        next(stream)
        assert asked <= handed + 3 + 1
    stream.close()  # type: ignore[attr-defined]
    assert not [one for one in threading.enumerate() if one.name.startswith("excite-predict")]


def test_spacings_that_are_not_one_a_source_are_refused_beside_threads_too(heads: Path,
                                                                           head_files: list[Path]) -> None:
    for count in (1, 4, 9):
        with pytest.raises(UsageError, match="spacings must be one a source"):
            Predictor(heads, threads=2)(head_files[:3], spacings=[(0.1,)] * count)


def test_a_network_that_was_replaced_since_is_not_mixed_with_the_first(tmp_path: Path, head_files: list[Path]) -> None:
    folder = mask_bundle(tmp_path / "b")
    predictor = Predictor(folder, threads=2)
    mask_bundle(folder, bright_onnx(bias=(-GAIN / 3,)))
    with pytest.raises(ModelError, match=r"model.onnx: the network was replaced while it was in use"):
        predictor(head_files[:2])
    assert len(Predictor(folder, threads=2)(head_files[:2])) == 2


def test_a_network_that_breaks_ends_the_work_as_with_one_thread(tmp_path: Path, head_files: list[Path],
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ModelError("the network cannot be run")

    monkeypatch.setattr(Predictor, "logits", broken)
    for threads in (1, 2):
        with pytest.raises(ModelError, match="the network cannot be run"):
            Predictor(mask_bundle(tmp_path / "b"), threads=threads)(head_files)
    assert not [one for one in threading.enumerate() if one.name.startswith("excite-predict")]


def test_a_network_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    folder = linear_bundle(tmp_path / "model")
    other = tmp_path / "other"
    other.mkdir()
    for name, model, message in (
            ("classes", linear_onnx(weights(5)), "5 outputs, bundle.json names 3 classes"),
            ("size", linear_onnx(weights(size=8), size=8), r"of shape \(3, 8, 8\), the preprocessing makes \(3, 16"),
            ("outputs", _renamed(linear_onnx(weights())), "outputs logits and features are needed")):
        file = other / f"{name}.onnx"
        onnx.save(model, file)
        (folder / "model.onnx").write_bytes(file.read_bytes())
        seal(folder)
        with pytest.raises(ModelError, match=message):
            Predictor(folder)


def test_wrong_options_are_refused(bundle: Path) -> None:
    for options, message in (({"threads": 0}, "threads must be at least 1"), ({"views": "four"}, "views must be")):
        with pytest.raises(UsageError, match=message):
            Predictor(bundle, **options)
    with pytest.raises(UsageError, match="batch_size must be at least 1"):
        list(load(bundle).predict([], batch_size=0))
    with pytest.raises(ModelError, match=r"must be float32 of shape \(N, 3, 16, 16\), got float64"):
        load(bundle).logits(np.zeros((1, 3, 8, 8)))


def test_preprocessing_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    folder = linear_bundle(tmp_path / "model")
    update_bundle(folder, preprocess={"size": 16})
    with pytest.raises(ModelError, match="preprocessing"):
        Predictor(folder)


def test_it_runs_where_torch_cannot_be_imported(bundle: Path, images: list[Path]) -> None:
    code = ("import sys\nfor name in ('torch', 'onnx', 'onnxscript', 'sklearn'): sys.modules[name] = None\n"
            f"from excite import load\nprint(load({str(bundle)!r})({str(images[0])!r})[0].label)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in CLASSES


def _renamed(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.output[1].name = model.graph.node[-1].output[0] = "vectors"
    return model
