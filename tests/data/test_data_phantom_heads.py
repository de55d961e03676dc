"""Simulated heads: HC18's file format, a truth that its own outline confirms, the same by seed."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from excite.cli.simulate import app
from excite.data.manifest import scan_manifest
from excite.data.masks import outline_of, read_drawn, read_mask
from excite.data.phantom.heads import draw_examination, draw_outline, simulate_head, simulate_heads
from excite.data.sections import DataSection
from excite.ellipse import Ellipse
from excite.errors import UsageError
from excite.metrics.biometry import ellipse_of, measure

SIZE = (180, 264)


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate_heads(tmp_path_factory.mktemp("heads"), patients=8, size=SIZE, seed=4)


def test_the_outlines_give_the_circumference_of_the_table(heads: Path) -> None:
    rows = list(csv.DictReader(heads.open(encoding="utf-8")))
    assert list(rows[0])[:3] == ["filename", "pixel size(mm)", "head circumference (mm)"]
    assert {row["simulated"] for row in rows} == {"yes"}
    for row in rows:
        scale = float(row["pixel size(mm)"])
        drawn = read_drawn(heads.parent / "training_set" / row["filename"].replace(".png", "_Annotation.png"), SIZE)
        found = outline_of(drawn)
        assert found is not None
        told = float(row["head circumference (mm)"])
        assert found.circumference * scale == pytest.approx(told, abs=0.2 * scale + 0.01)
        assert 0.05 < scale < 1.2 and 50 < told < 400
        assert set(np.unique(drawn)) == {False, True}


def test_at_full_size_the_outlines_give_the_circumference_within_a_twentieth_of_a_millimetre() -> None:
    errors = []
    for patient in range(12):
        ellipse, scale = simulate_head(seed=1, patient=patient, number=0)[1:]
        found = outline_of(draw_outline(ellipse, (540, 800)) > 0)
        assert found is not None and 0.03 < scale < 0.35
        errors.append((found.circumference - ellipse.circumference) * scale)
    assert np.abs(errors).max() < 0.045 and abs(np.mean(errors)) < 0.015


def test_the_layout_reads_it_without_a_fault_and_the_masks_measure_right(heads: Path) -> None:
    manifest, faults = scan_manifest(DataSection(table=heads.parent))
    assert manifest.layout == "hc18" and {fault.kind for fault in faults} <= {"empty-label"}
    assert len({row.group for row in manifest.rows}) == 8 < len(manifest.rows)
    truths = {row["filename"]: row for row in csv.DictReader((heads.parent / "truth.csv").open(encoding="utf-8"))}
    for row in manifest.rows:
        found = ellipse_of(read_mask(row, manifest.root, SIZE)).ellipse
        truth = truths[Path(row.image).name]
        true = Ellipse(*(float(truth[name]) for name in ("x_px", "y_px", "a_px", "b_px", "angle_rad")))
        assert found is not None and row.spacing is not None
        assert abs((measure(found, row.spacing).hc_mm or 0) - true.circumference * row.spacing[0]) < 0.15
        assert np.hypot(found.x - true.x, found.y - true.y) < 0.1


def test_the_skull_is_bright_just_inside_the_true_ellipse_and_nowhere_else_along_it() -> None:
    steps = (-14, -3, 8)  # pixels from the ellipse: brain, bone, outside
    means = []
    for patient in range(12):
        picture, ellipse, _ = simulate_head(seed=2, patient=patient, number=0, size=(270, 400))
        rows, columns = np.indices(picture.shape)
        apart = ellipse.distances(np.stack([columns.ravel(), rows.ravel()], axis=1)).reshape(picture.shape)
        means.append([picture[np.abs(apart - step) < 1.5].mean() for step in steps])
    brain, bone, outside = np.mean(means, axis=0)
    assert bone > 1.4 * brain and bone > 1.4 * outside


def test_pictures_depend_on_seed_patient_and_number_alone(heads: Path, tmp_path: Path) -> None:
    fewer = simulate_heads(tmp_path / "a", patients=2, size=SIZE, seed=4)
    for row in list(csv.DictReader(fewer.open(encoding="utf-8"))):
        name = Path("training_set") / row["filename"]
        assert (fewer.parent / name).read_bytes() == (heads.parent / name).read_bytes()
    assert heads.read_text(encoding="utf-8").startswith(fewer.read_text(encoding="utf-8"))
    first = np.asarray(Image.open(fewer.parent / "training_set/001_HC.png"))
    for options in ({"seed": 5, "patient": 0, "number": 0}, {"seed": 4, "patient": 1, "number": 0},
                    {"seed": 4, "patient": 0, "number": 1}):
        assert np.abs(simulate_head(**options, size=SIZE)[0].astype(int) - first).mean() > 5


def test_sizes_vary_as_in_a_clinic() -> None:
    around = [np.pi * 2.2 * draw_examination(0, patient).biparietal for patient in range(200)]
    assert min(around) < 110 and max(around) > 260 and 150 < np.median(around) < 200


def test_arguments_out_of_range() -> None:
    for options in ({"patients": 0}, {"images": 10}, {"size": (20, 800)}, {"seed": -1}):
        with pytest.raises(UsageError, match="must be from"):
            simulate_heads(Path("unused"), **options)
    assert not Path("unused").exists()


def test_the_command(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["heads", "--out", str(tmp_path / "s"), "--patients", "2", "--height", "90",
                                      "--width", "130", "--json"])
    assert result.exit_code == 0, result.output
    tree = json.loads(result.stdout)
    assert tree["simulated"] is True and Path(tree["table"]).name == "training_set_pixel_size_and_HC.csv"
    assert len(Path(tree["table"]).read_text(encoding="utf-8").splitlines()) == tree["images"] + 1
    assert f"next: excite check {tree['table']}" in result.stderr and "simulated heads" in result.stderr
    assert CliRunner().invoke(app, ["heads", "--help"]).output.count("excite simulate heads --out") == 3
