"""get_model and the two published ways of fine-tuning, with what they do and do not do (T0-3)."""

import pytest
import torch

from excite.compat import get_fine_tuning_parameters, get_model
from excite.errors import UsageError
from excite.models.groups import freeze_trunk


def parameters(**arguments):
    with torch.device("meta"):
        return sum(value.numel() for value in get_model(**arguments).parameters())


@pytest.mark.parametrize(("arguments", "count"), [
    ({"num_classes": 600, "sample_size": 112, "in_channels": 3}, 3_181_268),
    ({"num_classes": 600, "sample_size": 112, "in_channels": 3, "se_in_blocks": False}, 3_533_688),
    ({"num_classes": 2}, 2_413_502),
    ({"num_classes": 3}, 2_414_783),
    ({"num_classes": 600, "in_channels": 3, "width_mult": 0.45}, 1_411_754),
])
def test_counts_are_the_documents(arguments, count):
    assert parameters(**arguments) == count


def test_the_documents_call_gives_the_documents_shape():  # S0-09
    model = get_model(600, 112, 1.0, 3, 8, True).eval()
    with torch.no_grad():
        assert model(torch.rand(1, 3, 16, 112, 112)).shape == (1, 600)


@pytest.mark.parametrize("size", [0, 100, 8, 112.0])
def test_a_size_that_sixteen_does_not_divide_is_an_error(size):
    with pytest.raises(UsageError, match="sample_size must be a multiple of 16, got"):
        get_model(sample_size=size)


@pytest.fixture
def model():
    return get_model(num_classes=2, width_mult=0.25)


def test_complete_is_every_parameter(model):
    assert [id(one) for one in get_fine_tuning_parameters(model, "complete")] == [id(one) for one in model.parameters()]


def test_last_layer_gives_the_classifier_the_rate_and_all_others_none(model):
    groups = get_fine_tuning_parameters(model, "last_layer")
    assert [id(group["params"]) for group in groups] == [id(one) for one in model.parameters()]
    assert [id(group["params"]) for group in groups if "lr" not in group] == [
        id(one) for one in model.classifier.parameters()]
    assert all(group["lr"] == 0.0 for group in groups if "lr" in group)


def test_another_word_is_a_value_error(model):
    with pytest.raises(ValueError, match="ft_portion must be 'complete' or 'last_layer', got 'head'"):
        get_fine_tuning_parameters(model, "head")


def step(model, optimiser, schedule=None):
    model.train()(torch.rand(4, 1, 4, 32, 32)).square().sum().backward()
    optimiser.step()
    if schedule is not None:
        schedule.step()
    optimiser.zero_grad()


def trunk(model):
    return {key: value.clone() for key, value in model.state_dict().items() if key.startswith("backbone.")}


def changed(before, model):
    return {key for key, value in trunk(model).items() if not torch.equal(value, before[key])}


def test_a_rate_of_zero_is_overwritten_by_a_one_cycle_and_lets_statistics_drift(model):  # T0-3, as documented
    before = trunk(model)
    step(model, torch.optim.SGD(get_fine_tuning_parameters(model, "last_layer"), lr=0.1))
    drifted = changed(before, model)
    assert drifted and all("running_" in key or "num_batches" in key for key in drifted)
    optimiser = torch.optim.SGD(get_fine_tuning_parameters(model, "last_layer"), lr=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.1, total_steps=10)
    step(model, optimiser, schedule)
    step(model, optimiser, schedule)
    assert any(key.endswith("conv.weight") for key in changed(before, model))


def test_the_safe_freeze_keeps_the_trunk_as_it_is_under_a_one_cycle(model):
    freeze_trunk(model)
    before = {key: value for key, value in trunk(model).items() if ".attention." not in key}
    assert len(before) > 300
    optimiser = torch.optim.SGD([one for one in model.parameters() if one.requires_grad], lr=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.1, total_steps=10)
    for _ in range(3):
        step(model, optimiser, schedule)
    after = model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_a_nested_module_of_that_name_is_no_last_layer():  # T0-3 (d)
    class Nested(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk = torch.nn.ModuleDict({"classifier": torch.nn.Linear(2, 2)})
            self.classifier = torch.nn.Linear(2, 2)

    rates = [group.get("lr") for group in get_fine_tuning_parameters(Nested(), "last_layer")]
    assert rates == [0.0, 0.0, None, None]
