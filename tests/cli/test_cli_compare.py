"""`excite compare`: the sentence first, the table after it, JSON alone on stdout, a page where one is asked for."""

import csv
import json
from pathlib import Path

import pytest

from bundles import CLASSES, linear_bundle, pictures, weights
from excite.cli.main import main
from excite.data.fingerprint import file_hash
from excite.deploy.bundle import update_bundle
from html_reader import Reader


@pytest.fixture
def case(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Two bundles and a table with two pictures a patient."""
    files = pictures(tmp_path / "images", 24, seed=1)
    with (tmp_path / "clinic.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("image", "label", "who"), *(
            (file, CLASSES[place % 3], f"P{place // 2}") for place, file in enumerate(files))])
    a, b = (linear_bundle(tmp_path / name, values=weights(3, seed=seed)) for seed, name in ((1, "plain"), (2, "se")))
    return a, b, tmp_path / "clinic.csv"


def ran(*arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["compare", *map(str, arguments)])
    return int(str(caught.value.code))


def test_the_sentence_comes_first_then_the_table(case: tuple[Path, Path, Path],
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    a, b, data = case
    assert ran(a, b, "--data", data, "--patient-col", "who", "--resamples", 200, "--margin", 0.5) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert f"A ({a})" in lines[0] and f"B ({b})" in lines[0] and "points" in lines[0] and "one thread" in lines[0]
    assert "50.0 points" in lines[1] and "Fewer than 20 units (12)" in lines[2]
    assert "trained once" in lines[3]
    assert "24 images of 12 patients; * the question" in shown.out
    row = next(line for line in lines if line.lstrip().startswith("balanced accuracy *"))
    assert "[" in row and row.endswith("swaps")
    assert (f"next: excite compare {a} {b} --margin 0.5 --data {data} --resamples 200 --patient-col who --out FOLDER"
            in shown.err)
    assert "recall macro, which is balanced accuracy" in shown.out and "  recall macro " not in shown.out
    assert " nan" not in shown.out.casefold()


def test_json_alone_and_a_page_that_loads_nothing(case: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str],
                                                  tmp_path: Path) -> None:
    a, b, data = case
    out = tmp_path / "out"
    assert ran(a, b, "--data", data, "--patient-col", "who", "--resamples", 200, "--metric", "auroc_macro", "--json",
               "--out", out) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert found["metric"] == "auroc_macro" and found["metrics"]["auroc_macro"]["p_holm"] is None
    assert found == json.loads((out / "compare.json").read_text(encoding="utf-8"))
    page = (out / "compare.html").read_text(encoding="utf-8")
    assert found["sentences"][0] in Reader(page).text
    assert "http" not in page.replace("http-equiv", "") and "<svg" in page and "the question" in page
    assert "For research and education only." in page and "<details><summary>By class: " in page
    assert page.index("Fewer than 20 units (12)") < page.index("</header>") and "recall_macro" in found["metrics"]
    assert f"next: open {out / 'compare.html'}" in shown.err


def test_a_table_of_training_images_is_told_of_first(case: tuple[Path, Path, Path], tmp_path: Path,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    a, b, data = case
    with data.open(encoding="utf-8", newline="") as stream:
        files = [row["image"] for row in csv.DictReader(stream)]
    for bundle in (a, b):
        update_bundle(bundle, provenance={"train_hashes": [file_hash(Path(file))[:16] for file in files[:7]]})
    told = (f"BEWARE: A and B were trained on 7 of these 24 images (first of them: {files[0]}): leave them out, the "
            "numbers are too good")
    assert ran(a, b, "--data", data, "--resamples", 50, "--out", tmp_path / "out") == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[0] == told and shown.count(files[0]) == 1 and "LEAK" not in shown
    page = (tmp_path / "out" / "compare.html").read_text(encoding="utf-8")
    assert page.index("BEWARE: A and B were trained on 7") < page.index("<h1>")
    found = json.loads((tmp_path / "out" / "compare.json").read_text(encoding="utf-8"))
    assert found["beware"] == [told] and next(iter(found)) == "beware"


def test_a_bundle_without_data_is_a_usage_error(case: tuple[Path, Path, Path],
                                                capsys: pytest.CaptureFixture[str]) -> None:
    a, b, _ = case
    assert ran(a, b) == 2
    shown = capsys.readouterr()
    assert "a bundle has no data of its own" in shown.err and "--data" in shown.err and "Traceback" not in shown.err
