import pytest
import torch
from torch import nn

from excite.attention.plan import AttentionPlan
from excite.errors import ModelError, UsageError
from excite.models.classifier import create_model
from excite.models.cost import count
from excite.weights.inflate import inflate
from excite.weights.keymap import to_excite
from lively import assert_equal, lively, varied_images


def build(**options):
    with torch.device("meta"):
        return create_model("shufflenet_v2", **options)


# Parameters; the paper's MFLOPs (table 8), which lie 0.7 to 1.4 % above the multiply-adds of its layers.
COUNTS = {0.5: (1_366_792, 41), 1.0: (2_278_604, 146), 1.5: (3_503_624, 299), 2.0: (7_393_996, 591)}


@pytest.mark.parametrize(("width", "counts"), COUNTS.items())
def test_counts_are_the_published_ones(width, counts):  # S4-11
    cost = count(build(width=width), (3, 224, 224))
    assert cost.parameters == counts[0]
    assert cost.macs / 1e6 == pytest.approx(counts[1], rel=0.015)


def test_a_unit_without_its_split_would_be_counted_out():
    model = build()
    unit = model.backbone.stages[1][1]
    unit.branch[0].conv = nn.Conv2d(232, 116, 1, bias=False, device="meta")
    assert sum(value.numel() for value in model.parameters()) != COUNTS[1.0][0]


def unit_of(block, plan=None, stage=1):
    images = varied_images(3, size=(64, 64))
    model = lively(create_model("shufflenet_v2", width=0.5, num_classes=3, attention=plan), images)
    if plan is not None:
        for gate in (part for name, part in model.named_modules() if name.endswith("attention.excite")):
            nn.init.normal_(gate.weight)
    with torch.no_grad():
        x = model.backbone.stages[stage - 1](model.backbone.stem(images)) if stage == 1 else None
        for one in model.backbone.stages[stage][:block]:
            x = one(x)
    return model.backbone.stages[stage][block], x


def dealt(left, right):
    """Concatenation and a shuffle of two groups: channels of one and the other in turn."""
    return torch.stack((left, right), dim=2).flatten(1, 2)


@pytest.mark.parametrize("position", ["standard", "pre", "post", "identity", "inner"])
@pytest.mark.parametrize("block", [0, 1])
def test_attention_sits_where_the_plan_says(position, block):
    unit, x = unit_of(block, AttentionPlan(position=position, options={"reduction": 4}))
    gate, (squeeze, space, widen) = unit.attention, unit.branch
    at = {name: gate if name == position else nn.Identity() for name in
          ("standard", "pre", "post", "identity", "inner")}
    with torch.no_grad():
        kept, moved = (x, x) if block == 0 else (x[:, :x.shape[1] // 2], x[:, x.shape[1] // 2:])
        right = at["standard"](widen(at["inner"](space(squeeze(at["pre"](moved))))))
        left = at["identity"](unit.shortcut(kept))
        assert_equal(unit(x), at["post"](dealt(left, right)))
        plain = dealt(unit.shortcut(kept), widen(space(squeeze(moved))))
        assert float((unit(x) - plain).abs().max()) > 0.01 * float(plain.abs().max())
        if position in ("standard", "identity"):  # the other half is left alone: every second channel
            untouched = slice(1 if position == "identity" else 0, None, 2)
            assert torch.equal(unit(x)[:, untouched], plain[:, untouched])


def test_a_unit_hands_the_first_half_on_unchanged_and_filters_the_second():
    unit, x = unit_of(1)
    half = x.shape[1] // 2
    with torch.no_grad():
        y = unit(x)
        assert torch.equal(y[:, ::2], x[:, :half]) and torch.equal(y[:, 1::2], unit.branch(x[:, half:]))
        assert not torch.equal(y[:, 1::2], unit.branch(x[:, :half]))


def test_every_block_can_have_attention_at_every_place():
    for position in ("standard", "pre", "post", "identity", "inner"):
        model = build(attention=AttentionPlan(position=position))
        assert len(model.backbone.attended()) == 16 and not model.backbone.refused()
    assert build(attention=AttentionPlan(blocks=("1.0", "2.*"))).backbone.attended() == [
        "stages.1.0", *(f"stages.2.{block}" for block in range(4))]


@pytest.mark.parametrize("width", [0.75, 0, -1, 3])
def test_a_width_that_the_paper_does_not_have_is_named(width):
    with pytest.raises(UsageError, match="width must be one of 0.5, 1, 1.5, 2, got"):
        build(width=width)


@pytest.mark.parametrize("width", [0.5, 2.0])
def test_a_volume_of_one_repeated_image_is_answered_as_that_image(width):
    images = varied_images(3, size=(64, 48))
    flat = lively(create_model("shufflenet_v2", width=width, num_classes=5), images)
    deep = create_model("shufflenet_v2", width=width, dims=3, num_classes=5).double().eval()
    deep.load_state_dict(inflate(flat.state_dict(), deep))
    with torch.no_grad():
        assert_equal(deep(images[:, :, None].expand(-1, -1, 5, -1, -1)), flat(images))


def test_a_volumes_depth_stride_is_told_from_another():
    model = create_model("shufflenet_v2", width=0.5, dims=3, depth_stride=2, num_classes=2)
    assert model.backbone.strides[-1] == (32, 32, 32)
    with pytest.raises(ModelError, match="build the network with depth_stride='1'"):
        model.load_state_dict(create_model("shufflenet_v2", width=0.5, dims=3, num_classes=2).state_dict())
    with pytest.raises(UsageError, match="depth_stride must be 1 or 2, got 3"):
        build(dims=3, depth_stride=3)


def test_a_key_that_torchvision_does_not_have_keeps_its_name():
    keys = ("stage2.0.branch2.2.weight", "stage5.0.branch2.0.weight", "conv2.0.weight", "stage2.0.branch1.5.weight")
    state = dict.fromkeys(keys, torch.zeros(1))
    assert list(to_excite(state, model_name="shufflenet_v2", layout="torchvision")) == list(keys)
