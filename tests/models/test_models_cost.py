import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from excite.attention.plan import AttentionPlan
from excite.models.classifier import create_model
from excite.models.cost import count


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
def test_equals_the_textbook_and_torchs_counter(name, arguments, size):
    model = create_model(name, num_classes=7, **arguments)
    cost = count(model, size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.rand(1, *size))
    assert cost.macs == counter.get_total_flops() / 2 == by_hooks(model, size)
    assert sum(macs for _, macs in cost.by_part.values()) == cost.macs
    assert sum(parameters for parameters, _ in cost.by_part.values()) == cost.parameters


@pytest.mark.parametrize(("name", "macs"), [  # torchvision's model cards: 0.301, 4.089 and 4.230 GFLOPS
    ("mobilenet_v2", 300_774_272), ("resnet50", 4_089_184_256), ("resnext50_32x4d", 4_230_479_872)])
def test_the_published_networks_cost_what_is_published(name, macs):
    with torch.device("meta"):
        model = create_model(name)
    assert count(model, (3, 224, 224)).macs == macs


def test_attention_is_a_part_of_its_own():
    with torch.device("meta"):
        cost = count(create_model("se_resnext50_32x4d"), (3, 224, 224))
    assert cost.by_part["attention"] == (2_530_992, 2_514_944)
    assert list(cost.by_part)[:2] == ["stem", "stages.0"] and "classifier" in cost.by_part


def test_counting_leaves_the_network_as_it_is():
    model = create_model("mobilenet_v2").train()
    for value in model.backbone.parameters():
        value.requires_grad_(False)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    cost = count(model, (3, 32, 32))
    assert model.training and all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert (cost.parameters, cost.trainable) == (3_504_872, 1_281_000)


def test_a_foreign_network_is_counted_by_its_children():
    foreign = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.Flatten(), nn.Linear(4 * 36, 2))
    cost = count(foreign, (3, 8, 8))
    assert cost.by_part == {"0": (108, 36 * 108), "2": (4 * 36 * 2 + 2, 4 * 36 * 2)}
