"""The two published U-Nets: every number of their tables, equality with plain layers, and the traps of the listing."""

import copy
import inspect
import warnings
from functools import cache

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from excite.attention.plan import AttentionPlan
from excite.errors import DataError, EnvironmentFault, ModelError, UsageError
from excite.jobs.model_cost import counted, usual_order
from excite.jobs.model_cost import published as told
from excite.models.classifier import create_model, list_models
from excite.models.cost import count
from excite.models.encoder_weights import fold_normalisation
from excite.models.mobilenet_v2 import MobileNetV2
from excite.models.published import usual
from excite.models.registry import BACKBONES, NETWORKS
from excite.weights.catalog import IMAGENET
from lively import assert_equal, assert_sees_its_input, lively, varied_images

NAME, LARGE = "mobilenet_v2_aspp_se_unet", "aspp_se_unet"
pytestmark = pytest.mark.filterwarnings("ignore:ASPP")


def size(part):
    return sum(value.numel() for value in part.parameters())


def on_meta(name=NAME, **options):
    with torch.device("meta"):
        return create_model(name, **options)


@cache
def published():
    """The published network on shapes alone, for tests that only look at it."""
    return on_meta()


# ---- the table of the listing

def test_each_part_costs_what_the_table_has():
    model = published()
    assert size(model.encoder) == 2_223_296
    assert size(model.initial) == 352
    assert size(model.bridge) == 20_322_304
    assert [size(up) for up in model.ups] == [524_544, 131_200, 32_832, 8_224, 4_128]
    assert [size(gate) for gate in model.skips] == [1_254, 162, 73, 49, 162]
    assert [size(block) for block in model.blocks] == [1_500_944, 355_208, 94_148, 24_930, 30_050]
    assert size(model.output) == 33
    assert size(model) == 25_253_893


def test_parameters_trained_and_frozen_and_their_sizes():
    model = on_meta(freeze_encoder=True)
    trained = sum(value.numel() for value in model.parameters() if value.requires_grad)
    assert (size(model), trained, size(model) - trained) == (25_253_893, 23_030_597, 2_223_296)
    assert [round(number * 4 / 2**20, 2) for number in (size(model), trained)] == [96.34, 87.85]
    assert round(100 * trained / size(model), 3) == 91.196
    assert count(published(), (1, 256, 256)).trainable == 25_253_893


def test_running_statistics_are_as_many_as_in_the_listing():
    values = [value for name, value in published().named_buffers() if not name.endswith(("form", "position"))]
    assert sum(value.numel() for value in values) == 42_441
    assert 4 * (25_253_893 + 42_441) + 4 * sum(value.ndim == 0 for value in values) == 101_185_628  # counters: 8 bytes


def test_multiply_adds_and_where_they_are():  # T1-7
    cost = count(published(), (1, 256, 256))
    macs = {name: round(macs / 1e9, 2) for name, (_, macs) in cost.by_part.items()}
    assert round(cost.macs / 1e9, 2) == 5.34
    assert (macs["encoder"], macs["bridge"], macs["blocks"], macs["ups"]) == (0.38, 1.26, 3.47, 0.20)
    large = count(on_meta(LARGE), (1, 256, 256))
    assert (large.parameters, round(large.macs / 1e9, 2)) == (38_378_805, 54.53)
    assert round(large.parameters * 4 / 2**20, 2) == 146.40


@pytest.mark.parametrize(("options", "parameters"), [
    ({"aspp_use_groupnorm": False}, 25_253_893),
    ({"num_classes": 3}, 25_253_893 + 2 * 33),
    ({"in_channels": 3}, 25_253_893 + 2 * 2 * 288),
    ({"min_hidden": 8}, 25_253_893 + sum(8 * 2 * c + 8 - (h * 2 * c + h) for c, h in
                                         ((96, 6), (32, 2), (24, 1), (16, 1), (32, 2)))),
])
def test_options_cost_what_they_should(options, parameters):
    assert size(on_meta(**options)) == parameters


def test_strides_and_channels_of_the_skips_are_the_tables():  # B2
    model = published()
    assert [(skip.channels, skip.strides[0]) for skip in model.skips_from] == [
        (96, 16), (32, 8), (24, 4), (16, 2), (32, 1)]
    with torch.device("meta"):
        maps = model.encoder.eval().features(torch.rand(1, 1, 256, 256))
    blocks = [(one.shape[2], one.shape[1]) for one in maps]
    assert blocks == [(128, 32), (128, 16), (64, 24), (32, 32), (16, 64), (16, 96), (8, 160), (8, 320)]


# ---- equality with plain layers

class Squeeze(nn.Module):
    def __init__(self, channels):
        super().__init__()
        hidden = max(channels // 16, 1)
        self.squeeze, self.excite = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.excite(self.squeeze(functional.adaptive_avg_pool2d(x, 1)).relu()))


def pair(given, made, kernel, **arguments):
    return nn.Sequential(nn.Conv2d(given, made, kernel, bias=False, **arguments), nn.BatchNorm2d(made))


class Block(nn.Module):
    def __init__(self, given, made):
        super().__init__()
        self.first, self.second = pair(given, made, 3, padding=1), pair(made, made, 3, padding=1)
        self.gate = Squeeze(made)
        self.short = pair(given, made, 1) if given != made else nn.Identity()

    def forward(self, x):
        return (self.gate(self.second(self.first(x).relu())) + self.short(x)).relu()


class Pyramid(nn.Module):
    def __init__(self, given, made, rates):
        super().__init__()
        self.point = pair(given, made, 1)
        self.atrous = nn.ModuleList(pair(given, made, 3, padding=rate, dilation=rate) for rate in rates)
        self.pool = nn.Sequential(nn.Conv2d(given, made, 1, bias=False), nn.GroupNorm(32, made))
        self.project = pair(made * (2 + len(rates)), made, 1)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        mean = self.pool(functional.adaptive_avg_pool2d(x, 1)).relu()
        mean = functional.interpolate(mean, x.shape[2:], mode="bilinear", align_corners=False)
        parts = [self.point(x).relu(), *(branch(x).relu() for branch in self.atrous), mean]
        return self.drop(self.project(torch.cat(parts, 1)).relu())


class Up(nn.Module):
    """The decoder of both listings; `maps` are the skips, coarsest first."""

    def __init__(self, below, skips, widths):
        super().__init__()
        self.ups, self.gates, self.blocks = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for skip, width in zip(skips, widths, strict=True):
            self.ups.append(nn.ConvTranspose2d(below, width, 2, 2))
            self.gates.append(Squeeze(skip))
            self.blocks.append(Block(width + skip, width))
            below = width
        self.output = nn.Conv2d(below, 1, 1)

    def forward(self, y, maps):
        for up, gate, block, skip in zip(self.ups, self.gates, self.blocks, maps, strict=True):
            y = block(torch.cat([up(y), gate(skip)], 1))
        return self.output(y)


class Inverted(nn.Module):
    """torchvision's block of MobileNetV2 by its key names."""

    def __init__(self, given, made, stride, expand):
        super().__init__()
        hidden = given * expand
        layers = [nn.Sequential(*pair(given, hidden, 1), nn.ReLU6())] if expand > 1 else []
        layers += [nn.Sequential(*pair(hidden, hidden, 3, stride=stride, padding=1, groups=hidden), nn.ReLU6()),
                   *pair(hidden, made, 1)]
        self.conv, self.shortcut = nn.Sequential(*layers), stride == 1 and given == made

    def forward(self, x):
        return x + self.conv(x) if self.shortcut else self.conv(x)


def plain_features(channels=1):
    """MobileNetV2's 19 modules."""
    found = [nn.Sequential(*pair(channels, 32, 3, stride=2, padding=1), nn.ReLU6())]
    given = 32
    for expand, made, repeat, stride in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
                                         (6, 160, 3, 2), (6, 320, 1, 1)):
        for step in (stride, *[1] * (repeat - 1)):
            found.append(Inverted(given, made, step, expand))
            given = made
    return nn.Sequential(*found, nn.Sequential(*pair(320, 1280, 1), nn.ReLU6()))


class Listing(nn.Module):
    """The published network from plain layers: skips after modules 1, 3, 6 and 13."""

    def __init__(self, features, rates=(6, 12, 18)):
        super().__init__()
        self.features, self.initial = features, pair(1, 32, 3, padding=1)
        self.bridge = Pyramid(1280, 512, rates)
        self.decoder = Up(512, (96, 32, 24, 16, 32), (256, 128, 64, 32, 32))

    def forward(self, x):
        kept, y = {}, x
        for index, module in enumerate(self.features):
            y = kept[index] = module(y)
        return self.decoder(self.bridge(y), [kept[13], kept[6], kept[3], kept[1], self.initial(x).relu()])


class LargeListing(nn.Module):
    """The sibling from plain layers."""

    def __init__(self, base=64, rates=(6, 12, 18)):
        super().__init__()
        widths = [base, 2 * base, 4 * base, 8 * base]
        self.initial = pair(1, base, 3, padding=1)
        self.encoder = nn.ModuleList(Block(a, b) for a, b in zip([base, *widths], widths, strict=False))
        self.bridge = Pyramid(widths[-1], 16 * base, rates)
        self.decoder = Up(16 * base, widths[::-1], widths[::-1])

    def forward(self, x):
        maps, y = [], self.initial(x).relu()
        for block in self.encoder:
            maps.append(block(y))
            y = functional.max_pool2d(maps[-1], 2)
        return self.decoder(self.bridge(y), maps[::-1])


def our_state(reference, model):
    """The reference's tensors by our names; the encoder of the first aside."""
    names = {"first": "branch.0", "second": "branch.1", "short": "shortcut", "gate": "attention"}
    found = {}
    for key, value in reference.state_dict().items():
        parts = key.split(".")
        if parts[0] == "features":
            continue
        if parts[0] == "encoder":
            parts = ["encoder", "stages", parts[1], "0", *parts[2:]]
        elif parts[0] == "initial" and isinstance(reference, LargeListing):
            parts = ["encoder", "stem", *parts[1:]]
        elif parts[0] == "decoder":
            parts = [{"gates": "skips"}.get(parts[1], parts[1]), *parts[2:]]
        at = next((index for index, part in enumerate(parts) if part in names), None)
        if at is not None:
            parts[at] = names[parts[at]]
        if parts[-2] in ("0", "1") and parts[0] not in ("ups", "output"):
            parts[-2] = ("conv", "norm")[int(parts[-2])]
        found[".".join(parts)] = value
    fixed = {key: value for key, value in model.state_dict().items() if key.endswith(("form", "position"))}
    return fixed | found


def enliven(reference, images):
    for layer in reference.modules():
        if isinstance(layer, nn.GroupNorm):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias)
    return lively(reference, images)


def assert_is_the_listing(features, plan_rates, shape):
    images = varied_images(3, channels=1, size=shape)
    reference = enliven(Listing(features, plan_rates), images)
    model = create_model(NAME, atrous_rates=plan_rates).double().eval()
    report = model.load({f"features.{key}": value for key, value in features.state_dict().items()})
    assert report.percent == 100 and not report.missing
    left = model.load_state_dict(our_state(reference, model), strict=False)
    assert not left.unexpected_keys and all(key.startswith("encoder.") for key in left.missing_keys)
    with torch.no_grad():
        expected = reference(images)
        assert_equal(model(images), expected)
        assert_equal(model.probabilities(images), expected.sigmoid())
        model.skips_from[0] = model.skips_from[0]._replace(place=4)  # planted: another map than the table's
        with pytest.raises(RuntimeError):
            model(images)
        model.skips_from[0] = model.skips_from[0]._replace(place=5)
        model.encoder.stages[4][1].shortcut = None                   # planted: a shortcut less in the encoder
        assert not torch.allclose(model(images), expected, rtol=1e-3)


def test_equals_the_listing_from_plain_layers():
    assert_is_the_listing(plain_features(), (1, 2, 3), (64, 96))


@pytest.mark.slow
def test_equals_the_listing_at_its_own_size_and_rates():
    assert_is_the_listing(plain_features(), (6, 12, 18), (256, 256))


@pytest.mark.peers
def test_equals_the_listing_around_torchvisions_features():
    from torchvision.models import mobilenet_v2

    features = mobilenet_v2().features
    features[0][0] = nn.Conv2d(1, 32, 3, 2, 1, bias=False)
    assert len(features) == 19 and size(features) == 2_223_296
    assert_is_the_listing(features, (1, 2, 3), (64, 96))


def test_the_sibling_equals_its_listing_from_plain_layers():
    images = varied_images(3, channels=1, size=(48, 64))
    reference = enliven(LargeListing(base=8, rates=(1, 2)), images)
    model = create_model(LARGE, base=8, atrous_rates=(1, 2)).double().eval()
    model.load_state_dict(our_state(reference, model))
    with torch.no_grad():
        expected = reference(images)
        assert_equal(model(images), expected)
        model.bridge.atrous[1].conv.dilation = (1, 1)  # planted: a branch at another rate
        model.bridge.atrous[1].conv.padding = (1, 1)
        assert not torch.allclose(model(images), expected, rtol=1e-3)
    assert size(LargeListing()) == 38_378_805


# ---- traps

def small(**options):
    return create_model(NAME, **{"atrous_rates": (1,), "aspp_dropout": 0.0} | options)


def state_of(part):
    return {key: value.clone() for key, value in part.state_dict().items()}


def changed(part, before):
    return [key for key, value in part.state_dict().items() if not torch.equal(value, before[key])]


def steps(model, parameters, count=2):
    optimiser = torch.optim.SGD(parameters, lr=0.1)
    for _ in range(count):
        optimiser.zero_grad()
        model(torch.rand(2, 1, 64, 64)).square().mean().backward()
        optimiser.step()


def test_a_frozen_encoder_stays_put_in_training():  # T1-1
    model = small(freeze_encoder=True).train()
    assert not any(part.training for part in model.encoder.modules()) and model.bridge.training
    before, rest = state_of(model.encoder), state_of(model.blocks)
    steps(model, [one for one in model.parameters() if one.requires_grad])
    assert changed(model.encoder, before) == []
    assert len(changed(model.blocks, rest)) > 30
    thawed = small().train()  # planted: requires_grad alone lets the running statistics move
    thawed.encoder.requires_grad_(False)
    before = state_of(thawed.encoder)
    steps(thawed, [one for one in thawed.parameters() if one.requires_grad], 1)
    moved = changed(thawed.encoder, before)
    assert moved and all(key.endswith(("running_mean", "running_var", "num_batches_tracked")) for key in moved)


@pytest.mark.parametrize("batchnorm", ["train", "frozen"])
def test_phase_two_frees_the_encoder_with_a_stated_policy(batchnorm):
    model = small(freeze_encoder=True).train()
    model.unfreeze_encoder(batchnorm=batchnorm)
    before = state_of(model.encoder)
    steps(model.eval().train(), model.parameters(), 1)
    moved = changed(model.encoder, before)
    assert any(key.endswith("conv.weight") for key in moved) and any(key.endswith("norm.bias") for key in moved)
    assert any(key.endswith("running_var") for key in moved) == (batchnorm == "train")
    norms = [part for part in model.encoder.modules() if isinstance(part, _BatchNorm)]
    assert all(part.training == (batchnorm == "train") for part in norms)
    model.freeze_encoder()
    assert not any(value.requires_grad for value in model.encoder.parameters())
    with pytest.raises(UsageError, match="batchnorm must be 'train' or 'frozen', got 'eval'"):
        model.unfreeze_encoder(batchnorm="eval")


def test_phase_two_needs_a_new_optimiser_with_a_group_for_the_encoder():  # T1-9
    model = small(freeze_encoder=True)
    first = torch.optim.AdamW(model.parameter_groups(lr=1e-3, encoder_lr=1e-5))
    assert [group["name"] for group in first.param_groups] == ["network"]
    inside = {id(value) for value in model.encoder.parameters()}
    model.unfreeze_encoder(batchnorm="frozen")
    assert not inside & {id(one) for group in first.param_groups for one in group["params"]}  # the old one has none
    second = torch.optim.AdamW(model.parameter_groups(lr=1e-4, encoder_lr=1e-5))
    assert [(group["name"], group["lr"]) for group in second.param_groups] == [("network", 1e-4), ("encoder", 1e-5)]
    assert {id(one) for one in second.param_groups[1]["params"]} == inside
    assert sum(one.numel() for group in second.param_groups for one in group["params"]) == size(model)


def test_a_copy_of_a_frozen_network_is_frozen():
    twin = copy.deepcopy(small(freeze_encoder=True)).train()
    assert twin.encoder_frozen and not any(part.training for part in twin.encoder.modules())


def colours(seed=0):
    """A classifier's features, alive, on colours normalised as ImageNet's."""
    torch.manual_seed(seed)
    return lively(MobileNetV2(3), varied_images(4, size=(64, 64)))


def test_the_sum_of_colours_answers_to_grey_exactly_and_their_mean_with_a_third():  # T1-2
    trained = colours()
    state = {f"backbone.{key}": value for key, value in trained.state_dict().items()}
    grey = varied_images(2, channels=1, size=(64, 64))
    models = {mode: create_model(NAME, grey_stem=mode).double().eval() for mode in ("sum", "mean")}
    assert all("from 3 to 1 channels" in " ".join(model.load(state).notes) for model in models.values())
    with torch.no_grad():
        expected = trained.stem.conv(grey.expand(-1, 3, -1, -1))
        assert_equal(models["sum"].encoder.stem.conv(grey), expected)
        assert_equal(models["mean"].encoder.stem.conv(grey), expected / 3)
        assert_equal(models["sum"].encoder(grey), trained(grey.expand(-1, 3, -1, -1)))
        wrong = models["mean"].encoder(grey)
        assert not torch.allclose(wrong, trained(grey.expand(-1, 3, -1, -1)), rtol=0.05)  # the norm does not fit it
    assert create_model(NAME).encoder_weights.grey == "mean"  # as published


MEAN, STD = (torch.tensor(IMAGENET[name], dtype=torch.float64).view(1, 3, 1, 1) for name in ("mean", "std"))


def test_the_normalisation_folds_into_a_grey_stem_but_for_the_border():
    trained = colours()
    state = {f"backbone.{key}": value for key, value in trained.state_dict().items()}
    model = create_model(NAME, grey_stem="sum", normalisation="folded").double().eval()
    report = model.load(state)
    assert report.percent == 100 and "mean and std folded into a stem for 1 channel (sum)" in report.text()
    grey = torch.rand(2, 1, 64, 64, dtype=torch.float64) * torch.tensor([0.5, 1.0]).view(2, 1, 1, 1)
    with torch.no_grad():
        expected = trained.stem((grey.expand(-1, 3, -1, -1) - MEAN) / STD)
        found = model.encoder.stem(grey)
    assert_equal(found[..., 1:, 1:], expected[..., 1:, 1:])  # at stride 2 the kernels at 0 alone reach out
    assert not torch.allclose(found[..., 0, :], expected[..., 0, :], rtol=1e-3)
    after = model.encoder.state_dict()
    touched = {"stem.conv.weight", "stem.norm.running_mean"}
    assert all(torch.equal(after[key], value) for key, value in trained.state_dict().items()
               if key not in touched)


@pytest.mark.parametrize(("channels", "mode", "share"), [(1, "sum", 1), (1, "mean", 3), (3, "sum", 1)])
def test_folding_is_exact_inside_for_grey_and_for_colours(channels, mode, share):
    stem = colours().stem
    made = fold_normalisation(stem, mean=IMAGENET["mean"], std=IMAGENET["std"], channels=channels, mode=mode)
    image = torch.rand(2, channels, 33, 40, dtype=torch.float64)
    with torch.no_grad():
        before = stem.conv((image.expand(-1, 3, -1, -1) - MEAN) / STD) / share
        before, after = (y - one.norm.running_mean.view(1, -1, 1, 1) for y, one in ((before, stem),
                                                                                    (made.conv(image), made)))
    assert_equal(after[..., 1:-1, 1:], before[..., 1:-1, 1:])
    assert stem.conv.weight.shape[1] == 3  # the old one is as it was


def test_what_cannot_be_folded_is_said():
    stem = MobileNetV2(3).stem
    with pytest.raises(UsageError, match="channels must be 1 or 3, got 2; normalise outside the network"):
        fold_normalisation(stem, **{name: IMAGENET[name] for name in ("mean", "std")}, channels=2)
    with pytest.raises(UsageError, match="mean and std must be 3 numbers each, std above 0"):
        fold_normalisation(stem, mean=(0.5,), std=(0.5,))
    stem.norm = nn.GroupNorm(4, 32)
    with pytest.raises(UsageError, match="folds into a stem with batch normalisation only"):
        fold_normalisation(stem, mean=(0.5,) * 3, std=(0.5,) * 3)


def test_a_sigmoid_is_there_once_or_not_at_all():  # T1-3
    x = varied_images(2, channels=1).float()
    model = small().eval()
    twin = small(gives="probabilities").eval()
    twin.load_state_dict(model.state_dict())
    with torch.no_grad():
        logits = model(x)
        assert_sees_its_input(logits)
        assert float(logits.min()) < 0
        assert torch.equal(twin(x), logits.sigmoid()) and torch.equal(twin.probabilities(x), logits.sigmoid())
        assert torch.equal(model.probabilities(x), logits.sigmoid()) and torch.equal(twin.logits(x), logits)
    assert float(logits.sigmoid().sigmoid().min()) >= 0.5  # what a threshold would see of a sigmoid of a sigmoid


def test_a_batch_of_one_trains_or_names_the_norm_that_cannot():  # T1-4
    small()(torch.rand(1, 1, 64, 64)).sum().backward()
    with pytest.raises(DataError, match=r"encoder\.stages\.5\.\S+: batch normalisation over 576 channels has one"):
        small()(torch.rand(1, 1, 32, 32))
    with pytest.raises(DataError, match=r"bridge\.point: batch normalisation over 512 channels has one value"):
        small(freeze_encoder=True)(torch.rand(1, 1, 32, 32))
    with pytest.raises(DataError, match=r"bridge\.pool: batch normalisation over 512 channels"):
        small(aspp_use_groupnorm=False)(torch.rand(1, 1, 64, 64))
    small(norm="group")(torch.rand(1, 1, 32, 32)).sum().backward()


def test_weights_load_whole_or_not_at_all_and_random_values_never_stand_in():  # T1-10
    with pytest.raises(EnvironmentFault, match="the weights 'imagenet' of mobilenet_v2 are not at hand"):
        create_model(NAME, weights="imagenet")
    state = {f"backbone.{key}": value for key, value in MobileNetV2(3).state_dict().items()}
    model = small()
    before = state_of(model)
    head = {"classifier.weight": torch.zeros(3, 1280), "classifier.bias": torch.zeros(3)}
    assert model.load(state | head).percent == 100
    assert {key.split(".")[0] for key in changed(model, before)} == {"encoder"}
    for normalisation in ("outside", "folded"):
        cut = small(normalisation=normalisation)
        before = state_of(cut)
        with pytest.raises(ModelError, match="1 missing: backbone.stages.3.1.branch.0.conv.weight"):
            cut.load({key: value for key, value in state.items() if key != "backbone.stages.3.1.branch.0.conv.weight"})
        assert changed(cut, before) == [] and cut.encoder.stem.conv.weight.shape[1] == 1


def test_its_own_weights_load_whole_from_a_file(tmp_path):
    x = varied_images(2, channels=1).float()
    model = lively(small(), x.double()).float()
    save_file(model.state_dict(), tmp_path / "own.safetensors")
    other = small(weights=tmp_path / "own.safetensors").eval()
    with torch.no_grad():
        assert_sees_its_input(model(x))
        assert torch.equal(other(x), model(x))
    with pytest.raises(ModelError, match="rates='1' in the source, '2' in the network"):
        small(weights=tmp_path / "own.safetensors", atrous_rates=(2,))


def test_no_default_can_be_changed_from_outside():  # T1-10
    for name in (NAME, LARGE):
        defaults = [one.default for one in inspect.signature(NETWORKS[name]).parameters.values()]
        assert not any(isinstance(one, list | dict | set) for one in defaults)


def test_the_single_hidden_channel_of_a_skip_is_reported_and_can_be_widened():  # T1-12
    assert {name: one for name, one in published().narrow_gates().items() if name.startswith("skips")} == {
        "skips.1": (32, 2), "skips.2": (24, 1), "skips.3": (16, 1), "skips.4": (32, 2)}
    wide = on_meta(min_hidden=4)
    assert not [name for name in wide.narrow_gates() if name.startswith("skips")]
    assert [gate.squeeze.weight.shape[0] for gate in wide.skips] == [6, 4, 4, 4, 4]
    assert [block.attention.squeeze.weight.shape[0] for block in wide.blocks] == [16, 8, 4, 2, 2]
    gate = create_model(NAME).skips[3]  # one number decides all 16 gates: their logits lie on a line
    with torch.no_grad():
        logits = gate.gate(torch.rand(40, 16, 4, 4) * torch.rand(40, 16, 1, 1) * 9).flatten(1).logit()
    assert torch.linalg.matrix_rank(logits - logits.mean(0), atol=1e-3) <= 1


@pytest.mark.parametrize("stride", [16, 32])
def test_output_stride(stride):
    model = on_meta(output_stride=stride)
    assert model.encoder.strides[-1] == (stride, stride) and len(model.blocks) == {16: 4, 32: 5}[stride]
    with torch.device("meta"):
        assert model.eval()(torch.rand(1, 1, 250, 33)).shape == (1, 1, 250, 33)


def test_at_output_stride_16_every_second_place_is_the_map_at_32():
    images = varied_images(3, size=(65, 96))
    coarse = lively(MobileNetV2(3), images)
    fine = MobileNetV2(3, output_stride=16).double().eval()
    state = coarse.state_dict()
    with pytest.raises(ModelError, match="output_stride='32'"):
        fine.load_state_dict(state)
    fine.load_state_dict({key: value for key, value in state.items() if key != "form"}, strict=False)
    with torch.no_grad():
        assert_equal(fine(images)[..., ::2, ::2], coarse(images))
        assert fine(images).shape[2:] == (5, 6)
        fine.stages[6][0].branch[1].conv.dilation = (1, 1)  # planted: a layer without its holes
        fine.stages[6][0].branch[1].conv.padding = (1, 1)
        assert not torch.allclose(fine(images)[..., ::2, ::2], coarse(images), rtol=1e-3)


def test_separable_costs_a_fraction():
    plain, light = (count(on_meta(separable=flag), (1, 256, 256)) for flag in (False, True))
    assert light.parameters < 0.33 * plain.parameters and light.macs < 0.4 * plain.macs


def test_defaults_are_one_channel_and_one_mask_and_errors_name_the_nearest():
    assert published().output.weight.shape[0] == 1 and published().encoder.stem.conv.in_channels == 1
    with pytest.raises(UsageError, match=f"network '{NAME}' has no option 'atrous_rate'; did you mean 'atrous_rates'"):
        create_model(NAME, atrous_rate=(1,))
    with pytest.raises(UsageError, match="unknown model 'aspp_se_une'; did you mean 'aspp_se_unet'"):
        create_model("aspp_se_une")
    with pytest.raises(UsageError, match="min_hidden and attention cannot be given together"):
        create_model(NAME, min_hidden=4, attention=AttentionPlan(kind="eca"))


def test_it_is_counted_at_its_usual_size_beside_what_is_published():
    found = counted(usual_order(NAME))
    assert found.size == (1, 256, 256) and "rates 12 and 18 reach the 8 x 8 map" in " ".join(found.notes)
    assert [(row.parameters, row.macs) for row in told(found)] == [(25_253_893, 5.34e9)]
    assert usual(LARGE, (1, 256, 256)).parameters == 38_378_805
    assert counted(usual_order(NAME, dims=3, channels=2, classes=3)).size == (2, 16, 112, 112)
    assert (usual_order("resnet18").channels, usual_order("resnet18").classes) == (3, 1000)


def test_both_are_listed_with_the_backbones():
    assert {NAME, LARGE} <= set(NETWORKS) and not set(NETWORKS) & set(BACKBONES)
    assert list_models() == sorted([*NETWORKS, *BACKBONES]) and list_models("*aspp*") == [LARGE, NAME]


@pytest.mark.real
def test_the_real_weights_load_whole_and_fold_into_the_grey_stem(real_data):
    file = real_data / "weights" / "mobilenet_v2-imagenet-features.safetensors"
    model = create_model(NAME, grey_stem="sum", normalisation="folded").eval()
    report = model.load(file)
    assert report.percent == 100 and not report.missing and not report.unexpected
    trained, grey = create_model("mobilenet_v2", weights=file).backbone.eval(), torch.rand(1, 1, 224, 224)
    with torch.no_grad():
        colour = (grey.expand(-1, 3, -1, -1) - MEAN.float()) / STD.float()
        expected, found = trained.stem(colour)[..., 1:, 1:], model.encoder.stem(grey)[..., 1:, 1:]
        assert float((found - expected).abs().max()) <= 1e-5 * float(expected.abs().max())
        deep, own = trained(colour)[..., 2:, 2:], model.encoder(grey)[..., 2:, 2:]  # away from the border that differs
    assert float((own - deep).abs().mean()) < 0.1 * float(deep.abs().mean())


@pytest.mark.slow
def test_one_onnx_file_answers_as_torch_at_any_size(tmp_path):  # T1-11
    import onnxruntime

    model = lively(create_model(NAME), varied_images(2, channels=1, size=(96, 96))).float()
    any_size = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(model, (torch.rand(2, 1, 70, 90),), dynamo=True, opset_version=20, verbose=False,
                                    input_names=["images"], output_names=["logits"], dynamic_shapes={"x": any_size})
    program.save(tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    for number, shape in ((1, (256, 256)), (1, (544, 800)), (1, (540, 800)), (3, (33, 1)), (2, (1, 33)), (1, (1, 1))):
        images = varied_images(max(number, 2), channels=1, size=shape).float()[:number]
        with torch.no_grad():
            expected = model(images)
        found = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
        assert found.shape == expected.shape == images.shape
        assert float((found - expected).abs().max()) <= 1e-4 * float(expected.abs().max())
