"""The source documents' names: their arguments and order, and that none of the documents' faults came along."""

from collections.abc import Iterator
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from excite.compat import SEBottleneck, SEModule
from excite.errors import ModelError, UsageError
from excite.layers.conv import ConvNormAct
from excite.layers.residual import Residual
from excite.models.resnet import bottleneck
from excite.weights.keymap import to_excite


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
