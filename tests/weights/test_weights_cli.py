"""`excite weights`: each verb through the command line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from excite.cli.weights import app
from excite.errors import EnvironmentFault, ModelError, UsageError
from excite.models.classifier import create_model
from excite.weights.catalog import CATALOG, Row, find
from excite.weights.store import folder, stored_path


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXCITE_WEIGHTS", str(tmp_path / "store"))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a .pth with a whole network's values, under excite's own key names."""
    file = tmp_path_factory.mktemp("published") / "ours.pth"
    torch.save(create_model("mobilenet_v2", num_classes=3).state_dict(), file)
    return file


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_list_tells_every_row_and_how_to_have_it() -> None:
    found = [json.loads(line) for line in run("list", "--json").stdout.splitlines()]
    assert [(one["backbone"], one["tag"]) for one in found] == [(row.backbone, row.tag) for row in CATALOG]
    assert all(not one["at_hand"] and one["licence"] for one in found)
    text = run("list", "se_*")
    assert "se_resnext50_32x4d" in text.stdout and "mobilenet_v2 " not in text.stdout
    assert "excite weights import FILE" in text.stdout and "next: excite weights get mobilenet_v2" in text.stderr


def test_import_converts_verify_checks_and_list_shows(published: Path) -> None:
    done = run("import", published, "--name", "mobilenet_v2", "--tag", "ours", "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["percent"] == 100 and facts["layout"] == "excite" and not facts["recognised"]
    assert Path(facts["file"]) == stored_path("mobilenet_v2", "ours")
    assert "next: excite train TABLE --model mobilenet_v2 --weights ours" in done.stderr
    assert "100 % of the features and classifier loaded from ours.pth" in \
        run("import", published, "--name", "mobilenet_v2").stdout
    assert "mobilenet_v2-ours" in run("list").stdout
    checked = run("verify", "mobilenet_v2")
    assert checked.exit_code == 0 and checked.stdout.count("ok ") == 2


def test_an_import_builds_the_network_that_the_row_is_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = find("shufflenet_v2", "imagenet-x0.5")
    file = tmp_path / "half.pth"
    torch.save(create_model("shufflenet_v2", width=0.5, num_classes=3).state_dict(), file)
    monkeypatch.setattr("excite.weights.intake.recognise", lambda _: replace(row, layout="excite", sha256=""))
    monkeypatch.setattr(Row, "layout_of", lambda *_: "excite")
    done = run("import", file, "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["percent"] == 100 and (facts["backbone"], facts["tag"]) == ("shufflenet_v2", "imagenet-x0.5")
    listed = run("list", "shufflenet_v2").stdout
    assert "width=0.5; top-1 60.6 %" in listed


def test_an_import_that_fits_no_network_leaves_the_store_alone(published: Path) -> None:
    done = run("import", published, "--name", "resnet50", "--tag", "ours")
    assert isinstance(done.exception, ModelError) and "do not fit" in str(done.exception)
    assert not list(folder().glob("*"))
    misspelt = run("import", published, "--name", "mobilnet_v2", "--tag", "ours")
    assert isinstance(misspelt.exception, UsageError) and "did you mean 'mobilenet_v2'" in str(misspelt.exception)


def test_verify_ends_with_code_4_where_a_file_is_damaged(published: Path) -> None:
    run("import", published, "--name", "mobilenet_v2", "--tag", "ours")
    path = stored_path("mobilenet_v2", "ours")
    data = bytearray(path.read_bytes())
    data[-1] ^= 0x40
    path.write_bytes(data)
    done = run("verify", "--json")
    assert not json.loads(done.stdout)["ok"]
    assert isinstance(done.exception, ModelError) and done.exception.exit_code == 4


def test_what_is_unknown_or_not_offered_is_told() -> None:
    for words, kind, says in (
        (("get", "mobilnet_v2"), UsageError, "did you mean 'mobilenet_v2'"),
        (("get", "mobilenet_v2", "--tag", "imagenet-torchvision-v3"), UsageError, "did you mean 'imagenet-torchvision"),
        (("get", "mobilenet_v2", "--tag", "imagenet-dequantised"), EnvironmentFault, "excite weights import FILE"),
        (("verify", "mobilenet_v2"), EnvironmentFault, "at hand"),
        (("import", "nothing.pth"), EnvironmentFault, "no such weights file"),
    ):
        done = run(*words)
        assert isinstance(done.exception, kind) and says in str(done.exception), (words, done.exception)


@pytest.mark.parametrize("verb", ["list", "get", "import", "verify"])
def test_every_help_has_three_examples(verb: str) -> None:
    assert run(verb, "--help").stdout.count(f"excite weights {verb}") == 3
