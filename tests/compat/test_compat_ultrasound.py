"""The source documents' names: their arguments and order, and that none of the documents' faults came along."""

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

from excite.compat import UltrasoundDataset, calculate_metrics, predict_image
from excite.errors import DataError, UsageError

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
