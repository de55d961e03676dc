"""An export computes what the network does, on pictures; a broken one is caught before anything is written."""

import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from PIL import Image
from torch import Tensor, nn

from bundles import SIZE, linear_info, pictures
from excite.data.preprocess import Preprocess
from excite.data.sections import PreprocessSection
from excite.deploy import ship
from excite.deploy.bundle import read_bundle
from excite.deploy.export import export
from excite.deploy.parity import RELATIVE_LIMIT, compare, parity
from excite.deploy.runtime import load
from excite.deploy.ship import export_bundle
from excite.errors import ModelError, ParityError, UsageError

PREPROCESS = Preprocess(PreprocessSection(size=SIZE))


class Tiny(nn.Module):
    """Convolution, batch norm, dropout, pooled features, linear head."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8), nn.ReLU6(),
                                  nn.Conv2d(8, 8, 3, groups=8, bias=False), nn.BatchNorm2d(8), nn.Hardswish())
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Linear(8, classes)

    def forward_features(self, x: Tensor) -> Tensor:
        return self.stem(x).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.dropout(self.forward_features(x)))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return pictures(tmp_path_factory.mktemp("images"), 12)


@pytest.fixture(scope="module")
def images(files: list[Path]) -> np.ndarray:
    return np.stack([PREPROCESS(np.asarray(Image.open(file))[None]) for file in files])


@pytest.fixture(scope="module")
def model(images: np.ndarray) -> Tiny:
    """A network whose batch norms have measured the images, and whose head sees them."""
    torch.manual_seed(0)
    net = Tiny()
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.2)
            layer.momentum = None
    with torch.no_grad():
        net.train()(torch.from_numpy(images))
        net.classifier.weight.mul_(20)
    return net


@pytest.fixture(scope="module")
def exported(model: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(model, tmp_path_factory.mktemp("onnx") / "model.onnx", size=SIZE, channels=3)


def test_the_export_equals_the_network_for_any_batch(model: Tiny, exported: Path, images: np.ndarray) -> None:
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    model.eval()
    for count in (1, 2, 5, 12):
        batch = images[:count]
        logits, features = session.run(["logits", "features"], {"images": batch})
        with torch.no_grad():
            expected = model(torch.from_numpy(batch)).numpy()
            np.testing.assert_allclose(features, model.forward_features(torch.from_numpy(batch)).numpy(), atol=1e-5)
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert np.ptp(expected, axis=0).min() > 0.01 * np.abs(expected).max()  # it sees its input


def test_batch_norm_is_folded_and_nothing_tells_of_the_machine(exported: Path) -> None:
    graph = onnx.load(exported)
    onnx.checker.check_model(graph, full_check=True)
    assert Counter(node.op_type for node in graph.graph.node)["BatchNormalization"] == 0
    assert [file.name for file in exported.parent.iterdir()] == ["model.onnx"]  # no external data
    text = exported.read_bytes()
    for word in (b".py", b"/home", b"/tmp", b"site-packages", b"Tiny", b"torch"):
        assert word not in text, word
    assert not graph.metadata_props and not any(node.metadata_props or node.doc_string for node in graph.graph.node)
    assert graph.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_each_module_gets_its_own_mode_back(model: Tiny, tmp_path: Path) -> None:
    model.train()
    model.stem[1].eval()  # a frozen batch norm in a training network
    export(model, tmp_path / "model.onnx", size=SIZE, channels=3)
    assert model.training and model.dropout.training and not model.stem[1].training and model.stem[4].training
    model.eval()


def test_it_is_quiet(model: Tiny, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export(model, tmp_path / "model.onnx", size=SIZE, channels=3)
    out, err = capfd.readouterr()
    assert out == "" and err == ""


def test_parity_states_its_numbers(model: Tiny, exported: Path, images: np.ndarray) -> None:
    found = parity(model.train(), exported, images)
    assert found.n == 12 and found.agreement == 1.0
    assert 0 < found.max_rel < 1e-5 and found.features_max_rel < 1e-5
    assert model.training and "worst" not in found.to_json()


@pytest.mark.parametrize("scale", [1.001, 1.5, -1.0])
def test_a_changed_weight_is_caught_and_the_worst_image_named(model: Tiny, exported: Path, images: np.ndarray,
                                                              files: list[Path], tmp_path: Path, scale: float) -> None:
    graph = onnx.load(exported)
    changed = False
    for tensor in graph.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.ndim == 4 and not changed:
            values = values.copy()
            values[0] *= scale
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
            changed = True
    assert changed
    onnx.save(graph, tmp_path / "model.onnx")
    with pytest.raises(ParityError, match=r"does not compute.*largest difference .*limit .*worst: .*scan \d+\.png"):
        parity(model, tmp_path / "model.onnx", images, names=[str(file) for file in files])


def test_nothing_is_written_where_the_proof_fails(model: Tiny, images: np.ndarray, tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(net: nn.Module, file: Path, **sizes: int) -> Path:
        net.train()  # the classic fault: exported with the statistics of one batch, dropout alive
        broken = Tiny()
        return export(broken, file, **sizes)

    monkeypatch.setattr(ship, "export", careless)
    with pytest.raises(ParityError) as fault:
        export_bundle(model, tmp_path / "bundle", info=linear_info(), images=images)
    assert fault.value.exit_code == 1
    assert not list(tmp_path.iterdir())


def test_a_bundle_of_a_trained_network_predicts_as_it_does(model: Tiny, images: np.ndarray, files: list[Path],
                                                           tmp_path: Path) -> None:
    info = linear_info(preprocess=PREPROCESS.to_json())
    written = export_bundle(model, tmp_path / "bundle", info=info, images=images, files=files)
    assert written == read_bundle(tmp_path / "bundle") and written.parity["n"] == 12
    assert "on 12 real images" in (tmp_path / "bundle" / "card.md").read_text()
    with torch.no_grad():
        chances = model.eval()(torch.from_numpy(images)).softmax(1).numpy()
    for one, expected in zip(load(tmp_path / "bundle")(files), chances, strict=True):
        np.testing.assert_allclose(list(one.probabilities.values()), expected, atol=1e-5)


@pytest.mark.parametrize("change", [{"mean": (0.5, 0.5, 0.5)}, {"mode": "crop"}, {"size": 32}])
def test_another_preprocessing_is_caught(model: Tiny, images: np.ndarray, files: list[Path], tmp_path: Path,
                                         change: dict[str, object]) -> None:
    other = Preprocess(PreprocessSection(**{"size": SIZE} | change)).to_json()
    with pytest.raises((ParityError, ModelError), match="prepares an image otherwise|does not fit the bundle"):
        export_bundle(model, tmp_path / "bundle", info=linear_info(preprocess=other), images=images, files=files)
    assert not (tmp_path / "bundle").exists()


def test_a_foreign_network_gives_its_logits_as_features(images: np.ndarray, tmp_path: Path) -> None:
    torch.manual_seed(0)
    foreign = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    export_bundle(foreign, tmp_path / "bundle", info=linear_info(), images=images)
    logits, features = load(tmp_path / "bundle").logits(images)
    np.testing.assert_array_equal(logits, features)


def test_a_network_that_cannot_be_traced_is_a_clear_error(tmp_path: Path) -> None:
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3)) if float(x.sum()) > 0 else x.amax((2, 3))

    with pytest.raises(ModelError, match="cannot be exported to ONNX .*no branches on values"):
        export(Branching(), tmp_path / "model.onnx", size=8, channels=3)
    assert not list(tmp_path.iterdir())


def test_parity_needs_images(model: Tiny, exported: Path) -> None:
    with pytest.raises(UsageError, match="at least one real image"):
        parity(model, exported, np.zeros((0, 3, SIZE, SIZE), np.float32))


def test_compare_knows_ties_labels_and_what_is_not_finite() -> None:
    names, features = ["a", "b"], np.ones((2, 2), np.float32)
    logits = np.array([[1000.0, 1000.0], [0.0, 1.0]], np.float32)
    other = np.array([[999.999, 1000.0], [0.0, 1.0]], np.float32)  # a tie in one, no tie in the other
    assert compare([logits, features], [other, features], names).agreement == 1.0
    near = np.array([[1000.0, 999.999], [0.0, 1.0]], np.float32)
    with pytest.raises(ParityError, match="labels equal on 50.0% of 2 images"):
        compare([near, features], [other, features], names)
    with pytest.raises(ParityError, match="not finite on 1 of 2 images"):
        compare([logits, features], [np.array([[0, 1], [np.nan, 0]], np.float32), features], names)
    with pytest.raises(ParityError, match="features 0.0"):
        compare([logits, features], [logits, features * (1 + 3 * RELATIVE_LIMIT)], names)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v2", "se_resnet50"])
def test_networks_of_the_house_export(name: str, tmp_path: Path) -> None:
    from excite import create_model

    torch.manual_seed(0)
    net = create_model(name, num_classes=3)
    rng = np.random.default_rng(0)
    batch = rng.normal(0, 1, (6, 3, 64, 64)).cumsum(axis=-1).astype(np.float32) / 8
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None
    with torch.no_grad():
        net.train()(torch.from_numpy(batch))
    file = export(net, tmp_path / "model.onnx", size=64, channels=3)
    assert "BatchNormalization" not in {node.op_type for node in onnx.load(file).graph.node}
    assert parity(net, file, batch).max_rel < 1e-4


@pytest.mark.slow
@pytest.mark.real
def test_pretrained_weights_on_real_ultrasound_lose_nothing(real_data: Path, tmp_path: Path) -> None:
    from excite import create_model, load_weights
    from excite.data.reading import read

    torch.manual_seed(0)
    net = create_model("mobilenet_v2", num_classes=3)
    load_weights(net, real_data / "weights" / "mobilenet_v2-imagenet-features.safetensors")
    with torch.no_grad():
        net.classifier.weight.mul_(100)  # a fresh head hardly sees its input
    folders = [sorted((real_data / "busi" / name).glob("*.png")) for name in ("benign", "malignant", "normal")]
    files = [file for folder in folders for file in [one for one in folder if "_mask" not in one.name][:8]]
    preprocess = Preprocess(PreprocessSection())
    batch = np.stack([preprocess(read(file).image) for file in files])
    info = linear_info(preprocess=preprocess.to_json(), views="flip")
    found = export_bundle(net, tmp_path / "bundle", info=info, images=batch, files=files).parity
    assert found["n"] == 24 and found["agreement"] == 1.0 and found["max_rel"] < 1e-5
    assert len({one.label for one in load(tmp_path / "bundle")(files)}) > 1


class Pooled(nn.Module):
    """The mean of each channel of a volume, as a gate squeezes it."""

    def forward(self, images: Tensor) -> Tensor:
        """Return it."""
        return images.mean((2, 3, 4))


def test_means_over_volumes_lose_no_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volumes = torch.rand(1, 2, 32, 48, 48, generator=torch.Generator().manual_seed(0)) + 5

    def error(file: Path) -> float:
        export(Pooled(), file, size=(32, 48, 48), channels=2)
        found = onnxruntime.InferenceSession(str(file)).run(["logits"], {"images": volumes.numpy()})[0]
        return float(np.abs(found - volumes.double().mean((2, 3, 4)).numpy()).max()) / 5

    ours = error(tmp_path / "ours.onnx")
    monkeypatch.setattr("excite.deploy.export._sum_axis_by_axis", lambda graph: None)
    assert ours < 3e-7 and error(tmp_path / "plain.onnx") > 3 * ours
    graph = onnx.load(tmp_path / "ours.onnx").graph
    used = {name for node in graph.node for name in node.input}
    assert [node.op_type for node in graph.node].count("ReduceMean") == 3
    assert {one.name for one in graph.initializer} <= used  # else ONNX Runtime complains on the terminal
