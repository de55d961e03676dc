"""A network's form for prediction: the same outputs, faster, and nothing of the network itself changed."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, weight_norm

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


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("name", "arguments", "size"), [
    ("mobilenet_v2", {}, (3, 64, 64)), ("resnet18", {}, (3, 64, 64)), ("mobilenet_v3_small", {}, (3, 64, 64)),
    ("mobilenet_v2_se", {"dims": 3, "in_channels": 1}, (1, 8, 16, 16))])
def test_a_sample_that_is_not_finite_has_no_finite_output(name: str, arguments: dict[str, int], size: tuple[int, ...],
                                                          precision: prediction.Precision, value: float) -> None:
    model, images = shaken(create_model(name, num_classes=5, **arguments)), torch.randn(3, *size)
    found = for_prediction(model, images, precision=precision)
    expected = found(images)
    assert bool(expected.isfinite().all())
    images[1].view(-1)[7] = value
    broken = found(images)
    assert bool(broken[1].isnan().all())
    torch.testing.assert_close(broken[::2], expected[::2], rtol=1e-3, atol=1e-4)


@packed
def test_weights_that_are_not_finite_show() -> None:
    model, images = shaken(create_model("mobilenet_v2", num_classes=5)), torch.randn(2, 3, 64, 64)
    conv = next(part.conv for part in model.modules() if isinstance(part, ConvNormAct))
    assert isinstance(conv, nn.Conv2d)
    conv.weight.data[0] = torch.nan
    with pytest.raises(UsageError, match="the network's outputs for these images are not finite"):
        for_prediction(model, images)
    twin = prediction._formed(model, images, "float32", reason="")
    assert twin.form.packed == 0 and twin.form.folded == 52 and bool(twin(images).isnan().all())


class Doubled(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def hooked_brick(brick: ConvNormAct) -> None:
    brick.register_forward_hook(lambda _, given, y: y + 1)


def hooked_conv(brick: ConvNormAct) -> None:
    brick.conv.register_forward_hook(lambda _, given, y: y + 1)


def hooked_norm(brick: ConvNormAct) -> None:
    brick.norm.register_forward_pre_hook(lambda _, given: (given[0] + 1,))


def hooked_act(brick: ConvNormAct) -> None:
    brick.act.register_forward_hook(lambda _, given, y: y + 1)


def other_conv(brick: ConvNormAct) -> None:
    old = brick.conv
    assert isinstance(old, nn.Conv2d)
    brick.conv = Doubled(old.in_channels, old.out_channels, 3, old.stride, 1, bias=False)


def wrapped_conv(brick: ConvNormAct) -> None:
    brick.conv = nn.Sequential(brick.conv, nn.Dropout())


def pruned(brick: ConvNormAct) -> None:
    prune.l1_unstructured(brick.conv, "weight", 0.5)  # type: ignore[no-untyped-call]


def old_weight_norm(brick: ConvNormAct) -> None:
    weight_norm(brick.conv)


def parametrized(brick: ConvNormAct) -> None:
    parametrizations.weight_norm(brick.conv)
    brick.conv.parametrizations.weight.original0.data.mul_(2)


def without_statistics(brick: ConvNormAct) -> None:
    brick.norm = nn.BatchNorm2d(64, track_running_stats=False)


@pytest.mark.parametrize("change", [hooked_brick, hooked_conv, hooked_norm, hooked_act, other_conv, wrapped_conv,
                                    pruned, parametrized, without_statistics,
                                    pytest.param(old_weight_norm, marks=pytest.mark.filterwarnings("ignore"))])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_brick_that_is_not_plain_stays_as_it_is(change: Callable[[ConvNormAct], None],
                                                  precision: prediction.Precision) -> None:
    model, images = shaken(create_model("resnet18", num_classes=5)), torch.rand(2, 3, 64, 64)
    change(next(part for name, part in model.named_modules()
                if isinstance(part, ConvNormAct) and name.endswith("0.0.branch.0")))
    expected = model.eval()(images).detach()  # with gradients: what hooks compute has a history then
    found = for_prediction(model, images, precision=precision)
    near = 0.05 if precision == "bfloat16" else 1e-5
    torch.testing.assert_close(found(images), expected, rtol=0, atol=near * float(expected.abs().max()))
    assert found.form.folded == 19 and found.form.packed <= 19


def test_a_layer_without_bfloat16_keeps_the_network_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    class Without(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if x.dtype == torch.bfloat16:
                raise RuntimeError('"avg_pool3d_out_frame" not implemented for \'BFloat16\'')
            return x

    monkeypatch.setattr(prediction, "has_bfloat16", lambda device: True)
    model, images = nn.Sequential(Without(), nn.Flatten()), torch.rand(1, 3, 8, 8)
    found = for_prediction(model, images)
    assert found.form.precision == "float32"
    assert found.form.reason == "a layer has no bfloat16 here: \"avg_pool3d_out_frame\" not implemented for 'BFloat16'"
    torch.testing.assert_close(found(images), images.flatten(1))
    with pytest.raises(UsageError, match="the network cannot compute in bfloat16"):
        for_prediction(model, images, precision="bfloat16")


@pytest.mark.slow
def test_bn_inception_of_volumes_has_a_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "has_bfloat16", lambda device: True)
    model = shaken(create_model("bn_inception", num_classes=2, dims=3, in_channels=1))
    assert for_prediction(model, torch.rand(1, 1, 16, 32, 32)).form.precision in ("float32", "bfloat16")


@pytest.mark.parametrize("size", [0.01, 1.0, 100.0])
def test_the_tolerance_is_a_share_of_the_largest_output(size: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "_milliseconds", lambda work: work().mean())  # nonsense that does for both
    images = torch.tensor([[size, -2 * size]])

    def measured(tolerance: float) -> tuple[str, str]:
        return prediction._measured(lambda x: x, lambda x: x * 1.02, images, tolerance)  # type: ignore[arg-type]

    name, reason = measured(0.015)
    assert name == "float32" and reason == "bfloat16 is off by 2.0e-02 of the largest output, 0.015 at most is allowed"
    assert "outputs 2.0e-02 apart" in measured(0.025)[1]


def test_no_hook_stays_and_no_parameter_asks_for_gradients() -> None:
    model = shaken(create_model("resnet18", num_classes=5))
    model.spare = ConvNormAct(3, 3)  # in no pass, so it is not packed
    found = for_prediction(model, torch.rand(1, 3, 64, 64), precision="float32")
    assert "network.spare" in dict(found.named_modules())
    assert not any(part._forward_pre_hooks for part in found.modules())
    assert list(found.parameters()) and not any(value.requires_grad for value in found.parameters())
    assert all(value.requires_grad for value in model.parameters())
