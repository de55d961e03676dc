"""--frozen-features on a table of volumes: routed to nested cross-validation, with what it does not take refused."""

import json

import pytest
from typer.testing import CliRunner

from excite.cli.main import build
from excite.errors import UsageError
from small_volumes import small_table

RUNNER = CliRunner()
SMALL = ["--folds", "2", "--threads", "1", "--set", "volumes.shape=[4,16,16]", "--set", "volumes.spacing=[4,2,2]",
         "--set", "nested.inner=2", "--set", "nested.penalties=[1.0]", "--set", "nested.components=[2, null]"]


def excite(*arguments):
    done = RUNNER.invoke(build(), list(map(str, arguments)))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.fixture
def table(tmp_path):
    return small_table(tmp_path, patients=12, missing=(3,))


def test_frozen_features_are_a_nested_cross_validation(table, tmp_path):
    done = excite("train", table, "--frozen-features", *SMALL, "--set", "nested.features=levels", "--out",
                  tmp_path / "run", "--json")
    found = json.loads(done.stdout)
    assert done.exit_code == 0 and found["folds"] == 2 and found["without_networks"] and len(found["chosen"]) == 2
    assert f"next: look at {tmp_path / 'run' / 'folds.html'}" in done.stderr


def test_a_config_with_the_section_goes_the_same_way(table, tmp_path):
    (tmp_path / "recipe.yaml").write_text("task: volumes\nnested: {features: levels}\n", encoding="utf-8")
    done = excite("train", table, "--config", tmp_path / "recipe.yaml", *SMALL, "--out", tmp_path / "run")
    assert done.exit_code == 0 and "inner loops: 8 heads in" in done.stdout


def test_what_is_of_training_networks_is_refused(table):
    with pytest.raises(UsageError, match="--epochs, --lr must be left out here: for trainings of whole networks only"):
        excite("train", table, "--frozen-features", "--epochs", "3", "--lr", "0.1")
