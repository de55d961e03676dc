"""The summary by which a cross-validation's folder is known: written whole, refused where it is damaged."""

import json
from pathlib import Path

import pytest

from excite.errors import EnvironmentFault, ModelError
from excite.jobs.volumes.folds.bundles import bundles_of, write_summary


def test_bundles_are_those_of_the_folds_and_of_another_folder_none(tmp_path):
    assert bundles_of(tmp_path) == []
    write_summary(tmp_path, {"folds": 2})
    assert bundles_of(tmp_path) == [tmp_path / "fold-1/bundle", tmp_path / "fold-2/bundle"]
    assert [one.name for one in tmp_path.iterdir()] == ["folds.json"]


@pytest.mark.parametrize("text", ["", '{"folder": "runs/x", "fol', "{}", "[]", '{"folds": "2"}', '{"folds": true}',
                                  '{"folds": 0}', "\udcff"])
def test_a_damaged_summary_says_how_to_have_it_again(tmp_path, text):
    (tmp_path / "folds.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelError, match=r"folds.json: the summary of the cross-validation is damaged .*; the same "
                                         r"cross-validation again, with this folder as --out, writes it anew"):
        bundles_of(tmp_path)


def test_a_summary_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    write_summary(tmp_path, {"folds": 2})

    def stops(file, *_, **__):
        file.write_bytes(b'{"fol')
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", stops)
    with pytest.raises(EnvironmentFault, match="disk full"):
        write_summary(tmp_path, {"folds": 3})
    assert json.loads((tmp_path / "folds.json").read_text(encoding="utf-8")) == {"folds": 2}
