"""Several cubes on one canvas: nothing of one is in a window of another, and all is as if each were alone."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from excite.attention.plan import AttentionPlan
from excite.data.scenes import mosaic
from excite.data.scenes.envi import write_envi
from excite.data.scenes.mosaic import extent, lay_out, open_mosaic
from excite.data.scenes.scene import Scene, open_scene
from excite.data.scenes.windows import pad_scene, window_view
from excite.deploy.scene_predictor import ScenePredictor
from excite.errors import DataError, EnvironmentFault
from excite.models.scene_prediction import predict_scene
from excite.tiling import Tile, reach
from scene_bundles import BANDS, logits_of, network, reduction, scene_bundle
from small_scenes import windows_of
from small_tissue import rewritten, rows_of, small_tissue

SIZES = ((21, 17), (12, 30), (25, 25), (9, 11), (18, 16))


def planted(folder: Path, sizes: Sequence[tuple[int, int]] = SIZES, *, dtype: Any = np.float32,
            scale: float = 1, bands: int = BANDS) -> Path:
    """Write random cubes with random labels, and the table of them; two cubes a patient."""
    rows = []
    for number, size in enumerate(sizes):
        random = np.random.default_rng(number)
        np.save(folder / f"{number}.npy", (scale * random.normal(3, 2, (*size, bands)).clip(0)).astype(dtype))
        np.save(folder / f"{number}_gt.npy", random.integers(0, 4, size))
        rows.append((f"{number}.npy", f"{number}_gt.npy", f"P{number // 2}"))
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("cube", "labels", "patient"), *rows])
    return folder / "table.csv"


def reduced(scene: Scene) -> NDArray[np.float32]:
    """Return what a network sees of a scene, as the training prepares it."""
    found = reduction().apply(scene.cube.values)
    if scene.cube.valid is not None:
        found[~scene.cube.valid] = 0
    return found


# Where things lie.


@pytest.mark.parametrize("gap", [0, 1, 8])
@pytest.mark.parametrize("sizes", [SIZES, [(5, 7)], [(48, 48)] * 12, [(100, 3), (3, 100)], [(1, 1)] * 30])
def test_no_two_pictures_come_nearer_than_the_gap(sizes: Sequence[tuple[int, int]], gap: int) -> None:
    tiles = lay_out(sizes, gap=gap)
    assert [tile[2:] for tile in tiles] == list(sizes)
    size = extent(tiles)
    taken = np.zeros((size[0] + gap, size[1] + gap), int)
    for tile in tiles:
        taken[tile.top:tile.top + tile.height + gap, tile.left:tile.left + tile.width + gap] += 1
    assert taken.max() == 1 and taken.any(axis=0).all() and taken.any(axis=1).all()


def test_equal_pictures_make_a_square() -> None:
    assert extent(lay_out([(10, 10)] * 9, gap=2)) == (34, 34)
    assert extent(lay_out([(10, 40)] * 9, gap=0)) == (50, 80)
    assert lay_out([(3, 5)] * 2, gap=1) == [Tile(0, 0, 3, 5), Tile(4, 0, 3, 5)]


@pytest.mark.parametrize("window", [1, 2, 9, 10])
def test_a_window_holds_pixels_of_one_cube_and_else_no_data(tmp_path: Path, window: int) -> None:
    scene = open_mosaic(planted(tmp_path), window=window)
    owner = np.full((*scene.cube.shape, 1), 0, np.float32)
    for number, piece in enumerate(scene.pieces, 1):
        owner[piece.place.inside] = number
    assert scene.cube.valid is not None and (scene.cube.valid == (owner[..., 0] > 0)).all()
    view = window_view(pad_scene(owner, window, border="zero"), window)
    for number, piece in enumerate(scene.pieces, 1):
        assert set(np.unique(view[piece.place.inside])) <= {0, number}
    before, after = reach(window)
    first, second = (piece.place for piece in scene.pieces[:2])
    assert second.left - first.left - first.width >= before + after  # not even their windows share a pixel


def test_values_labels_and_patients_are_those_of_the_files(tmp_path: Path) -> None:
    table = planted(tmp_path)
    scene = open_mosaic(table, window=5)
    assert scene.name == f"{tmp_path.name}/table.csv" and len(scene.pieces) == 5
    for number, piece in enumerate(scene.pieces):
        alone = open_scene(tmp_path / f"{number}.npy", tmp_path / f"{number}_gt.npy")
        assert (piece.name, piece.patient) == (str(number), f"P{number // 2}")
        assert np.array_equal(scene.cube.values[piece.place.inside], alone.cube.values)
        assert np.array_equal(scene.labels.values[piece.place.inside], alone.labels.values)
    assert scene.labels.counts.sum() == sum(np.count_nonzero(np.load(tmp_path / f"{n}_gt.npy")) for n in range(5))
    height, width = scene.cube.shape
    size = height * width * BANDS * 4 / 2**20
    on = f"{height} x {width} pixels, {size:.0f} MB in memory"
    assert scene.notes[0] == f"5 cubes of 3 patients side by side on {on}"
    for dtype in ("u2", ">i2", ">f8"):
        whole = open_mosaic(planted(tmp_path, dtype=dtype, scale=100), window=5)
        assert whole.cube.values.dtype == np.dtype(dtype[-2:])


# As if each were alone.


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["whole", "windows"])
@pytest.mark.parametrize("window", [9, 10])
def test_every_cube_is_computed_as_if_it_were_alone(tmp_path: Path, window: int, kind: str) -> None:
    table = planted(tmp_path)
    broken = np.load(tmp_path / "2.npy")
    broken[3:6, 20:] = np.nan  # a cube with gaps of its own, up to its edge
    np.save(tmp_path / "2.npy", broken)
    scene = open_mosaic(table, window=window, no_data="nan")
    torch.manual_seed(0)
    model: nn.Module = network(window, attention=AttentionPlan(kind="se") if kind == "windows" else None)
    folder = scene_bundle(tmp_path / "b", model, window=window, border="zero")
    predictor = ScenePredictor(folder, threads=1)
    assert predictor.method == kind
    canvas = predictor(scene.cube, probabilities=True, tile=20)
    labels, shares = predict_scene(model, reduced(scene), window=window, border="zero", method=kind)
    for number, piece in enumerate(scene.pieces):
        alone = open_scene(tmp_path / f"{number}.npy", tmp_path / f"{number}_gt.npy", no_data="nan")
        found = predictor(alone.cube, probabilities=True)
        assert np.array_equal(canvas.labels[piece.place.inside], found.labels)
        np.testing.assert_allclose(canvas.probabilities[piece.place.inside], found.probabilities, atol=1e-5)
        own = predict_scene(model, reduced(alone), window=window, border="zero", method=kind)
        assert np.array_equal(labels[piece.place.inside], own[0])
        np.testing.assert_allclose(shares[piece.place.inside], own[1], atol=1e-5)
        expected = logits_of(model, reduced(alone), window, "zero").argmax(axis=2) + 1  # by numpy's windows
        valid = np.ones(alone.cube.shape, bool) if alone.cube.valid is None else alone.cube.valid
        assert (found.labels == np.where(valid, expected, 0)).all()
    between = np.ones(scene.cube.shape, bool)
    for piece in scene.pieces:
        between[piece.place.inside] = False
    assert not canvas.labels[between].any() and between.any()


def test_training_windows_are_those_of_the_cubes_alone(tmp_path: Path) -> None:
    for window in (5, 8):
        scene = open_mosaic(planted(tmp_path), window=window)
        view = window_view(pad_scene(reduced(scene), window, border="zero"), window)
        for number, piece in enumerate(scene.pieces):
            alone = reduction().apply(np.load(tmp_path / f"{number}.npy"))
            np.testing.assert_allclose(view[piece.place.inside], windows_of(alone, window, "zero"), atol=1e-5)


def test_too_small_a_gap_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mosaic, "lay_out", lambda sizes, gap: lay_out(sizes, gap=1))
    scene = open_mosaic(planted(tmp_path), window=9)
    view = window_view(pad_scene(reduced(scene), 9, border="zero"), 9)
    alone = reduction().apply(np.load(tmp_path / "0.npy"))
    assert not np.allclose(view[scene.pieces[0].place.inside], windows_of(alone, 9, "zero"), atol=1e-5)


# What the options, headers and names of the cubes say.


def test_options_are_for_every_cube(tmp_path: Path) -> None:
    table = planted(tmp_path)
    for name in ("white", "dark"):
        np.save(tmp_path / f"{name}.npy", np.full((2, 17, BANDS), 5.0 if name == "white" else 1.0))
    scene = open_mosaic(table, window=5, drop_bands=(0, 1), classes=["a", "b", "c"],
                        wavelengths=[400.0 + n for n in range(BANDS)])
    assert scene.cube.bands == BANDS - 2 and scene.labels.classes == ("a", "b", "c")
    assert scene.cube.wavelengths == tuple(402.0 + n for n in range(BANDS - 2))
    assert scene.notes.count("bands dropped as asked: 0, 1") == 1
    one = rewritten(table, rows_of(table)[:1])
    cube_alone = open_mosaic(one, window=5, white=tmp_path / "white.npy", dark=tmp_path / "dark.npy")
    np.testing.assert_allclose(cube_alone.cube.values[cube_alone.pieces[0].place.inside],
                               (np.load(tmp_path / "0.npy") - 1) / 4, rtol=1e-5)
    values = np.load(tmp_path / "0.npy")
    values[0] = np.nan
    np.save(tmp_path / "0.npy", values)
    labelled = np.count_nonzero(np.load(tmp_path / "0_gt.npy")[0])
    scene = open_mosaic(table, window=5, no_data="nan")
    assert "0: 17 of 357 pixels hold no data (no_data is nan)" in scene.notes
    assert f"{labelled} labelled pixels hold no data: unlabelled" in scene.notes
    assert not scene.labels.values[0, :17].any()
    with pytest.raises(DataError, match="17 of 357 pixels hold NaN or infinity"):
        open_mosaic(table, window=5)


def test_simulated_is_what_all_cubes_say(tmp_path: Path) -> None:
    table = small_tissue(tmp_path)
    assert open_mosaic(table, window=5).cube.header == {"simulated": "yes"}
    rows = rows_of(table)
    said = [{key: value for key, value in row.items() if key != "simulated"} for row in rows]
    assert open_mosaic(rewritten(table, said), window=5).cube.header == {"simulated": "yes"}  # the cubes' headers
    plain = planted(tmp_path)
    assert open_mosaic(plain, window=5).cube.header == {}
    for says, expected in ((["no"] * 5, {"simulated": "no"}), (["yes"] * 5, {"simulated": "yes"}),
                           (["yes", *["no"] * 4], {}), (["no", *[""] * 4], {})):
        marked = [row | {"simulated": one} for row, one in zip(rows_of(plain), says, strict=True)]
        scene = open_mosaic(rewritten(plain, marked), window=5)
        assert scene.cube.header == expected, says
        assert any("1 of 5 cubes are simulated: 0" in note for note in scene.notes) == (says.count("yes") == 1)


def test_cubes_that_cannot_lie_side_by_side(tmp_path: Path) -> None:
    table = planted(tmp_path)
    line = f"{table}, line 4: "

    def refused(message: str, **options: Any) -> None:
        with pytest.raises(DataError) as caught:
            open_mosaic(table, window=5, **options)
        assert message in str(caught.value)

    values = np.load(tmp_path / "2.npy")
    np.save(tmp_path / "2.npy", values[..., 1:])
    refused(f"{line}the cube has 15 bands, that of line 2 has 16; take cubes of one sensor")
    np.save(tmp_path / "2.npy", values.astype(np.uint16))
    refused(f"{line}the cube holds uint16, that of line 2 float32 (counts and reflectance are on different scales)")
    np.save(tmp_path / "2.npy", values)
    labels = np.load(tmp_path / "2_gt.npy")
    np.save(tmp_path / "2_gt.npy", labels[1:])
    refused("the cube has 25 x 25 pixels, the labels 24 x 25")
    np.save(tmp_path / "2_gt.npy", labels)
    np.save(tmp_path / "3.npy", np.load(tmp_path / "1.npy"))
    np.save(tmp_path / "3_gt.npy", np.load(tmp_path / "1_gt.npy"))
    refused(f"{table}, line 5: the cube is that of line 3 (3.npy holds the same values); delete one of the two lines")
    changed = np.load(tmp_path / "1.npy")
    changed[5, 6, 7] += 1  # a pixel that is not looked at first
    np.save(tmp_path / "3.npy", changed)
    assert len(open_mosaic(table, window=5).pieces) == 5


@pytest.mark.parametrize("dtype", [">f4", "<f8", ">f8"])
@pytest.mark.parametrize("gap", [False, True])
def test_a_copy_in_another_byte_order_or_depth_is_the_same_cube(tmp_path: Path, dtype: str, gap: bool) -> None:
    table = planted(tmp_path)
    values = np.load(tmp_path / "1.npy")
    if gap:
        values[0, 0] = np.nan  # the pixel that is looked at first
        np.save(tmp_path / "1.npy", values)
    copy = values.astype(dtype)
    if gap:
        copy[0, 0] = -copy[0, 0]  # NaN of other bits
    np.save(tmp_path / "3.npy", copy)
    np.save(tmp_path / "3_gt.npy", np.load(tmp_path / "1_gt.npy"))
    message = r"table.csv, line 5: the cube is that of line 3 \(3.npy holds the same values\)"
    with pytest.raises(DataError, match=message):
        open_mosaic(table, window=5, no_data="nan" if gap else None)


def test_a_float32_copy_of_a_float64_cube_is_the_same_cube(tmp_path: Path) -> None:
    table = planted(tmp_path, dtype=np.float64)
    np.save(tmp_path / "3.npy", np.load(tmp_path / "1.npy").astype(np.float32))
    np.save(tmp_path / "3_gt.npy", np.load(tmp_path / "1_gt.npy"))
    with pytest.raises(DataError, match="line 5: the cube is that of line 3"):
        open_mosaic(table, window=5)


def test_levels_that_are_far_apart_are_told_or_refused(tmp_path: Path) -> None:
    table = planted(tmp_path)
    values = np.load(tmp_path / "3.npy")
    middle = sorted(np.median(np.load(tmp_path / f"{n}.npy")) for n in range(5))[2]

    def scaled(factor: float) -> list[str]:
        np.save(tmp_path / "3.npy", (factor * values).astype(np.float32))
        return [note for note in open_mosaic(table, window=5).notes if note.startswith("WARNING")]

    for factor, far in ((1, False), (5, False), (0.2, False), (100, True), (0.01, True)):
        told = scaled(factor)
        assert len(told) == far, factor
        if far:
            found = told[0].split("WARNING: 3: the cube's median value is ")[1].split(", that of the table's middle ")
            assert float(found[0]) == pytest.approx(factor * np.median(values), rel=1e-3)
            assert 0.7 < float(found[1].removeprefix("cube ").removesuffix(": another scale?")) / middle < 1.3
    for factor in (10_000, 1e-4):
        with pytest.raises(DataError, match=r"line 5: the cube's median value is \S+, that of the table's middle cube "
                                            r"\S+ \(the values are on different scales\); bring all cubes to one"):
            scaled(factor)
    with pytest.raises(DataError, match="the values are on different scales"):  # of two cubes, too
        open_mosaic(rewritten(table, rows_of(table)[2:4]), window=5)
    np.save(tmp_path / "3.npy", np.where(values > 100, values, 0))  # nothing to take a level from
    assert not any(note.startswith("WARNING") for note in open_mosaic(table, window=5).notes)


def test_pixels_without_data_have_no_say_in_the_level(tmp_path: Path) -> None:
    table = planted(tmp_path)
    values = np.load(tmp_path / "3.npy")
    for factor, far in ((1, False), (100, True)):
        changed = (factor * values).astype(np.float32)
        changed[:, :9] = -9999  # most of the cube
        np.save(tmp_path / "3.npy", changed)
        notes = open_mosaic(table, window=5, no_data=-9999).notes
        assert any(note.startswith("WARNING: 3: ") for note in notes) == far


def test_wavelengths_must_be_the_same_but_for_rounding(tmp_path: Path) -> None:
    table, known = small_tissue(tmp_path, patients=2, cubes=1), np.linspace(500, 1000, 18)
    file = tmp_path / "P002_01" / "cube.hdr"
    values = np.array(open_mosaic(table, window=1).cube.values[:20])

    def write(wavelengths: Any) -> None:
        told = {} if wavelengths is None else {"wavelength": [str(one) for one in wavelengths],
                                               "wavelength units": "Nanometers"}
        write_envi(file, values[:, :24] + 1, told, interleave="bip")

    write(known.round(1))
    assert open_mosaic(table, window=5).cube.wavelengths is not None
    for wavelengths, told in ((known + 10, r"510 to 1010 nm against 500 to 1000 nm"),
                              (None, "unknown against 500 to 1000 nm")):
        write(wavelengths)
        with pytest.raises(DataError, match=rf"line 3: the cube's wavelengths are not those of line 2 \({told}\)"):
            open_mosaic(table, window=5)
        assert open_mosaic(table, window=5, wavelengths=known.tolist()).cube.bands == 18


def test_classes_must_mean_the_same(tmp_path: Path) -> None:
    table = planted(tmp_path)
    np.save(tmp_path / "0_gt.npy", np.load(tmp_path / "0_gt.npy").clip(0, 2))  # fewer: class 3 is not in this cube
    assert open_mosaic(table, window=5).labels.classes == ("class 1", "class 2", "class 3")
    named = write_envi(tmp_path / "named.hdr", np.load(tmp_path / "0_gt.npy").astype(np.uint8), {
        "classes": 3, "class names": ["Unclassified", "skin", "fat"], "file type": "ENVI Classification"})
    rows = rows_of(table)
    other = rewritten(table, [rows[0] | {"labels": named.with_suffix(".hdr").name}, *rows[1:]])
    with pytest.raises(DataError, match=r"line 2: the classes are skin, fat, others of the table class 1, class 2, "
                                        r"class 3 \(a number must mean the same class in every cube\)"):
        open_mosaic(other, window=5)
    assert open_mosaic(other, window=5, classes=["a", "b", "c"]).labels.classes == ("a", "b", "c")
    one = np.zeros((21, 17), int)
    one[4] = 1  # a cube of one class is no fault: others have more
    np.save(tmp_path / "0_gt.npy", one)
    assert open_mosaic(table, window=5).labels.counts.all()


def test_a_canvas_that_no_memory_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, zeros = planted(tmp_path), np.zeros

    def full(shape: Any, *rest: Any) -> Any:
        if np.size(shape) == 3:
            raise MemoryError
        return zeros(shape, *rest)

    monkeypatch.setattr(mosaic.np, "zeros", full)
    with pytest.raises(EnvironmentFault, match="no memory for 5 cubes side by side, 0 MB; give fewer cubes"):
        open_mosaic(table, window=5)
