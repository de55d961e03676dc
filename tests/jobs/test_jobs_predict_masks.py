"""`excite predict` on heads and regions: the same numbers in every form, masks in the original size, nothing lost."""

import csv
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner, Result

from bundles import linear_bundle, pictures
from excite import load
from excite.cli import predict as verb
from excite.data.phantom.heads import simulate_heads
from excite.data.sections import DataSection
from excite.deploy.bundle import update_bundle
from excite.deploy.decoding import SPACING as SPACING_OF
from excite.ellipse import Ellipse
from excite.errors import UsageError
from excite.jobs.asked import Asked, gather
from excite.jobs.predict import Prediction, predict
from excite.jobs.prediction_pictures import names_of
from excite.metrics.conformal import HeadInterval
from excite.outcome.prediction import FailedPrediction
from mask_bundles import bright, mask_bundle, saved

SHAPE, SPACING = (270, 400), 0.3
INTERVAL = HeadInterval(level=0.9, quantile=1.5, base_mm=1.0, n=40)


def head(place: int) -> Ellipse:
    return Ellipse(190.0 + 5 * place, 130.0, 100.0 + 3 * place, 80.0, 0.2)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mask_bundle(tmp_path_factory.mktemp("bright") / "bundle", size=(128, 192), interval=INTERVAL.to_json())


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [saved(bright(head(place), SHAPE), tmp_path / "in" / f"scan {place}.png") for place in range(3)]


@pytest.fixture
def hc18(tmp_path: Path) -> Path:
    """The folder of two examinations in HC18's form, pictures made bright."""
    folder = tmp_path / "hc18"
    table = simulate_heads(folder, patients=2, images=2, size=SHAPE, seed=3)
    for row in csv.DictReader((folder / "truth.csv").read_text().splitlines()):
        ellipse = Ellipse(*(float(row[name]) for name in ("x_px", "y_px", "a_px", "b_px", "angle_rad")))
        Image.fromarray(bright(ellipse, SHAPE)).save(folder / "training_set" / row["filename"])
    assert table.parent == folder
    return folder


def seen_by(bundle: Path, inputs: list[Path], **options: object) -> list[Prediction]:
    seen: list[Prediction] = []
    predict(bundle, inputs, each=seen.append, **options)  # type: ignore[arg-type]
    return seen


def run(*arguments: object) -> Result:
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(verb.predict)
    return CliRunner().invoke(app, [str(one) for one in arguments])


def test_json_csv_masks_and_overlays_tell_the_same(bundle: Path, files: list[Path], tmp_path: Path) -> None:
    options = {"masks": tmp_path / "masks", "overlays": tmp_path / "over", "spacing": (SPACING,)}
    done = predict(bundle, files, out=tmp_path / "p.csv", **options)  # type: ignore[arg-type]
    predict(bundle, files, out=tmp_path / "p.jsonl", **options)  # type: ignore[arg-type]
    assert (done.n, done.failed, done.counts) == (3, 0, {"head": 3})
    rows = list(csv.DictReader((tmp_path / "p.csv").read_text(encoding="utf-8").splitlines()))
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text(encoding="utf-8").splitlines()]
    for place, (row, line, one) in enumerate(zip(rows, lines, load(bundle)(files, spacings=[(SPACING,)] * 3),
                                                 strict=True)):
        assert list(line) == ["file", "mask", "hc_mm", "bpd_mm", "ofd_mm", "interval_mm", "ellipse"]
        assert line["hc_mm"] == one.hc_mm == pytest.approx(SPACING * head(place).circumference, rel=0.003)
        assert float(row["hc_mm"]) == pytest.approx(one.hc_mm, abs=1e-3) and row["error"] == row["notes"] == ""
        assert line["interval_mm"] == pytest.approx([float(row["low_mm"]), float(row["high_mm"])], abs=1e-3)
        assert line["ellipse"] == pytest.approx({name: float(row[f"{name}_{'rad' if name == 'angle' else 'px'}"])
                                                 for name in Ellipse._fields}, abs=1e-4)
        assert line["mask"] == row["mask"] == str(tmp_path / "masks" / f"scan {place}_mask.png")
        mask = np.asarray(Image.open(line["mask"]))
        truth = head(place).coverage(SHAPE) >= 0.5
        assert mask.shape == SHAPE and set(np.unique(mask)) == {0, 255} and mask.dtype == np.uint8
        assert 2 * ((mask > 0) & truth).sum() / ((mask > 0).sum() + truth.sum()) > 0.995
        drawn = Image.open(tmp_path / "over" / f"scan {place}_overlay.png")
        assert drawn.size == SHAPE[::-1] and drawn.mode == "RGB"
    assert not list(tmp_path.rglob(".*"))


def test_a_folder_of_hc18_is_read_as_one(bundle: Path, hc18: Path, tmp_path: Path) -> None:
    """Its outlines are no images, and its table knows the size of the pixels."""
    table = hc18 / "training_set_pixel_size_and_HC.csv"
    truth = {row["filename"]: float(row["head circumference (mm)"])
             for row in csv.DictReader(table.read_text().splitlines())}
    ways = [seen_by(bundle, [source]) for source in (hc18, table, hc18 / "training_set")]
    assert ways[0] == ways[1] and len(ways[0]) == len(truth) >= 2
    assert [one.hc_mm for one in ways[0]] == [one.hc_mm for one in ways[2]]
    assert all(Path(one.file).parent == hc18 / "training_set" for one in ways[2])
    for one in ways[0]:
        assert one.hc_mm == pytest.approx(truth[Path(one.file).name], rel=0.01)
    (lonely,) = [saved(bright(head(0), SHAPE), hc18 / "training_set" / "900_HC.png")]
    *_, last = seen_by(bundle, [hc18])
    assert last.file == str(lonely) and last.hc_mm is None and "no row of the table names 900_HC.png" in last.notes[0]
    assert [type(one) for one in gather([hc18 / "training_set"], DataSection())] == [Asked] * (len(truth) + 1)


def test_busi_masks_are_no_images(tmp_path: Path) -> None:
    top = tmp_path / "busi"
    for name in ("benign", "malignant", "normal"):
        saved(bright(head(0), SHAPE), top / name / f"{name} (1).png")
        saved(bright(head(0), SHAPE), top / name / f"{name} (1)_mask.png")
    folder = mask_bundle(tmp_path / "b", task="segmentation", classes=("lesion",))
    found = seen_by(folder, [top])
    assert [Path(one.file).name for one in found] == ["benign (1).png", "malignant (1).png", "normal (1).png"]
    assert [Path(one.file).name for one in seen_by(folder, [top / "benign"])] == ["benign (1).png"]
    assert all(one.area_mm2 is None and one.area_px > 0 for one in found)


def test_the_spacing_of_a_table_counts_and_the_option_fills_what_is_missing(bundle: Path, files: list[Path],
                                                                            tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("image,spacing\nin/scan 0.png,0.5\nin/scan 1.png,\nin/scan 2.png,0.2 0.4\n", encoding="utf-8")
    found = seen_by(bundle, [table], spacing=(SPACING,))
    true = [head(0).scaled(0.5, 0.5), head(1).scaled(SPACING, SPACING), head(2).scaled(0.4, 0.2)]
    assert [one.hc_mm for one in found] == pytest.approx([one.circumference for one in true], rel=0.003)
    [_, without, _] = seen_by(bundle, [table])
    assert without.hc_mm is None and "no pixel spacing is known" in without.notes[0]
    table.write_text("image,spacing\nin/scan 0.png,wide\n", encoding="utf-8")
    [bad] = seen_by(bundle, [table])
    assert bad.hc_mm is None and "wide" in bad.notes[0]


def test_a_pixel_of_another_order_of_size_is_asked_about(tmp_path: Path, files: list[Path]) -> None:
    folder = mask_bundle(tmp_path / "b")
    update_bundle(folder, provenance={"data": {SPACING_OF: [0.05, 0.33]}})
    for spacing, strange in ((0.12, False), (0.02, False), (1.1, True), (120.0, True), (0.016, True)):
        [one] = seen_by(folder, files[:1], spacing=(spacing,))
        assert one.spacing_mm == (spacing,)
        assert any("is far from those of the training, 0.05 to 0.33 mm" in note for note in one.notes) == strange


def test_two_images_of_one_name_keep_their_masks(bundle: Path, files: list[Path], tmp_path: Path) -> None:
    other = [saved(bright(head(9), SHAPE), tmp_path / "other" / name) for name in ("scan 0.png", "scan 0.bmp")]
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.write(files[1], "sub/scan 0.png")
    asked = [files[0], *other, tmp_path / "none.png", Path(f"{tmp_path / 'z.zip'}#sub/scan 0.png")]
    found = seen_by(bundle, asked, masks=tmp_path / "m", overlays=tmp_path / "o")
    names = [None if isinstance(one, FailedPrediction) else Path(one.mask).name for one in found]
    assert names == ["scan 0_mask.png", "scan 0-2_mask.png", "scan 0-3_mask.png", None, "scan 0-4_mask.png"]
    sizes = [int((np.asarray(Image.open(one.mask)) > 0).sum()) for one in found[:3] + found[4:]]
    assert sizes[0] != sizes[1] == sizes[2] != sizes[3] != sizes[0]
    assert len(list((tmp_path / "o").iterdir())) == 4
    assert names_of([Path("a.png"), Path("A.png"), Path("a-2.png"), None, Path("x/a.png")]) == [
        "a", "A-3", "a-2", None, "a-4"]


def test_a_mask_that_came_with_the_data_is_never_overwritten(bundle: Path, files: list[Path], tmp_path: Path) -> None:
    truth = saved(np.zeros(SHAPE, np.uint8), files[0].with_name("scan 0_mask.png"))
    before = truth.read_bytes()
    with pytest.raises(UsageError, match="a file that excite did not write would be overwritten"):
        predict(bundle, [files[0]], masks=truth.parent)
    assert truth.read_bytes() == before
    for _ in range(2):  # its own are written anew
        predict(bundle, [files[1]], masks=truth.parent)


def test_masks_of_several_classes_hold_their_numbers(files: list[Path], tmp_path: Path) -> None:
    from mask_bundles import GAIN, bright_onnx

    model = bright_onnx(np.array([0, GAIN], np.float32).reshape(2, 1, 1, 1), (0.0, -GAIN / 2))
    folder = mask_bundle(tmp_path / "b", model, task="segmentation", classes=("rest", "=bone"))
    done = predict(folder, files, out=tmp_path / "p.csv", masks=tmp_path / "m", spacing=(1.0,))
    (row, *_) = list(csv.DictReader((tmp_path / "p.csv").read_text().splitlines()))
    assert row["area_px(=bone)"] == row["area_px"] != "0" and done.counts == {"found": 3}
    assert set(np.unique(np.asarray(Image.open(tmp_path / "m" / "scan 0_mask.png")))) == {0, 1}
    assert float(row["area_mm2"]) == float(row["area_px"])


def test_what_a_bundle_has_not_is_refused_first(bundle: Path, files: list[Path], tmp_path: Path) -> None:
    classes = linear_bundle(tmp_path / "classes")
    with pytest.raises(UsageError, match="masks and overlays must come from a network for masks"):
        predict(classes, pictures(tmp_path / "p", 1), masks=tmp_path / "m")
    with pytest.raises(UsageError, match="a network for heads has no features"):
        predict(bundle, files, features=tmp_path / "f.npz")
    assert not (tmp_path / "m").exists() and not (tmp_path / "f.npz").exists()


def test_the_verb_prints_lines_for_people_and_for_programs(bundle: Path, files: list[Path], tmp_path: Path) -> None:
    done = run(bundle, *files, "--spacing", "0,3", "--json", "--masks", tmp_path / "m")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 0 and [list(line) for line in lines] == [
        ["file", "mask", "hc_mm", "bpd_mm", "ofd_mm", "interval_mm", "ellipse"]] * 3
    assert f"written: {tmp_path / 'm'}" in done.stderr and "3 predicted: head 3" in done.stderr
    done = run(bundle, *files, "--spacing", "0.3")
    assert [line.split("  ")[0] for line in done.stdout.splitlines()] == [
        f"HC {line['hc_mm']:.1f} mm [{line['interval_mm'][0]:.1f}, {line['interval_mm'][1]:.1f}]" for line in lines]
    done = run(bundle, *files)
    assert all(line.startswith("a head; --spacing MM measures it") for line in done.stdout.splitlines())
    assert "head without mm 3" in done.stderr
    for wrong in ("x", "0", "1 2 3", "-1"):
        done = run(bundle, *files, f"--spacing={wrong}")
        assert isinstance(done.exception, UsageError) and "--spacing must be one or two" in str(done.exception)
    regions = mask_bundle(tmp_path / "r", task="segmentation", classes=("lesion",))
    empty = saved(np.zeros(SHAPE, np.uint8), tmp_path / "empty.png")
    done = run(regions, files[0], empty, "--spacing", "1")
    assert " mm2, " in done.stdout and "nothing was found" in done.stdout
    done = run(regions, empty, "--json")
    assert list(json.loads(done.stdout)) == ["file", "mask", "area_px", "area_mm2", "share", "regions", "notes"]


@pytest.mark.real
def test_the_real_folder_is_gathered_with_its_pixel_sizes(real_data: Path) -> None:
    found = list(gather([real_data / "hc18"], DataSection()))
    assert len(found) == 420 and all(isinstance(one, Asked) and one.spacing for one in found)
    inside = list(gather([real_data / "hc18" / "training_set"], DataSection()))
    assert [one.spacing for one in inside] == [one.spacing for one in found]
    busi = list(gather([real_data / "busi"], DataSection()))
    assert len(busi) == 624 and not any("_mask" in one.path.name for one in busi)
