"""A file with the weights of a network with inserted attention, and back into a new network."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from excite import insert_attention, inserted_plan, load_inserted, save_inserted
from excite.attention.insertion.insert import inserted_places
from excite.errors import ModelError, UsageError
from excite.models.inserted_weights import fit
from excite.weights.store import metadata
from insertion_toy import Inverted, Network, images


@pytest.fixture
def trained():
    """A network whose gates are no longer open."""
    model = Network()
    insert_attention(model, "cbam@stages.1,2.0:reduction=4")
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "attention" in name:
                value.add_(torch.randn_like(value))
    return model.eval()


def test_a_new_network_gets_plan_and_weights_back(trained, tmp_path):
    save_inserted(trained, tmp_path / "gates.safetensors", words={"network": "insertion_toy:Network"})
    again = Network()
    report = load_inserted(again, tmp_path / "gates.safetensors")
    assert len(report.places) == 3 and inserted_places(again) == inserted_places(trained)
    assert inserted_plan(again).options == inserted_plan(trained).options == {"reduction": 4}
    assert torch.equal(again.eval()(images()), trained(images()))
    plain = Network().eval()
    plain.load_state_dict(trained.state_dict(), strict=False)
    assert not torch.allclose(plain(images()), trained(images()))  # without the gates it is another network
    words = metadata(tmp_path / "gates.safetensors")
    assert words["network"] == "insertion_toy:Network" and json.loads(words["excite_inserted"])["kind"] == "cbam"


def test_weights_of_another_network_are_refused(trained, tmp_path):
    save_inserted(trained, tmp_path / "gates.safetensors")
    with pytest.raises(UsageError, match=r"no residual block is called stages.1"):
        load_inserted(torch.nn.Sequential(Inverted(8, 8)), tmp_path / "gates.safetensors")
    wider = Network()
    wider.fc = torch.nn.Linear(24, 30)
    with pytest.raises(ModelError, match=r"2 of another shape: fc.bias, fc.weight.*as many classes"):
        load_inserted(wider, tmp_path / "gates.safetensors")


def test_a_file_without_a_plan_or_with_changed_bytes_is_refused(trained, tmp_path):
    file = tmp_path / "gates.safetensors"
    save_inserted(trained, file)
    state = load_file(file)
    save_file(state, tmp_path / "plain.safetensors")
    with pytest.raises(ModelError, match="names no inserted attention"):
        load_inserted(Network(), tmp_path / "plain.safetensors")
    save_file(state, tmp_path / "odd.safetensors", {"excite_inserted": "{}"})
    with pytest.raises(ModelError, match="plan in the file's header cannot be read"):
        load_inserted(Network(), tmp_path / "odd.safetensors")
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelError, match="is damaged"):
        load_inserted(Network(), file)


def test_only_inserted_attention_is_saved_and_only_as_safetensors(trained, tmp_path):
    with pytest.raises(UsageError, match="Network has no inserted attention"):
        save_inserted(Network(), tmp_path / "gates.safetensors")
    with pytest.raises(UsageError, match=r"written as .safetensors, got gates.pth"):
        save_inserted(trained, tmp_path / "gates.pth")


def test_gates_go_where_they_were_whatever_size_stages_were_told_by(tmp_path):
    model = Network()
    insert_attention(model, "se@0", input_size=(3, 4, 4))  # stages cannot be told: the maps have one voxel
    save_inserted(model, tmp_path / "gates.safetensors")
    again = Network()
    report = load_inserted(again, tmp_path / "gates.safetensors")
    assert [place.gate for place in report.places] == [f"{name}.attention" for name in inserted_places(model)]
    assert again.state_dict().keys() == model.state_dict().keys()


def test_one_value_a_stage_comes_back(tmp_path):
    model = Network()
    insert_attention(model, "se@1,2:reduction=8,4,2")
    save_inserted(model, tmp_path / "gates.safetensors")
    again = Network()
    load_inserted(again, tmp_path / "gates.safetensors")
    assert torch.equal(again.eval()(images()), model.eval()(images()))


def test_wrappers_are_taken_off(trained, tmp_path):
    save_inserted(torch.nn.DataParallel(trained), tmp_path / "gates.safetensors")
    again = torch.nn.DataParallel(Network())
    load_inserted(again, tmp_path / "gates.safetensors")
    assert torch.equal(again.module.eval()(images()), trained(images()))


def test_numbers_of_another_kind_and_tied_weights_that_differ_are_refused(trained, tmp_path):
    file = tmp_path / "gates.safetensors"
    save_inserted(trained, file)
    words, state = metadata(file), load_file(file)
    whole = state | {"fc.weight": state["fc.weight"].to(torch.int8)}
    save_file(whole, tmp_path / "whole.safetensors", words)
    with pytest.raises(ModelError, match="1 of another kind of number: fc.weight"):
        load_inserted(Network(), tmp_path / "whole.safetensors")
    half = {key: value.half() if value.dtype == torch.float32 else value for key, value in state.items()}
    save_file(half, tmp_path / "half.safetensors", words)
    load_inserted(Network(), tmp_path / "half.safetensors")
    tied = torch.nn.ModuleDict({"a": torch.nn.Linear(2, 2), "b": torch.nn.Linear(2, 2)})
    given = {key: value.clone() for key, value in tied.state_dict().items()}
    tied["b"].weight = tied["a"].weight
    with pytest.raises(ModelError, match="share memory in the network and differ in the file"):
        fit(tied, given, file)


def test_weights_with_gates_are_named_in_a_network_without_and_meta_is_refused(trained, tmp_path):
    file = tmp_path / "deep" / "gates.safetensors"
    save_inserted(trained, file)
    with pytest.raises(ModelError, match=r"have inserted attention, the network has none.*load_inserted"):
        fit(Network(), load_file(file), file)
    with torch.device("meta"):
        nowhere = Network()
    with pytest.raises(UsageError, match="on the meta device"):
        load_inserted(nowhere, file)
