"""Simulated kidneys: the same bytes again, files that lie where they say, and a grade that only all maps show."""

import csv
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from excite.data.phantom.kidneys import CAUSES, LABELS, MAPS, Patient, draw_patient, paint
from excite.data.phantom.volumes import HEADER, PROTOCOL, draw_examination, grade_of, simulate_volumes
from excite.data.volumes.grid import Grid
from excite.errors import UsageError


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def table_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def painted(number: int, name: str, **options: Any) -> tuple[NDArray[np.float32], NDArray[np.uint8], Patient]:
    patient = draw_patient(seed=0, patient=number, severity=grade_of(seed=0, patient=number, grades=3) / 2)
    grid = draw_examination(seed=0, patient=number).grids[name]
    return (*paint(patient, name=name, shape=grid.shape, affine=grid.affine, **options), patient)


def test_the_same_seed_is_the_same_bytes_and_a_larger_set_begins_with_a_smaller_one(tmp_path: Path) -> None:
    first, again, larger, other = (contents(simulate_volumes(tmp_path / name, patients=patients, seed=seed).parent)
                                   for name, patients, seed in (("a", 4, 1), ("b", 4, 1), ("c", 6, 1), ("d", 4, 2)))
    assert first == again
    maps = {name for name in first if name.startswith("maps")}
    assert len(maps) >= 8 and all(larger[name] == first[name] for name in maps)
    assert not any(other.get(name) == first[name] for name in maps)
    assert first["README.txt"].startswith(b"SIMULATED DATA.")


def test_the_table_says_what_there_is_and_not_what_was_planted(tmp_path: Path) -> None:
    path = simulate_volumes(tmp_path, patients=12, missing=0.6, misregistered=0.5, grades=("F0", "F1", "F2", "F3"))
    rows, truth = table_of(path), json.loads((tmp_path / "truth.json").read_text(encoding="utf-8"))
    assert tuple(rows[0]) == HEADER == ("patient", "t1", "adc", "t2star", "grade", "age", "egfr", "simulated")
    assert [row["patient"] for row in rows] == list(truth) == [f"P{number:03d}" for number in range(1, 13)]
    for start in range(0, 12, 4):
        assert sorted(row["grade"] for row in rows[start:start + 4]) == ["F0", "F1", "F2", "F3"]
    for row in rows:
        planted = truth[row["patient"]]
        assert [name for name in sorted(MAPS) if not row[name]] == planted["missing"] and len(planted["missing"]) < 3
        assert all((tmp_path / row[name]).is_file() for name in MAPS if row[name])
        for name, step in planted["moved_mm"].items():
            assert row[name] and 12 <= np.linalg.norm(step) <= 24
        assert set(planted["causes"]) == set(CAUSES)
        assert 18 <= int(row["age"]) <= 85 and 8 <= int(row["egfr"]) <= 130 and row["simulated"] == "1"
    assert len(contents(tmp_path)) == 3 + sum(bool(row[name]) for row in rows for name in MAPS)


def test_shares_are_as_asked_and_change_nothing_else() -> None:
    taken = [draw_examination(seed=0, patient=number, missing=0.3, misregistered=0.2) for number in range(600)]
    plain = [draw_examination(seed=0, patient=number) for number in range(600)]
    lacking = [len(one.missing) for one in taken]
    assert np.mean(np.array(lacking) > 0) == pytest.approx(0.3, abs=0.06) and max(lacking) == 2
    assert {name for one in taken for name in one.missing} == set(MAPS)
    moved = [one.moved for one in taken]
    assert np.mean([part is not None for part in moved]) == pytest.approx(0.19, abs=0.05)
    assert not any(one.missing or one.moved for one in plain)
    for one, other in zip(taken, plain, strict=True):
        assert one.mirrored == other.mirrored and all(
            np.array_equal(one.grids[name].affine, other.grids[name].affine) for name in MAPS)


def test_a_file_holds_its_map_where_it_says(tmp_path: Path) -> None:
    simulate_volumes(tmp_path, patients=6, missing=0.0, misregistered=0.0)
    mirrored = 0
    for number in range(6):
        taken = draw_examination(seed=0, patient=number)
        for name in MAPS:
            image = nibabel.load(tmp_path / "maps" / f"P{number + 1:03d}_{name}.nii.gz")
            mirrored += nibabel.aff2axcodes(image.affine) != ("R", "A", "S")
            turned = nibabel.as_closest_canonical(image)
            values, _, _ = painted(number, name)
            step = np.ptp(values) / 2**15
            np.testing.assert_allclose(np.asarray(turned.dataobj).T, values, atol=step)
            np.testing.assert_allclose(turned.affine[:, [2, 1, 0, 3]], taken.grids[name].affine, atol=1e-4)
            assert image.get_data_dtype() == np.int16 and image.header.get_xyzt_units()[0] == "mm"
            assert taken.grids[name].shape == PROTOCOL[name][0] and np.allclose(
                taken.grids[name].spacing, PROTOCOL[name][1])
            assert bytes(image.header["descrip"].item()).startswith(b"SIMULATED")
    assert 4 <= mirrored <= 17


def test_some_patients_slices_are_oblique() -> None:
    tilts = np.array([[np.degrees(np.arccos(draw_examination(seed=0, patient=number).grids[name].directions[2, 0]))
                       for name in MAPS] for number in range(100)])
    assert 0.2 < (tilts > 2).all(axis=1).mean() < 0.5 and tilts.max() < 16
    assert (np.abs(np.diff(tilts, axis=1)).max(axis=1) > 0.1).mean() > 0.3


@pytest.mark.parametrize("name", MAPS)
def test_kidneys_lie_left_and_right_with_cortex_around_medulla_around_pelvis(name: str) -> None:
    levels = {"t1": (1280, 1520), "adc": (2180, 2030), "t2star": (58, 44)}[name]
    means = []
    for number in range(30):
        values, truth, _ = painted(number, name)
        grid = draw_examination(seed=0, patient=number).grids[name]
        places = np.tensordot(grid.affine[:3, :3], np.indices(grid.shape), 1) + grid.affine[:3, 3].reshape(3, 1, 1, 1)
        volume = (truth > 0).sum() * np.prod(grid.spacing) / 2000
        assert 35 < volume < 140  # ml of one kidney
        right, left = (places[:, (truth == LABELS["pelvis"]) & side] for side in (places[0] > 0, places[0] < 0))
        assert 20 < right[0].mean() < 45 and -45 < left[0].mean() < -20
        kidney = places[0][(truth > 0) & (places[0] > 0)].mean()
        assert right[0].mean() < kidney - 3  # the pelvis looks to the spine
        means.append([values[truth == LABELS[tissue]].mean() for tissue in LABELS])
    cortex, medulla, pelvis = np.mean(means, axis=0)
    assert cortex == pytest.approx(levels[0], rel=0.12) and medulla == pytest.approx(levels[1], rel=0.12)
    assert pelvis > 1.2 * max(cortex, medulla)


def test_a_patient_who_moved_is_elsewhere_by_so_much() -> None:
    _, still, _ = painted(3, "adc")
    _, moved, _ = painted(3, "adc", moved=(4.6, -6.9, 12.0))
    grid = draw_examination(seed=0, patient=3).grids["adc"]
    middles = [grid.affine[:3, :3] @ np.argwhere(truth == LABELS["pelvis"]).mean(axis=0) for truth in (still, moved)]
    np.testing.assert_allclose(middles[1] - middles[0], (4.6, -6.9, 12.0), atol=1.0)


def test_fibrosis_moves_each_map_as_the_table_of_causes_says() -> None:
    patient = draw_patient(seed=0, patient=7, severity=0.0)
    for name in MAPS:
        grid = Grid(*PROTOCOL[name][:1], draw_examination(seed=0, patient=7).grids[name].affine)
        means = []
        for severity in (0.0, 1.0):
            changed = Patient(severity=severity, causes=(0, 0, 0), size=1.0, patchy=0.02, key=patient.key)
            values, truth = paint(changed, name=name, shape=grid.shape, affine=grid.affine)
            means.append(values[truth == LABELS["cortex"]].mean())
        assert means[1] - means[0] == pytest.approx(getattr(CAUSES["fibrosis"], name), rel=0.1)


@pytest.mark.slow
def test_no_map_shows_the_grade_alone_and_all_together_do() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features: dict[str, list[list[float]]] = {name: [] for name in MAPS}
    for number in range(180):
        for name in MAPS:
            values, truth, _ = painted(number, name)
            features[name].append([float(values[truth == LABELS[tissue]].mean()) for tissue in ("cortex", "medulla")])
    fibrosis = np.array([grade_of(seed=0, patient=number, grades=3) > 0 for number in range(180)])

    def area(*names: str) -> float:
        model = make_pipeline(StandardScaler(), linear.LogisticRegression())
        folds = StratifiedKFold(5, shuffle=True, random_state=0)
        table = np.hstack([np.array(features[name]) for name in names])
        return float(roc_auc_score(fibrosis, cross_val_predict(model, table, fibrosis, cv=folds,
                                                               method="predict_proba")[:, 1]))

    single = [area(name) for name in MAPS]
    pairs = [area("t1", "adc"), area("adc", "t2star"), area("t1", "t2star")]
    everything = area(*MAPS)
    assert max(single) < 0.78 and min(single) > 0.5 and everything > 0.88
    assert everything > max(single) + 0.12 and everything > max(pairs) + 0.04


@pytest.mark.parametrize(("options", "said"), [
    ({"patients": 0}, "patients must be from 1 to 9999, got 0"),
    ({"missing": 1.5}, "missing must be from 0 to 1, got 1.5"),
    ({"grades": ("a", "a")}, "different grades must be from 2 to 9, got 1"),
    ({"misregistered": -0.1}, "misregistered must be from 0 to 1, got -0.1")])
def test_what_cannot_be_simulated_is_said(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        simulate_volumes(tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()
