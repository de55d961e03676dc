import time

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from excite.attention.plan import AttentionPlan
from excite.attention.registry import ATTENTION
from excite.errors import DataError, UsageError
from excite.layers.gate import Gate
from excite.models.classifier import create_model, list_models
from excite.models.cost import Cost, count, on_meta
from excite.models.groups import freeze_trunk
from excite.models.published import ROWS, figure, usual
from excite.models.registry import BACKBONES

SIZES = {2: (3, 65, 48), 3: (3, 8, 32, 48)}


def by_torch(model, size):
    """Multiply-adds by torch's counter, on shapes alone."""
    device = next(model.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.empty(1, *size, device=device))
    return counter.get_total_flops() / 2


def by_hooks(model, size):
    """Multiply-adds by the textbook: output values x input channels of a group x kernel size."""
    found = []

    def note(layer, _, output):
        per_value = layer.weight[0].numel()
        found.append(output.numel() * per_value)

    hooks = [layer.register_forward_hook(note) for layer in model.modules()
             if isinstance(layer, nn.Conv2d | nn.Conv3d | nn.Linear)]
    with torch.no_grad():
        model.eval()(torch.rand(1, *size))
    for hook in hooks:
        hook.remove()
    return sum(found)


@pytest.mark.parametrize(("name", "arguments", "size"), [
    ("mobilenet_v2", {}, (3, 65, 48)), ("mobilenet_v2", {"attention": AttentionPlan()}, (3, 64, 64)),
    ("mobilenet_v2", {"dims": 3, "in_channels": 1}, (1, 8, 32, 32)), ("se_resnext50_32x4d", {}, (3, 64, 64))])
def test_equals_the_textbook_and_torchs_counter_on_values(name, arguments, size):
    model = create_model(name, num_classes=7, **arguments)
    assert count(model, size).macs == by_torch(model, size) == by_hooks(model, size)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", list(BACKBONES))
def test_every_network_is_counted_by_the_textbook_alone_and_equals_torchs_counter(name, dims):
    with torch.device("meta"):
        model = create_model(name, dims=dims, num_classes=7)
    cost = count(model, SIZES[dims])
    assert cost.macs == by_torch(model, SIZES[dims]) and not cost.notes
    assert sum(macs for _, macs in cost.by_part.values()) == cost.macs
    assert sum(parameters for parameters, _ in cost.by_part.values()) == cost.parameters
    maps = [cost.outputs[part] for part in cost.by_part if part.startswith("stages")]
    assert [shape[0] for shape in maps] == model.backbone.channels[1:]
    assert cost.kept_bytes > 4 * sum(torch.Size(shape).numel() for shape in maps) > cost.activation_bytes / 20


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", list(ATTENTION))
def test_every_attention_is_counted(kind, dims):
    with torch.device("meta"):
        plain = create_model("resnet18", dims=dims)
        model = create_model("resnet18", dims=dims, attention=AttentionPlan(kind=kind))
    bare, cost = count(plain, SIZES[dims]), count(model, SIZES[dims])
    unseen = any(one.ndim > 1 for gate in model.modules() if isinstance(gate, Gate)
                 for one in gate.parameters(recurse=False))  # products that are no layer of torch are said
    assert cost.macs == by_torch(model, SIZES[dims]) and len(cost.notes) == unseen
    assert cost.by_part.get("attention", (0, 0)) == (cost.parameters - bare.parameters, cost.macs - bare.macs)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.network}-{row.options}-{row.size}-{row.source}")
def test_the_published_networks_cost_what_is_published(row):
    if row.network not in list_models():
        pytest.skip(f"{row.network} is no network of create_model")
    with torch.device("meta"):
        model = create_model(row.network, dims=row.dims, in_channels=row.size[0], num_classes=row.classes,
                             **dict(row.options))
    cost = count(model, row.size)
    for told, counted in ((row.parameters, cost.parameters), (row.macs, cost.macs)):
        if told is not None:
            assert counted == (told if isinstance(told, int) else pytest.approx(told, rel=row.within))


def test_a_wide_tolerance_has_its_reason_and_no_row_is_there_twice():
    assert all(row.why for row in ROWS if row.within > 0.01)
    assert len({row[:1] + row[3:7] for row in ROWS}) == len(ROWS)
    assert all(row.parameters or row.macs for row in ROWS)
    assert usual("resnet50", (3, 224, 224)).parameters == 25_557_032 and usual("resnet50", (3, 64, 64)) is None
    assert [figure(number) for number in (None, 25_557_032, 4.2e6, 4.1e9)] == ["-", "25,557,032", "4.2 M", "4.1 G"]


@pytest.mark.parametrize(("layer", "size", "macs"), [  # by hand: outputs x inputs of a group x kernel
    (nn.Conv1d(1, 1, 5, padding=2, bias=False), (1, 64), 64 * 5),
    (nn.Conv2d(8, 12, 3, padding=2, dilation=2, groups=4), (8, 9, 7), 12 * 63 * 2 * 9),
    (nn.Conv3d(6, 6, (1, 3, 5), stride=(1, 2, 2), groups=6), (6, 4, 9, 9), 6 * (4 * 4 * 3) * 15),
    (nn.ConvTranspose2d(16, 8, 2, stride=2), (16, 5, 6), 16 * 30 * 8 * 4),
    (nn.ConvTranspose3d(8, 4, 3, stride=2, groups=2), (8, 2, 3, 4), 8 * 24 * 2 * 27),
    (nn.Linear(10, 3), (7, 10), 7 * 3 * 10)])
def test_each_layer_by_hand(layer, size, macs):
    cost = count(nn.Sequential(layer), size)
    assert cost.macs == macs == by_torch(nn.Sequential(layer), size) and not cost.notes


def test_attention_is_a_part_of_its_own():
    with torch.device("meta"):
        cost = count(create_model("se_resnext50_32x4d"), (3, 224, 224))
    assert cost.by_part["attention"] == (2_530_992, 2_514_944)
    assert list(cost.by_part)[:2] == ["stem", "stages.0"] and "classifier" in cost.by_part
    assert cost.outputs["stages.3"] == (2048, 7, 7) and cost.outputs["classifier"] == (1000,)
    assert "attention" not in cost.outputs


def test_counting_leaves_the_network_as_it_is():
    model = create_model("mobilenet_v2").train()
    for value in model.backbone.parameters():
        value.requires_grad_(False)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    cost = count(model, (3, 32, 32))
    assert model.training and all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert (cost.parameters, cost.trainable) == (3_504_872, 1_281_000)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_foreign_network_is_counted_by_its_children():
    foreign = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.Flatten(), nn.Linear(4 * 36, 2))
    cost = count(foreign, (3, 8, 8))
    assert cost.by_part == {"0": (108, 36 * 108), "2": (4 * 36 * 2 + 2, 4 * 36 * 2)}


class Functional(nn.Module):
    """Multiplies in its own forward, where no layer is called."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(5, 12))
        self.inner = nn.Linear(12, 12)

    def forward(self, x):
        return functional.linear(self.inner(x), self.weight)


class Gathers(nn.Module):
    """A product that no counter can see: sums of slices."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(5, 12))

    def forward(self, x):
        return sum(x[:, None, i] * self.weight[:, i] for i in range(12))


class Twice(nn.Conv2d):
    """A convolution that does more than its shape says."""

    def forward(self, x):
        return super().forward(x) + super().forward(x.flip(2))


def test_what_the_textbook_does_not_know_is_never_silently_nothing():
    own = count(Functional(), (12,))
    assert own.macs == 12 * 12 + 12 * 5 and own.by_part["itself"] == (60, 60)
    assert own.notes == ("the network itself: Functional multiplies in its own forward; counted by torch's counter "
                         "alone",)
    hidden = count(nn.Sequential(nn.Linear(12, 12), Gathers()), (12,))
    assert hidden.macs == 144 and len(hidden.notes) == 1
    assert hidden.notes[0].startswith("1: Gathers has weights of its own, and no counter knows")
    several = count(nn.Sequential(Gathers(), nn.Linear(5, 12), Gathers()), (12,)).notes
    assert len(several) == 1 and several[0].startswith("0 and 1 more: Gathers")
    more = count(nn.Sequential(Twice(2, 3, 1)), (2, 4, 4))
    assert more.macs == 2 * 3 * 2 * 16 and "Twice is 96 by the textbook, 192 by torch's counter" in more.notes[0]


def test_attention_between_tokens_is_counted_by_torchs_counter_and_said():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix = nn.MultiheadAttention(16, 4, batch_first=True)

        def forward(self, x):
            return self.mix(x, x, x)[0]

    cost = count(Tokens(), (6, 16))
    assert cost.macs == 6 * 16 * 48 + 2 * 6 * 6 * 16 + 6 * 16 * 16 and "mix: MultiheadAttention" in cost.notes[0]


def test_a_layer_that_two_places_share_counts_its_values_once_and_its_work_twice():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Linear(8, 8, bias=False)
            self.two = nn.Sequential(self.one)

        def forward(self, x):
            return self.two(self.one(x))

    cost = count(Shared(), (8,))
    assert (cost.parameters, cost.macs) == (64, 128) and not cost.notes
    assert cost.by_part == {"one": (64, 128)}


def test_memory_of_the_largest_step_and_of_training_by_hand():
    layers = nn.Sequential(nn.Conv2d(2, 4, 1), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(64, 3))
    cost = count(layers, (2, 4, 4))
    wide, narrow = 4 * 16 * 4, 2 * 16 * 4
    assert cost.activation_bytes == narrow + wide  # the convolution; in place and reshaped, a map counts once
    assert cost.kept_bytes == narrow + wide        # its input, and the map that ReLU, and the last layer, need
    assert cost.parameter_bytes == 4 * (2 * 4 + 4 + 64 * 3 + 3)
    out_of_place = nn.Sequential(nn.Conv2d(2, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    assert count(out_of_place, (2, 4, 4)).activation_bytes == 2 * wide
    assert count(layers.double(), (2, 4, 4)).activation_bytes == 2 * (narrow + wide)


def test_kept_memory_is_what_a_real_pass_saves_and_a_frozen_trunk_saves_none():
    model = create_model("mobilenet_v2", num_classes=3).train()
    model.dropout.eval()
    weights = {one.untyped_storage().data_ptr() for one in (*model.parameters(), *model.buffers())}
    saved = {}

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in weights:
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(torch.rand(1, 3, 64, 64))
    cost = count(model, (3, 64, 64))
    assert cost.kept_bytes == sum(one.nbytes() for one in saved.values())
    freeze_trunk(model)
    assert count(model, (3, 64, 64)).kept_bytes == 1280 * 4 < cost.kept_bytes / 100


def test_a_large_network_is_counted_in_a_moment_without_its_weights():
    began = time.perf_counter()
    with torch.device("meta"):
        cost = count(create_model("senet154", dims=3), (3, 16, 112, 112))
    assert cost.parameters == 172_259_288 and time.perf_counter() - began < 20
    model = nn.Linear(4, 4)
    assert all(one.is_meta for one in on_meta(model).parameters()) and not model.weight.is_meta


@pytest.mark.parametrize(("size", "message"), [
    ((3, 0, 32), "input_size must be"), ((), "input_size must be"), ((3, 32.0, 32), "input_size must be"),
    ((1, 32, 32), r"takes \(N, 3, H, W\), got \(1, 1, 32, 32\)"), ((3, 32, 32, 32), r"takes \(N, 3, H, W\)")])
def test_an_input_that_cannot_be_is_an_error_that_says_so(size, message):
    with torch.device("meta"):
        model = create_model("mobilenet_v2")
    with pytest.raises((UsageError, DataError), match=message):
        count(model, size)


def test_old_calls_build_a_cost_still():
    assert Cost(parameters=1, trainable=1, macs=2, by_part={}).notes == ()
