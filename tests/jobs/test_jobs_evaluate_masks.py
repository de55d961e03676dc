"""A bundle for masks is measured against the table's masks in the original pixels, image by image, by hand too."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from excite.cli.main import build
from excite.data.fingerprint import file_hash
from excite.data.manifest import scan_manifest
from excite.data.masks import read_drawn
from excite.data.phantom.heads import draw_outline
from excite.data.row import Row
from excite.data.sections import DataSection
from excite.data.split import Split
from excite.deploy.runtime import Predictor
from excite.ellipse import Ellipse
from excite.errors import DataError, UsageError
from excite.jobs.evaluate import evaluate
from excite.jobs.evaluation_data import part_of_run
from excite.jobs.head_calibration import LEVELS, HeadTruth, choose_level, differences, head_rows, interval_of
from excite.jobs.mask_truth import truth_of
from excite.jobs.overlays import overlays, run_overlays
from excite.metrics.biometry import ellipse_of, measure
from excite.metrics.conformal import HeadInterval
from excite.metrics.mask_evaluation import MaskEvaluation
from excite.metrics.segmentation import scores
from excite.outcome.prediction import FailedPrediction
from excite.report.mask_page import MaskReportData, render_masks
from mask_bundles import bright, mask_bundle, saved

SHAPE = (128, 192)
COUNT = 12
SPACING = 0.4


def heads(count: int = COUNT, seed: int = 0) -> list[tuple[Ellipse, Ellipse]]:
    """Return true ellipses, and those that the picture shows, which the network therefore finds: 1 % larger."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        long = rng.uniform(38, 56)
        truth = Ellipse(95 + rng.uniform(-8, 8), 63 + rng.uniform(-4, 4), long, long * rng.uniform(0.75, 0.9),
                        rng.uniform(0, 0.5))
        found.append((truth, truth._replace(a=truth.a * 1.01, b=truth.b * 1.01)))
    return found


def write_table(folder: Path, pairs: list[tuple[Ellipse, Ellipse]], *, spacing: float | None = SPACING,
                outline: bool = True) -> Path:
    """Write pictures, masks and a table with two pictures an examination."""
    rows = []
    for place, (truth, shown) in enumerate(pairs):
        saved(bright(shown, SHAPE), folder / f"{place:02d}.png")
        mask = draw_outline(truth, SHAPE) if outline else np.where(truth.coverage(SHAPE) >= 0.5, 255, 0)
        saved(mask.astype(np.uint8), folder / f"{place:02d}_mask.png")
        rows.append((f"{place:02d}.png", f"{place:02d}_mask.png", f"E{place // 2}",
                     "" if spacing is None else spacing))
    file = folder / "heads.csv"
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("image", "mask", "patient", "spacing"))
        writer.writerows(rows)
    return file


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    interval = HeadInterval(level=0.9, quantile=2.0, base_mm=0.5, n=40).to_json()
    return mask_bundle(tmp_path_factory.mktemp("heads") / "bundle", size=SHAPE, interval=interval,
                       thresholds={"level": 0.5})


def masks_of(found: object) -> MaskEvaluation:
    assert isinstance(found, MaskEvaluation)
    return found


def test_heads_are_measured_in_original_pixels_and_millimetres(bundle: Path, tmp_path: Path) -> None:
    pairs = heads()
    found = masks_of(evaluate(bundle, write_table(tmp_path, pairs), out=tmp_path / "out", resamples=50))
    assert (found.n, found.n_units, found.unit_kind, found.task) == (COUNT, 6, "patient", "heads")
    true = np.array([SPACING * truth.circumference for truth, _ in pairs])
    assert found.metrics["df_mm"].value == pytest.approx(0.01 * true.mean(), abs=0.12)
    assert found.metrics["adf_mm"].value == pytest.approx(0.01 * true.mean(), abs=0.12)
    assert [row.head.true_hc_mm for row in found.rows if row.head] == pytest.approx(true, abs=0.15)
    by_hand = [scores(shown.coverage(SHAPE) >= 0.5, truth.coverage(SHAPE) >= 0.5)["dice"] for truth, shown in pairs]
    assert found.metrics["dice"].value == pytest.approx(np.mean(by_hand), abs=2e-3)  # type: ignore[arg-type]
    for row in found.rows:
        assert row.head is not None and row.head.interval_mm is not None
        assert row.head.interval_mm[1] - row.head.interval_mm[0] == pytest.approx(
            4 * (0.5 + row.head.spread_mm))  # type: ignore[operator]
    stored = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))
    assert stored == json.loads(json.dumps(found.to_json()))
    with (tmp_path / "out" / "predictions-heads.csv").open(encoding="utf-8", newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [row["file"] for row in table] == [f"{place:02d}.png" for place in range(COUNT)]
    assert [float(row["df_mm"]) for row in table] == pytest.approx(
        [row.head.errors.df_mm for row in found.rows if row.head and row.head.errors], abs=1e-6)
    for row in table:
        low, high, hc = (float(row[name]) for name in ("low_mm", "high_mm", "true_hc_mm"))
        assert row["inside"] == ("yes" if low <= hc <= high else "no")
    assert float(table[3]["true_a_px"]) == pytest.approx(pairs[3][0].a, abs=0.1)
    assert not list(bundle.parent.glob("*.csv"))


def test_with_other_views_than_the_intervals_there_is_no_coverage(bundle: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path, heads(4))
    own, other = (masks_of(evaluate(bundle, table, views=views, resamples=20)) for views in ("one", "flip"))
    assert own.promised == 0.9 and own.metrics["coverage"].value is not None
    assert other.promised is None and other.metrics["coverage"].value is None
    assert any(note.startswith("no interval is stated: the bundle's was fitted with views=one, this is views=flip")
               for note in other.notes)
    assert "how far off a circumference may be is not known: no interval is stated" in other.notes


def test_regions_are_a_truth_too_and_it_is_said(bundle: Path, tmp_path: Path) -> None:
    pairs = heads(6)
    outlined = masks_of(evaluate(bundle, write_table(tmp_path / "a", pairs), resamples=20))
    filled = masks_of(evaluate(bundle, write_table(tmp_path / "b", pairs, outline=False), resamples=20))
    for one, other in zip(outlined.rows, filled.rows, strict=True):
        assert one.head is not None and other.head is not None and one.head.true_hc_mm is not None
        assert one.head.true_hc_mm == pytest.approx(other.head.true_hc_mm, abs=0.15)
    assert any("the true mask of 6 images is a region" in note for note in filled.notes)
    assert not any("is a region" in note for note in outlined.notes)


def test_without_spacing_nothing_is_in_millimetres(bundle: Path, tmp_path: Path) -> None:
    found = masks_of(evaluate(bundle, write_table(tmp_path, heads(4), spacing=None), resamples=20))
    assert found.metrics["adf_mm"].value is None and found.metrics["hd_px"].value is not None
    assert any("no pixel size is known for 4 of 4 images" in note for note in found.notes)


def test_what_cannot_be_used_is_listed_with_its_reason_and_the_rest_is_done(bundle: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path, heads())
    (tmp_path / "03.png").write_bytes(b"not a picture")
    (tmp_path / "04_mask.png").write_bytes(b"not a picture")
    (tmp_path / "05_mask.png").unlink()
    saved(np.zeros((40, 40), np.uint8), tmp_path / "06_mask.png")
    lines = table.read_text(encoding="utf-8").splitlines()
    lines[8] = "07.png,,E3,0.4"
    lines[9] = "08.png,08_mask.png,E4,-0.4"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = masks_of(evaluate(bundle, table, resamples=20))
    told = {Path(one["file"]).name: one["error"] for one in found.failed}
    assert found.n == 6 and sorted(told) == [f"0{place}.png" for place in range(3, 9)]
    assert "has no mask" in told["07.png"] and "line 9" in told["07.png"]
    assert "40 x 40" in told["06.png"] and "there is no mask" in told["05.png"] and "04_mask.png" in told["04.png"]
    assert "spacing" in told["08.png"]
    assert [row.line for row in found.rows] == [2, 3, 4, 11, 12, 13]
    assert [row.unit for row in found.rows] == ["E0", "E0", "E1", "E4", "E5", "E5"]
    with pytest.raises(DataError, match="6 of 12 rows could not be used"):
        found.raise_failures()


def test_an_empty_mask_follows_the_rule_and_a_broken_one_is_no_empty_one(bundle: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path, heads(4))
    saved(np.zeros(SHAPE, np.uint8), tmp_path / "01_mask.png")
    found = masks_of(evaluate(bundle, table, resamples=20))
    assert found.rows[1].scores["dice"] == 0.0 and found.rows[1].head is None and found.rows[1].false_head
    assert any("1 of 4 true masks are empty" in note for note in found.notes)
    assert any("a head was found in 1 images whose true mask is empty" in note for note in found.notes)
    saved(np.zeros(SHAPE, np.uint8), tmp_path / "01.png")
    found = masks_of(evaluate(bundle, table, resamples=20))
    assert found.rows[1].scores["dice"] is None and found.metrics["found"].value == 1.0


def test_a_picture_without_a_head_in_sight_counts_as_not_found(bundle: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path, heads(4))
    saved(np.zeros(SHAPE, np.uint8), tmp_path / "02.png")
    found = masks_of(evaluate(bundle, table, resamples=20))
    assert found.metrics["found"].value == 0.75 and found.rows[2].scores["dice"] == 0.0
    assert "no pixel reaches 0.5: no head was found (1 images)" in found.notes
    assert "no error in mm there" in "; ".join(found.notes)


def test_a_table_of_labels_is_refused(bundle: Path, tmp_path: Path) -> None:
    write_table(tmp_path, heads(2))
    (tmp_path / "labels.csv").write_text("image,label\n00.png,head\n01.png,head\n")
    with pytest.raises(DataError, match="the table has no masks .*column called mask"):
        evaluate(bundle, tmp_path / "labels.csv")
    with pytest.raises(UsageError, match="tolerance_mm must be"):
        evaluate(bundle, tmp_path / "heads.csv", tolerance_mm=-1)


def test_segmentation_has_no_heads(tmp_path: Path) -> None:
    made = mask_bundle(tmp_path / "bundle", size=SHAPE, task="segmentation", classes=("lesion",))
    pairs = heads(4)
    found = masks_of(evaluate(made, write_table(tmp_path / "d", pairs, outline=False), resamples=20))
    assert found.task == "segmentation" and "adf_mm" not in found.metrics and found.rows[0].head is None
    assert found.metrics["dice"].value == pytest.approx(0.99, abs=4e-3) and found.metrics["hd_mm"].value is not None
    assert "HC" not in found.text()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder of heads as training leaves it."""
    folder = tmp_path / "run"
    mask_bundle(folder / "bundle", size=SHAPE)
    write_table(tmp_path / "data", heads(30, seed=4))
    files = [tmp_path / "data" / f"{place:02d}.png" for place in range(30)]
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("image", "label", "patient", "mask", "spacing"))
        writer.writerows((file, "", f"E{place // 2}", file.with_name(f"{file.stem}_mask.png"), SPACING)
                         for place, file in enumerate(files))
    split = Split(train=tuple(range(6)), val=tuple(range(6, 20)), test=tuple(range(20, 30)),
                  units=tuple(f"E{place // 2}" for place in range(30)), unit_kind="examination", notes=("by hand",))
    (folder / "split.json").write_text(json.dumps(split.to_json()))
    (folder / "hashes.json").write_text(json.dumps({f"{place + 2}: {file}": f"{file_hash(file)} {place}"
                                                    for place, file in enumerate(files)}))
    return folder


def test_a_run_is_measured_on_its_own_parts(run: Path) -> None:
    found = masks_of(evaluate(run, resamples=20))
    assert (found.part, found.n, found.n_units, found.unit_kind) == ("test", 10, 5, "examination")
    assert (run / "evaluation.json").is_file() and (run / "predictions-test.csv").is_file()
    assert "by hand" in found.notes and found.failed == ()
    val = masks_of(evaluate(run, split="val", resamples=20))
    assert val.n == 14 and any("chose the best epoch, the level and the interval" in note for note in val.notes)


def test_the_level_takes_out_a_bias_and_its_curve_is_that_of_each_level(run: Path) -> None:
    predictor, part = Predictor(run), part_of_run(run, "val", masks=True)
    chosen = choose_level(predictor, part.rows, part.root)
    assert (chosen.n, chosen.lost, chosen.unit, chosen.note) == (14, 0, "mm", None)
    assert [step.level for step in chosen.curve] == [round(0.3 + 0.02 * place, 2) for place in range(21)]
    bias = [step.df for step in chosen.curve]
    assert all(high >= low for high, low in zip(bias, bias[1:], strict=False)), "a higher level draws a smaller head"
    assert chosen.level == 0.7 and 0 < bias[-1] < bias[0]  # pictures show heads 1 % too large: the highest is nearest
    at_half = next(step for step in chosen.curve if step.level == 0.5)
    rows = [one for one in head_rows(predictor, part.rows, part.root) if not isinstance(one, FailedPrediction)]
    errors = np.array([one.hc_mm - one.true_hc_mm for one in rows])  # type: ignore[operator]
    assert (at_half.df, at_half.adf) == pytest.approx((errors.mean(), np.abs(errors).mean()), abs=1e-3)
    few = choose_level(predictor, part.rows[:5], part.root)
    assert few.level == 0.5 and few.note is not None and "too few" in few.note


def ramp(truth: Ellipse, *, slope: float) -> np.ndarray:
    """Return logits (H, W) that fall by `slope` a pixel outwards and are 0 at the ellipse."""
    y, x = np.mgrid[:SHAPE[0], :SHAPE[1]]
    return -slope * truth.distances(np.stack([x.ravel(), y.ravel()], 1)).reshape(SHAPE)


def ramp_row(folder: Path, place: int, edge: float, *, spacing: tuple[float, ...] | None = (SPACING,)) -> Row:
    """Write a picture whose probability is `edge` at the true ellipse, and its mask; return their row."""
    truth = heads(1, seed=2)[0][0]
    logit = np.log(edge / (1 - edge)) + ramp(truth, slope=0.5)
    saved(np.rint(np.clip(logit / 12 + 0.5, 0, 1) * 255).astype(np.uint8), folder / f"{place}.png")
    saved(draw_outline(truth, SHAPE), folder / f"{place}_mask.png")
    return Row(image=f"{place}.png", line=place + 2, mask=f"{place}_mask.png", spacing=spacing)


@pytest.mark.parametrize(("edges", "expected"), [
    ((0.38,) * 12, 0.38),
    ((0.4,) * 8 + (0.7,) * 4, 0.5)])  # the mean error is zero there, the mean of its size smallest at 0.4
def test_a_level_in_the_middle_is_found(tmp_path: Path, edges: tuple[float, ...], expected: float) -> None:
    """Ramps of known slope: the level at which each edge is where the truth is, is known."""
    made = mask_bundle(tmp_path / "bundle", size=SHAPE)
    rows = [ramp_row(tmp_path, place, edge) for place, edge in enumerate(edges)]
    chosen = choose_level(Predictor(made), rows, tmp_path)
    assert chosen.level == expected and abs(next(s.df for s in chosen.curve if s.level == expected)) < 0.15


def test_where_some_images_have_a_pixel_size_only_these_choose_the_level(tmp_path: Path) -> None:
    made = mask_bundle(tmp_path / "bundle", size=SHAPE)
    rows = [ramp_row(tmp_path, place, 0.38 if place < 12 else 0.7, spacing=(SPACING,) if place < 12 else None)
            for place in range(17)]
    chosen = choose_level(Predictor(made), rows, tmp_path)
    assert (chosen.n, chosen.lost, chosen.unit, chosen.level) == (12, 0, "mm", 0.38)
    alone = choose_level(Predictor(made), rows[:12], tmp_path)
    assert chosen.curve == alone.curve


def test_low_levels_are_measured_on_all_that_reaches_them() -> None:
    """A faint edge: at 0.3 the head is seven pixels larger on each side than at 0.7."""
    truth = heads(1, seed=2)[0][0]
    chances = (1 / (1 + np.exp(-ramp(truth, slope=0.25)))).astype(np.float32)
    one = HeadTruth(file="a", truth=truth, spacing=None, true_hc_mm=None, hc_mm=None, spread_mm=None,
                    probabilities=chances)
    whole = [ellipse_of(chances, level=level).ellipse for level in LEVELS]
    expected = [found.circumference - truth.circumference for found in whole if found is not None]
    assert differences(one, LEVELS) == pytest.approx(expected, abs=1e-3) and expected[0] - expected[-1] > 40


def test_the_choice_of_a_level_is_told_in_a_sentence(run: Path) -> None:
    predictor, part = Predictor(run), part_of_run(run, "val", masks=True)
    chosen = choose_level(predictor, part.rows, part.root)
    assert chosen.text().startswith("A pixel is inside from a probability of 0.7 on, the last of the levels")
    assert json.loads(json.dumps(chosen.to_json()))["curve"][10]["level"] == 0.5
    middle = choose_level(predictor, part.rows, part.root, levels=(0.5, 0.7, 0.99))
    assert middle.level == 0.99 or "are right on average (mean difference" in middle.text()
    assert choose_level(predictor, part.rows[:3], part.root).text() == (
        "3 validation images are too few to choose a level, which takes 10: it stays at 0.5.")


def test_pictures_show_the_worst_first_with_lines_where_the_pixels_are(run: Path) -> None:
    data = run.parent / "data"
    saved(np.zeros(SHAPE, np.uint8), data / "23.png")  # no head in sight
    hashes = json.loads((run / "hashes.json").read_text())
    changed = {key: f"{file_hash(data / '23.png')} 23" if "23.png" in key else value for key, value in hashes.items()}
    (run / "hashes.json").write_text(json.dumps(changed))
    found = masks_of(evaluate(run, resamples=20))
    grid, worst = run_overlays(run, Predictor(run), found)
    assert [Path(one.row.file).name for one in grid] == [f"{place}.png" for place in range(20, 28)]
    assert Path(worst[0].row.file).name == "23.png" and worst[0].predicted == [] and worst[0].region == []
    errors = [one.row.head.errors.adf_mm for one in worst[1:] if one.row.head and one.row.head.errors]
    assert errors == sorted(errors, reverse=True) and len(worst) == 8  # type: ignore[type-var]
    truth, shown = heads(30, seed=4)[20]
    assert grid[0].picture.shape == SHAPE and grid[0].row == found.rows[0]
    assert np.abs(truth.distances(grid[0].truth[0])).max() < 0.2
    assert np.abs(shown.distances(grid[0].predicted[0])).max() < 0.3
    assert np.abs(shown.distances(grid[0].region[0])).max() < 1.0
    data_of_page = MaskReportData(title="t", simulated=True, lead="l", counts={"test": {"with a head": 10}},
                                  unit_kind="patient", evaluation=found, recipe="", grid=grid, worst=worst)
    assert render_masks(data_of_page).count("<image ") == 16


def test_pictures_of_regions_show_their_edges(tmp_path: Path) -> None:
    made = mask_bundle(tmp_path / "bundle", size=SHAPE, task="segmentation", classes=("lesion",))
    pairs = heads(4)
    table = write_table(tmp_path / "d", pairs, outline=False)
    found = masks_of(evaluate(made, table, resamples=20))
    rows = [Row(image=f"{place:02d}.png", line=place + 2, mask=f"{place:02d}_mask.png") for place in range(4)]
    grid, worst = overlays(Predictor(made), rows, tmp_path / "d", found.rows)
    assert len(grid) == len(worst) == 4
    assert np.abs(pairs[0][0].distances(grid[0].truth[0])).max() < 1.0
    assert np.abs(pairs[0][1].distances(grid[0].predicted[0])).max() < 1.0


def test_the_interval_of_the_validation_part_holds_what_it_says(run: Path) -> None:
    predictor, part = Predictor(run), part_of_run(run, "val", masks=True)
    found, told = interval_of(predictor, part.rows, part.root, level=0.9)
    assert found is not None and found.n == 14
    assert "it holds 100 % of 14 validation images, which promises 90 % of new images." in told
    half = interval_of(predictor, part.rows, part.root, level=0.5)[1]
    assert "it holds 57 % of 14 validation images, which promises 50 % of new images." in half  # ceil(15 * 0.5) = 8
    rows = [one for one in head_rows(predictor, part.rows, part.root) if not isinstance(one, FailedPrediction)]
    inside = 0
    for one in rows:
        assert one.hc_mm is not None and one.true_hc_mm is not None and one.spread_mm is not None
        low, high = found.around(one.hc_mm, one.spread_mm)
        inside += low - 1e-9 <= one.true_hc_mm <= high + 1e-9
    assert inside == 14  # ceil(15 * 0.9) = 14
    none, told = interval_of(predictor, part.rows[:5], part.root)
    assert none is None and "needs at least 9 images, got 5" in told


def test_an_unreadable_validation_image_stops_the_calibration(run: Path) -> None:
    part = part_of_run(run, "val", masks=True)
    part.paths[2].write_bytes(b"no picture")
    with pytest.raises(DataError, match="validation part cannot be used"):
        choose_level(Predictor(run), part.rows, part.root)
    with pytest.raises(DataError, match="validation part cannot be used"):
        interval_of(Predictor(run), part.rows, part.root)


def test_the_command_prints_numbers_and_json(run: Path) -> None:
    app = build()
    said = CliRunner().invoke(app, ["evaluate", str(run), "--resamples", "20", "--tolerance", "0.5"])
    assert said.exit_code == 0 and "adf mm" in said.stdout and "within 0.5 mm" in said.stdout
    plain = CliRunner().invoke(app, ["evaluate", str(run), "--resamples", "20", "--json"])
    assert json.loads(plain.stdout)["metrics"]["adf_mm"]["value"] > 0


@pytest.mark.slow
def test_evaluation_of_masks_runs_where_torch_cannot_be_imported(run: Path) -> None:
    code = ("import sys\nfor name in ('torch', 'sklearn', 'onnx', 'onnxscript'): sys.modules[name] = None\n"
            f"from excite import evaluate\nprint(evaluate({str(run)!r}, resamples=20).n)")
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "10\n"


@pytest.mark.slow
def test_a_colour_mask_is_refused_by_name(bundle: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path, heads(3))
    Image.fromarray(np.zeros((*SHAPE, 3), np.uint8) + np.array([255, 0, 0], np.uint8)).save(tmp_path / "01_mask.png")
    found = masks_of(evaluate(bundle, table, resamples=20))
    assert [one["file"] for one in found.failed] == ["01.png"] and "colour" in found.failed[0]["error"]


@pytest.mark.real
@pytest.mark.slow
def test_the_truth_of_hc18_is_the_circumference_of_its_table(real_data: Path) -> None:
    section = DataSection(table=real_data / "hc18")
    manifest, _ = scan_manifest(section, labelled=False)
    with (real_data / "hc18" / "training_set_pixel_size_and_HC.csv").open(encoding="utf-8", newline="") as stream:
        told = {row["filename"]: float(row["head circumference (mm)"]) for row in csv.DictReader(stream)}
    errors = []
    for row in manifest.rows[::10]:
        shape = read_drawn(manifest.root / row.masks[0]).shape
        truth = truth_of(row, manifest.root, (shape[0], shape[1]), head=True)
        assert truth.ellipse is not None and truth.drawn and row.spacing is not None
        hc = measure(truth.ellipse, row.spacing).hc_mm
        assert hc is not None
        errors.append(hc - told[Path(row.image).name])
    assert len(errors) >= 40 and abs(np.mean(errors)) < 0.01 and np.abs(errors).max() < 0.06
