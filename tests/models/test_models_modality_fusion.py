"""Several maps to one decision: tokens that attend, maps that are missing, trunks that load, and what is shipped."""

import copy
import itertools

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from excite.attention.plan import AttentionPlan
from excite.deploy.export import export
from excite.engine.features import Head
from excite.engine.freeze import Trunk
from excite.errors import DataError, ModelError, UsageError
from excite.models.classifier import create_model, list_models
from excite.models.cost import count
from excite.models.groups import freeze_trunk, split_parameters
from excite.models.modality_fusion import ModalityFusion, present_maps
from excite.models.registry import BACKBONES
from lively import assert_equal, assert_sees_its_input, lively, varied_images

NAME = "modality_fusion"
FORMS = pytest.mark.parametrize("options", [{}, {"shared": False, "pooling": "class", "layers": 2, "clinical": 2},
                                            {"form": "published", "heads": 2}, {"form": "average"}],
                                ids=["mean", "class", "published", "average"])
SUBSETS = [list(one) for one in itertools.product([True, False], repeat=3)]


def small(**options):
    """A fusion of three maps with a narrow trunk."""
    given = {"dims": 2, "in_channels": 3, "num_classes": 3, "trunk": "resnet20", "width": 16, "heads": 4}
    return create_model(NAME, **given | options)


def maps(samples=4, *, size=(32, 32)):
    return varied_images(samples, channels=3, size=size)


def alive(images, **options):
    """The same in float64, its statistics measured and its fusion far from its first values."""
    model = lively(small(**options), images)
    for value in model.classifier.parameters():
        nn.init.normal_(value, 0.0, 0.5)
    return model.eval()


def on_meta(**options):
    with torch.device("meta"):
        return create_model(NAME, **{"dims": 3} | options)


def size(part):
    return sum(value.numel() for value in part.parameters())


# ---- what it costs

def test_the_default_costs_what_its_table_says_and_a_trunk_a_map_three_times_as_much():  # T0-5
    shared, apart = on_meta(), on_meta(shared=False)
    trunk = size(create_model("mobilenet_v2_se", dims=3, in_channels=1, num_classes=2).backbone)
    assert trunk == 2_413_502 - 1280 * 2 - 2 == 2_410_940  # of the published network, without its classifier
    assert (size(shared.trunks), size(shared.classifier), size(shared)) == (trunk, 641_922, 3_052_862)
    assert (size(apart.trunks), size(apart.classifier), size(apart)) == (3 * trunk, 641_922, 7_874_742)
    assert [len(one.trunks) for one in (shared, apart)] == [1, 3]


def test_the_published_form_pays_for_attention_over_the_channels_of_all_maps():
    model = on_meta(form="published")
    wide = 3 * 1280
    assert size(model.classifier.attend) == 4 * wide * wide + 4 * wide == 58_997_760
    assert size(model) == 61_908_286


def test_it_is_counted_by_parts_and_trunks_cost_a_map_each():
    cost, one = count(on_meta(), (3, 16, 112, 112)), count(on_meta(in_channels=1), (1, 16, 112, 112))
    assert cost.parameters == 3_052_862 and set(cost.by_part) == {"trunks", "classifier", "attention"}
    assert cost.by_part["trunks"][1] == 3 * one.by_part["trunks"][1] > 0.99 * cost.macs
    assert cost.macs == count(on_meta(shared=False), (3, 16, 112, 112)).macs
    assert [note.split(":")[0] for note in cost.notes] == ["classifier.blocks.0.attend"]  # nothing counted as 0


# ---- tokens

def test_the_attention_has_a_token_for_each_map_and_region_and_its_rows_sum_to_one():  # T0-4
    images = maps()
    images[1, 2] = 0
    found = alive(images, pooling="class", layers=2).attention_maps(images, names=("T1", "ADC", "T2*"))
    assert found.weights.shape == (4, 4, 13, 13)
    assert found.tokens[:3] == ("class", "T1 0.0", "T1 0.1") and found.tokens[-1] == "T2* 1.1"
    torch.testing.assert_close(found.weights.sum(dim=3), torch.ones(4, 4, 13, dtype=torch.float64))
    assert bool((found.weights[1, :, :, 9:] == 0).all()) and bool((found.weights[0] > 0).all())
    assert found.weights[0].std().item() > 0.01  # not the same for every key


def test_maps_of_each_layer_are_those_that_forward_computes_with():
    images = maps()
    model = alive(images, layers=2)
    seen = []
    for block in model.classifier.blocks:
        block.attend.register_forward_hook(lambda module, given, made: seen.append(module.weights(*given)))
    model(images)
    assert len(seen) == 2
    for layer in (0, 1):
        torch.testing.assert_close(model.attention_maps(images, layer=layer).weights, seen[layer], rtol=0, atol=0)
    assert torch.equal(model.attention_maps(images).weights, seen[1]) and not torch.equal(seen[0], seen[1])


def test_one_region_is_one_token_a_map():
    images = maps(size=(16, 16))
    model = alive(images, regions=(1, 1))
    assert model.attention_maps(images).tokens == ("map 0", "map 1", "map 2")
    trunk = model.backbones[0]
    for place in range(3):
        expected = trunk(images[:, place:place + 1]).mean((2, 3))
        torch.testing.assert_close(model.forward_features(images)[:, place * 64:(place + 1) * 64], expected)


def test_queries_and_keys_matter_in_ours_and_in_no_attention_over_one_token():  # T0-4
    images = maps()
    for options, matters in (({}, True), ({"form": "published", "heads": 2}, True),
                             ({"in_channels": 1, "regions": (1, 1)}, False)):
        given = images[:, :options.get("in_channels", 3)]
        model = alive(given, **options)
        before = model(given)
        attend = model.classifier.attend if "form" in options else model.classifier.blocks[0].attend
        with torch.no_grad():
            attend.inward.weight[:2 * attend.inward.in_features].normal_()
        assert torch.equal(model(given), before) != matters


def test_the_published_form_attends_over_places_with_the_channels_of_all_maps():
    images = maps()
    model = alive(images, form="published", heads=2)
    features = [model.backbones[0](images[:, place:place + 1]) for place in range(3)]
    along = torch.cat(features, dim=1)  # "along the channel dimension"
    tokens = nn.functional.adaptive_avg_pool2d(along, 2).flatten(2).transpose(1, 2)
    naive = nn.MultiheadAttention(192, 2, batch_first=True).double()
    attend = model.classifier.attend
    naive.load_state_dict({"in_proj_weight": attend.inward.weight, "in_proj_bias": attend.inward.bias,
                           "out_proj.weight": attend.outward.weight, "out_proj.bias": attend.outward.bias})
    expected = model.classifier.mlp(naive(tokens, tokens, tokens)[0].mean(1))
    assert_equal(model(images).detach(), expected.detach())
    assert model.attention_maps(images).tokens == ("0.0", "0.1", "1.0", "1.1")
    with pytest.raises(UsageError, match=r"regions must be more than one with form='published', got \(1, 1\)") as fault:
        small(form="published", regions=(1, 1))
    assert "attention over one token does nothing" in fault.value.message()


def test_a_linear_answer_to_maps_that_point_apart_needs_a_projection_a_map():
    images = maps(16)
    model = alive(images)
    vectors = model.forward_features(images).detach()
    tokens, _ = model.classifier.tokens(vectors)
    parts, _ = model.classifier.layout.parted(vectors)
    for place, project in enumerate(model.classifier.project):
        placed = model.classifier.modality.weight[place] + model.classifier.region.weight
        own = parts[:, place] @ project.weight.T + placed
        assert_equal(tokens[:, place * 4:place * 4 + 4].detach(), own.detach())
    kernels = [project.weight for project in model.classifier.project]
    assert not torch.equal(kernels[0], kernels[1]) and not torch.equal(kernels[0], kernels[2])


def test_late_averaging_is_the_mean_of_what_the_maps_say_alone():
    images = maps()
    model = alive(images, form="average")
    parts, _ = model.classifier.layout.parted(model.forward_features(images))
    alone = torch.stack([mlp(parts[:, place].flatten(1)).softmax(1)
                         for place, mlp in enumerate(model.classifier.mlps)])
    assert_equal(model(images).softmax(1).detach(), alone.mean(0).detach())
    images[:, 1] = 0
    assert_equal(model(images).softmax(1).detach(), alone[[0, 2]].mean(0).detach())
    with pytest.raises(UsageError, match="form='average' has no attention"):
        model.attention_maps(images)


def test_a_trunk_of_images_sees_each_slice_and_keeps_its_weights():
    volumes = varied_images(2, channels=3, size=(5, 32, 32))
    model = small(dims=3, slices=True, regions=(1, 2, 2)).double().eval()
    trunk, twin = model.backbones[0], create_model("resnet20", in_channels=1, num_classes=3).double().eval()
    assert trunk.dims == 2
    expected = torch.stack([twin.backbone(volumes[:, :1, depth]) for depth in range(5)], dim=2)
    model.load({key: value.float() for key, value in twin.state_dict().items()})
    assert all(torch.equal(value, twin.backbone.state_dict()[key]) for key, value in trunk.state_dict().items())
    means = nn.functional.adaptive_avg_pool3d(expected, (1, 2, 2)).flatten(2).transpose(1, 2).flatten(1)
    assert_equal(model.forward_features(volumes)[:, :means.shape[1]].detach(), means.detach())
    assert_sees_its_input(model(volumes).detach())


# ---- maps that are missing

@FORMS
@pytest.mark.parametrize("subset", SUBSETS, ids=str)
def test_what_is_missing_has_no_influence_at_all(options, subset):
    images = maps()
    model, present = alive(images, **options), torch.tensor([subset] * 4)
    with torch.no_grad():
        expected = model.classifier(model.vectors(images, present))
        for content in (0.0, 1e30, float("nan"), float("inf")):
            other = images.masked_fill(~present[:, :, None, None], content)
            assert torch.equal(model.classifier(model.vectors(other, present)), expected)
        zeroed = images * present[:, :, None, None]
        assert torch.equal(present_maps(zeroed), present) and torch.equal(model(zeroed), expected)
    assert expected.isfinite().all()
    if any(subset):
        assert_sees_its_input(expected)
    else:
        assert bool((expected == expected[0]).all())  # nothing is there: what the head alone says


@pytest.mark.parametrize("pooling", ["mean", "class"])
@pytest.mark.parametrize("subset", SUBSETS[:-1], ids=str)
def test_a_missing_map_is_as_if_its_tokens_were_not_there(pooling, subset):
    images = maps()
    model, present = alive(images, pooling=pooling, layers=2), torch.tensor([subset] * 4)
    fusion = model.classifier
    tokens, there = fusion.tokens(model.vectors(images, present))
    kept = tokens[:, there[0]]
    for block in fusion.blocks:
        kept = block(kept, torch.ones(kept.shape[:2], dtype=torch.bool))
    expected = fusion.mlp(kept[:, 0] if pooling == "class" else kept.mean(1))
    assert_equal(model(images * present[:, :, None, None]).detach(), expected.detach())


def test_maps_are_told_apart():
    images = maps()
    model = alive(images)
    assert not torch.allclose(model(images), model(images[:, [1, 0, 2]]), rtol=1e-3)
    nn.init.zeros_(model.classifier.modality.weight)  # the planted failure: a set of maps
    for project in model.classifier.project:
        project.load_state_dict(model.classifier.project[0].state_dict())
    torch.testing.assert_close(model(images), model(images[:, [1, 0, 2]]))


@pytest.mark.parametrize("shared", [True, False])
def test_missing_maps_do_not_move_the_statistics_of_a_norm(shared):
    images = maps()
    images[0, 1] = images[2, 0] = images[2, 1] = 0
    model = small(shared=shared).double().train()
    twin, there = copy.deepcopy(model), present_maps(images)
    model(images)
    for place, trunk in enumerate(twin.backbones):
        of_trunk = there if shared else there & (torch.arange(3) == place)
        trunk(images[of_trunk][:, None])
    for (name, mine), other in zip(model.trunks.named_buffers(), twin.trunks.buffers(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12, msg=name)
    planted = copy.deepcopy(twin.backbones[0])
    planted(images[:, :1])  # with the zeros in it
    assert not torch.allclose(planted.stem.norm.running_mean, model.backbones[0].stem.norm.running_mean)


def test_a_map_that_nobody_in_the_batch_has_and_nobody_at_all_train():
    images = maps()
    images[:, 1] = 0
    model = small(shared=False).double().train()
    before = model.trunks[1].stem.norm.running_mean.clone()
    model(images).square().sum().backward()
    assert torch.equal(model.trunks[1].stem.norm.running_mean, before)
    assert model.trunks[0].stem.conv.weight.grad.isfinite().all() and model.trunks[1].stem.conv.weight.grad is None
    small().train()(torch.zeros(2, 3, 32, 32)).sum().backward()


@pytest.mark.parametrize("size", [(4, 4), (8, 8)])
def test_a_lone_map_with_its_own_trunk_is_told_where_its_norms_cannot_measure_it(size):
    images = maps(size=size)
    images[1:, 1] = 0
    apart, shared = small(shared=False).double().train(), small().double().train()
    shared(images).sum().backward()  # its norms see the other maps
    if size == (8, 8):
        apart(images).sum().backward()  # and here several places
        return
    with pytest.raises(DataError, match=r"one patient of a training batch has map 1, and its trunk, which sees no other"
                                        r" map.*one value a channel.*shared=True\), larger batches, or maps of more"):
        apart(images)
    apart.eval()(images)
    with pytest.raises(DataError, match="a batch of one and a map of one place"):
        shared(images[1:2] * torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1))


@pytest.mark.parametrize("mode", [True, False])
def test_nan_in_a_missing_map_reaches_no_gradient(mode):
    images, present = maps().float(), torch.tensor([[True, False, True]] * 4)
    images[:, 1] = float("nan")
    model = small().train(mode)
    model.classifier(model.vectors(images, present)).square().sum().backward()
    assert all(value.grad is None or value.grad.isfinite().all() for value in model.parameters())


def test_maps_are_dropped_in_training_only_and_alike_for_a_seed():
    images = maps(12, size=(16, 16))
    model = alive(images, modality_dropout=0.5)
    assert torch.equal(model(images), model(images))
    vectors = model.forward_features(images).detach()
    model.classifier.train()
    for module in model.classifier.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(model.classifier(vectors))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
    torch.manual_seed(1)
    _, kept = model.classifier.parted(vectors)
    assert bool(kept.any(dim=1).all()) and not bool(kept.all())
    torch.testing.assert_close(found[0], model.eval()(images * kept[:, :, None, None]))


# ---- clinical columns

def test_clinical_columns_are_one_more_token_whose_missing_values_say_nothing():
    images, values = maps(), torch.randn(4, 2, dtype=torch.float64)
    model = alive(images, clinical=2)
    assert model.attention_maps(images, values).tokens[-1] == "clinical"
    assert_sees_its_input(model(images[:1].expand(4, -1, -1, -1), values).detach())
    missing = torch.full_like(values, float("nan"))
    weights = model.attention_maps(images, missing).weights
    assert torch.equal(model(images), model(images, missing)) and bool((weights[..., -1] == 0).all())
    half = values.clone()
    half[:, 0] = float("nan")
    zero = torch.where(half.isnan(), 0.0, half)
    assert model(images, half).isfinite().all() and not torch.allclose(model(images, half), model(images, zero))
    alone = model(torch.zeros_like(images), values)
    assert alone.isfinite().all() and not torch.allclose(alone[0], alone[1])


def test_clinical_columns_that_do_not_fit_are_refused():
    images = maps().float()
    with pytest.raises(UsageError, match="clinical columns are given to a network that was built without"):
        small()(images, torch.zeros(4, 2))
    with pytest.raises(DataError, match=r"clinical must have the shape \(N, 2\), got \(4, 3\)"):
        small(clinical=2)(images, torch.zeros(4, 3))
    for form in ("published", "average"):
        with pytest.raises(UsageError, match=f"clinical columns and form='{form}' cannot be given together"):
            small(form=form)(images, torch.zeros(4, 2))


# ---- any trunk, any input

@pytest.mark.parametrize("trunk", list(BACKBONES))
@pytest.mark.parametrize("dims", [2, 3])
def test_every_backbone_is_a_trunk(trunk, dims):
    shape = (2, 3, 8, 64, 48)[:2] + (8, 64, 48)[3 - dims:]
    with torch.device("meta"):
        model = create_model(NAME, dims=dims, trunk=trunk, num_classes=4).eval()
        features = model.forward_features(torch.rand(shape))
        assert features.shape == (2, 12 * model.backbones[0].embedding_channels + 3)
        assert model.classifier(features).shape == (2, 4)


@FORMS
def test_every_parameter_gets_a_gradient_and_a_sample_does_not_depend_on_its_batch(options):
    images = maps()
    model = alive(images, **options)
    whole = model(images).detach()
    assert_sees_its_input(whole)
    torch.testing.assert_close(model(images[1:2]).detach(), whole[1:2], rtol=1e-9, atol=1e-12)
    model.train()(images).square().sum().backward()
    assert [name for name, value in model.named_parameters() if value.grad is None] == []


@pytest.mark.parametrize("size", [(1, 1), (33, 20), (5, 32, 40), (1, 16, 16)])
def test_any_size_passes_in_a_batch_of_one(size):
    model = small(dims=len(size)).eval()
    with torch.no_grad():
        found = model(torch.rand(1, 3, *size))
        assert found.shape == (1, 3) and not torch.equal(found, model(torch.zeros(1, 3, *size)))


def test_a_batch_of_one_trains_with_group_norm_and_channels_last_changes_nothing():
    small(norm="group").train()(torch.rand(1, 3, 16, 16)).sum().backward()
    images = maps()
    model = alive(images)
    torch.testing.assert_close(model(images.contiguous(memory_format=torch.channels_last)), model(images))


@FORMS
def test_bf16_autocast_is_finite_and_near(options):
    images = maps().float()
    images[0, 1] = images[1, 0] = images[2] = 0
    model = alive(images.double(), **options).float()
    with torch.no_grad():
        expected = model(images)
        with torch.autocast("cpu", torch.bfloat16):
            found = model(images)
    assert found.isfinite().all() and float((found - expected).norm()) < 0.2 * float(expected.norm())
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.train()(images).float().square().mean()
    loss.backward()
    assert all(value.grad is None or value.grad.isfinite().all() for value in model.parameters())


def test_a_batch_of_other_axes_or_maps_is_refused_in_words():
    for shape in ((2, 2, 16, 16), (2, 3, 4, 16, 16), (3, 16, 16)):
        with pytest.raises(DataError, match=r"the network takes \(N, 3, H, W\), one channel a map, got \("):
            small()(torch.zeros(shape))


@pytest.mark.parametrize(("options", "message"), [
    ({"heads": 5}, r"heads must divide the width of a token \(16\), got 5"),
    ({"form": "published", "heads": 5}, r"heads must divide the width of a token \(192\), got 5"),
    ({"form": "concat"}, "form must be 'tokens', 'published' or 'average', got 'concat'"),
    ({"slices": True}, "slices go with volumes, dims=3, got dims=2"),
    ({"form": "average", "layers": 2}, "layers and form='average' cannot be given together"),
    ({"pooling": "max"}, "pooling must be 'mean' or 'class', got 'max'"),
    ({"trunk": "resnet21"}, "unknown trunk 'resnet21'.* did you mean 'resnet"),
    ({"trunk_options": {"widht": 0.5}, "trunk": "mobilenet_v2"}, "trunk 'mobilenet_v2' has no option 'widht'"),
    ({"regions": (1, 2, 2)}, "regions must be 2 whole numbers of at least 1"),
    ({"regions": (0, 2)}, "regions must be 2 whole numbers of at least 1"),
    ({"in_channels": 0}, "in_channels must be a whole number of at least 1, got 0"),
    ({"num_classes": True}, "num_classes must be a whole number of at least 1, got True"),
    ({"layers": 0}, "layers must be a whole number of at least 1, got 0"),
    ({"clinical": -1}, "clinical must be a whole number of at least 0, got -1"),
    ({"dropout": 1}, "dropout must be at least 0 and below 1, got 1"),
    ({"modality_dropout": 1.0}, "modality_dropout must be at least 0 and below 1, got 1.0"),
    ({"form": "published", "layers": 2}, "layers and form='published' cannot be given together"),
    ({"form": "published", "pooling": "class"}, "pooling and form='published' cannot be given together"),
    ({"form": "published", "clinical": 1}, "clinical and form='published' cannot be given together"),
    ({"widht": 8}, "network 'modality_fusion' has no option 'widht'; did you mean 'width'"),
])
def test_a_wrong_argument_is_named(options, message):
    with pytest.raises(UsageError, match=message):
        small(**options)


def test_there_is_one_name_a_map_and_a_layer_has_to_exist():
    with pytest.raises(UsageError, match=r"names must be one a map \(3\), got 2"):
        small().eval().attention_maps(maps().float(), names=("T1", "ADC"))
    with pytest.raises(UsageError, match="layer must be one of 1, counted from 0, got 1"):
        small().eval().attention_maps(maps().float(), layer=1)


# ---- trunk and head

def test_all_but_the_trunk_is_head():
    model = small(attention=AttentionPlan(), pooling="class", clinical=2)
    parts = split_parameters(model)
    assert sorted(sum(parts.values(), [])) == sorted(name for name, _ in model.named_parameters())
    assert {name.split(".")[0] for name in parts["head"]} == {"classifier"} and "classifier.summary" in parts["head"]
    assert all(name.startswith("trunks.") for name in (*parts["trunk"], *parts["gates"])) and parts["gates"]


@pytest.mark.parametrize("how", ["freeze_trunk", "Trunk"])
def test_a_frozen_trunk_stays_and_the_fusion_learns(how):
    model = small()
    if how == "freeze_trunk":
        freeze_trunk(model)
        model.train()
    else:
        Trunk(model).train(frozen=True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimiser = torch.optim.SGD([value for value in model.parameters() if value.requires_grad], lr=0.1)
    images = maps().float()
    images[0, 1] = 0
    model(images).square().sum().backward()
    optimiser.step()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved and all(name.startswith("classifier.") for name in moved)


def test_the_head_on_stored_vectors_is_the_network():
    images = maps()
    images[2, 0] = 0
    model = alive(images)
    assert torch.equal(Head(model).eval()(model.forward_features(images)), model(images))


@pytest.mark.slow
def test_a_small_training_uses_every_map_and_learns_what_only_two_together_say():
    torch.manual_seed(1)
    bits = torch.randint(2, (64, 3))
    images = torch.randn(64, 3, 8, 8) * 0.1 + (2.0 * bits - 1)[:, :, None, None]
    labels = bits[:, 0] ^ bits[:, 2]
    model = small(num_classes=2, regions=(1, 1), dropout=0.0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(80):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float((model.eval()(images).argmax(1) == labels).float().mean()) > 0.95


# ---- weights

@pytest.mark.slow
def test_weights_of_images_are_inflated_into_every_trunk():  # T0-1
    colour = varied_images(3, channels=3)
    source = lively(create_model("mobilenet_v2_se", num_classes=5), colour)
    model = create_model(NAME, dims=3, shared=False, regions=(1, 1, 1)).double().eval()
    report = model.load(source.state_dict())
    assert report.percent == 100 and len(report.loaded) == 3 * len(source.backbone.state_dict())
    assert "inflated from 2-D (centre)" in report.text() and report.notes[-1] == "the fusion stays fresh"
    assert set(report.loaded) <= set(model.state_dict())
    grey = colour[:, :1]
    expected = source.backbone(grey.expand(-1, 3, -1, -1)).mean((2, 3)).detach()
    deep = grey[:, :, None].expand(-1, 3, 6, -1, -1).contiguous()  # the same image in every slice, in every map
    for place in range(3):
        found = model.forward_features(deep)[:, place * 1280:(place + 1) * 1280]
        assert_equal(found.detach(), expected)


def test_gates_stay_fresh_where_the_source_has_none_and_other_features_are_refused():
    plain = create_model("mobilenet_v2", num_classes=5)
    model = create_model(NAME, dims=2, attention=AttentionPlan(start="open"), weights=plain.state_dict())
    assert torch.equal(model.backbones[0].head.conv.weight, plain.backbone.head.conv.weight)
    with pytest.raises(ModelError, match="the weights do not fit the network"):
        small().load(plain.state_dict())


def test_its_own_weights_load_whole_from_a_file(tmp_path):
    images = maps()
    model = alive(images, pooling="class")
    save_file(model.state_dict(), tmp_path / "own.safetensors")
    other = small(pooling="class").double()
    assert other.load(tmp_path / "own.safetensors").percent == 100
    assert torch.equal(other.eval()(images), model(images))
    with pytest.raises(ModelError, match="the weights do not fit the network"):
        small(pooling="mean").load(tmp_path / "own.safetensors")
    with pytest.raises(ModelError, match="the weights do not fit the network"):
        small(pooling="class", num_classes=2).load(model.state_dict())


@pytest.mark.real
def test_the_real_weights_fill_the_default_trunk(real_data):
    file = real_data / "weights" / "mobilenet_v2-imagenet-features.safetensors"
    model = create_model(NAME, dims=3, attention="se:start=open:reduction=8")
    report = model.load(file)
    assert report.percent == 100 and not report.missing and not report.unexpected
    grey = torch.rand(1, 1, 64, 64)
    plain = create_model("mobilenet_v2", weights=file).eval()
    expected = plain.backbone(grey.expand(-1, 3, -1, -1)).mean((2, 3))
    model = model.eval()
    found = model.forward_features(grey[:, :, None].expand(-1, 3, 4, -1, -1).contiguous())
    mean = found[:, :4 * 1280].unflatten(1, (4, 1280)).mean(1)  # four regions of one size
    assert float((mean - expected).abs().max()) < 1e-4 * float(expected.abs().max())


# ---- what is shipped

def test_it_is_listed_and_no_two_calls_share_options():
    assert NAME in list_models() and ModalityFusion.usual_channels == 3
    assert isinstance(create_model(NAME, dims=3), ModalityFusion)


@pytest.mark.slow
@FORMS
@pytest.mark.parametrize("dims", [2, 3])
def test_export_computes_the_same_for_any_batch_and_any_missing_map(options, dims, tmp_path):
    import onnxruntime

    sizes = (40, 48) if dims == 2 else (4, 32, 40)
    images = maps(size=sizes)
    images[0, 1] = images[1, 0] = images[1, 2] = images[3] = 0
    model = alive(images, dims=dims, **options)
    program = torch.export.export(model, (images[:2],), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    with torch.no_grad():
        expected, features = model(images), model.forward_features(images)
        assert_sees_its_input(expected)
        torch.testing.assert_close(program.module()(images), expected, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(program.module()(images[:1]), expected[:1], rtol=1e-9, atol=1e-12)
    file, model = tmp_path / "model.onnx", model.float()
    export(model, file, size=sizes, channels=3)
    session = onnxruntime.InferenceSession(file)
    for batch in (images[:1], images):
        logits, vectors = session.run(["logits", "features"], {"images": batch.float().numpy()})
        for found, wanted in ((logits, expected[:len(batch)]), (vectors, features[:len(batch)])):
            assert float((torch.from_numpy(found).double() - wanted).abs().max()) < 1e-4 * float(wanted.abs().max())
