"""Networks for masks compared: a planted better one is found, whole heads and plain masks; other masks are refused."""

import csv
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from excite import compare
from excite.data.fingerprint import file_hash
from excite.data.manifest import read_manifest
from excite.data.phantom.heads import draw_outline
from excite.data.sections import DataSection
from excite.data.split import Split
from excite.data.targets import mask_contents
from excite.deploy.bundle import update_bundle
from excite.ellipse import Ellipse
from excite.errors import DataError, UsageError
from excite.jobs.evaluate import evaluate
from excite.metrics.mask_evaluation import MaskEvaluation
from mask_bundles import GAIN, bright, bright_onnx, mask_bundle, saved

SHAPE, COUNT, TESTED = (96, 144), 40, 24


@dataclass
class Pair:
    """A run that finds masks three pixels too wide all around, and one that finds what the pictures show."""

    wide: Path
    exact: Path
    data: Path


def pictures(folder: Path, *, outline: bool) -> Path:
    """Write pictures of bright ellipses, their masks and a table, two pictures an examination."""
    rng, rows = np.random.default_rng(0), []
    for place in range(COUNT):
        long = rng.uniform(22, 34)
        head = Ellipse(71 + rng.uniform(-5, 5), 47 + rng.uniform(-3, 3), long, long * 0.8, rng.uniform(0, 0.5))
        saved(bright(head, SHAPE), folder / f"{place:02d}.png")
        mask = draw_outline(head, SHAPE) if outline else np.where(head.coverage(SHAPE) >= 0.5, 255, 0)
        saved(mask.astype(np.uint8), folder / f"{place:02d}_mask.png")
        rows.append((folder / f"{place:02d}.png", folder / f"{place:02d}_mask.png", f"E{place // 2}", 0.4))
    return written(folder / "table.csv", rows)


def written(table: Path, rows: list[tuple[object, ...]]) -> Path:
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([("image", "mask", "patient", "spacing"), *rows])
    return table


def made_run(folder: Path, table: Path, *, reach: int, task: str, tested: int = TESTED) -> Path:
    """A run folder as training leaves it; its network calls all within `reach` pixels of what is bright."""
    kernel = np.full((1, 1, 2 * reach + 1, 2 * reach + 1), GAIN, np.float32)
    bundle = mask_bundle(folder / "bundle", bright_onnx(kernel), size=SHAPE, task=task,
                         classes=("head" if task == "heads" else "lesion",))
    shutil.copy(table, folder / "manifest.csv")
    rows = read_manifest(DataSection(table=table), labelled=False).rows
    units = tuple(str(row.patient) for row in rows)
    split = Split(train=tuple(range(6)), val=tuple(range(6, COUNT - tested)), units=units, unit_kind="patient",
                  test=tuple(range(COUNT - tested, COUNT)))
    (folder / "split.json").write_text(json.dumps(split.to_json()))
    (folder / "hashes.json").write_text(json.dumps({
        f"{row.line}: {row.image}": f"{file_hash(Path(row.image))} None {row.patient} test mask {mask} "
                                    f"spacing {row.spacing}"
        for row, mask in zip(rows, mask_contents(rows, table.parent), strict=True)}))
    update_bundle(bundle, metrics=evaluate(folder, resamples=20).to_json())
    return folder


@pytest.fixture(scope="module", params=["heads", "segmentation"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp(request.param)
    table = pictures(folder / "data", outline=request.param == "heads")
    wide, exact = (made_run(folder / name, table, reach=reach, task=request.param)
                   for name, reach in (("wide", 3), ("exact", 0)))
    return Pair(wide, exact, table)


def task_of(pair: Pair) -> str:
    return str(json.loads((pair.exact / "bundle" / "bundle.json").read_text(encoding="utf-8"))["task"])


def test_the_planted_better_masks_are_found_and_every_number_is_the_evaluations(pair: Pair) -> None:
    found = compare(pair.wide, pair.exact, resamples=500)
    heads = task_of(pair) == "heads"
    assert (found.metric, found.verdict) == ("adf_mm" if heads else "dice", "better")
    assert (found.n, found.n_units, found.unit_kind) == (TESTED, TESTED // 2, "patient")
    assert ("mm of adf" if heads else "points of dice") in found.sentence
    for run, side in ((pair.wide, "a"), (pair.exact, "b")):
        evaluation = evaluate(run, resamples=20)
        assert isinstance(evaluation, MaskEvaluation)
        for name, one in found.pairs.items():
            if name in evaluation.metrics:
                value = evaluation.metrics[name].value
                assert getattr(one, side).value == (None if value is None else pytest.approx(value, abs=1e-5)), name
    assert set(found.pairs) >= {"dice", "iou", "hd95_mm", "assd_mm"} | ({"head_dice", "found"} if heads else set())
    back = compare(pair.exact, pair.wide, metric="dice", margin=0.02, resamples=500)
    assert back.verdict == "worse" and back.non_inferior is False


def test_one_other_mask_is_named(pair: Pair, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(pair.data.parent, data)
    table = written(data / "table.csv", [(data / f"{place:02d}.png", data / f"{place:02d}_mask.png",
                                          f"E{place // 2}", 0.4) for place in range(COUNT)])
    task = task_of(pair)
    assert compare(pair.wide, made_run(tmp_path / "same", table, reach=0, task=task), resamples=20).n == TESTED
    shutil.copy(data / "38_mask.png", data / "39_mask.png")
    other = made_run(tmp_path / "other", table, reach=0, task=task)
    with pytest.raises(DataError, match=f"the truth of 1 of {TESTED} images differs") as told:
        compare(pair.wide, other)
    assert "other masks or pixel sizes: " in str(told.value) and "39.png" in str(told.value)


def test_another_split_and_another_kind_of_work_are_refused(pair: Pair, tmp_path: Path) -> None:
    task = task_of(pair)
    other = made_run(tmp_path / "other", pair.data, reach=0, task=task, tested=20)
    with pytest.raises(DataError, match=f"the test sets differ .*4 of {TESTED} images are in A's alone"):
        compare(pair.wide, other)
    changed = tmp_path / "changed"
    shutil.copytree(pair.exact, changed)
    shutil.rmtree(changed / "bundle")
    made_run(changed, pair.data, reach=0, task="segmentation" if task == "heads" else "heads")
    with pytest.raises(DataError, match="the networks do different work"):
        compare(pair.wide, changed)


def test_a_table_of_other_masks_is_not_believed_and_one_table_serves_both(pair: Pair, tmp_path: Path) -> None:
    honest = compare(pair.wide, pair.exact, metric="dice", resamples=20)
    copied = tmp_path / "copied"
    shutil.copytree(pair.exact, copied)
    shutil.copy(pair.wide / "predictions-test.csv", copied / "predictions-test.csv")
    again = compare(pair.wide, copied, metric="dice", resamples=20)
    assert again.question.b.value == pytest.approx(honest.question.b.value) != honest.question.a.value
    both = compare(pair.wide / "bundle", pair.exact / "bundle", data=pair.data, metric="dice", resamples=20)
    assert both.n == COUNT and both.question.difference.value == pytest.approx(
        honest.question.difference.value, abs=0.02)
    with pytest.raises(UsageError, match="metric must be one of"):
        compare(pair.wide, pair.exact, metric="auroc_macro", resamples=10)
