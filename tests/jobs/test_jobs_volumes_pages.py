"""The lines "In Python" of the pages on volumes, run as they stand there but for sizes and epochs."""

import re
from pathlib import Path

import pytest

from excite.data.phantom.volumes import simulate_volumes

pytestmark = pytest.mark.slow
DOCS = Path(__file__).parents[2] / "docs"
SMALL = {
    "volumes.md": {'"loop.epochs": 30, "split.test": 0.2': (
        '"loop.epochs": 1, "split.test": 0.3, "volumes.shape": (4, 16, 16), "volumes.spacing": (8.0, 6.0, 6.0), '
        '"loop.threads": 1, "model.options": {"trunk_options": {"width": 0.25}, "width": 16}')},
    "volume_segmentation.md": {'"loop.epochs": 40': (
        '"loop.epochs": 1, "volumes.patch": (8, 16, 16), "volumes.spacing": (8.0, 6.0, 6.0), "loop.threads": 1')}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("pages")
    simulate_volumes(place / "kidneys", patients=24, missing=0.0, seed=0, masks=True)
    return place


@pytest.mark.parametrize("page", SMALL)
def test_the_lines_in_python_run(page, folder, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    [code] = [block for block in blocks if "kidneys" in block]
    for full, small in SMALL[page].items():
        assert full in code
        code = code.replace(full, small)
    monkeypatch.chdir(folder)
    names = {}
    exec(compile(code, page, "exec"), names)  # noqa: S102
    said = capsys.readouterr().out
    assert (names["run"].folder / "report.html").is_file()
    if page == "volumes.md":
        assert "LEAK: the network was trained on maps of" in said and "kappa quadratic" in said
        assert set(names["config"].volumes.classes) == {"none", "mild", "severe"} and "{'none': 0." in said
    else:
        assert set(names["found"].sizes) == {"cortex", "medulla", "pelvis"}
        assert str(names["found"].labels.shape) in said
