"""The average is torch's AveragedModel; applying it leaves the network's own values untouched."""

import pytest
import torch
from engine_toy import Net, bits
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn

from excite.engine.ema import Ema


def walk(model: Net, seed: int) -> None:
    model.train()(torch.randn(4, 2, 6, 6, generator=torch.Generator().manual_seed(seed)))  # moves the statistics
    with torch.no_grad():
        for place, parameter in enumerate(model.parameters()):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(100 * seed + place)))


def test_follows_as_torch_does() -> None:
    model = Net().double()
    model.forward = lambda x, _old=model.forward: _old(x.double())  # type: ignore[method-assign]
    theirs = AveragedModel(model, avg_fn=get_ema_avg_fn(0.05), use_buffers=True)
    theirs.update_parameters(model)  # the first is a copy
    ours = Ema(model, decay=0.05)    # below 1/10: no smaller first decays
    for seed in range(6):
        walk(model, seed)
        theirs.update_parameters(model)
        ours.update(model, updates=seed)
    for name, value in theirs.module.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(ours.tensors[name], value, rtol=1e-12, atol=1e-15)
        else:
            assert torch.equal(ours.tensors[name], model.state_dict()[name])


def test_first_decays_are_smaller() -> None:
    model = torch.nn.Linear(1, 1, bias=False).double()
    values = [0.0, 1.0, 3.0, -2.0]
    with torch.no_grad():
        model.weight.fill_(values[0])
        ema, expected = Ema(model, decay=0.2), values[0]
        for updates, (value, decay) in enumerate(zip(values[1:], [0.1, 2 / 11, 0.2], strict=True)):
            model.weight.fill_(value)
            ema.update(model, updates=updates)
            expected = decay * expected + (1 - decay) * value
            assert float(ema.tensors["weight"]) == pytest.approx(expected, rel=1e-12)


def test_applying_gives_the_average_and_then_the_own_values_back() -> None:
    model = Net()
    ema = Ema(model, decay=0.9)
    first = bits(model)
    walk(model, 1)
    own = bits(model)
    with pytest.raises(KeyError), ema.applied(model):
        assert bits(model) == first != own
        raise KeyError
    assert bits(model) == own
