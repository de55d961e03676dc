"""Simulated scenes: the same bytes again, truth that fits the spectra, patients that differ, and a plain word."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from excite.data.phantom.hyperspectral import simulate_scene, simulate_tissue
from excite.data.scenes.scene import find_scene, open_scene
from excite.errors import UsageError

SMALL: dict[str, Any] = {"height": 70, "width": 50, "bands": 30, "classes": 5}


def read(folder: Path) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return cube, labels, abundances and spectra (classes, bands)."""
    table = np.loadtxt(folder / "spectra.csv", delimiter=",", skiprows=1)
    shares = np.load(folder / "abundances.npy")
    cube = np.fromfile(folder / "cube.img", "<f4").reshape(*shares.shape[:2], len(table))
    return cube, np.fromfile(folder / "cube_labels.img", np.uint8).reshape(shares.shape[:2]), shares, table[:, 1:].T


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_the_same_seed_is_the_same_bytes_and_another_is_not(tmp_path: Path) -> None:
    made = [contents(simulate_scene(tmp_path / name, seed=seed, **SMALL).parent)
            for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    assert made[0] == made[1] and len(made[0]) == 7
    assert all(made[0][name] != made[2][name] for name in ("cube.img", "cube_labels.img", "spectra.csv"))
    assert made[0]["README.txt"].startswith(b"SIMULATED DATA.")


def test_a_pixel_is_the_mixture_that_its_abundances_say(tmp_path: Path) -> None:
    cube, labels, shares, spectra = read(simulate_scene(tmp_path, noise=0.01, illumination=0.0, **SMALL).parent)
    left = cube - shares @ spectra
    assert left.std() == pytest.approx(0.01, rel=0.02) and abs(left.mean()) < 1e-4
    np.testing.assert_allclose(shares.sum(axis=-1), 1, atol=1e-6)
    assert (labels == np.where(shares.max(axis=-1) >= 0.6, shares.argmax(axis=-1) + 1, 0)).all()
    assert set(np.unique(labels)) == set(range(6))
    assert cube.dtype == np.float32 and labels.dtype == np.uint8


def test_light_is_smooth_and_the_same_for_all_bands(tmp_path: Path) -> None:
    cube, _, shares, spectra = read(simulate_scene(tmp_path, noise=0.0, illumination=0.3, **SMALL).parent)
    light = cube / (shares @ spectra)
    np.testing.assert_allclose(light, light[..., :1].repeat(30, axis=-1), rtol=1e-4)
    assert np.log(light).std() > 0.03 and np.abs(np.diff(np.log(light[..., 0]), axis=0)).max() < 0.05


def test_vegetation_has_its_red_edge_and_water_is_dark(tmp_path: Path) -> None:
    folder = simulate_scene(tmp_path, **(SMALL | {"bands": 200})).parent
    table = np.genfromtxt(folder / "spectra.csv", delimiter=",", names=True)
    at = {nm: int(np.argmin(np.abs(table["wavelength_nm"] - nm))) for nm in (550, 670, 800, 1450, 1650)}
    plant, water = table["vegetation"], table["water"]
    assert plant[at[800]] > 5 * plant[at[670]] and plant[at[550]] > plant[at[670]]
    assert plant[at[1450]] < plant[at[1650]] and water[at[800]] < 0.05 < water[at[550]] + 0.02
    assert (table["wavelength_nm"][0], table["wavelength_nm"][-1]) == (400, 2500)


def test_neighbours_are_alike_and_far_pixels_are_not(tmp_path: Path) -> None:
    _, labels, _, _ = read(simulate_scene(tmp_path, **SMALL).parent)
    assert (labels[1:] == labels[:-1]).mean() > 0.8 > 0.5 > (labels[40:] == labels[:-40]).mean()


def test_a_simulated_scene_is_read_as_any_other(tmp_path: Path) -> None:
    header = simulate_scene(tmp_path, **SMALL)
    cube, labels, *_ = read(tmp_path)
    for scene in (find_scene(tmp_path), find_scene(header), open_scene(header, tmp_path / "cube_labels.hdr")):
        assert (scene.cube.values == cube).all() and (scene.labels.values == labels).all()
    with (tmp_path / "spectra.csv").open(encoding="utf-8") as stream:
        assert scene.labels.classes == tuple(next(csv.reader(stream))[1:])
    assert scene.cube.wavelengths == pytest.approx(np.linspace(400, 2500, 30), rel=1e-5)


def test_the_files_say_themselves_that_they_are_simulated(tmp_path: Path) -> None:
    simulate_scene(tmp_path, **SMALL)
    for name in ("cube.hdr", "cube_labels.hdr"):
        assert "\ndescription = {SIMULATED by excite" in (tmp_path / name).read_text(encoding="utf-8")
    assert find_scene(tmp_path).cube.header["simulated"] == "yes"


def test_tissue_has_patients_of_their_own_and_a_table(tmp_path: Path) -> None:
    size: dict[str, Any] = {"height": 40, "width": 40, "bands": 20, "classes": 3}
    table = simulate_tissue(tmp_path / "a", patients=3, cubes=2, **size)
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["patient"] for row in rows] == ["P001", "P001", "P002", "P002", "P003", "P003"]
    assert {row["simulated"] for row in rows} == {"yes"}
    spectra = [(table.parent / row["cube"]).with_name("spectra.csv").read_bytes() for row in rows]
    assert spectra[0] == spectra[1] != spectra[2] == spectra[3] != spectra[4]
    cubes = [find_scene(table.parent / row["cube"]).cube.values for row in rows]
    assert all((table.parent / row["labels"]).is_file() for row in rows)
    assert all((np.asarray(one) != np.asarray(other)).any() for one, other in zip(cubes, cubes[1:], strict=False))
    more = contents(simulate_tissue(tmp_path / "b", patients=4, cubes=2, **size).parent)
    fewer = contents(table.parent)
    assert all(more[name] == fewer[name] for name in fewer if name != "table.csv")
    assert fewer["README.txt"].startswith(b"SIMULATED DATA.")


@pytest.mark.parametrize(("change", "text"), [
    ({"height": 7}, "height must be from 8 to 100000, got 7"),
    ({"bands": 2}, "bands must be from 3 to 2000, got 2"),
    ({"classes": 1}, "classes must be from 2 to 60, got 1"),
    ({"noise": -0.1}, "noise must be from 0 to 1, got -0.1"),
    ({"noise": float("nan")}, "noise must be from 0 to 1, got nan"),
    ({"grain": 1}, "grain must be from 2 to 1000, got 1"),
    ({"seed": -1}, "seed must be from 0 to"),
])
def test_what_cannot_be(tmp_path: Path, change: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        simulate_scene(tmp_path / "none", **(SMALL | change))
    assert text in str(caught.value) and not (tmp_path / "none").exists()


def test_tissue_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="classes must be from 2 to 5, got 6"):
        simulate_tissue(tmp_path, classes=6)
    with pytest.raises(UsageError, match="patients must be from 1 to 999 and cubes from 1 to 99, got 0 and 2"):
        simulate_tissue(tmp_path, patients=0)
