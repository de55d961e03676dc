"""Facts that shapes do not show, saved in words."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from excite.errors import ModelError
from excite.layers.form import Formed, differing, told, written


class Part(Formed):
    def __init__(self, **facts):
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.set_form(**facts)


def test_what_is_written_is_told_whatever_the_order():
    facts = {"b": 2, "a": "é", "c": True}
    assert told(written(facts)) == {"a": "é", "b": "2", "c": "True"}
    assert torch.equal(written({"b": 1, "a": 2}), written({"a": 2, "b": 1}))
    assert told(torch.tensor([255, 254], dtype=torch.uint8)) == {} == told(written({}))


def test_only_facts_that_both_tell_can_differ():
    assert differing({"a": "1", "b": "2"}, {"b": "3", "c": "4"}) == {"b": ("2", "3")}


def test_another_form_is_refused_in_words_and_changes_nothing():
    part, other = Part(stride="first", pool="ceil"), Part(stride="second", pool="ceil")
    before = part.linear.weight.clone()
    with pytest.raises(ModelError, match="Part: the weights are those of a network with stride='second', this one has "
                                         "stride='first' .*build the network with stride='second'"):
        part.load_state_dict(other.state_dict())
    assert torch.equal(part.linear.weight, before)
    with pytest.raises(ModelError, match="0: the weights"):
        nn.Sequential(part).load_state_dict(nn.Sequential(other).state_dict(), strict=False)


def test_a_form_of_fewer_facts_is_compared_in_those_and_the_own_one_stays(tmp_path):
    part = Part(stride="first", pool="ceil")
    state = Part(stride="first").state_dict()
    save_file(state, tmp_path / "part.safetensors")
    part.load_state_dict(load_file(tmp_path / "part.safetensors"))
    assert torch.equal(part.linear.weight, state["linear.weight"])
    assert told(part.form) == {"stride": "first", "pool": "ceil"} == part.facts
    assert "form" not in dict(part.named_parameters()) and part.double().form.dtype == torch.uint8


def test_a_missing_form_is_missing():
    state = Part(stride="first").state_dict()
    del state["form"]
    with pytest.raises(RuntimeError, match="Missing key.*form"):
        Part(stride="first").load_state_dict(state)


def test_a_form_that_nobody_asked_for_is_unexpected():
    class Bare(Formed):
        pass

    with pytest.raises(RuntimeError, match="Unexpected key.*form"):
        Bare().load_state_dict({"form": written({"a": 1})})
