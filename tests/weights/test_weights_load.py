"""Loading: all or nothing, told in words; what is adapted, what stays fresh, what is refused."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from excite.attention.plan import AttentionPlan
from excite.errors import EnvironmentFault, ModelError, UsageError
from excite.layers.gate import Start
from excite.models.classifier import create_model
from excite.weights.intake import take_in
from excite.weights.load import load_weights
from lively import assert_equal, lively, varied_images


def small(**options: object) -> nn.Module:
    return create_model("mobilenet_v2", **{"width": 0.25, "num_classes": 5, **options})  # type: ignore[arg-type]


def other_values(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return a state like the model's with values of its own everywhere."""
    draw = torch.Generator().manual_seed(1)
    return {key: torch.rand(value.shape, generator=draw) + 0.5 if value.is_floating_point() else value
            for key, value in model.state_dict().items()}


def test_a_whole_load_is_100_percent_and_bit_equal() -> None:
    model = small()
    state = other_values(model)
    report = load_weights(model, state)
    assert report.percent == 100 and report.part == "all" and not report.notes
    assert not (report.missing or report.unexpected or report.mismatched)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert set(report.loaded) == set(state)


def test_percent_counts_values_of_the_declared_part() -> None:
    model = small()
    state = other_values(model)
    gone = "backbone.head.conv.weight"
    lost = state.pop(gone).numel()
    report = load_weights(model, state, strict=False)
    total = sum(value.numel() for key, value in model.state_dict().items() if not key.endswith("tracked"))
    assert report.percent == pytest.approx(100 * (1 - lost / total), abs=1e-9)
    assert report.missing == (gone,) and f"1 missing: {gone}" in report.text()


def test_features_leave_the_classifier_fresh_and_say_so() -> None:
    model = small()
    state = {key: value for key, value in other_values(model).items() if key.startswith("backbone.")}
    before = model.classifier.weight.detach().clone()  # type: ignore[union-attr]
    report = load_weights(model, state)
    assert report.percent == 100 and report.part == "features"
    assert "100 % of the features loaded" in report.text() and "the classifier stays fresh" in report.text()
    assert torch.equal(model.classifier.weight, before)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="no classifier"):
        load_weights(model, state, part="all")


def test_another_number_of_classes_is_named() -> None:
    state = other_values(small(num_classes=7))
    model = small()
    report = load_weights(model, state)
    assert report.part == "features" and "the source has 7 classes, the network 5" in report.text()
    with pytest.raises(ModelError, match=r"classifier\.weight: \(7, 1280\) in the source, \(5, 1280\) in the network"):
        load_weights(small(), state, part="all")


@pytest.mark.parametrize(("change", "says"), [
    (lambda s: s.pop("backbone.stem.conv.weight"), r"1 missing: backbone\.stem\.conv\.weight"),
    (lambda s: s.update(extra=torch.ones(1)), "1 unknown: extra"),
    (lambda s: s.update({"backbone.head.conv.weight": torch.ones(3, 3, 1, 1)}), r"that do not fit: .*\(3, 3, 1, 1\)"),
])
def test_strict_names_each_fault_and_changes_nothing(change: object, says: str) -> None:
    model = small()
    state, before = other_values(model), {key: value.clone() for key, value in model.state_dict().items()}
    change(state)  # type: ignore[operator]
    with pytest.raises(ModelError, match=says):
        load_weights(model, state)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_load_of_nothing_is_an_error_even_where_it_is_not_strict() -> None:
    with pytest.raises(ModelError, match="do not fit"):
        load_weights(small(), {"backbone.nothing": torch.ones(1)}, strict=False)


def test_counters_of_batch_norm_may_be_missing() -> None:
    model = small()
    state = {key: value for key, value in other_values(model).items() if not key.endswith("num_batches_tracked")}
    assert load_weights(model, state).percent == 100


def test_gates_that_the_source_lacks_stay_fresh_and_half_of_them_are_refused() -> None:
    plan = AttentionPlan(kind="se", start="open")
    model, plain = small(attention=plan), small()
    report = load_weights(model, other_values(plain))
    assert report.percent == 100 and "17 attention gates stay fresh" in report.text()
    # Open gates change nothing: the network with them computes what the one without does.
    load_weights(plain, {key: value for key, value in model.state_dict().items() if ".attention." not in key})
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model.eval()(x), plain.eval()(x))
    half = other_values(model)
    for key in [key for key in half if key.startswith("backbone.stages.3.0.attention.")]:
        half.pop(key)
    with pytest.raises(ModelError, match=r"missing: backbone\.stages\.3\.0\.attention"):
        load_weights(small(attention=plan), half, strict=True)


@pytest.mark.parametrize(("kind", "start", "moved"), [("se", "open", False), ("se", "paper", True),
                                                      ("gct", "paper", False), ("srm", "paper", True)])
def test_fresh_gates_that_change_the_outputs_are_told(kind: str, start: Start, moved: bool) -> None:
    plain = small().eval()
    model = small(attention=AttentionPlan(kind=kind, start=start)).eval()
    report = load_weights(model, plain.state_dict())
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(x), plain(x)) != moved
    assert ("the outputs are not the source's (start='open')" in report.text()) == moved


def test_gates_of_one_form_do_not_load_into_the_other() -> None:
    paper = small(attention=AttentionPlan(kind="se", start="paper"))
    with pytest.raises(ModelError, match=r"attention\.form: start='paper' in the source, 'open' in the network"):
        load_weights(small(attention=AttentionPlan(kind="se", start="open")), paper.state_dict())


def test_one_grey_channel_answers_as_three_equal_ones() -> None:
    colour, grey = small().double().eval(), small(in_channels=1).double().eval()
    load_weights(colour, {key: value.double() for key, value in other_values(colour).items()})
    report = load_weights(grey, colour.state_dict())
    assert "first convolution fitted from 3 to 1 channels (sum)" in report.text()
    x = torch.rand(2, 1, 32, 32, dtype=torch.float64)
    stems = grey.backbone.stem, colour.backbone.stem
    torch.testing.assert_close(stems[0](x), stems[1](x.repeat(1, 3, 1, 1)), rtol=1e-9, atol=0)  # type: ignore[operator]
    mean = small(in_channels=1).double()
    load_weights(mean, colour.state_dict(), channels="mean")
    ratio = mean.backbone.stem.conv.weight / grey.backbone.stem.conv.weight  # type: ignore[union-attr]
    np.testing.assert_allclose(ratio.detach().numpy(), 1 / 3, rtol=1e-9)


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_grey_images_are_answered_alike_by_any_number_of_channels(channels: int) -> None:  # T1-2
    images = varied_images(4, channels=1, size=(32, 32))
    colour = lively(small(), images.repeat(1, 3, 1, 1))
    with torch.no_grad():
        expected = colour(images.repeat(1, 3, 1, 1))
        first = colour.backbone.stem.conv(images.repeat(1, 3, 1, 1))  # type: ignore[union-attr, operator]
    for mode, factor in (("sum", 1.0), ("mean", channels / 3)):
        model = small(in_channels=channels).double().eval()
        report = load_weights(model, colour.state_dict(), channels=mode)  # type: ignore[arg-type]
        assert report.percent == 100 and report.notes == (
            f"first convolution fitted from 3 to {channels} channels ({mode}"
            + (", all alike: channels='repeat' keeps them apart)" if channels > 1 else ")"),)
        with torch.no_grad():
            answer = model.backbone.stem.conv(images.repeat(1, channels, 1, 1))  # type: ignore[union-attr, operator]
            assert_equal(answer, factor * first)
            if mode == "sum":
                assert_equal(model(images.repeat(1, channels, 1, 1)), expected)
            else:  # the statistics of the norms are those of colour: the planted failure
                with pytest.raises(AssertionError):
                    assert_equal(model(images.repeat(1, channels, 1, 1)), expected)


def test_a_source_of_one_channel_fits_a_network_of_three() -> None:
    grey, colour = small(in_channels=1), small()
    report = load_weights(colour, other_values(grey))
    assert report.notes == ("first convolution fitted from 1 to 3 channels (sum)",)


def as_torchvision_has_them(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return a ResNet's values under torchvision's names."""
    names = (("backbone.stem.conv", "conv1"), ("backbone.stem.norm", "bn1"), ("classifier", "fc"))
    found = {}
    for key, value in model.state_dict().items():
        if key.endswith(("form", ".position")):
            continue
        for ours, theirs in names:
            key = key.replace(ours, theirs)
        key = re.sub(r"backbone\.stages\.(\d)", lambda match: f"layer{int(match[1]) + 1}", key)
        key = re.sub(r"branch\.(\d)\.(conv|norm)", lambda match: f"{match[2]}{int(match[1]) + 1}", key)
        key = key.replace("shortcut.conv", "downsample.0").replace("shortcut.norm", "downsample.1")
        found[re.sub(r"norm(\d)", r"bn\1", key)] = value
    return found


@pytest.mark.parametrize("kind", ["excite", "torchvision", "file", "tag"])
def test_a_network_for_volumes_takes_weights_of_images(kind: str, tmp_path: Path) -> None:
    images = varied_images(4, size=(32, 32))
    flat = lively(create_model("resnet18", num_classes=3), images)
    state: dict[str, torch.Tensor] | str = as_torchvision_has_them(flat) if kind != "excite" else flat.state_dict()
    if kind in ("file", "tag"):
        save_file(state, tmp_path / "flat.safetensors")  # type: ignore[arg-type]
        state = str(tmp_path / "flat.safetensors")
    if kind == "tag":
        take_in(Path(str(state)), name="resnet18", tag="flat")
        state = "flat"
    model = create_model("resnet18", dims=3, num_classes=3).double().eval()
    report = load_weights(model, state)
    assert (report.percent, report.notes) == (100, ("inflated from 2-D (centre)",)), report.text()
    built = create_model("resnet18", dims=3, num_classes=3, weights=state).double().eval()
    with torch.no_grad():
        assert_equal(model(images.unsqueeze(2).repeat_interleave(3, dim=2)), flat(images))
    for key, value in built.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, model.state_dict()[key].float().double(), rtol=0, atol=0)


def test_inflation_channels_and_fresh_gates_come_together() -> None:
    images = varied_images(4, channels=1, size=(32, 32))
    flat = lively(small(), images.repeat(1, 3, 1, 1))
    model = small(dims=3, in_channels=1, attention=AttentionPlan(start="open"), num_classes=4).double().eval()
    report = load_weights(model, flat.state_dict())
    assert report.percent == 100 and report.part == "features"
    for note in ("the classifier stays fresh", "17 attention gates stay fresh", "inflated from 2-D (centre)",
                 "fitted from 3 to 1 channels (sum)"):
        assert note in report.text()
    with torch.no_grad():
        expected = flat.forward_features(images.repeat(1, 3, 1, 1))  # type: ignore[operator]
        assert_equal(model.forward_features(images.unsqueeze(2).repeat_interleave(6, 2)),  # type: ignore[operator]
                     expected)


def test_the_mean_mode_spreads_a_kernel_over_its_depth() -> None:
    flat, model = small(), small(dims=3)
    report = load_weights(model, flat.state_dict(), inflate="mean")
    assert "inflated from 2-D (mean)" in report.text()
    kernel, old = (one.backbone.stem.conv.weight for one in (model, flat))  # type: ignore[union-attr]
    torch.testing.assert_close(kernel, old.unsqueeze(2).expand_as(kernel) / 3)  # type: ignore[operator, union-attr]
    with pytest.raises(UsageError, match="inflate must be 'centre' or 'mean', got 'middle'"):
        load_weights(small(dims=3), flat.state_dict(), inflate="middle")  # type: ignore[arg-type]


def test_weights_of_volumes_do_not_load_into_a_network_for_images() -> None:
    with pytest.raises(ModelError, match=r"52 that do not fit: .*\(8, 1, 3, 3, 3\) in the source, \(8, 1, 3, 3\)"):
        load_weights(small(), small(dims=3).state_dict())


def test_weights_of_another_width_are_refused_with_the_option_that_they_need(tmp_path: Path) -> None:
    file = tmp_path / "half.safetensors"
    words = {"layout": "excite", "source_sha256": "f707e7126e".ljust(64, "0")}
    save_file(create_model("shufflenet_v2", width=0.5).state_dict(), file, words)
    assert load_weights(create_model("shufflenet_v2", width=0.5), file).percent == 100
    with pytest.raises(ModelError, match=r"these are for create_model\('shufflenet_v2', width=0\.5\)"):
        load_weights(create_model("shufflenet_v2"), file)


def test_a_file_loads_and_a_flipped_bit_in_the_store_is_caught(tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXCITE_WEIGHTS", str(tmp_path / "store"))
    model = small()
    file = tmp_path / "ours.safetensors"
    save_file(other_values(model), file)
    report = load_weights(model, file)
    assert report.percent == 100 and report.source == "ours.safetensors" and len(report.sha256 or "") == 64
    path = take_in(file, name="mobilenet_v2", tag="ours").path
    assert load_weights(model, "ours", name="mobilenet_v2").percent == 100
    data = bytearray(path.read_bytes())
    data[-1] ^= 0x40  # still valid safetensors: one weight of 1e38
    path.write_bytes(data)
    with pytest.raises(ModelError, match="damaged: its sha256"):
        load_weights(model, "ours", name="mobilenet_v2")


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    model = small()
    state = other_values(model)
    state["classifier.bias"][2] = float("inf")
    save_file(state, tmp_path / "ours.safetensors")
    with pytest.raises(ModelError, match=r"not finite: classifier\.bias"):
        load_weights(model, tmp_path / "ours.safetensors")


def test_sources_that_cannot_be_meant() -> None:
    model = small()
    with pytest.raises(EnvironmentFault, match="excite weights get mobilenet_v2"):
        load_weights(model, "imagenet", name="mobilenet_v2")
    with pytest.raises(UsageError, match="random values"):
        load_weights(model, "none", name="mobilenet_v2")
    with pytest.raises(UsageError, match="name='mobilenet_v2'"):
        load_weights(nn.Linear(2, 2), {"features.1.conv.0.0.weight": torch.ones(1)})


def test_values_that_are_not_finite_and_things_that_are_no_tensors_are_refused_in_memory_too() -> None:
    state = other_values(small())
    with pytest.raises(UsageError, match=r"got dict at 'state_dict'; the state dict is weights\['state_dict'\]"):
        load_weights(small(), {"state_dict": state})  # type: ignore[dict-item]
    with pytest.raises(UsageError, match="weights must be tensors by name, got ndarray at 'classifier.bias'"):
        load_weights(small(), {"classifier.bias": np.zeros(3)})  # type: ignore[dict-item]
    state["classifier.bias"] = torch.full_like(state["classifier.bias"], float("nan"))
    with pytest.raises(ModelError, match="1 tensors hold values that are not finite: classifier.bias"):
        load_weights(small(), state)


def test_another_form_is_refused_without_strict_too() -> None:
    state = create_model("resnet50", num_classes=3, stride_in="conv1").state_dict()
    with pytest.raises(ModelError, match="stride_in='conv1' in the source, 'conv2'.*build the network with stride_in="):
        load_weights(create_model("resnet50", num_classes=3), state, strict=False)


def test_weights_for_batch_norms_tell_a_network_of_group_norms() -> None:
    with pytest.raises(ModelError, match="made with norm='batch', this network has norm='group'"):
        load_weights(small(norm="group"), small().state_dict())


def test_what_the_source_does_not_say_is_a_caution_and_create_model_warns_of_it() -> None:
    state = create_model("resnet18", num_classes=3).state_dict()
    bare = {key: value for key, value in state.items() if key != "backbone.form"}
    model = create_model("resnet18", num_classes=3)
    assert load_weights(model, state).cautions == ()
    report = load_weights(model, bare)
    assert report.cautions == ("the source does not say its ceil_pool (False): it is taken to be this network's",)
    with pytest.warns(UserWarning, match="resnet18: the source does not say its ceil_pool"):
        create_model("resnet18", num_classes=3, weights=bare)
    with pytest.warns(UserWarning, match="modality_fusion: the source does not say its ceil_pool"):
        create_model("modality_fusion", dims=2, trunk="resnet18", weights=bare)
    with pytest.warns(UserWarning, match="start='paper' is not 1 at first: the outputs are not the source's"):
        create_model("resnet18", num_classes=3, weights=state, attention="se")


@pytest.mark.parametrize("kind", ["simam", "gct"])
def test_attention_without_weights_of_its_own_takes_a_plain_networks(kind: str) -> None:
    plain = create_model("resnet18", num_classes=3)
    report = load_weights(create_model("resnet18", num_classes=3, attention=AttentionPlan(kind=kind)),
                          plain.state_dict())
    assert report.percent == 100 and (len(report.cautions) == 1) == (kind == "simam")


def test_gates_of_another_kind_with_the_same_shapes_are_refused() -> None:
    half = AttentionPlan(kind="cbam", options={"spatial": False})
    state = create_model("resnet18", num_classes=3, attention=half).state_dict()
    model = create_model("resnet18", num_classes=3, attention=AttentionPlan(kind="se"))
    assert {key for key in state} == {key for key in model.state_dict()}
    with pytest.raises(ModelError, match="squeeze='both' in the source, 'average' in the network"):
        load_weights(model, state)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_weights_that_are_no_real_numbers_are_refused(dtype: torch.dtype) -> None:
    state = other_values(small())
    state["classifier.weight"] = state["classifier.weight"].to(dtype)
    with pytest.raises(ModelError, match=f"classifier.weight: {dtype} in the source, torch.float32 in the network"):
        load_weights(small(), state)


def test_a_variance_below_zero_and_an_unknown_choice_are_refused() -> None:
    state = other_values(small())
    state["backbone.stem.norm.running_var"] -= 5
    with pytest.raises(ModelError, match="1 tensors hold variances below 0: backbone.stem.norm.running_var"):
        load_weights(small(), state)
    with pytest.raises(UsageError, match="part must be 'auto', 'features' or 'all', got 'featuresx'"):
        load_weights(small(), state, part="featuresx")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="channels must be 'sum', 'mean' or 'repeat', got 'bogus'"):
        load_weights(small(), state, channels="bogus")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="weights must be a tag, a file or a state dict, got int"):
        load_weights(small(), 5)  # type: ignore[arg-type]
