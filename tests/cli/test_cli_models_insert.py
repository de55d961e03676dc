"""`excite models insert` as a user sees it, on networks that are not excite's."""

import json

import pytest
import torch
from typer.testing import CliRunner

from excite import load_inserted
from excite.cli.main import build
from excite.errors import EnvironmentFault, ModelError, UsageError
from insertion_toy import Network, images

RUNNER = CliRunner()
TOY = "insertion_toy:Network"


def excite(*arguments):
    done = RUNNER.invoke(build(), ["models", "insert", *map(str, arguments), "--no-time"])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.fixture
def checkpoint(tmp_path):
    """A state dict as others save it, and its network."""
    model = Network().eval()
    torch.save(model.state_dict(), tmp_path / "toy.pth")
    return tmp_path / "toy.pth", model


def test_a_checkpoint_becomes_one_with_gates_that_computes_the_same(checkpoint, tmp_path):
    file, model = checkpoint
    done = excite(TOY, "--weights", file, "--attention", "se@1,2", "--out", tmp_path / "gates.safetensors")
    assert "standard position of 4 of 6 residual blocks" in done.stdout
    assert "outputs before and after: equal bit for bit" in done.stdout
    assert f"weights: {len(model.state_dict())} keys loaded\n" in done.stdout
    assert "next, in Python: excite.load_inserted(model, " in done.stderr
    again = Network()
    load_inserted(again, tmp_path / "gates.safetensors")
    assert torch.equal(again.eval()(images()), model(images()))


def test_a_start_that_changes_the_outputs_is_said_and_measured():
    done = excite(TOY, "--attention", "se:start=paper")
    assert "THE OUTPUTS CHANGE" in done.stdout and "outputs before and after: up to " in done.stdout
    found = json.loads(excite(TOY, "--attention", "se:start=paper", "--json").stdout)
    assert found["apart"] > 1e-3 and not found["unchanged"] and found["loaded"] == 0
    assert json.loads(excite(TOY, "--json").stdout)["apart"] == 0


def test_a_head_of_other_classes_is_left_fresh_by_name(checkpoint, tmp_path):
    file, model = checkpoint
    state = model.state_dict()
    state["fc.weight"], state["fc.bias"] = torch.zeros(9, 24), torch.zeros(9)
    torch.save(state, file)
    with pytest.raises(ModelError, match=r"2 of another shape: fc.bias, fc.weight.*--fresh"):
        excite(TOY, "--weights", file)
    found = json.loads(excite(TOY, "--weights", file, "--fresh", "fc.", "--json").stdout)
    assert found["fresh"] == ["fc.weight", "fc.bias"] and found["loaded"] == len(state) - 2
    with pytest.raises(UsageError, match="--fresh head. means none of the network's keys"):
        excite(TOY, "--weights", file, "--fresh", "head.")


def test_in_3d_with_options_of_the_network_and_a_size():
    found = json.loads(excite(TOY, "--option", "dims=3", "--option", "channels=1", "--size", "1x16x32x32",
                              "--json").stdout)
    assert found["input_size"] == [1, 16, 32, 32] and found["apart"] == 0 and len(found["places"]) == 6


@pytest.fixture(autouse=True)
def broken_module(tmp_path, monkeypatch):
    """A module in the working folder that fails at import."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken_toy.py").write_text("raise RuntimeError('no operators')")


@pytest.mark.parametrize(("arguments", "fault", "message"), [
    (["insertion_toy"], UsageError, r"named MODULE:FUNCTION, got 'insertion_toy'; for example torchvision"),
    (["no_such_library:resnet50"], EnvironmentFault, "no_such_library cannot be imported.*python -c 'import no_such"),
    (["insertion_toy:Netwrk"], UsageError, "has no function 'Netwrk'.*did you mean 'Network'"),
    ([TOY, "--option", "depth=3"], UsageError, "cannot be built.*unexpected keyword argument 'depth'"),
    ([TOY, "--option", "depth"], UsageError, "--option must be NAME=VALUE"),
    (["insertion_toy:images"], UsageError, "gives a Tensor, no network"),
    ([TOY, "--size", "64"], UsageError, "--size must be CxHxW or CxDxHxW, got '64'"),
    ([TOY, "--out", "x.safetensors"], UsageError, "--out has nothing to write without --weights"),
    ([TOY, "--weights", "none.pth"], EnvironmentFault, "there is no such weights file"),
    ([TOY, "--weights", __file__], UsageError, r"--weights must be a .safetensors, .pth or .pt file, got test_cli"),
    ([TOY, "--fresh", ""], UsageError, "--fresh '' means none of the network's keys"),
    (["broken_toy:Network"], EnvironmentFault, "broken_toy cannot be imported.*RuntimeError: no operators"),
    ([TOY, "--attention", "se@7"], UsageError, "attention stages must be 0 to 2, got 7"),
])
def test_mistakes_are_named(arguments, fault, message):
    with pytest.raises(fault, match=message):
        excite(*arguments)


def test_show_need_not_be_said_and_names_the_other_verb():
    for words in (["--help"], ["show", "--help"]):
        done = RUNNER.invoke(build(), ["models", *words])
        assert "excite models insert --help" in " ".join(done.stdout.split())
    assert RUNNER.invoke(build(), ["models", "resnet20", "--no-time"]).stdout == \
        RUNNER.invoke(build(), ["models", "show", "resnet20", "--no-time"]).stdout


def test_a_network_that_gives_a_dict_is_compared_by_its_tensors(tmp_path):
    (tmp_path / "dict_toy.py").write_text(
        "from insertion_toy import Network\n\nclass Wrapped(Network):\n"
        "    def forward(self, x):\n        return {'out': super().forward(x), 'name': 'x'}\n")
    assert "outputs before and after: equal bit for bit" in excite("dict_toy:Wrapped").stdout


def test_the_file_is_not_overwritten_by_itself(checkpoint):
    file, _ = checkpoint
    with pytest.raises(UsageError, match="--out would overwrite --weights"):
        excite(TOY, "--weights", file, "--out", file)
