"""A network of another library with inserted attention goes through `train` to a bundle, gates and head first."""

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import excite
from excite.data.reading import read
from excite.errors import UsageError
from insertion_toy import Network
from runs import simulated_table, small_config

SETTINGS = {"model.options": {}, "model.weights": "none", "loop.ema": 0.0, "preprocess.size": 32,
            "loop.epochs": 1, "optim.gate_lr": 5.0, "optim.lr": 0.01}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return simulated_table(tmp_path_factory.mktemp("planes"), patients=6)


@pytest.fixture
def network():
    torch.manual_seed(0)
    model = Network()
    model.fc = torch.nn.Linear(24, 4)
    excite.insert_attention(model, "se@1,2")
    return model


class Pair(torch.nn.Module):
    """A network that gives more than its logits."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return {"logits": self.model(x)}


def trained(table, folder, model, **changes):
    run = excite.train(small_config(table, **SETTINGS | changes), model=model, out=str(folder), images=False)
    return run, load_file(run.folder / "bundle" / "weights.safetensors")


def test_gates_and_head_move_first_and_the_rest_with_its_norms_stays(table, network, tmp_path):
    first = copy.deepcopy(network.state_dict())
    _, weights = trained(table, tmp_path / "run", network, **{"loop.freeze_epochs": 1})
    fixed = {key for key, value in weights.items() if torch.equal(value, first[key])}
    trained_ones = {key for key in weights if key.startswith("fc.") or ("attention" in key and "form" not in key
                                                                         and "position" not in key)}
    assert fixed.isdisjoint(key for key in trained_ones if "excite.bias" in key or "fc." in key)
    assert set(weights) - fixed <= trained_ones
    assert "stem.1.running_mean" in fixed and "stem.1.num_batches_tracked" in fixed


def test_then_everything_moves_and_the_bundle_predicts_what_the_network_computes(table, network, tmp_path):
    first = copy.deepcopy(network.state_dict())
    run, weights = trained(table, tmp_path / "run", network, **{"loop.freeze_epochs": 1, "loop.epochs": 2})
    last = load_file(sorted((run.folder / "checkpoints").glob("*.safetensors"))[-1])
    assert not torch.equal(last["model/stem.0.weight"], first["stem.0.weight"])
    again = Network()
    again.fc = torch.nn.Linear(24, 4)
    excite.insert_attention(again, excite.inserted_plan(network))
    again.load_state_dict(weights)
    predictor, image = excite.load(run.folder / "bundle"), sorted((table.parent / "images").iterdir())[0]
    pixels = predictor.preprocess(read(image).image)
    with torch.no_grad():
        logits = again.eval()(torch.from_numpy(pixels)[None])
    expected = (logits / predictor.info.temperature).softmax(1)[0].tolist()
    [found] = predictor([str(image)])
    assert np.allclose(list(found.probabilities.values()), expected, atol=1e-3)


def test_the_run_says_what_was_inserted(table, network, tmp_path):
    run, _ = trained(table, tmp_path / "run", network)
    assert "Network, given by the caller, with inserted se@1,2:start=open" in (run.folder / "report.html").read_text()


def test_names_start_and_stages_are_the_given_networks_own(table, network, tmp_path):
    run, _ = trained(table, tmp_path / "run", network, **{"loop.freeze_epochs": 1})
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    card = (run.folder / "bundle/card.md").read_text(encoding="utf-8")
    assert "# Network on" in card and "mobilenet" not in card and "Network was trained on" in page
    assert "given by the caller" in card and "random values" not in card
    assert "; not used of the config: model." in page
    assert "all 1 epochs are frozen; gates at 5 times the rate" in page
    again = Network()
    again.fc = torch.nn.Linear(24, 4)
    excite.load_inserted(again, run.folder / "bundle" / "weights.safetensors")
    assert excite.inserted_plan(again) is not None


@pytest.mark.parametrize(("change", "message"), [
    (lambda model: model.half(), "must have float32 weights with values, got torch.float16"),
    (lambda model: model.to("meta"), "got torch.float32 on meta"),
    (lambda model: torch.nn.Sequential(model, torch.nn.Softmax(1)), "ends in a softmax, the loss takes its logits"),
    (lambda model: "resnet18", "model must be a network, a torch.nn.Module, got str"),
    (Pair, r"got dict \(the work is classification with 4 classes\); wrap it"),
])
def test_networks_that_cannot_be_trained_are_refused_before(table, network, tmp_path, change, message):
    with pytest.raises(UsageError, match=message):
        trained(table, tmp_path / "run", change(network))


def test_a_head_of_other_classes_or_other_images_are_refused_before_training(table, tmp_path):
    with pytest.raises(UsageError, match=r"the given Network must make \(2, 4\) of two images, got \(2, 5\)"):
        trained(table, tmp_path / "run", Network())
    with pytest.raises(UsageError, match=r"the given Network fails on 3 x 32 x 32 inputs.*preprocess.channels"):
        trained(table, tmp_path / "run", Network(channels=1))
