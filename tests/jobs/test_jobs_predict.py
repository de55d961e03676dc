"""Files, folders and tables in; the same answers in every form out; a bad one reported, the rest done."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bundles import CLASSES, linear_bundle, pictures
from excite import load
from excite.errors import DataError, EnvironmentFault, UsageError
from excite.jobs.predict import Prediction, predict
from excite.outcome.prediction import ClassPrediction, FailedPrediction


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return linear_bundle(tmp_path_factory.mktemp("linear") / "run" / "bundle")


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    return pictures(tmp_path / "images", 5)


def lines_of(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


def test_csv_jsonl_and_features_tell_the_same(bundle: Path, images: list[Path], tmp_path: Path) -> None:
    seen: list[Prediction] = []
    done = predict(bundle.parent, images, out=tmp_path / "p.csv", features=tmp_path / "f.npz", each=seen.append)
    predict(bundle, images, out=tmp_path / "p.jsonl", features=tmp_path / "f.csv")
    assert (done.n, done.failed, sum(done.counts.values())) == (5, 0, 5)
    raw = (tmp_path / "p.csv").read_bytes()
    assert not raw.startswith(b"\xef\xbb\xbf") and b"\r" not in raw
    rows = list(csv.DictReader(raw.decode("utf-8").splitlines()))
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text(encoding="utf-8").splitlines()]
    assert list(rows[0]) == ["file", "label", "probability", *CLASSES, "error"]
    expected = list(load(bundle).predict(images, features=True))
    for row, line, one, also in zip(rows, lines, expected, seen, strict=True):
        assert isinstance(one, ClassPrediction) and isinstance(also, ClassPrediction)
        assert row["file"] == line["file"] == one.file == also.file
        assert row["label"] == line["label"] == one.label
        assert line["probabilities"] == one.probabilities
        assert float(row["probability"]) == pytest.approx(max(one.probabilities.values()), abs=1e-6)
        assert [float(row[name]) for name in CLASSES] == pytest.approx(list(one.probabilities.values()), abs=1e-6)
    stored = np.load(tmp_path / "f.npz", allow_pickle=False)
    assert stored["files"].tolist() == [str(file) for file in images]
    np.testing.assert_array_equal(stored["features"], np.stack([one.features for one in expected]))
    table = list(csv.reader(lines_of(tmp_path / "f.csv")))
    assert table[0] == ["file", "f0", "f1", "f2"]
    np.testing.assert_array_equal(np.array([row[1:] for row in table[1:]], np.float32), stored["features"])
    assert not list(tmp_path.glob(".*"))


def test_folders_are_searched_and_hidden_ones_left_out(bundle: Path, tmp_path: Path) -> None:
    below = pictures(tmp_path / "in" / "b" / "c", 2) + pictures(tmp_path / "in" / "A", 1)
    pictures(tmp_path / "in" / ".ipynb_checkpoints", 1)
    (tmp_path / "in" / "notes.txt").write_text("no image")
    seen: list[Prediction] = []
    predict(bundle, [tmp_path / "in"], each=seen.append)
    assert [one.file for one in seen] == sorted(map(str, below))


def test_a_table_names_images_and_a_bad_row_is_reported_in_its_place(bundle: Path, images: list[Path],
                                                                     tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("Image_path,Plane\nimages/scan 0.png,x\nimages/none.png,\nimages/scan 1.png,\n", encoding="utf-8")
    seen: list[Prediction] = []
    done = predict(bundle, [table, images[2]], each=seen.append)
    assert [type(one) for one in seen] == [ClassPrediction, FailedPrediction, ClassPrediction, ClassPrediction]
    assert "none.png" in seen[1].file and (done.n, done.failed) == (4, 1)
    with pytest.raises(DataError, match=r"1 of 4 files could not be used \(.*none\.png"):
        done.raise_failures()


def test_a_ragged_row_is_reported_with_its_line(bundle: Path, images: list[Path], tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("image,label\nimages/scan 0.png,x\nimages/scan 1.png,x,y,z\nimages/scan 2.png,x\n")
    seen: list[Prediction] = []
    predict(bundle, [table], each=seen.append)
    assert [type(one) for one in seen] == [ClassPrediction, FailedPrediction, ClassPrediction]
    assert seen[1].file == f"{table} line 3"


def test_bad_files_have_rows_of_their_own(bundle: Path, images: list[Path], tmp_path: Path) -> None:
    images[1].write_bytes(b"")
    done = predict(bundle, images, out=tmp_path / "p.csv", features=tmp_path / "f.npz")
    rows = list(csv.DictReader(lines_of(tmp_path / "p.csv")))
    assert [bool(row["error"]) for row in rows] == [False, True, False, False, False]
    assert str(images[1]) in rows[1]["error"] and rows[1]["label"] == rows[1]["probability"] == rows[1]["benign"] == ""
    assert len(np.load(tmp_path / "f.npz")["files"]) == 4 and done.failed == 1
    with pytest.raises(DataError) as fault:
        done.raise_failures()
    assert fault.value.exit_code == 3


def test_nothing_runs_as_a_formula_in_a_spreadsheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("=HYPERLINK(1)", "+1", "file", "Größe")
    bundle = linear_bundle(tmp_path / "model", names)
    monkeypatch.chdir(tmp_path)
    files = [Path("=cmd.png"), Path("@x.png"), Path("-2.png")]
    for source, file in zip(pictures(tmp_path / "images", 3), files, strict=True):
        source.rename(file)
    predict(bundle, [*files, "=none.png"], out=Path("p.csv"), features=Path("f.csv"))
    predict(bundle, files, out=Path("p.jsonl"))
    for name in ("p.csv", "f.csv"):
        for row in csv.reader(lines_of(Path(name))):
            for text in row[:1] + row[1:2] * (name == "p.csv") + row[-1:] * (name == "p.csv"):
                assert not text.startswith(("=", "+", "-", "@")), text
    rows = list(csv.DictReader(lines_of(Path("p.csv"))))
    assert list(rows[0])[3:-1] == ["p(=HYPERLINK(1))", "p(+1)", "p(file)", "Größe"]
    assert all(Path(row["file"]).is_file() for row in rows[:3])  # still the same file for a program
    assert [json.loads(line)["file"] for line in lines_of(Path("p.jsonl"))] == list(map(str, files))


def test_an_input_is_never_overwritten(bundle: Path, images: list[Path], tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("image\nimages/scan 0.png\n")
    with pytest.raises(UsageError, match="an input would be overwritten"):
        predict(bundle, [table], out=table)
    assert table.read_text().startswith("image\n")


@pytest.mark.parametrize(("options", "message"), [
    ({"out": "p.xlsx"}, r"--out must end in \.csv or \.jsonl, got 'p\.xlsx'"),
    ({"features": "f.pkl"}, r"--features must end in \.npz or \.csv"),
    ({"out": "same.csv", "features": "same.csv"}, "name the same file"),
])
def test_outputs_that_cannot_be_are_refused_first(bundle: Path, images: list[Path], tmp_path: Path,
                                                  options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        predict(bundle, images, **{key: tmp_path / value for key, value in options.items()})


def test_an_output_in_no_folder_is_a_clear_error(bundle: Path, images: list[Path], tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="the output cannot be written .No such file or directory"):
        predict(bundle, images, out=tmp_path / "none" / "p.csv")


def test_nothing_to_predict_is_an_error(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"there is no image to predict .image files end in .*\.png"):
        predict(bundle, [tmp_path / "empty"])


def test_half_a_table_is_not_left_behind(bundle: Path, images: list[Path], tmp_path: Path) -> None:
    def stop(_: Prediction) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(bundle, images, out=tmp_path / "p.csv", each=stop)
    assert not list(tmp_path.glob("*p.csv*"))


def test_it_runs_where_torch_cannot_be_imported(bundle: Path, images: list[Path]) -> None:
    code = ("import sys\nfor name in ('torch', 'onnx', 'onnxscript', 'sklearn'): sys.modules[name] = None\n"
            "from excite.jobs.predict import predict\n"
            f"print(predict({str(bundle)!r}, [{str(images[0])!r}]).n)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "1", done.stderr


def test_what_does_not_exist_is_said_to_be_missing(bundle: Path, images: list[Path], tmp_path: Path) -> None:
    missing = [tmp_path / name for name in ("none.png", "folder", "table.csv")]
    seen: list[Prediction] = []
    done = predict(bundle, [images[0], *missing], each=seen.append)
    assert [one.error for one in seen[1:] if isinstance(one, FailedPrediction)] == [
        f"{path}: does not exist: check the path" for path in missing]
    with pytest.raises(DataError, match="3 of 4 files could not be used; mend"):
        done.raise_failures(causes=False)
    with pytest.raises(DataError, match=r"no file could be used: nothing was predicted \(.*none\.png: does not exist"):
        predict(bundle, missing).raise_failures()
