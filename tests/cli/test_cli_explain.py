"""`excite explain`: what is refused before any network is built, and what is handed over to the gates."""

import sys
from types import ModuleType

import pytest

from bundles import linear_bundle, pictures
from excite.cli.main import VERBS, main


def run(capsys, *arguments):
    """Return exit code, stdout and stderr of the command line."""
    with pytest.raises(SystemExit) as done:
        main(["explain", *map(str, arguments)])
    out = capsys.readouterr()
    return done.value.code, out.out, out.err


def test_the_verb_comes_after_predict_and_its_help_has_examples(capsys):
    assert VERBS[VERBS.index("predict") + 1] == "explain"
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert out.count("  excite explain runs/") >= 3
    assert "--checks" in out


def test_nothing_to_explain_is_told(capsys, tmp_path):
    code, _, err = run(capsys, linear_bundle(tmp_path / "model"))
    assert code == 2
    assert "error: there is nothing to explain" in err
    assert "name images, folders or a table; --gates explains gates" in err


def test_a_network_of_the_callers_own_cannot_be_rebuilt(capsys, tmp_path):
    files = pictures(tmp_path / "new", 1)
    code, _, err = run(capsys, linear_bundle(tmp_path / "model"), files[0], "--out", tmp_path / "out")
    assert code == 4
    assert "the bundle does not say how to build its network" in err


def test_options_of_other_work_are_refused(capsys, tmp_path):
    files, bundle = pictures(tmp_path / "new", 1), linear_bundle(tmp_path / "model")
    code, _, err = run(capsys, bundle, files[0], "--variable", "cube")
    assert (code, "--variable must be left out here" in err) == (2, True)
    code, _, err = run(capsys, bundle, files[0], "--split", "test")
    assert (code, "--split must be left out here: for --gates and --fold only" in err) == (2, True)
    code, _, err = run(capsys, bundle, files[0], "--gates")
    assert (code, "--gates and --fold take no files" in err) == (2, True)
    code, _, err = run(capsys, bundle, "--gates", "--layer", "stages.0", "--class", "bright")
    assert (code, "--class, --layer must be left out here: for pictures only" in err) == (2, True)


def test_gates_are_handed_over(capsys, tmp_path, monkeypatch):
    given = {}
    gates = ModuleType("excite.cli.gates")
    gates.explain_gates = lambda source, **options: given.update(source=source, **options)
    monkeypatch.setitem(sys.modules, "excite.cli.gates", gates)
    code, _, _ = run(capsys, tmp_path, "--fold", "--split", "val", "--threads", 1, "--label-col", "plane")
    assert code == 0
    columns = given.pop("columns")
    assert columns.pop("label_col") == "plane" and set(columns.values()) == {None}
    assert given == {"source": tmp_path, "data": None, "split": "val", "fold": True, "out": None, "threads": 1,
                     "json": False, "fold_loss": None, "fold_difference": 0.01}
