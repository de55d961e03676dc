import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from excite.attention.insertion import insert as inserting
from excite.attention.insertion.insert import insert, inserted_plan
from excite.attention.plan import AttentionPlan
from excite.attention.registry import ATTENTION
from excite.errors import UsageError
from excite.models.classifier import create_model
from insertion_checks import awake, equal_at_start, equal_in_training, gates, learns, output, shaken
from insertion_toy import (
    BLOCKS,
    AsksValues,
    BasicBlock,
    Dense,
    Inverted,
    LeftOut,
    Network,
    PreActivation,
    Scaled,
    images,
    written,
)

POSITIONS = ("standard", "pre", "post", "identity", "inner")
OPENING = [kind for kind in ATTENTION if kind != "simam"]  # which has no parameter, so no open start


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("kind", BLOCKS)
def test_nothing_changes_at_first_in_either_mode(kind, position, dims):
    base = shaken(Network(BLOCKS[kind], dims=dims), images(dims))
    model, x = copy.deepcopy(base), images(dims)
    report = insert(model, f"se:position={position}:reduction=4")
    assert report.unchanged and len(report.places) == len(gates(model)) == (4 if kind == "inverted" else 6)
    assert equal_at_start(base, model, x) and equal_in_training(base, model, x)
    with torch.no_grad():
        assert not torch.allclose(output(awake(model).eval(), x), output(base, x), rtol=1e-3)  # the gates are in use


@pytest.mark.parametrize("attention", OPENING)
def test_every_attention_of_the_house_goes_in(attention):
    base = shaken(Network(Scaled), images())
    model, x = copy.deepcopy(base), images(count=4)
    insert(model, attention)
    assert equal_at_start(base, model, x) and equal_in_training(base, model, x)
    assert learns(base, model, x, steps=3) is True


@pytest.mark.parametrize("position", POSITIONS)
def test_the_basic_block_computes_what_is_written_out_here(position):
    base = shaken(Network(), images())
    model, x = copy.deepcopy(base), torch.randn(2, 8, 16, 16)
    insert(model, f"se@1.0:position={position}:reduction=4")
    block, own = awake(model).stages[1][0], base.stages[1][0]

    def at(place, y):
        return block.attention(y) if place == position else y

    with torch.no_grad():
        y = at("inner", own.bn1(own.conv1(at("pre", x))).relu())
        y = at("standard", own.bn2(own.conv2(y)))
        expected = at("post", (y + at("identity", own.downsample(x))).relu())
        assert torch.equal(block(x), expected)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("position", POSITIONS)
def test_the_scaled_block_computes_what_is_written_out_here(position, training):
    base = shaken(Network(Scaled), images())
    model, x = copy.deepcopy(base), torch.randn(6, 8, 16, 16)
    insert(model, f"se@0.0:position={position}:reduction=4")
    block, own = awake(model).train(training).stages[0][0], base.train(training).stages[0][0]

    def at(place, y):
        return block.attention(y) if place == position else y

    with torch.no_grad():
        torch.manual_seed(2)
        found = block(x)
        torch.manual_seed(2)
        y = at("inner", own.conv_dw(at("pre", x))).movedim(1, -1)
        y = own.dropout(at("standard", own.gamma * own.fc2(own.act(own.fc1(own.norm(y)))).movedim(-1, 1)))
        if training:
            y = y * torch.empty(6, 1, 1, 1).bernoulli_(0.5) / 0.5
        assert torch.equal(found, at("post", y + at("identity", x)))


def test_inside_a_sequential_the_gate_follows_the_convolution_over_space():
    base = shaken(Network(Inverted), images())
    model, x = copy.deepcopy(base), torch.randn(2, 8, 16, 16)
    insert(model, "se@0.0:position=inner")
    block, own = awake(model).stages[0][0], base.stages[0][0]
    with torch.no_grad():
        y = block.attention(own.conv[1](own.conv[0](x)))
        assert torch.equal(block(x), x + own.conv[3](own.conv[2](y)))


def test_stages_blocks_names_and_one_value_a_stage():
    def gated(plan, **options):
        return [place.block for place in insert(Network(), plan, **options).places]

    assert gated("se@1,2") == ["stages.1.0", "stages.1.1", "stages.2.0", "stages.2.1"]
    assert gated("se@*.0") == ["stages.0.0", "stages.1.0", "stages.2.0"]
    assert gated(AttentionPlan(start="open", blocks=("stages.1", "stages.?.1"))) == [
        "stages.0.1", "stages.1.0", "stages.1.1", "stages.2.1"]
    assert gated(AttentionPlan(start="open", stages=(2,), blocks=("*.1",))) == ["stages.2.1"]
    model = Network()
    insert(model, "se:reduction=8,4,2")
    assert [gate.squeeze.out_channels for gate in gates(model)] == [1, 1, 4, 4, 12, 12]


def test_a_line_is_open_unless_it_says_paper_and_a_plan_is_what_it_says():
    base = shaken(Network(), images())
    for plan, unchanged in (("se", True), ("se:start=paper", False), (AttentionPlan(start="open"), True),
                            ("gct:start=paper", True), ("simam:start=paper", False)):
        model = copy.deepcopy(base)
        report = insert(model, plan)
        assert report.unchanged == unchanged == equal_at_start(base, model, images())
        assert ("THE OUTPUTS CHANGE" in report.text()) != unchanged
    with pytest.warns(UserWarning, match="the plan's start is 'paper': fresh gates are not 1"):
        assert not insert(copy.deepcopy(base), AttentionPlan()).unchanged


def test_the_report_says_what_was_done():
    model = Network(Inverted)
    keys, before = set(model.state_dict()), sum(one.numel() for one in model.parameters())
    report = insert(model, "se@0.*,1.*:reduction=4:position=inner")
    added = sum(one.numel() for gate in gates(model) for one in gate.parameters())
    assert report.parameters == (before, before + added) and report.parameters_added == added > 0
    assert set(report.new_keys) == set(model.state_dict()) - keys
    assert all(key.startswith(("stages.0.0.attention.", "stages.0.1.attention.", "stages.1.1.attention."))
               for key in report.new_keys)
    assert (report.places[0].place, report.places[0].channels, report.places[0].gate) == (
        "0.0", 24, "stages.0.0.attention")
    assert report.left == ("stages.2.1",)
    assert report.text().startswith(
        "se@0.*,1.*:position=inner:start=open:reduction=4: inner position of 3 of 4 residual blocks; the outputs are "
        f"what they were until the gates learn\nparameters {before:,} -> {before + added:,} (+")
    assert report.to_json()["places"][0]["channels"] == 24 and report.to_json()["parameters_added"] == added


def test_a_block_that_lacks_the_position_is_refused_and_listed():
    class Mixed(Network):
        def __init__(self):
            super().__init__()
            self.stages[0] = nn.Sequential(PreActivation(8, 8, inplace=True), BasicBlock(8, 8))

    report = insert(Mixed(), "se:position=pre")
    why = ("stages.0.0 (0.0): no pre position, because its branch begins with a change in place, which the shortcut "
           "sees too")
    assert report.refused == (why,) and f"not in {why}" in report.text() and len(report.places) == 5
    lists = insert(Mixed(), "se").places[0]
    assert list(lists.lacks) == ["pre"] and lists.said().endswith("; it has no pre position")
    with pytest.raises(UsageError, match=r"no covered block of Network has the position 'pre' \(stages.0.0 "):
        insert(Network(PreActivation, inplace=True), "se@0.0:position=pre")


def test_a_gate_is_of_the_blocks_number_kind_and_mode():
    model = Network().double().train().requires_grad_(False)
    model.stages[0].eval()
    insert(model)
    assert all(gate.excite.weight.dtype == torch.float64 for gate in gates(model))
    assert [gate.training for gate in gates(model)] == [False] * 2 + [True] * 4
    assert all(one.requires_grad == (".attention." in name) for name, one in model.named_parameters())


def test_an_argument_left_out_is_settled_and_a_taken_name_is_kept():
    base = shaken(Network(LeftOut), images())
    model, x = copy.deepcopy(base), torch.randn(2, 8, 8, 8)
    report = insert(model)
    assert report.places[0].gate == "stages.0.0.attention_2" and isinstance(model.stages[0][0].attention, nn.Identity)
    assert equal_at_start(base, model, images())
    block = model.stages[0][0]
    assert torch.equal(block(x, skip=None, times=1.0), block(x))
    with pytest.raises(AssertionError):
        block(x, skip=x)
    with pytest.raises(AssertionError):
        block(x, times=2.0)


@pytest.mark.parametrize(("plan", "message"), [
    ("se:position=tail", "attention at the tail has no place in the blocks of another network; one of standard, pre"),
    ("se@3", "attention stages must be 0 to 2, got 3"),
    ("se@0.7", "no residual block is called 0.7; its blocks: 0.0 = stages.0.0, 0.1 = stages.0.1, 1.0"),
    (AttentionPlan(start="open", blocks=("layer4",)), "no residual block is called layer4; its blocks: 0.0 = stages.0"),
    (AttentionPlan(start="open", stages=(0,), blocks=("1.0",)), "no block is in both, the stages and the blocks"),
    ("se:reduction=8,4", "option 'reduction' has 2 values, the network has 3 stages"),
    ("simam", "start must be 'paper' for simam, got 'open'"),
    ("se:reduction=0", "reduction must be a whole number of at least 1, got 0"),
    (16, "plan must be an AttentionPlan or its line of text, got int"),
])
def test_a_plan_that_does_not_fit_is_named_and_the_network_stays(plan, message):
    model = Network()
    keys = list(model.state_dict())
    with pytest.raises(UsageError, match=message):
        insert(model, plan)
    assert list(model.state_dict()) == keys and inserted_plan(model) is None


@pytest.mark.parametrize(("network", "message"), [
    (lambda: Network(Dense), "Network has no residual sum that attention could go to .no module adds a branch"),
    (lambda: Network(AsksValues), "has no residual sum that attention could go to .stages.0.0 cannot be traced: "),
    (lambda: torch.fx.symbolic_trace(Network()), "is compiled or traced"),
    (lambda: torch.jit.trace(Network().eval(), images()), "is compiled or traced"),
    (lambda: torch.compile(Network()), "is compiled or traced"),
    (lambda: "resnet50", "model must be a network, a torch.nn.Module, got str"),
    (lambda: create_model("resnet18"), "Classifier has excite's own blocks, which take attention when they are built"),
])
def test_a_network_that_cannot_have_it_is_refused(network, message):
    with pytest.raises(UsageError, match=message):
        insert(network())


def test_a_second_insertion_is_refused():
    model = Network()
    insert(model, "se@1")
    with pytest.raises(UsageError, match="Network has inserted attention already: se@1:start=open; build the "
                                         "network anew"):
        insert(model, "eca@2")
    assert inserted_plan(model) == AttentionPlan(stages=(1,), start="open")


def add_to_branch(self, x):
    out = self.branch(x)
    out.add_(self.shortcut(x))
    return functional.relu(out)


def add_to_shortcut(self, x):
    out = self.shortcut(x).clone()
    out.add_(self.branch(x))
    return torch.relu_(out)


def add_and_activate_in_place(self, x):
    out = self.branch(x)
    out.add_(self.shortcut(x))
    self.relu(out)
    return out


def add_and_activate_by_place(self, x):
    out = self.branch(x)
    out.add_(self.shortcut(x))
    functional.relu(out, True)
    return out


def add_under_another_name(self, x):
    out = kept = self.branch(x)
    out += self.shortcut(x)
    return kept.relu()


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("forward", [add_to_branch, add_to_shortcut, add_and_activate_in_place,
                                     add_and_activate_by_place, add_under_another_name])
def test_a_sum_in_place_whose_value_has_no_name_keeps_its_shortcut(forward, position):
    base = shaken(Network(written(forward)), images())
    model, x = copy.deepcopy(base), torch.randn(2, 8, 16, 16)
    assert insert(model, f"se:position={position}:reduction=4").unchanged
    assert equal_at_start(base, model, images()) and equal_in_training(base, model, images())
    assert learns(base, copy.deepcopy(model), images(), steps=3) is True
    block, own = awake(model).stages[0][0], base.stages[0][0]

    def at(place, y):
        return block.attention(y) if place == position else y

    with torch.no_grad():
        y = at("inner", own.bn1(own.conv1(at("pre", x.clone()))))
        expected = torch.relu(at("standard", own.bn2(own.conv2(torch.relu(y)))) + at("identity", x))
        if position == "post":
            expected = torch.relu(at("post", own.branch(x) + x))
        if position not in ("inner", "post"):  # where those two stand depends on what follows
            assert torch.allclose(block(x.clone()), expected, atol=1e-6)


def test_sizes_that_are_counted_up_are_numbers():
    def forward(self, x):
        height = before = x.shape[2]
        height += 1
        return (self.branch(x) + self.shortcut(x)) * (height - before)

    base = shaken(Network(written(forward)), images())
    model = copy.deepcopy(base)
    insert(model)
    assert equal_at_start(base, model, images())


def count_in_place(self, x):
    self.calls.add_(1)
    return self.branch(x) + self.shortcut(x)


def count_by_operator(self, x):
    self.calls += 1
    return self.branch(x) + self.shortcut(x)


@pytest.mark.parametrize("forward", [count_in_place, count_by_operator])
def test_a_counter_stays_and_goes_on_counting(forward):
    model = Network(written(forward))
    output(model, images())
    insert(model)
    twin = copy.deepcopy(model)
    assert [int(block.calls) for stage in twin.stages for block in stage] == [1] * 6
    output(twin, images())
    assert [int(block.calls) for stage in twin.stages for block in stage] == [2] * 6


def test_nothing_is_left_on_a_block_by_insertion():
    def forward(self, x):
        self.last = self.branch(x)
        self.times = getattr(self, "times", 0) + 1
        return self.last * torch.ones(1) + self.shortcut(x)

    model = Network(written(forward))
    insert(model)
    base = Network(written(forward))
    assert not hasattr(model.stages[0][0], "last") and not hasattr(model.stages[0][0], "times")
    model.load_state_dict(base.state_dict(), strict=False)
    assert equal_at_start(base, model, images())


def test_where_one_form_fails_no_block_is_changed(monkeypatch):
    def second_fails(block, insertion, made=[]):  # noqa: B006
        made.append(block)
        if len(made) == 2:
            raise RuntimeError("no form")
        return {}

    model = Network()
    keys, kinds = list(model.state_dict()), [type(part) for part in model.modules()]
    monkeypatch.setattr(inserting, "formed", second_fails)
    with pytest.raises(RuntimeError, match="no form"):
        insert(model)
    assert list(model.state_dict()) == keys and [type(part) for part in model.modules()] == kinds


def test_an_unknown_position_names_the_nearest_of_those_that_fit():
    with pytest.raises(UsageError, match="attention position must be one of standard, pre, post, identity, inner, got "
                                         "'idendity'; did you mean 'identity'"):
        insert(Network(), "se:position=idendity")
