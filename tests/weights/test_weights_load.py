"""Loading: all or nothing, told in words; what is adapted, what stays fresh, what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from excite.attention.plan import AttentionPlan
from excite.errors import EnvironmentFault, ModelError, UsageError
from excite.models.classifier import create_model
from excite.weights.adapt import adapt_channels
from excite.weights.intake import take_in
from excite.weights.load import load_weights


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
    (lambda s: s.update({"backbone.head.conv.weight": torch.ones(3, 3, 1, 1)}), r"of another shape: .*\(3, 3, 1, 1\)"),
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
    load_weights(mean, colour.state_dict(), grey="mean")
    ratio = mean.backbone.stem.conv.weight / grey.backbone.stem.conv.weight  # type: ignore[union-attr]
    np.testing.assert_allclose(ratio.detach().numpy(), 1 / 3, rtol=1e-9)


def test_adapt_channels_refuses_nonsense() -> None:
    weight = torch.randn(4, 3, 3, 3)
    assert torch.allclose(adapt_channels(weight, 5).sum(1), weight.sum(1), atol=1e-6)
    with pytest.raises(UsageError, match="in_channels must be at least 1, got 0"):
        adapt_channels(weight, 0)
    with pytest.raises(UsageError, match="mode must be"):
        adapt_channels(weight, 1, mode="median")  # type: ignore[arg-type]


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
