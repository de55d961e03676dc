"""The scripts of examples/: they run, print what a reader is to see, and are cells that a notebook could have."""

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SECONDS = 60  # of processor time, on one thread


@pytest.mark.slow
def test_the_workflow_goes_from_a_table_to_predictions_within_a_minute(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, str(EXAMPLES / "workflow.py"), str(tmp_path / "out")], text=True,
                          capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert "0 errors" in done.stdout
    told = re.search(r"^balanced_accuracy +([\d.]+) \[([\d.]+), ([\d.]+)\]$", done.stdout, re.MULTILINE)
    assert told and float(told[1]) > 0.6  # two classes: it has learnt something
    assert len(re.findall(r"^p\d+_\d+\.png (abdomen|femur) \d\.\d\d$", done.stdout, re.MULTILINE)) == 3
    assert re.search(r"^(B \(|No difference can be shown)", done.stdout, re.MULTILINE)
    assert len(list((tmp_path / "out" / "explained").glob("*.png"))) == 3
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < SECONDS


def test_an_example_is_cells_of_text_and_code() -> None:
    for script in EXAMPLES.glob("*.py"):
        first, *cells = re.split(r"^# %%", script.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert not first and len(cells) > 6
        for cell in cells:
            if cell.startswith(" [markdown]\n"):
                assert all(line.startswith("#") for line in cell.splitlines()[1:] if line), script.name
