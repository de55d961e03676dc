import copy
import io

import pytest
import torch

from excite.attention.insertion import form
from excite.attention.insertion.insert import insert, inserted_plan
from excite.errors import ModelError
from insertion_checks import AWAKE, COMPILERS, awake, gates, output, shaken
from insertion_toy import BLOCKS, BasicBlock, Inverted, Network, images

CASES = [("basic", "standard", "se", 2), ("basic", "identity", "cbam", 3), ("inverted", "inner", "eca", 2),
         ("pre-activation", "pre", "se", 2)]
named = {"ids": lambda case: case if isinstance(case, str) else "-".join(map(str, case))}


def with_gates(kind, position, attention, dims):
    base = shaken(Network(BLOCKS[kind], dims=dims), images(dims))
    model = copy.deepcopy(base)
    insert(model, f"{attention}:position={position}")
    return base, awake(model), images(dims)


@pytest.mark.parametrize("case", CASES, **named)
@pytest.mark.parametrize("check", AWAKE)
def test_survives(check, case):
    assert AWAKE[check](*with_gates(*case)) is True


@pytest.mark.slow
@pytest.mark.parametrize("case", [*CASES, ("scaled", "standard", "se", 2)], **named)
@pytest.mark.parametrize("check", COMPILERS)
def test_survives_the_compilers(check, case):
    assert COMPILERS[check](*with_gates(*case)) is True


def test_a_gate_that_is_lost_would_be_found_out():
    base, model, x = with_gates("basic", "standard", "se", 2)
    for block in model.modules():
        if hasattr(block, "insertion"):
            block.__class__ = block.kind
    assert AWAKE["conv+BN fused"](base, model, x) == "gates that do nothing"


def test_a_class_is_made_once_and_keeps_its_name():
    made = form.gated(BasicBlock)
    assert made is form.gated(BasicBlock) and issubclass(made, BasicBlock)
    assert (made.__name__, made.__qualname__, made.__module__) == ("BasicBlock", "BasicBlock", "insertion_toy")


def test_a_copy_of_a_copy_in_another_mode():
    _, model, x = with_gates("scaled", "standard", "se", 2)
    twin = copy.deepcopy(copy.deepcopy(model).train())
    assert torch.equal(output(twin, x, seed=4), output(copy.deepcopy(model).train(), x, seed=4))
    assert all(gate.training for gate in gates(twin)) and inserted_plan(twin) == inserted_plan(model)


def test_the_state_of_another_position_or_start_is_refused():
    one, other, paper = Network(), Network(), Network()
    insert(one, "se")
    insert(other, "se:position=post")
    insert(paper, "se:start=paper")
    with pytest.raises(ModelError, match="stages.0.0: the weights are those of a network with position='standard', "
                                         "this one has position='post'"):
        other.load_state_dict(one.state_dict())
    with pytest.raises(ModelError, match="network with start='open', this one has start='paper'"):
        paper.load_state_dict(one.state_dict())
    with pytest.raises(RuntimeError, match="Unexpected key"):
        Network().load_state_dict(one.state_dict())


def test_old_weights_load_and_only_the_gates_are_missing():
    old, model = shaken(Network(), images()).state_dict(), Network()
    report = insert(model)
    found = model.load_state_dict(old, strict=False)
    assert not found.unexpected_keys
    assert set(found.missing_keys) == set(report.new_keys)


def test_a_block_whose_code_changed_since_it_was_saved_is_named(monkeypatch):
    model, file = Network(Inverted), io.BytesIO()
    insert(model)
    torch.save(model, file)
    file.seek(0)
    monkeypatch.setattr(form.gated(Inverted), "original_forward", lambda self, x: x)
    with pytest.raises(ModelError, match="Inverted has no step add, conv any more .the attention was inserted into "):
        torch.load(file, weights_only=False)


def test_hooks_on_a_block_and_its_children_still_fire():
    model, seen = Network(), []
    block = model.stages[0][0]
    block.register_forward_hook(lambda *given: seen.append("block"))
    block.bn2.register_forward_hook(lambda *given: seen.append("child"))
    insert(model)
    seen.clear()
    output(model, images())
    assert seen == ["child", "block"]


def test_autocast_keeps_the_outputs_at_first():
    base = shaken(Network(), images())
    model, x = copy.deepcopy(base), images()
    insert(model)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(output(model, x), output(base, x))
