"""The worked example of docs/insertion.md, run as it stands there but for ImageNet's weights, sizes and epochs."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import peers  # noqa: F401

PAGE = Path(__file__).parents[2] / "docs" / "insertion.md"
SMALL = {'weights="IMAGENET1K_V1"': "", '"preprocess.size": 224': '"preprocess.size": 32',
         '"loop.epochs": 20': '"loop.epochs": 2', '"loop.freeze_epochs": 3': '"loop.freeze_epochs": 1',
         "import excite\n": "import excite\ntorch.manual_seed(0)\n"}


def small_table(folder):
    """Thirty classes of stripes, each in four images of as many patients."""
    rows = []
    for label in range(30):
        for image in range(6):
            noise = np.random.default_rng(label * 10 + image).normal(0, 8, (32, 32))
            wave = np.cos(2 * np.pi * (label % 6 * np.arange(32)[:, None] + label // 6 * np.arange(32)) / 32)
            name = f"{label}_{image}.png"
            Image.fromarray(np.clip(128 + 80 * wave + noise, 0, 255).astype(np.uint8)).save(folder / name)
            rows.append({"image": name, "label": f"plane {label:02}", "patient": f"p{label}-{image}"})
    with (folder / "planes.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


@pytest.mark.peers
@pytest.mark.slow
def test_the_example_runs(tmp_path, monkeypatch, capsys):
    small_table(tmp_path)
    (tmp_path / "image.png").write_bytes((tmp_path / "0_0.png").read_bytes())
    code = next(block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
                if "planes.csv" in block)
    for full, small in SMALL.items():
        assert full in code
        code = code.replace(full, small)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "insertion.md", "exec"), {})  # noqa: S102
    said = capsys.readouterr().out
    assert re.search(r"\d\.\d+ \[\d\.\d+, \d\.\d+\]", said) and said.count("plane ") == 30
    assert "with inserted se:start=open" in (tmp_path / "runs/se_resnet50/report.html").read_text(encoding="utf-8")
