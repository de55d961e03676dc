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


def test_gradients_of_gradients_are_refused():
    x = channels_last(torch.randn(2, 5, 4, 5, 6)).requires_grad_()
    y = batch_norm.normalised(nn.BatchNorm3d(5), x, 0.0, 6.0)
    found, = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        found.sum().backward()


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
