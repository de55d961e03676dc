import pytest
import torch
from torch import nn

from excite.attention.plan import AttentionPlan
from excite.errors import ModelError, UsageError
from excite.layers.pool import PlaneMean
from excite.models.classifier import create_model
from excite.models.cost import count
from excite.weights.inflate import inflate
from excite.weights.keymap import guess_layout, to_excite
from lively import assert_equal, lively, varied_images


def build(**options):
    with torch.device("meta"):
        return create_model("shufflenet_v1", **options)


@pytest.mark.parametrize(("groups", "mflops"), [(1, 143), (2, 140), (3, 137), (4, 133), (8, 137)])
def test_complexity_is_that_of_table_1(groups, mflops):  # S4-09; the paper leaves the classifier out
    cost = count(build(groups=groups), (3, 224, 224))
    assert abs((cost.macs - cost.by_part["classifier"][1]) / 1e6 - mflops) <= 0.55


# The authors' README: millions of multiply-adds and of parameters.
RELEASED = [(3, 0.5, 38, 0.7), (3, 1.0, 138, 1.9), (3, 1.5, 292, 3.4), (3, 2.0, 524, 5.4),
            (8, 0.5, 40, 1.0), (8, 1.0, 138, 2.4), (8, 1.5, 290, 4.3), (8, 2.0, 522, 6.5)]


@pytest.mark.parametrize(("groups", "width", "mflops", "parameters"), RELEASED)
def test_cost_is_that_of_the_released_networks(groups, width, mflops, parameters):
    cost = count(build(groups=groups, width=width), (3, 224, 224))
    assert abs(cost.macs / 1e6 - mflops) <= 0.6 and abs(cost.parameters / 1e6 - parameters) <= 0.06


def test_a_stem_that_followed_the_width_would_be_counted_out():
    model = build(width=1.5)
    assert model.backbone.channels == [24, 360, 720, 1440]
    wrong = count(model, (3, 224, 224)).macs + 12 * 27 * 112 * 112  # 36 channels, as 24 times 1.5
    assert abs(wrong / 1e6 - 292) > 4


@pytest.mark.parametrize(("groups", "parameters"), [(1, 1_531_936), (2, 1_733_848), (3, 1_865_728), (4, 1_968_344),
                                                    (8, 2_434_768)])
def test_parameters_are_those_of_the_table_summed_by_hand(groups, parameters):
    outs = {1: (144, 288, 576), 2: (200, 400, 800), 3: (240, 480, 960), 4: (272, 544, 1088), 8: (384, 768, 1536)}
    total, channels = 27 * 24 + 2 * 24, 24
    for stage, (out, repeat) in enumerate(zip(outs[groups], (4, 8, 4), strict=True)):
        for block in range(repeat):
            inside, made = out // 4, out - channels if block == 0 else out
            first = 1 if stage == block == 0 else groups  # the first 1x1 of stage 2 is not grouped
            total += channels * inside // first + 9 * inside + inside * made // groups + 2 * (2 * inside + made)
            channels = out
    total += channels * 1000 + 1000
    assert total == parameters == sum(value.numel() for value in build(groups=groups).parameters())


def unit_of(block, plan=None, **options):
    images = varied_images(3)
    model = lively(create_model("shufflenet_v1", width=0.5, num_classes=3, attention=plan, **options), images)
    for gate in (part for name, part in model.named_modules() if name.endswith("attention.excite")):
        nn.init.normal_(gate.weight)
    with torch.no_grad():
        x = model.backbone.stages[0](model.backbone.stem(images))
        for one in model.backbone.stages[1][:block]:
            x = one(x)
    return model.backbone.stages[1][block], x


@pytest.mark.parametrize("position", ["standard", "pre", "post", "identity", "inner"])
@pytest.mark.parametrize("block", [0, 1])
@pytest.mark.parametrize("shuffle", ["paper", "released"])
def test_attention_sits_where_the_plan_says(position, block, shuffle):
    unit, x = unit_of(block, AttentionPlan(position=position, options={"reduction": 4}), shuffle=shuffle)
    names = ("standard", "pre", "post", "identity", "inner")
    assert unit.fused == (position == "standard" and block == 1)

    def formula(at):
        y = unit.branch[0](at["pre"](x))
        if shuffle == "paper":
            y = y.unflatten(1, (3, -1)).transpose(1, 2).flatten(1, 2)
            y = at["inner"](unit.branch[2](y))
        else:
            y = at["inner"](unit.branch[1](y))
            y = y.unflatten(1, (-1, 3)).transpose(1, 2).flatten(1, 2)
        y = at["standard"](unit.branch[3](y))
        if block == 0:
            kept = nn.functional.avg_pool2d(x, 3, 2, 1)
            return at["post"](torch.cat((at["identity"](kept), y), 1).relu())
        return at["post"]((at["identity"](x) + y).relu())

    with torch.no_grad():
        y = unit(x)
        assert_equal(y, formula({name: unit.attention if name == position else nn.Identity() for name in names}))
        plain = formula(dict.fromkeys(names, nn.Identity()))
        assert float((y - plain).abs().max()) > 0.01 * float(plain.abs().max())


def test_the_released_order_is_another_network():
    images = varied_images(3)
    released = lively(create_model("shufflenet_v1", num_classes=3, shuffle="released"), images)
    paper = create_model("shufflenet_v1", num_classes=3).double().eval()
    with pytest.raises(ModelError, match="build the network with shuffle='released'"):
        paper.load_state_dict(released.state_dict(), strict=False)
    state = {key.replace("branch.1.", "branch.2."): value for key, value in released.state_dict().items()}
    paper.load_state_dict(state | {"backbone.form": paper.backbone.form})
    with torch.no_grad(), pytest.raises(AssertionError):
        assert_equal(paper(images), released(images))


def test_the_first_units_shortcut_is_a_mean_and_its_sum_is_a_concatenation():
    model = build()
    for stage in model.backbone.stages:
        first, *others = [block for name, block in stage.named_children() if name != "pool"]
        assert isinstance(first.shortcut, PlaneMean) and first.join == "concat"
        assert all(isinstance(one.shortcut, nn.Identity) and one.join == "sum" for one in others)
        assert not any(isinstance(layer, nn.ReLU) for layer in first.branch[2].children())  # none after the 3x3


@pytest.mark.parametrize(("options", "message"), [
    ({"groups": 5}, "groups must be one of 1, 2, 3, 4, 8, got 5"),
    ({"width": 0.3, "groups": 8}, r"width must leave channels that 8 groups divide, got 0.3.*115.2, 230.4, 460.8"),
    ({"width": 0}, "width must be above 0 and at most 10, got 0"),
    ({"shuffle": "none"}, "shuffle must be 'paper' or 'released', got 'none'"),
])
def test_a_wrong_argument_is_named(options, message):
    with pytest.raises(UsageError, match=message):
        build(**options)


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("width", [0.25, 0.5, 1.0, 1.5, 2.0])
def test_every_width_of_the_paper_can_be_built(groups, width):
    backbone = build(groups=groups, width=width).backbone
    assert [out / 2 ** stage for stage, out in enumerate(backbone.channels[1:])] == [
        {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}[groups] * width] * 3


def test_a_volume_of_one_repeated_image_is_answered_as_that_image():
    images = varied_images(3, size=(64, 48))
    flat = lively(create_model("shufflenet_v1", width=0.5, num_classes=5), images)
    deep = create_model("shufflenet_v1", width=0.5, dims=3, num_classes=5).double().eval()
    deep.load_state_dict(inflate(flat.state_dict(), deep))
    with torch.no_grad():
        assert_equal(deep(images[:, :, None].expand(-1, -1, 5, -1, -1)), flat(images))
        # The planted failure: a mean over the depth too, with zeros beyond the first and last slice.
        mean = deep.backbone.stages[0].get_submodule("0").shortcut
        mean.forward = lambda x: nn.functional.avg_pool3d(nn.functional.pad(x, (1,) * 6), 3, 2)
        with pytest.raises(AssertionError):
            assert_equal(deep(images[:, :, None].expand(-1, -1, 5, -1, -1)), flat(images))


def megvii_names(model):
    """The released names of a network's weights, written from their code's structure."""
    names, index = {}, 0
    for layer, (place, number) in {"conv": ("stem", 0), "norm": ("stem", 1)}.items():
        names[f"first_conv.{number}"] = f"backbone.{place}.{layer}"
    for stage, units in enumerate((4, 8, 4)):
        for unit in range(units):
            for place, (layer, part) in {"1.0": (0, "conv"), "1.1": (0, "norm"), "1.3": (1, "conv"),
                                         "1.4": (1, "norm"), "2.0": (3, "conv"), "2.1": (3, "norm")}.items():
                names[f"features.{index}.branch_main_{place}"] = f"backbone.stages.{stage}.{unit}.branch.{layer}.{part}"
            index += 1
    own = model.state_dict()
    return {f"{theirs}.{key.rpartition('.')[2]}": own[key] for theirs, ours in names.items() for key in own
            if key.rpartition(".")[0] == ours} | {"classifier.0.weight": own["classifier.weight"]}


def test_the_released_weights_names_are_read():
    model = create_model("shufflenet_v1", shuffle="released", num_classes=4)
    state = megvii_names(model)
    assert guess_layout(state) == "megvii" and len(state) == len(model.state_dict()) - 2  # bias and form
    other = create_model("shufflenet_v1", shuffle="released", num_classes=4)
    other.load_state_dict(to_excite(state, model_name="shufflenet_v1", layout="megvii"))
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in other.state_dict().items())
    with pytest.raises(ModelError, match="build the network with shuffle='released'"):
        build(num_classes=4).load_state_dict(to_excite(state, model_name="shufflenet_v1", layout="megvii"))


def test_a_key_that_the_released_networks_do_not_have_keeps_its_name():
    keys = ("features.16.branch_main_1.0.weight", "features.0.branch_main_1.2.weight", "first_conv.2.weight")
    state = dict.fromkeys(keys, torch.zeros(1))
    assert list(to_excite(state, model_name="shufflenet_v1", layout="megvii")) == list(keys)
