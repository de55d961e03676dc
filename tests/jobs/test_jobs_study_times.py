"""Times of a study's bundles: measured once, kept while the bundles are the same, compared turn by turn."""

import json
from pathlib import Path

import pytest

from excite.jobs.study import times
from excite.jobs.study.times import content_of, is_apart, kept_times, ratio, spread, told
from stand_ins import Told


def bundle(folder: Path, content: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").write_text(content, encoding="utf-8")
    return folder


def test_times_are_measured_once_and_anew_where_a_bundle_is_another(tmp_path: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def measured(bundles: list[Path]) -> list[list[float]]:
        calls.append(len(bundles))
        return [[float(len(calls)), 2.0] for _ in bundles]

    monkeypatch.setattr(times, "measured", measured)
    arms = {name: bundle(tmp_path / name, name) for name in ("none", "se")}
    file = tmp_path / "times.json"
    assert kept_times(file, arms, progress=Told()) == {"none": [1.0, 2.0], "se": [1.0, 2.0]}
    left = file.read_bytes()
    assert kept_times(file, arms, progress=Told())["se"] == [1.0, 2.0] and file.read_bytes() == left
    assert list(kept_times(file, {"se": arms["se"]}, progress=Told())) == ["se"] and calls == [2]
    assert json.loads(left)["se"]["sha256"] == content_of(arms["se"]) != content_of(arms["none"])
    bundle(arms["se"], "trained again")
    assert kept_times(file, arms, progress=Told())["none"] == [2.0, 2.0] and calls == [2, 2]
    file.write_text("[", encoding="utf-8")
    assert kept_times(file, arms, progress=Told())["none"] == [3.0, 2.0]


def test_arms_are_told_apart_by_their_pairs() -> None:
    slow = [10.0, 100.0, 30.0, 11.0]  # the same load for both: each turn is a tenth shorter
    fast = [0.9 * one for one in slow]
    assert ratio(fast, slow) == pytest.approx((0.9, 0.9)) and is_apart(fast, slow) == -1 and is_apart(slow, fast) == 1
    assert is_apart([1.0, 1.2] * 5, [1.1] * 10) == 0 and is_apart([1.04] * 5, [1.0] * 5) == 0
    assert told([1.0] * 5 + [50.0] * 5) == 1.0 and spread([1.0] * 5 + [1.5] * 5) == pytest.approx(0.5)
