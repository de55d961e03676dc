import pytest
import torch
from torch import nn

from excite.layers import batch_norm
from excite.layers.batch_norm import normalises
from excite.layers.conv import ConvNormAct
from excite.layers.volume import channels_last, limits


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(batch_norm, "CHUNK", 1_000)  # several chunks, the last one short


def norms(act, *, momentum=0.1, kind=torch.float64):
    torch.manual_seed(0)
    found = []
    for _ in range(2):
        norm = nn.BatchNorm3d(5, momentum=momentum, dtype=kind)
        nn.init.uniform_(norm.weight, -2, 2)
        nn.init.normal_(norm.bias)
        found.append(norm)
    found[1].load_state_dict(found[0].state_dict())
    return *found, nn.Identity() if act is None else act()


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("act", [None, nn.ReLU, nn.ReLU6])
@pytest.mark.parametrize("size", [(2, 5, 4, 5, 6), (1, 5, 7, 11, 3)])
def test_outputs_gradients_and_running_statistics_are_torchs(size, act, momentum):
    ours, theirs, activation = norms(act, momentum=momentum)
    for turn in range(2):
        x = 3 * torch.randn(*size, dtype=torch.float64) + 1000
        gradient = torch.randn(*size, dtype=torch.float64)
        given, plain = channels_last(x).requires_grad_(), x.clone().requires_grad_()
        assert normalises(ours, given)
        y = batch_norm.normalised(ours, given, *limits(None if act is None else activation))
        right = activation(theirs(plain))
        torch.testing.assert_close(y, right, rtol=0, atol=1e-9)
        for mine, other in zip(torch.autograd.grad(y, (given, *ours.parameters()), channels_last(gradient)),
                               torch.autograd.grad(right, (plain, *theirs.parameters()), gradient), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)
        for name, value in theirs.named_buffers():
            torch.testing.assert_close(ours.get_buffer(name), value, rtol=1e-9, atol=1e-9)
        assert int(ours.num_batches_tracked) == turn + 1


def test_sums_in_float32_are_exact_where_torchs_are_not():
    torch.manual_seed(0)
    x = channels_last(torch.randn(1, 8, 48, 48, 48) + torch.randn(1, 8, 1, 1, 1))
    right = x.double().mean((0, 2, 3, 4))
    off = []
    for norm, forward in ((nn.BatchNorm3d(8, momentum=1.0), batch_norm.normalised),
                          (nn.BatchNorm3d(8, momentum=1.0), lambda norm, x, low, high: norm(x))):
        forward(norm, x, 0.0, 6.0)
        off.append(float((norm.running_mean.double() - right).abs().max()))
    assert off[0] < 3e-7 < off[1]


@pytest.mark.parametrize("mean", [0, 10, 100])
def test_gradients_in_float32_are_as_exact_as_torchs_in_the_usual_layout(mean, monkeypatch):
    monkeypatch.setattr(batch_norm, "CHUNK", 2**20)
    torch.manual_seed(0)
    x, gradient, found = torch.randn(2, 8, 32, 32, 32) + mean, torch.randn(2, 8, 32, 32, 32), []
    for kind, way in ((torch.float64, nn.BatchNorm3d.forward), (torch.float32, nn.BatchNorm3d.forward),
                      (torch.float32, lambda norm, given: batch_norm.normalised(norm, channels_last(given), 0.0, 6.0))):
        norm, given = nn.BatchNorm3d(8).to(kind), x.to(kind).requires_grad_()
        y = nn.functional.relu6(way(norm, given))
        found.append([one.double() for one in torch.autograd.grad(y, (given, *norm.parameters()), gradient.to(kind))])
    for right, usual, ours in zip(*found, strict=True):
        assert float((ours - right).norm()) <= 1.5 * float((usual - right).norm()) + 5e-7 * float(right.norm())


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("high", [6.0, torch.inf])
@pytest.mark.parametrize("low", [0.0, -torch.inf])
def test_gradients_of_gradients_are_torchs(low, high, frozen):
    torch.manual_seed(0)
    ours, theirs, _ = norms(None)
    for norm in (ours, theirs):
        norm.weight.requires_grad_(not frozen)
    x, found = torch.randn(2, 5, 4, 5, 6).double(), []
    for norm, way in ((ours, lambda given: batch_norm.normalised(ours, channels_last(given), low, high)),
                      (theirs, lambda given: nn.functional.hardtanh(theirs(given), low, high))):
        given = x.clone().requires_grad_()
        asked = [given, *(one for one in norm.parameters() if one.requires_grad)]
        first = torch.autograd.grad(way(given).pow(3).sum(), asked, create_graph=True)
        found.append([*first, *torch.autograd.grad(sum(one.square().sum() for one in first), asked)])
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)


def test_the_output_of_a_linear_layer_may_be_changed_in_place():
    ours, theirs, _ = norms(None)
    x, found = torch.randn(2, 5, 4, 5, 6).double(), []
    for way in (lambda given: batch_norm.normalised(ours, channels_last(given), *limits(None)), theirs):
        given = x.clone().requires_grad_()
        found.append(torch.autograd.grad(way(given).add_(1).square().sum(), given)[0])
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)


def test_torch_func_has_gradients_of_a_brick_in_training():
    made, x = ConvNormAct(4, 5, 1, dims=3).double(), channels_last(torch.randn(2, 4, 5, 6, 7).double())
    made.norm.track_running_stats, made.norm.running_mean, made.norm.running_var = False, None, None
    found = torch.func.grad(lambda given: made(given).square().sum())(x)
    given = x.clone().requires_grad_()
    right, = torch.autograd.grad(made(given).square().sum(), given)
    torch.testing.assert_close(found, right, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_sums_of_half_precision_are_left_to_torch(kind):
    assert not normalises(nn.BatchNorm3d(5).to(kind), channels_last(torch.randn(2, 5, 4, 5, 6).to(kind)))


def test_it_is_taken_in_training_on_large_volumes_with_channels_last_only(monkeypatch):
    norm, x = nn.BatchNorm3d(5), channels_last(torch.randn(2, 5, 4, 5, 6))
    assert normalises(norm, x)
    assert not normalises(norm, x.contiguous()) and not normalises(norm, x.double()) and not normalises(norm, x[0])
    assert not normalises(nn.GroupNorm(1, 5), x) and not normalises(nn.BatchNorm3d(5, affine=False), x)
    with torch.no_grad():
        assert not normalises(norm, x)
    monkeypatch.setattr(batch_norm, "CHUNK", x.nbytes)
    assert not normalises(norm, x)
    monkeypatch.setattr(batch_norm, "CHUNK", x.nbytes - 1)
    assert normalises(norm, x)
    norm.register_forward_hook(lambda *_: None)
    assert not normalises(norm, x)
    assert not normalises(nn.BatchNorm3d(5).eval(), x)


@pytest.mark.parametrize("act", [None, nn.ReLU, nn.ReLU6, nn.Hardswish])
def test_a_brick_trains_alike_in_both_layouts(act):
    torch.manual_seed(0)
    made, x = ConvNormAct(4, 5, 1, dims=3, act=act).double(), torch.randn(2, 4, 5, 6, 7).double()
    found = [torch.autograd.grad(made(given).square().sum(), list(made.parameters()))
             for given in (x, channels_last(x))]
    for usual, last in zip(*found, strict=True):
        torch.testing.assert_close(last, usual, rtol=1e-9, atol=1e-9)
