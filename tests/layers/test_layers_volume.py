import copy
import pickle

import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from excite.layers import conv
from excite.layers.conv import ConvNormAct
from excite.layers.packed import packs
from excite.layers.volume import VolumeConv, channels_last, foldable, limits

LAST = torch.channels_last_3d
#        in, out, kernel, stride, padding, dilation, groups
FORMS = {
    "depthwise": (6, 6, 3, 1, 1, 1, 6),
    "strided": (6, 6, 3, 2, 1, 1, 6),
    "by plane": (6, 6, 3, (1, 2, 2), 1, 1, 6),
    "five": (6, 6, 5, 2, 2, 1, 6),
    "with holes": (6, 6, 3, 1, 2, 2, 6),
    "unpadded": (6, 6, 3, 2, 0, 1, 6),
    "padded beyond the kernel": (6, 6, 3, 1, 3, 1, 6),
    "same": (6, 6, 3, 1, "same", 1, 6),
    "pointwise": (6, 4, 1, 1, 0, 1, 1),
    "pointwise and padded": (6, 4, 1, 1, 1, 1, 1),
    "pointwise with a stride": (6, 4, 1, 2, 0, 1, 1),
    "pointwise in groups": (6, 4, 1, 1, 0, 1, 2),
    "stem": (1, 4, 3, (1, 2, 2), 1, 1, 1),
    "stem of seven": (1, 16, 7, (1, 2, 2), 3, 1, 1),
    "stem with holes": (1, 4, 3, 1, 2, 2, 1),
    "dense": (6, 4, 3, 1, 1, 1, 1),
    "in groups": (6, 6, 3, 1, 1, 1, 3),
    "multiplied": (3, 6, 3, 1, 1, 1, 3),
    "one channel": (1, 1, 3, 1, 1, 1, 1),
}


def pair(form, *, bias=False, kind=torch.float32):
    torch.manual_seed(0)
    plain = nn.Conv3d(*FORMS[form], bias=bias, dtype=kind)
    ours = VolumeConv(*FORMS[form], bias=bias, dtype=kind)
    ours.load_state_dict(plain.state_dict())
    return ours, plain


def far(found, right):
    """Return the largest difference of a tensor from the right one, in norms of that."""
    return max(float((mine - theirs).detach().norm() / theirs.detach().norm())
               for mine, theirs in zip(found, right, strict=True))


def with_gradients(layer, x):
    x = x.detach().requires_grad_()
    y = layer(x)
    gradient = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(y.dtype)
    return y, *torch.autograd.grad(y, (x, *layer.parameters()), gradient)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("kind", "close"), [(torch.float64, 1e-14), (torch.float32, 3e-6)])
@pytest.mark.parametrize("form", FORMS)
def test_outputs_and_both_gradients_are_the_plain_convolutions(form, kind, close, bias):
    ours, plain = pair(form, bias=bias, kind=kind)
    for size, count in (((6, 7, 5), 1), ((7, 8, 7), 2)):
        x = torch.randn(count, FORMS[form][0], *size, dtype=kind)
        right = with_gradients(copy.deepcopy(plain).double(), x.double())
        for given in (x, channels_last(x)):
            assert far(with_gradients(ours, given), right) < close
            with torch.no_grad():
                assert far([ours(given)], right[:1]) < close


@pytest.mark.parametrize("form", FORMS)
def test_an_empty_batch_has_empty_outputs_and_zero_gradients(form):
    ours, plain = pair(form)
    x = torch.randn(0, FORMS[form][0], 6, 7, 7)
    for mine, theirs in zip(with_gradients(ours, x), with_gradients(plain, x), strict=True):
        assert mine.shape == theirs.shape and not mine.any()


@pytest.mark.parametrize("form", ["depthwise", "strided", "pointwise", "stem"])
def test_channels_stay_last(form):
    ours, _ = pair(form)
    y = ours(channels_last(torch.randn(2, FORMS[form][0], 6, 8, 8)))
    assert y.is_contiguous(memory_format=LAST) and y.stride(1) == 1


def test_the_usual_layout_is_kept_by_all_but_depth_wise_ones():
    for form in FORMS:
        ours, plain = pair(form)
        x = torch.randn(2, FORMS[form][0], 6, 8, 8)
        assert (ours(x).stride() == plain(x).stride()) is (ours.groups < 6 or form == "same"), form


def test_channels_last_is_told_by_the_strides_of_one_channel_too():
    x = torch.randn(2, 1, 4, 5, 6)
    assert x.is_contiguous(memory_format=LAST) and x.stride(1) == 120
    assert channels_last(x).stride(1) == 1 and torch.equal(channels_last(x), x)
    assert channels_last(x.to("meta")).stride() == x.stride() and channels_last(x[0]) is not None


def test_keys_kind_and_copies_are_those_of_a_plain_convolution():
    ours, plain = pair("strided", bias=True)
    assert isinstance(ours, nn.Conv3d) and ours.state_dict().keys() == plain.state_dict().keys()
    assert all(ours.state_dict()[key].shape == value.shape for key, value in plain.state_dict().items())
    x = torch.randn(2, 6, 6, 8, 8)
    for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert type(other) is VolumeConv
        assert torch.equal(other(x), ours(x))


@pytest.mark.parametrize("form", ["depthwise", "strided", "pointwise", "stem"])
def test_traced_exported_and_fused_it_is_a_plain_convolution(form):
    ours, plain = pair(form, bias=True)
    x = channels_last(torch.randn(2, FORMS[form][0], 6, 8, 8))
    right = plain(x)
    exported = torch.export.export(ours, (x,))
    called = [node.target for node in exported.graph.nodes if node.op == "call_function"]
    assert called == [torch.ops.aten.conv3d.default] or called == [torch.ops.aten.conv3d.padding]
    norm = nn.BatchNorm3d(len(plain.weight)).eval()
    for other in (exported.module(), torch.jit.trace(ours, x), torch.fx.symbolic_trace(ours),
                  torch.compile(ours, backend="eager", fullgraph=True)):
        torch.testing.assert_close(other(x), right, rtol=0, atol=1e-5)
    torch.testing.assert_close(fuse_conv_bn_eval(ours.eval(), norm)(x), norm(right), rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["strided", "pointwise", "stem"])
def test_its_onnx_file_gives_the_same(form, tmp_path):
    ours, plain = pair(form)
    x, file = torch.randn(2, FORMS[form][0], 6, 8, 8), tmp_path / "layer.onnx"
    torch.onnx.export(ours.eval(), (x,), file, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    torch.testing.assert_close(torch.from_numpy(found), plain(x).detach(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", ["depthwise", "strided", "pointwise", "stem", "dense"])
def test_under_bf16_autocast_it_is_the_plain_convolution(form):
    ours, plain = pair(form, bias=True)
    x = channels_last(torch.randn(2, FORMS[form][0], 6, 8, 8))
    with torch.autocast("cpu", torch.bfloat16):
        found = with_gradients(ours, x)
    right = with_gradients(plain, x)
    assert found[0].dtype == torch.bfloat16 and found[1].dtype == found[2].dtype == torch.float32
    assert 0 < far(found, right) < 0.01


def test_under_bf16_autocast_torchs_own_gradient_of_a_depth_wise_kernel_is_never_taken():
    ours, _ = pair("depthwise")
    with torch.autocast("cpu", torch.bfloat16), torch.profiler.profile(record_shapes=True) as seen:
        with_gradients(ours, torch.randn(2, 6, 6, 8, 8))
    shapes = [event.input_shapes[0] for event in seen.events() if event.name == "aten::convolution_backward"]
    assert shapes and all(len(shape) == 4 for shape in shapes)


def brick(channels, **arguments):
    torch.manual_seed(0)
    made = ConvNormAct(channels, 8, 3, dims=3, **arguments).eval()
    nn.init.uniform_(made.norm.weight, 0.5, 2)
    nn.init.normal_(made.norm.bias)
    nn.init.normal_(made.norm.running_mean)
    nn.init.uniform_(made.norm.running_var, 0.5, 2)
    return made


@pytest.mark.parametrize("arguments", [{}, {"act": None}, {"act": nn.Hardswish},
                                       {"act": nn.ReLU6, "stride": 2, "padding": "tf_same"}])
@pytest.mark.parametrize("channels", [1, 4])
def test_in_evaluation_the_norm_is_folded_into_the_convolution(channels, arguments, monkeypatch):
    made, usual = brick(channels, **arguments), torch.randn(2, channels, 9, 9, 9)
    x = channels_last(usual)
    right = made(x)  # gradients are on: in passes of their own
    calls = []
    real = conv.folded
    monkeypatch.setattr(conv, "folded", lambda *given: calls.append(1) or real(*given))
    with torch.no_grad():
        y = made(x)
        assert calls == [1] and y.is_contiguous(memory_format=LAST)
        torch.testing.assert_close(y, right, rtol=1e-5, atol=1e-5)
        made(x[:1, :, :3, :3, :3])  # fewer voxels than weights
        made(usual)
        made.train()(x)
        with torch.autocast("cpu", torch.bfloat16):
            made.eval()(x)
        seen = made.norm.register_forward_hook(lambda *_: calls.append("hook"))
        made(x)
        assert calls == [1, "hook"]
        seen.remove()
        made(x)
    assert calls == [1, "hook", 1]


def test_a_bias_is_folded_too():
    made = brick(4)
    made.conv = VolumeConv(4, 8, 1, bias=True)
    x = channels_last(torch.randn(2, 4, 9, 9, 9))
    with torch.no_grad():
        torch.testing.assert_close(made(x), made.act(made.norm(made.conv(x))), rtol=1e-5, atol=1e-5)


def test_a_brick_with_another_norm_is_not_folded():
    made = brick(4)
    made.norm = nn.GroupNorm(2, 8)
    x = channels_last(torch.randn(2, 4, 9, 9, 9))
    with torch.no_grad():
        assert torch.equal(made(x), made.act(made.norm(made.conv(x))))


def test_only_activations_that_clamp_are_taken_along():
    assert limits(nn.ReLU6()) == (0, 6) and limits(nn.ReLU()) == (0, torch.inf) and limits(nn.Hardswish()) is None
    watched = nn.ReLU()
    watched.register_forward_hook(lambda *_: None)
    assert limits(watched) is None


@pytest.mark.parametrize("which", ["conv", "norm"])
def test_hooks_of_convolution_and_norm_are_called(which):
    made, calls = brick(4), []
    x = channels_last(torch.randn(2, 4, 9, 9, 9))
    with torch.no_grad():
        assert foldable(made.conv, made.norm, x)
        getattr(made, which).register_forward_hook(lambda *_: calls.append(which))
        made(x)
    assert calls == [which]


@pytest.mark.parametrize("act", [None, nn.ReLU, nn.ReLU6])
@pytest.mark.parametrize("broken", ["input", "weight", "statistics"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_leaves_a_folded_brick_as_it_leaves_its_layers(value, broken, act):
    made, x = brick(4, act=act), channels_last(torch.randn(2, 4, 9, 9, 9))
    where = {"input": x[0, 0, 0, 0], "weight": made.conv.weight.data[0, 0, 0, 0], "statistics": made.norm.running_mean}
    where[broken][0] = value
    with torch.no_grad():
        assert foldable(made.conv, made.norm, x)
        right = made.norm(made.conv(x))
        assert not bool(right.isfinite().all())
        right = right if act is None else act()(right)
        torch.testing.assert_close(made(x), right, rtol=1e-5, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize(("size", "arguments"), [((28, 17, 5), ((5, 3, 5), (1, 1, 2), (0, 2, 0), (2, 3, 1))),
                                                 ((6, 6, 6), ((3, 3, 5), (2, 1, 2), (2, 1, 0), (1, 2, 1)))])
def test_one_channel_and_unequal_dilations_leave_nothing_unwritten(size, arguments):
    torch.manual_seed(0)
    made = ConvNormAct(1, 1, dims=3, act=None).eval()
    made.conv = VolumeConv(1, 1, *arguments)
    assert not packs(made.conv, None) and packs(VolumeConv(1, 1, 3, dilation=2), None)
    usual = torch.randn(2, 1, *size)
    right = torch.nn.functional.conv3d(usual.double(), made.conv.weight.double(), made.conv.bias.double(),
                                       *arguments[1:]).float()
    for layer, grad in ((made.conv, True), (made.conv, False), (made, False)):
        for count in (2**8, 2**10, 2**12, 2**14):
            freed = [torch.full((count,), torch.nan) for _ in range(4)]
            del freed
        with torch.set_grad_enabled(grad):
            torch.testing.assert_close(layer(channels_last(usual)), right, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", ["depthwise", "strided", "pointwise", "stem"])
def test_the_transforms_of_torch_func_take_it_as_a_plain_convolution(form):
    ours, plain = pair(form)
    x = channels_last(torch.randn(2, FORMS[form][0], 6, 8, 8))

    def total(layer):
        return lambda given: layer(given).square().sum()

    for transform in (torch.func.grad, lambda f: lambda given: torch.func.jvp(f, (given,), (given,))[1],
                      lambda f: lambda given: torch.func.vmap(f)(given.unsqueeze(1))):
        torch.testing.assert_close(transform(total(ours))(x), transform(total(plain))(x), rtol=1e-4, atol=1e-4)
