"""An export of a network for masks computes what it does, at any size; one that does not is caught and named."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from excite.data.preprocess import Preprocess
from excite.deploy import ship
from excite.deploy.bundle import BundleInfo, read_bundle
from excite.deploy.export import export
from excite.deploy.parity_maps import OTHER_SIZES, map_parity
from excite.deploy.runtime import load
from excite.deploy.ship import export_bundle
from excite.ellipse import Ellipse
from excite.errors import ModelError, ParityError, UsageError
from excite.models.unet import pad_to_multiples
from mask_bundles import bright, mask_info, saved

SIZE, SHAPE, SPACING = (64, 96), (135, 200), (0.4,)
INFO = mask_info(SIZE, views="flip")
PREPROCESS = Preprocess.from_json(INFO.preprocess)


class Small(nn.Module):
    """Two strides and back, padded inside like the house's; its maps follow the brightness."""

    def __init__(self, *, padded: bool = True, gives: str = "logits", scale: float = 1.0) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(1, 6, 4, stride=4, bias=False), nn.ConvTranspose2d(6, 1, 4, stride=4)
        self.norm, self.same = nn.BatchNorm2d(6), nn.Conv2d(1, 1, 3, padding=1)
        self.padded, self.gives, self.scale = padded, gives, scale
        with torch.no_grad():
            self.same.weight.zero_()[0, 0, 1, 1] = 12
            self.same.bias.fill_(-6)

    def logits(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        if self.padded:
            x = pad_to_multiples(x, (4, 4))
        elif height % 4 or width % 4:
            raise RuntimeError("sizes must be multiples of 4")
        y = self.same(x) + 0.1 * self.up(self.norm(self.down(x)).relu())
        return self.scale * y.narrow(2, 0, height).narrow(3, 0, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x) if self.gives == "logits" else self.logits(x).sigmoid()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("heads")
    heads = [Ellipse(*(rng.uniform(0.4, 0.6, 2) * SHAPE[::-1]), rng.uniform(35, 45), 30, 0.3 * one) for one in range(4)]
    return [saved(np.clip(bright(head, SHAPE) + rng.normal(0, 8, SHAPE), 0, 255).astype(np.uint8),
                  folder / f"head {place}.png") for place, head in enumerate(heads)]


@pytest.fixture(scope="module")
def images(files: list[Path]) -> np.ndarray:
    from excite.data.reading import read

    return np.stack([PREPROCESS(read(file).image) for file in files])


@pytest.fixture(scope="module")
def model() -> Small:
    torch.manual_seed(0)
    return Small().eval()


@pytest.fixture(scope="module")
def exported(model: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(model, tmp_path_factory.mktemp("onnx") / "model.onnx", size=SIZE, channels=1, maps=True)


def test_one_file_takes_any_batch_and_size(model: Small, exported: Path) -> None:
    """T1-11: numerically against torch at 256, 544 x 800 and sizes that the strides do not divide."""
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_outputs()] == ["logits"]
    assert session.get_inputs()[0].shape == ["batch", 1, "height", "width"]
    for shape in ((1, 256, 256), (1, 544, 800), (2, 540, 800), (3, 37, 50), (1, 4, 5), SIZE and (5, *SIZE)):
        batch = torch.rand(shape[0], 1, *shape[1:])
        with torch.no_grad():
            expected = model(batch).numpy()
        (found,) = session.run(None, {"images": batch.numpy()})
        assert found.shape == (shape[0], 1, *shape[1:])
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_a_bundle_is_proved_in_outputs_masks_and_millimetres(model: Small, images: np.ndarray, files: list[Path],
                                                             tmp_path: Path) -> None:
    written = export_bundle(model.train(), tmp_path / "b", info=INFO, images=images, files=files,
                            spacings=[SPACING] * 4)
    found = written.parity
    assert written == read_bundle(tmp_path / "b") and found["n"] == 4 and model.training
    assert found["max_rel"] < 1e-5 and found["dice"] > 0.9999 and found["hc"] < 0.001 and found["hc_unit"] == "mm"
    assert list(found["sizes"]) == [f"{height}x{width}" for height, width in OTHER_SIZES]
    assert "worst" not in found and all(far < 1e-5 for far in found["sizes"].values())
    card = (tmp_path / "b" / "card.md").read_text()
    for text in ("Draws head in a picture", "masks equal to a Dice of 1.000000", "circumferences to", "256x256",
                 "probability of 0.5 on", "holds no interval", "outputs averaged", "on 4 real images"):
        assert text in card, text
    model.eval()
    with torch.no_grad():
        both = [model(torch.from_numpy(one.copy())).numpy()[:, 0] for one in (images, images[..., ::-1])]
    np.testing.assert_allclose(load(tmp_path / "b").views(images)[:, :, 0], [both[0], both[1][..., ::-1]], atol=1e-4)
    assert export_bundle(model, tmp_path / "c", info=INFO, images=images).parity["hc_unit"] == "px"
    assert export_bundle(model, tmp_path / "d", info=mask_info(SIZE, task="segmentation", classes=("x",)),
                         images=images).parity["hc"] is None


def changed(file: Path, to: Path, name: str, change: object) -> Path:
    """Write the export with one tensor changed."""
    graph = onnx.load(file)
    for tensor in graph.graph.initializer:
        if tensor.name.endswith(name):
            tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), tensor.name))  # type: ignore[operator]
            break
    else:
        raise AssertionError([tensor.name for tensor in graph.graph.initializer])
    onnx.save(graph, to)
    return to


@pytest.mark.parametrize("off", [0.5, 0.01, np.nan])
def test_a_changed_weight_is_caught_and_the_worst_image_named(model: Small, exported: Path, images: np.ndarray,
                                                              files: list[Path], tmp_path: Path, off: float) -> None:
    broken = changed(exported, tmp_path / "m.onnx", "same.bias", lambda bias: bias + np.float32(off))
    with pytest.raises(ParityError, match=r"head \d\.png") as fault:
        map_parity(model, broken, images, heads=True, names=[str(file) for file in files])
    assert fault.value.exit_code == 1


def test_masks_and_millimetres_are_limits_of_their_own(model: Small, exported: Path, images: np.ndarray,
                                                       tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs within their limit can still move an outline, where one is huge and the edge is flat."""
    from excite.deploy import parity_maps

    broken = changed(exported, tmp_path / "m.onnx", "same.bias", lambda bias: bias + np.float32(0.03))
    monkeypatch.setattr(parity_maps, "RELATIVE_LIMIT", 1.0)
    spacings = [(5.0,)] * len(images)
    places = [parity_maps.Place(PREPROCESS.inverse(SHAPE), SHAPE)] * len(images)
    with pytest.raises(ParityError, match=r"circumferences to 0\.\d+ mm"):
        map_parity(model, broken, images, heads=True, places=places, spacings=spacings)
    monkeypatch.setattr(parity_maps, "HC_LIMIT", 9.0)
    with pytest.raises(ParityError, match=r"Dice of 0\.99"):
        map_parity(model, broken, images, heads=True, places=places, spacings=spacings)
    monkeypatch.setattr(parity_maps, "DICE_LIMIT", 0.9)
    assert map_parity(model, broken, images, heads=True, places=places, spacings=spacings).dice < 0.9999


def test_an_export_that_is_right_at_one_size_only_is_caught(images: np.ndarray, tmp_path: Path) -> None:
    class Frozen(Small):
        """Pads by what one size needs: right at that size, and wrong at others."""

        def logits(self, x: Tensor) -> Tensor:
            return super().logits(x) + 0.001 * (x.shape[3] - SIZE[1])

    torch.manual_seed(0)
    honest, frozen = Small().eval(), Frozen().eval()
    frozen.load_state_dict(honest.state_dict())
    file = export(frozen, tmp_path / "m.onnx", size=SIZE, channels=1, maps=True)
    with pytest.raises(ParityError, match="at other sizes 256x256: 0.0"):
        map_parity(honest, file, images)


def test_nothing_is_written_where_the_proof_fails(model: Small, images: np.ndarray, files: list[Path], tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ship, "export", lambda net, file, **sizes: export(Small(scale=1.01).eval(), file, **sizes))
    with pytest.raises(ParityError, match="does not compute"):
        export_bundle(model, tmp_path / "b", info=INFO, images=images, files=files)
    assert not list(tmp_path.iterdir())


def test_another_preprocessing_is_caught(model: Small, images: np.ndarray, files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="prepares an image otherwise"):
        export_bundle(model, tmp_path / "b", info=mask_info((64, 80)), images=images, files=files)


def test_logits_are_shipped_whatever_forward_gives(images: np.ndarray, tmp_path: Path) -> None:
    """T1-3: a sigmoid inside and one outside would never fall below one half."""
    torch.manual_seed(0)
    net = Small(gives="probabilities").eval()
    export_bundle(net, tmp_path / "b", info=INFO, images=images)
    assert load(tmp_path / "b").logits(images)[0].min() < -4
    with pytest.raises(ModelError, match="between 0 and 1 on every image: probabilities"):
        export_bundle(nn.Sequential(Small(), nn.Sigmoid()).eval(), tmp_path / "c", info=INFO, images=images)
    assert [one.name for one in tmp_path.iterdir()] == ["b"]


def test_a_network_of_few_sizes_ships_at_its_own(images: np.ndarray, files: list[Path], tmp_path: Path) -> None:
    class Stubborn(Small):
        def logits(self, x: Tensor) -> Tensor:
            return super().logits(x) if x.shape[2:] == torch.Size(SIZE) else super().logits(x[..., :9, :9])

    torch.manual_seed(0)
    info = export_bundle(Stubborn().eval(), tmp_path / "b", info=INFO, images=images, files=files)
    assert info.parity["sizes"] == {} and load(tmp_path / "b")(files)[0].ellipse is not None
    assert "other sizes it does not take" in (tmp_path / "b" / "card.md").read_text()


@pytest.mark.parametrize(("net", "message"), [
    (nn.Conv2d(1, 1, 3, stride=2, padding=1), r"maps must have the images' size \(64, 96\), got \(32, 48\)"),
    (nn.Sequential(nn.Flatten(), nn.Linear(64 * 96, 2)), r"must give logits \(N, classes, H, W\), got \(2, 2\)"),
])
def test_networks_that_draw_no_map_are_refused(net: nn.Module, message: str, images: np.ndarray,
                                               tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        export_bundle(net.eval(), tmp_path / "b", info=INFO, images=images)


def test_parity_needs_images(model: Small, exported: Path) -> None:
    with pytest.raises(UsageError, match="at least one real image"):
        map_parity(model, exported, np.zeros((0, 1, *SIZE), np.float32))


@pytest.mark.slow
def test_a_unet_of_the_house_ships_and_predicts_without_torch(files: list[Path], tmp_path: Path) -> None:
    from excite.data.reading import read
    from excite.models.classifier import create_model
    from excite.models.unet import UNet

    torch.manual_seed(0)
    encoder = create_model("mobilenet_v2", in_channels=1, width=0.25).backbone
    net = UNet(encoder, initial=4, channels=(8, 8, 8, 8, 8)).eval()
    images = np.stack([PREPROCESS(read(file).image) for file in files])
    with torch.no_grad():
        net.output.bias.sub_(net(torch.from_numpy(images)).median())
    info = BundleInfo(name="u", task="heads", classes=("head",), preprocess=INFO.preprocess, views="flip")
    found = export_bundle(net, tmp_path / "b", info=info, images=images, files=files, spacings=[SPACING] * 4)
    assert len(found.parity["sizes"]) == 3 and found.parity["max_rel"] < 1e-5
    assert "BatchNormalization" not in {node.op_type for node in onnx.load(tmp_path / "b" / "model.onnx").graph.node}
    assert [one.file for one in load(tmp_path / "b")(files)] == [str(file) for file in files]
