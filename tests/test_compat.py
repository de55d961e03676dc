"""The source documents' names: their arguments and order, and that none of the documents' faults came along."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, precision_recall_fscore_support
from torch import Tensor, nn
from torch.utils.data import DataLoader

from excite.compat import SEBottleneck, SEModule, UltrasoundDataset, calculate_metrics, predict_image
from excite.errors import DataError, ModelError, UsageError
from excite.layers.conv import ConvNormAct
from excite.layers.residual import Residual
from excite.models.resnet import bottleneck
from excite.weights.keymap import to_excite

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


class Shallow(nn.Module):
    """Logits from the mean colour: a network whose answers are known, with dropout and a norm that must be off."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.dropout = nn.Dropout(0.9)
        self.linear = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.dropout(self.norm(x).mean(dim=(2, 3))))
        return logits


class Recited(nn.Module):
    """Answers with the rows of a table, named by the first pixel of each image."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.register_buffer("logits", logits)

    def forward(self, x: Tensor) -> Tensor:
        return self.get_buffer("logits")[x[:, 0, 0, 0].long()]


def shortcut(inplanes: int, out: int, stride: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inplanes, out, 1, stride, bias=False), nn.BatchNorm2d(out))


def resnet50_blocks(**options: int) -> Iterator[tuple[int, SEBottleneck]]:
    """Yield (layer, block) of the 16 blocks of SE-ResNet-50."""
    inplanes = 64
    for layer, (planes, count, stride) in enumerate([(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)], start=1):
        for block in range(count):
            down = shortcut(inplanes, 4 * planes, stride) if block == 0 else None
            yield layer, SEBottleneck(inplanes, planes, stride if block == 0 else 1, down, **options)
            inplanes = 4 * planes


def measured(module: nn.Module, x: Tensor) -> nn.Module:
    """Give the norms affine values and statistics measured on `x`."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0.0, 0.2)
            layer.momentum = None
    module.train()(x)
    return module.eval()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 420), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "plane.png")
    return tmp_path / "plane.png"


def published(file: Path) -> Tensor:
    """Resize(256), CenterCrop(224), ToTensor, Normalize, in Pillow and by hand."""
    with Image.open(file) as opened:
        image = opened.convert("RGB")
    width, height = image.size
    short = min(width, height)
    image = image.resize((256 * width // short, 256 * height // short), Image.Resampling.BILINEAR)
    left, top = round((image.width - 224) / 2), round((image.height - 224) / 2)
    pixels = torch.from_numpy(np.array(image.crop((left, top, left + 224, top + 224)))) / 255
    return ((pixels - MEAN) / STD).permute(2, 0, 1)


def test_se_module_is_the_documents_formula_and_takes_the_reduction_by_position() -> None:
    torch.manual_seed(0)
    module = SEModule(32, 8).double()
    x = torch.randn(3, 32, 5, 7, dtype=torch.float64)
    fc1, fc2 = module.squeeze, module.excite
    assert fc1.weight.shape == (4, 32, 1, 1) and fc1.bias is not None and fc2.bias is not None
    hidden = torch.relu(x.mean((2, 3)) @ fc1.weight[:, :, 0, 0].T + fc1.bias)
    expected = x * torch.sigmoid(hidden @ fc2.weight[:, :, 0, 0].T + fc2.bias)[:, :, None, None]
    torch.testing.assert_close(module(x), expected, rtol=1e-12, atol=0)
    assert SEModule(256).squeeze.weight.shape[0] == 16


@pytest.mark.parametrize("channels", [1, 8, 12, 15])
def test_se_module_of_fewer_channels_than_the_reduction_keeps_one(channels: int) -> None:
    assert SEModule(channels).squeeze.weight.shape[0] == 1
    assert SEModule(channels)(torch.rand(2, channels, 3, 3)).shape == (2, channels, 3, 3)


def test_state_dicts_of_the_documents_names_are_refused_and_not_dropped() -> None:
    with pytest.raises(ModelError, match="without their form"):
        SEModule(32).load_state_dict({"fc1.weight": torch.zeros(2, 32, 1, 1)}, strict=False)


def test_se_bottleneck_is_the_documents_block() -> None:
    """Stride in conv2, SE after bn3 and before the sum, ReLU last."""
    torch.manual_seed(0)
    x = torch.randn(4, 24, 9, 11, dtype=torch.float64)
    down = shortcut(24, 64, 2)
    block = measured(SEBottleneck(24, 16, 2, down, 4).double(), x)
    one, two, three = block.branch  # type: ignore[misc]
    assert [part.conv.stride for part in (one, two, three)] == [(1, 1), (2, 2), (1, 1)]
    assert two.conv.kernel_size == (3, 3) and SEBottleneck.expansion == 4
    y = torch.relu(one.norm(one.conv(x)))
    y = torch.relu(two.norm(two.conv(y)))
    y = three.norm(three.conv(y))
    y = y * block.attention.gate(y)  # type: ignore[union-attr, operator]
    torch.testing.assert_close(block(x), torch.relu(y + down(x)), rtol=1e-9, atol=1e-12)


def test_the_sixteen_blocks_have_the_published_counts() -> None:
    added = dict.fromkeys((1, 2, 3, 4), 0)
    total = 0
    for layer, block in resnet50_blocks():
        added[layer] += sum(one.numel() for one in block.attention.parameters())  # type: ignore[union-attr]
        total += sum(one.numel() for one in block.parameters())
    assert added == {1: 25_392, 2: 133_248, 3: 792_960, 4: 1_579_392}
    # Stem (9,408 + 128) and classifiers of the whole network.
    assert total + 9_536 + 2_049_000 == 28_088_024 and total + 9_536 + 2048 * 30 + 30 == 26_100_494


def test_a_block_that_needs_a_shortcut_says_so() -> None:
    for arguments in ((64, 64), (256, 64, 2)):
        with pytest.raises(UsageError, match="downsample must be given"):
            SEBottleneck(*arguments)
    with pytest.raises(UsageError, match="reduction must be a whole number"):
        SEBottleneck(256, 64, reduction=0)


def test_every_block_has_a_gate_of_its_own_that_runs_once() -> None:
    """The documents' late binding ran the last gate of a stage for all of its blocks."""
    blocks = [SEBottleneck(64, 16, reduction=16) for _ in range(3)]
    calls: list[int] = []
    for place, block in enumerate(blocks):
        block.attention.squeeze.register_forward_hook(lambda *_, place=place: calls.append(place))  # type: ignore
    nn.Sequential(*blocks)(torch.rand(2, 64, 4, 4))
    assert calls == [0, 1, 2] and len({id(block.attention) for block in blocks}) == 3


def test_the_gate_is_registered_moves_copies_and_saves_with_its_block() -> None:
    torch.manual_seed(0)
    block = SEBottleneck(64, 16).eval()
    gates = [key for key in block.state_dict() if key.startswith("attention.")]
    assert {"attention.squeeze.weight", "attention.excite.bias"} <= set(gates)
    assert {f"attention.{name}" for name, _ in block.attention.named_parameters()} <= {  # type: ignore[union-attr]
        name for name, _ in block.named_parameters()}
    x = torch.rand(2, 64, 4, 4)
    expected = block(x)
    twin = deepcopy(block)
    with torch.no_grad():
        twin.attention.excite.bias.add_(5.0)  # type: ignore[union-attr]
    assert torch.equal(block(x), expected) and not torch.equal(twin(x), expected)
    other = SEBottleneck(64, 16).eval()
    other.load_state_dict(block.state_dict())
    assert torch.equal(other(x), expected)
    assert block.double()(x.double()).dtype == torch.float64
    assert all(one.device.type == "meta" for one in deepcopy(block).to("meta").attention.parameters())


def test_a_plain_blocks_weights_load_with_their_statistics_and_only_the_gate_is_missing() -> None:
    """The documents copied affine weights and left the running statistics behind."""
    torch.manual_seed(0)
    x = torch.randn(4, 64, 8, 8)
    plain = measured(Residual(bottleneck(ConvNormAct, 64, 16, 64).branch, nn.Identity(), act=nn.ReLU(inplace=True)), x)
    block = SEBottleneck(64, 16).eval()
    state = block.state_dict()
    missing, unexpected = block.load_state_dict(
        {**plain.state_dict(), **{key: state[key] for key in state if key.startswith("attention.")}}, strict=True)
    assert not missing and not unexpected
    theirs, ours = plain.branch, block.branch
    assert torch.equal(theirs(x), ours(x))
    assert not torch.equal(ours[2].norm.running_mean, torch.zeros(64))  # type: ignore[index]


def test_the_dataset_prepares_as_published_and_keeps_its_labels(picture: Path) -> None:
    data = UltrasoundDataset([picture, str(picture)], ["abdomen", "brain"])
    image, label = data[1]
    assert len(data) == 2 and label == "brain" and image.dtype == torch.float32
    torch.testing.assert_close(image, published(picture), rtol=0, atol=1e-5)
    with pytest.raises(UsageError, match=r"labels must be as many as paths \(1\), got 2"):
        UltrasoundDataset([picture], [0, 1])
    with pytest.raises(DataError, match="does not exist"):
        UltrasoundDataset([picture.with_name("gone.png")], [0])[0]


def test_a_transform_takes_the_rgb_picture_and_no_deeper_one(picture: Path, tmp_path: Path) -> None:
    seen, _ = UltrasoundDataset([picture], [0], lambda image: image)[0]
    assert isinstance(seen, Image.Image) and seen.mode == "RGB"
    with Image.open(picture) as opened:
        assert np.array_equal(np.array(seen), np.array(opened.convert("RGB")))
    Image.fromarray(np.full((8, 8), 40_000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match=r"deep\.png: the image is uint16"):
        UltrasoundDataset([tmp_path / "deep.png"], [0], lambda image: image)[0]
    with pytest.raises(DataError, match="uint16"):
        UltrasoundDataset([tmp_path / "deep.png"], [0])[0]


@pytest.mark.parametrize("never", [None, 2])
def test_metrics_equal_scikit_learn_in_the_documents_order(never: int | None) -> None:
    random = np.random.default_rng(1)
    truth = random.choice(4, 60, p=[0.6, 0.2, 0.15, 0.05])
    logits = torch.from_numpy(random.normal(size=(60, 4))) + 1.5 * nn.functional.one_hot(torch.from_numpy(truth), 4)
    if never is not None:
        logits[:, never] = -50.0  # never predicted: precision 0, with no warning and no NaN
    images = torch.arange(60.0)[:, None, None, None].expand(60, 3, 1, 1)
    loader = DataLoader(list(zip(images, truth.tolist(), strict=True)), batch_size=7)  # type: ignore[arg-type]
    found = calculate_metrics(loader, Recited(logits), torch.device("cpu"))
    guess = logits.argmax(1).numpy()
    weighted = precision_recall_fscore_support(truth, guess, average="weighted", zero_division=0.0)
    np.testing.assert_allclose(found, (accuracy_score(truth, guess), *weighted[:3]), rtol=1e-12)
    assert found[0] == pytest.approx(found[2], rel=1e-12)  # weighted recall is accuracy
    assert all(type(number) is float for number in found)


def test_metrics_are_of_eval_mode_and_leave_every_modules_mode() -> None:
    torch.manual_seed(0)
    model = Shallow()
    model.norm.eval()
    batch = [(torch.rand(8, 3, 4, 4), torch.arange(8) % 4)]
    assert len({calculate_metrics(batch, model, "cpu") for _ in range(5)}) == 1
    assert model.training and model.dropout.training and not model.norm.training
    assert model.norm.num_batches_tracked == 0
    with pytest.raises(DataError, match="no image"):
        calculate_metrics([], model, "cpu")
    with pytest.raises(DataError, match="NaN"):
        calculate_metrics([(torch.full((1, 3, 4, 4), float("nan")), torch.tensor([0]))], model, "cpu")


def test_predict_image_gives_label_and_probability_of_the_published_input(picture: Path) -> None:
    torch.manual_seed(0)
    model, classes = Shallow(), ["abdomen", "brain", "femur", "thorax"]
    expected = deepcopy(model).eval()(published(picture)[None]).softmax(1)[0].detach()
    label, probability = predict_image(picture, model, classes)
    assert label == classes[int(expected.argmax())] and probability == pytest.approx(float(expected.max()), abs=1e-6)
    assert predict_image(str(picture), model, classes, device="cpu") == (label, probability)
    assert model.training
    with pytest.raises(UsageError, match=r"classes must be as many as the network's outputs \(4\), got 2"):
        predict_image(picture, model, classes[:2])
    with torch.no_grad():
        model.linear.bias.fill_(float("nan"))
    with pytest.raises(DataError, match="not finite"):
        predict_image(picture, model, classes)


@pytest.mark.peers
def test_the_dataset_is_torchvisions_recipe(picture: Path) -> None:
    from torchvision import transforms as t

    chain: Any = t.Compose([t.Resize(256), t.CenterCrop(224), t.ToTensor(), t.Normalize(MEAN.tolist(), STD.tolist())])
    ours, theirs = UltrasoundDataset([picture], [0])[0][0], UltrasoundDataset([picture], [0], chain)[0][0]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.peers
def test_se_bottleneck_equals_timms() -> None:
    from timm.models.senet import SEBottleneck as Theirs
    from timm.models.senet import SEResNetBottleneck

    torch.manual_seed(0)
    assert Theirs.expansion == SEBottleneck.expansion
    x = torch.randn(4, 64, 9, 9, dtype=torch.float64) * torch.tensor([0.2, 1.0, 2.0, 4.0])[:, None, None, None]
    theirs = measured(SEResNetBottleneck(64, 16, groups=1, reduction=16).double(), x)
    state = {f"layer1.1.{key}": value for key, value in theirs.state_dict().items()}
    ours = SEBottleneck(64, 16).double().eval()
    place = "backbone.stages.0.1."
    mapped = {key.removeprefix(place): value for key, value in
              to_excite(state, model_name="se_resnet50", layout="cadene").items() if key.startswith(place)}
    assert mapped.keys() >= dict(ours.named_parameters()).keys()
    ours.load_state_dict({**ours.state_dict(), **mapped})
    a, b = theirs(x), ours(x)
    assert (a - b).abs().max() <= 1e-9 * a.abs().max() and (a[0] - a[3]).abs().max() > 0.01 * a.abs().max()
