"""A network's form for prediction: the same outputs, faster, and nothing of the network itself changed."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from excite.attention.plan import AttentionPlan
from excite.errors import UsageError
from excite.layers.conv import ConvNormAct
from excite.layers.packed import PackedConv, packs
from excite.models import prediction
from excite.models.classifier import create_model
from excite.models.prediction import fold, for_prediction

packed = pytest.mark.skipif(not packs(nn.Conv2d(1, 1, 1), None), reason="this torch has no oneDNN")


def shaken(model: nn.Module) -> nn.Module:
    """Return the network with random norms: fresh ones fold into nothing."""
    torch.manual_seed(1)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0, 0.1)
            nn.init.normal_(part.running_mean, 0, 0.1)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
    return model.eval()


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "relu6 and depthwise": (lambda: create_model("mobilenet_v2", num_classes=5), (2, 3, 64, 64)),
    "hardswish and gates": (lambda: create_model("mobilenet_v3_small", num_classes=5), (2, 3, 64, 64)),
    "residual and eca": (lambda: create_model("resnet18", num_classes=5, attention=AttentionPlan(kind="eca")),
                         (2, 3, 64, 64)),
    "padding as TensorFlow": (lambda: create_model("mobilenet_v2", num_classes=5, padding="tf_same"), (2, 3, 65, 64)),
    "shuffled": (lambda: create_model("shufflenet_v2", num_classes=5), (2, 3, 64, 64)),
    "3-D": (lambda: create_model("mobilenet_v2_se", num_classes=5, dims=3, in_channels=1), (1, 1, 16, 32, 32)),
    "no norms to fold": (lambda: create_model("hybridsn", in_channels=15, window=11, num_classes=5), (4, 15, 11, 11)),
    "group norms": (lambda: create_model("resnet18", num_classes=5, norm="group"), (2, 3, 64, 64)),
}


@pytest.mark.parametrize("case", CASES)
def test_outputs_are_those_of_the_network(case: str) -> None:
    build, size = CASES[case]
    model, images = shaken(build()), torch.randn(*size, generator=torch.Generator().manual_seed(0))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.inference_mode():
        expected = model(images)
    found = for_prediction(model, images, precision="float32")
    torch.testing.assert_close(found(images), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    norms = sum(isinstance(part, ConvNormAct) and isinstance(part.norm, nn.BatchNorm2d | nn.BatchNorm3d)
                for part in model.modules())
    assert found.form.folded == norms and found.form.precision == "float32"


@packed
def test_every_brick_of_a_usual_network_is_one_pass() -> None:
    model = shaken(create_model("mobilenet_v2", num_classes=5))
    found = for_prediction(model, torch.rand(1, 3, 64, 64), precision="float32")
    assert found.form.packed == found.form.folded == 52
    assert not any(isinstance(part, nn.Conv2d) for part in found.modules())


@packed
@pytest.mark.parametrize("size", [(1, 3, 64, 64), (3, 3, 97, 33), (0, 3, 64, 64), (1, 3, 224, 224)])
def test_other_sizes_and_strides_of_images_are_computed_as_well(size: tuple[int, ...]) -> None:
    model = shaken(create_model("mobilenet_v3_small", num_classes=5))
    found, images = for_prediction(model, torch.rand(2, 3, 64, 64), precision="float32"), torch.rand(*size)
    with torch.inference_mode():
        expected = model(images)
    torch.testing.assert_close(found(images), expected, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(found(images.contiguous(memory_format=torch.channels_last)), expected, rtol=1e-3,
                               atol=1e-5)


@pytest.mark.parametrize("act", [None, nn.ReLU(), nn.ReLU6(), nn.Hardswish(), nn.Hardsigmoid(), nn.Sigmoid(),
                                 nn.Tanh()])
@pytest.mark.parametrize("dims", [2, 3])
@packed
def test_one_pass_is_convolution_and_activation(act: nn.Module | None, dims: int) -> None:
    kind = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
    torch.manual_seed(0)
    conv = kind(8, 12, 3, stride=2, padding=1, dilation=2, groups=4, bias=dims == 2).requires_grad_(False)
    x = 4 * torch.randn(2, 8, *[11, 9, 7][:dims])
    expected = conv(x) if act is None else act(conv(x))
    torch.testing.assert_close(PackedConv(conv, act, tuple(x.shape))(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("conv", "act"), [
    (nn.Conv2d(2, 2, 3, padding_mode="reflect", padding=1), None), (nn.Conv2d(2, 2, 3, padding="same"), None),
    (nn.Conv2d(2, 2, 3), nn.SiLU()), (nn.Conv2d(2, 2, 3).double(), None), (nn.Linear(2, 2), None)])
def test_what_one_pass_cannot_do_stays_as_it_is(conv: nn.Module, act: nn.Module | None) -> None:
    assert not packs(conv, act)


def test_without_onednn_the_norms_are_folded_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    model, images = shaken(create_model("resnet18", num_classes=5)), torch.rand(2, 3, 64, 64)
    found = for_prediction(model, images, precision="float32")
    assert (found.form.folded, found.form.packed) == (20, 0)
    with torch.inference_mode():
        torch.testing.assert_close(found(images), model(images), rtol=1e-3, atol=1e-5)


def test_bfloat16_is_taken_where_it_is_faster_and_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = shaken(create_model("resnet18", num_classes=5)), torch.rand(2, 3, 64, 64)
    monkeypatch.setattr(prediction, "has_bfloat16", lambda device: True)
    ticks = iter([20.0, 5.0] * 3 + [5.0, 5.0] * 3 + [20.0, 5.0] * 3)
    monkeypatch.setattr(prediction, "_milliseconds", lambda work: next(ticks))
    taken = for_prediction(model, images)
    assert taken.form.precision == "bfloat16" and "5.0 ms in bfloat16, 20.0 ms" in taken.form.reason
    assert taken(images).dtype == torch.float32
    with torch.inference_mode():
        apart = (taken(images) - model(images)).abs().max() / model(images).abs().max()
    assert 1e-5 < apart < 0.02
    assert for_prediction(model, images).form.precision == "float32"  # no faster
    strict = for_prediction(model, images, tolerance=1e-6)
    assert strict.form.precision == "float32" and "1e-06 at most is allowed" in strict.form.reason


def test_a_processor_without_bfloat16_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    found = for_prediction(create_model("resnet18", num_classes=5), torch.rand(1, 3, 32, 32))
    assert found.form.precision == "float32" and found.form.reason == "this processor has no bfloat16"


def test_it_cannot_be_trained() -> None:
    model = create_model("resnet18", num_classes=5)
    found = for_prediction(model, torch.rand(1, 3, 32, 32), precision="float32")
    assert not found.training and not found.eval().training and model.training
    with pytest.raises(UsageError, match="for prediction only"):
        found.train()
    assert not found(torch.rand(1, 3, 32, 32)).requires_grad


def test_wrong_words_are_refused() -> None:
    model, images = create_model("resnet18", num_classes=5), torch.rand(1, 3, 32, 32)
    with pytest.raises(UsageError, match="precision must be 'auto', 'float32' or 'bfloat16', got 'float16'"):
        for_prediction(model, images, precision="float16")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="tolerance must be above 0, got 0"):
        for_prediction(model, images, tolerance=0)


def test_folding_is_exact_in_double() -> None:
    model, images = shaken(create_model("resnet18", num_classes=5)).double(), torch.rand(2, 3, 64, 64).double()
    with torch.inference_mode():
        expected = model(images)
        assert fold(model) == 20
        torch.testing.assert_close(model(images), expected, rtol=1e-10, atol=1e-12)
