"""The table of tested rows: outputs come back as they were, whatever the classes are called."""

import csv

import numpy as np
import pytest
from scipy.special import softmax

from excite.errors import EnvironmentFault
from excite.jobs.volumes.tested_table import class_columns, read_tested, table_of_tested

LOGITS = np.array([[2, 0, -1], [0.1, 30.7, -9.3], [1 / 3, -2e-7, 0]], np.float32)
TRUTH = np.array([0, 1, 2])


def written(folder, classes, temperature=0.1):
    file = folder / "predictions-test.csv"
    shares = softmax(LOGITS / temperature, axis=1)
    file.write_text(table_of_tested(classes, [2, 9, 4], TRUTH, shares, LOGITS), encoding="utf-8")
    return file


@pytest.mark.parametrize("classes", [("none", "mild", "severe"), ("truth", "label", "line"),
                                     ("=1+1", "fold", "logit(fold)")])
def test_outputs_truth_and_lines_come_back_exactly(tmp_path, classes):
    found = read_tested(written(tmp_path, classes), classes)
    assert found.lines.tolist() == [2, 9, 4] and found.truth.tolist() == TRUTH.tolist()
    assert np.array_equal(found.logits.astype(np.float32), LOGITS)


def test_columns_have_the_classes_names_unless_they_are_taken(tmp_path):
    assert class_columns(("none", "truth", "label", "line", "fold", "=1+1")) == [
        "none", "p(truth)", "p(label)", "p(line)", "p(fold)", "p(=1+1)"]
    classes = ("truth", "label", "line")
    with written(tmp_path, classes, temperature=1.0).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["line"], row["truth"], row["label"]) for row in rows] == [
        ("2", "truth", "truth"), ("9", "label", "label"), ("4", "line", "truth")]
    assert [float(rows[0][f"p({name})"]) for name in classes] == pytest.approx([0.8438, 0.1142, 0.0420], abs=1e-4)


def test_what_is_damaged_or_of_other_classes_is_named(tmp_path):
    classes = ("none", "mild", "severe")
    file = written(tmp_path, classes)
    with pytest.raises(EnvironmentFault, match="missing or damaged .its columns are line, truth, label, none, mild"):
        read_tested(file, ("none", "mild", "worse"))
    file.write_text(file.read_text(encoding="utf-8")[:-12], encoding="utf-8")
    with pytest.raises(EnvironmentFault, match="a line is cut.*; the same training again writes it anew"):
        read_tested(file, classes)
    with pytest.raises(EnvironmentFault, match="missing or damaged"):
        read_tested(tmp_path / "none.csv", classes)
