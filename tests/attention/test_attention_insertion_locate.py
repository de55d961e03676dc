import logging
import random

import pytest
import torch
from torch import nn
from torch.utils import checkpoint

from excite.attention.insertion.locate import located
from excite.errors import UsageError
from insertion_toy import BLOCKS, AsksValues, BasicBlock, Inverted, Network, PreActivation, Scaled, written

POSITIONS = {"standard", "pre", "post", "identity", "inner"}


def lacks(block):
    return {position: why for position, why in block.cuts.items() if isinstance(why, str)}


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", BLOCKS)
def test_every_residual_block_is_found_with_its_stage(kind, dims):
    found = located(Network(BLOCKS[kind], dims=dims))
    everywhere = [(f"stages.{stage}.{block}", f"{stage}.{block}") for stage in range(3) for block in range(2)]
    if kind == "inverted":  # two of them have no sum
        everywhere = [("stages.0.0", "0.0"), ("stages.0.1", "0.1"), ("stages.1.1", "1.0"), ("stages.2.1", "2.0")]
    if kind == "scaled":  # what is counted is the sum, before the block's own stride
        stages = [0, 0, 0, 1, 1, 2]
        everywhere = [(name, f"{stage}.{stages[:at].count(stage)}")
                      for at, ((name, _), stage) in enumerate(zip(everywhere, stages, strict=True))]
    assert [(block.name, block.place) for block in found.blocks] == everywhere
    assert (found.dims, found.input_size) == (dims, (3, *[64] * dims))
    assert all(set(block.cuts) == POSITIONS for block in found.blocks)


def test_the_gate_sees_the_channels_of_its_place():
    blocks = located(Network()).blocks
    second = blocks[2]
    assert {position: cuts[False].channels for position, cuts in second.cuts.items()} == {
        "standard": 16, "pre": 8, "post": 16, "identity": 16, "inner": 16}
    inverted = located(Network(Inverted)).blocks[0]
    assert inverted.cuts["inner"][True].channels == 24 and inverted.cuts["standard"][True].channels == 8


def test_drop_path_comes_after_the_gate_and_layer_scale_before_it():
    cuts = located(Network(Scaled)).blocks[0].cuts["standard"]
    assert (cuts[True].value, cuts[True].users) == ("mul", ("dropout",))
    assert (cuts[False].value, cuts[False].users) == ("mul", ("dropout",))


def test_a_branch_that_changes_its_input_in_place_has_no_pre_position():
    blocks = located(Network(PreActivation, inplace=True)).blocks
    assert lacks(blocks[0]) == {"pre": "its branch begins with a change in place, which the shortcut sees too"}
    assert not lacks(located(Network(PreActivation)).blocks[0])


def test_a_branch_of_one_convolution_has_no_inner_position():
    class Single(nn.Module):
        def __init__(self, channels, out, stride=1, dims=2):
            super().__init__()
            self.norm, self.conv = nn.BatchNorm2d(channels), nn.Conv2d(channels, out, 3, stride, 1)
            self.shortcut = nn.Conv2d(channels, out, 1, stride)

        def forward(self, x):
            return self.shortcut(x).add_(self.conv(self.norm(x)))

    assert [lacks(block) for block in located(Network(Single)).blocks] == [
        {"inner": "its branch has no convolution over space that another layer follows"}] * 6


def test_only_the_innermost_sum_is_a_block():
    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.body = nn.Conv2d(3, 8, 3, padding=1), nn.Sequential(BasicBlock(8, 8), BasicBlock(8, 8))

        def forward(self, x):
            x = self.conv(x)
            return x + self.body(x)

    found = located(Around())
    assert [block.name for block in found.blocks] == ["body.0", "body.1"]
    assert found.passed_over == ("the network itself has a sum around other blocks",)


def test_sums_that_are_not_residual_are_none():
    class Sums(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 8, 3, padding=1)
            self.narrow = nn.Conv2d(8, 8, 1)

        def forward(self, x):
            y = self.one(x) + self.other(x)  # two branches alike
            y = y + self.narrow(y.mean((2, 3), keepdim=True))  # of another size
            return y + 1

    assert not located(Sums()).blocks


def test_what_cannot_be_traced_is_said():
    found = located(Network(AsksValues))
    assert not found.blocks
    assert [line.split(":")[0] for line in found.passed_over] == [
        f"stages.{stage}.{block} cannot be traced" for stage in range(3) for block in range(2)]


def plain(self, x):
    return self.branch(x) + self.shortcut(x)


def inside(self, x):
    with torch.no_grad():
        y = self.shortcut(x)
    return self.branch(x) + y


def deeper(self, x):
    def branch(y):
        with torch.autocast("cpu", enabled=False):
            return self.branch(y)

    return branch(x) + self.shortcut(x)


def again(self, x):
    return checkpoint.checkpoint(self.branch, x, use_reentrant=False) + self.shortcut(x)


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


def turned(self, x):
    return Reversed.apply(self.branch(x)) + self.shortcut(x)


def by_chance(self, x):
    return self.branch(x) * torch.rand(()) + self.shortcut(x)


def by_chance_of_python(self, x):
    return self.branch(x) + self.shortcut(x) if random.random() < 0.5 else self.shortcut(x) + self.branch(x)


def in_part(self, x):
    y = self.branch(x)
    y[:, :4].add_(1)
    return y + self.shortcut(x)


def counted_anew(self, x):
    self.calls = self.calls + 1
    return plain(self, x)


def as_a_tensor(self, x):
    return plain(self, x) * torch.as_tensor(x.shape[1])


LOST = "its forward computes inside {}, which would be lost"
CONTEXT = LOST.format("a `with` statement or a decorator such as no_grad or autocast")


@pytest.mark.parametrize(("forward", "why"), [
    (inside, CONTEXT), (deeper, CONTEXT), (torch.no_grad()(plain), CONTEXT),
    (torch.autocast("cpu", dtype=torch.bfloat16)(plain), CONTEXT),
    (again, LOST.format("torch.utils.checkpoint")), (turned, LOST.format("an autograd Function's own backward")),
    (by_chance, "its forward draws random numbers that the graph would fix"),
    (by_chance_of_python, "its forward draws random numbers that the graph would fix"),
    (in_part, "its forward changes a part of a value in place and uses the value later"),
    (counted_anew, "its forward sets its buffer calls anew, which the graph would not"),
    (as_a_tensor, "its forward computes with values or makes tensors of them, which no graph records ("),
])
def test_what_a_graph_would_lose_is_no_place(forward, why):
    states = torch.get_rng_state(), random.getstate()
    model = Network(written(plain))
    model.stages[1][1] = written(forward)(16, 16)
    torch.set_rng_state(states[0])
    found = located(model)
    assert len(found.blocks) == 5
    assert found.passed_over[0].startswith(f"stages.1.1 cannot be traced: {why}")
    assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[1]


def test_torch_prints_nothing_of_what_it_tries(caplog):
    log, runs = logging.getLogger("torch._subclasses.fake_tensor"), []

    class Tries(BasicBlock):
        def forward(self, x):
            if isinstance(x, torch.Tensor):  # run, not traced
                runs.append(self)
                log.error("failed while attempting to run meta")
            return super().forward(x)

    level = log.level
    assert len(located(Network(Tries)).blocks) == len(runs) == 6
    assert not caplog.records and log.level == level


def test_a_network_that_looks_at_values_around_its_blocks_is_named():
    model = Network()
    model.stages[1][0] = AsksValues(8, 16, 2)
    with pytest.raises(UsageError, match="Network looks at values in its forward .*; insert into the part of it"):
        located(model)


def test_what_a_forward_leaves_in_its_module_is_taken_away_again():
    class Remembers(BasicBlock):
        def forward(self, x):
            self.seen = x
            self.register_buffer("last", x.detach())
            return super().forward(x)

    model = Network(Remembers)
    assert len(located(model).blocks) == 6
    assert not any(hasattr(part, "seen") or "last" in part._buffers for part in model.modules())


def test_looking_computes_nothing_and_changes_nothing():
    model = Network(Scaled).train()
    model.stages[0].eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    modes = [part.training for part in model.modules()]
    state = torch.get_rng_state()
    located(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(part._forward_pre_hooks for part in model.modules())


def test_a_network_that_needs_more_than_64_gets_more():
    model = Network()
    model.stem = nn.Sequential(nn.Conv2d(3, 8, 70, stride=2), nn.BatchNorm2d(8))
    assert located(model).input_size == (3, 224, 224)


def test_on_meta_too():
    with torch.device("meta"):
        assert len(located(Network()).blocks) == 6


@pytest.mark.parametrize(("model", "size", "message"), [
    (nn.Sequential(nn.Linear(3, 4)), None, "Sequential has no convolution over two or three dimensions; "),
    (Network(), 64, r"input_size must be \(channels, \*sizes\) of whole numbers of at least 1, got 64; for example"),
    (Network(), (3, 0, 32), r"of whole numbers of at least 1, got \(3, 0, 32\)"),
    (Network(), (4, 32, 32), r"Network cannot take an input of 4 x 32 x 32 \(.*channels.*\); say what it takes: "),
    (Network(dims=3), (3, 32, 32), "Network cannot take an input of 3 x 32 x 32"),
])
def test_a_network_that_cannot_be_run_is_named(model, size, message):
    with pytest.raises(UsageError, match=message):
        located(model, input_size=size)
