"""What simpler methods reach on a scene is what scikit-learn's own say on the same pixels."""

import re
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, balanced_accuracy_score, cohen_kappa_score, recall_score
from sklearn.svm import SVC
from torch import nn

from excite.config import load_config
from excite.errors import UsageError
from excite.jobs.scenes import baselines as module
from excite.jobs.scenes.baselines import Baseline, in_pairs, measured, run_baselines, units_of
from excite.jobs.scenes.prepare import PreparedScene, prepare_scene
from excite.jobs.scenes.sections import SceneConfig
from small_scenes import WINDOW, scene_config, small_scene, windows_of
from stand_ins import Told

pytestmark = pytest.mark.slow
Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene that is noisy enough for mistakes."""
    return small_scene(tmp_path_factory.mktemp("scene"), noise=0.15, pure=0.5)


@pytest.fixture(scope="module")
def prepared(cube: Path) -> PreparedScene:
    return prepare_scene(scene_config(cube, baselines=["svm", "forest"]))


def pixels(prepared: PreparedScene, code: int) -> tuple[Array, Array]:
    """Return the reduced spectra and the classes of a part."""
    places = prepared.split.parts == code
    return prepared.reduced[places], prepared.scene.labels.values[places] - 1


def best_of(models: list[Any], prepared: PreparedScene, some: slice | Array = slice(None)) -> Array:
    """Return the test answers of the model that is best on the validation pixels by mean recall."""
    values, truth = pixels(prepared, 1)
    found = [model.fit(values[some], truth[some]) for model in models]
    values, truth = pixels(prepared, 2)
    scores = [recall_score(truth, model.predict(values), average="macro") for model in found]
    assert max(scores) > min(scores)
    answers: Array = found[int(np.argmax(scores))].predict(pixels(prepared, 3)[0])
    return answers


def svms() -> list[Any]:
    return [SVC(C=cost, gamma=width / 13, class_weight="balanced")
            for cost, width in product((1, 10, 100), (0.1, 1, 10))]


def test_they_are_scikit_learns_own_chosen_on_the_validation_pixels(prepared: PreparedScene, tmp_path: Path) -> None:
    told = Told()
    svm, forest = run_baselines(prepared, tmp_path, progress=told)
    np.testing.assert_array_equal(svm.predicted, best_of(svms(), prepared))
    np.testing.assert_array_equal(forest.predicted, best_of(forests(), prepared))
    assert told.texts == ["baseline: SVM on spectra", "baseline: random forest on spectra"]
    truth = pixels(prepared, 3)[1]
    for one in (svm, forest):
        assert one.seconds > 0 and set(one.metrics) == {"accuracy", "balanced_accuracy", "kappa"}
        assert one.metrics["accuracy"].value == pytest.approx(accuracy_score(truth, one.predicted))
        assert one.metrics["balanced_accuracy"].value == pytest.approx(balanced_accuracy_score(truth, one.predicted))
        assert one.metrics["kappa"].value == pytest.approx(cohen_kappa_score(truth, one.predicted))
    assert 0.5 < accuracy_score(truth, svm.predicted) < 1


def forests() -> list[Any]:
    return [RandomForestClassifier(300, min_samples_leaf=leaf, class_weight="balanced_subsample", random_state=42)
            for leaf in (1, 5)]


def test_they_learn_from_so_many_pixels_at_most(prepared: PreparedScene, tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 60)
    all_of_them, told = len(pixels(prepared, 1)[0]), Told()
    some = np.random.default_rng(42).permutation(all_of_them)[:60]
    svm, forest = run_baselines(prepared, tmp_path, progress=told)
    np.testing.assert_array_equal(svm.predicted, best_of(svms(), prepared, some))
    np.testing.assert_array_equal(forest.predicted, best_of(forests(), prepared, some))
    assert told.texts[0] == f"baseline: SVM on spectra, on 60 of {all_of_them:,} training pixels"


def test_a_cnn_learns_from_the_same_windows(cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared, kept = prepare_scene(scene_config(cube, **{"baselines": ["cnn"], "loop.epochs": 2})), list[nn.Module]()
    build = module.build_network

    def built(*given: Any, **options: Any) -> Any:
        found = build(*given, **options)
        kept.append(found[0])
        return found

    monkeypatch.setattr(module, "build_network", built)
    (cnn,) = run_baselines(prepared, tmp_path)
    view = torch.from_numpy(windows_of(prepared.reduced, WINDOW)[prepared.split.parts == 3])
    with torch.inference_mode():
        expected = kept[0].eval()(view).argmax(1).numpy()
    assert (cnn.predicted == expected).mean() > 0.995 and cnn.name == "2-D CNN"
    (again,) = run_baselines(prepared, tmp_path)  # its training is finished: it goes on from there
    np.testing.assert_array_equal(again.predicted, cnn.predicted)


def test_the_epoch_of_the_cnn_is_chosen_on_the_validation_pixels(cube: Path, tmp_path: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    prepared, given = prepare_scene(scene_config(cube, baselines=["cnn"])), list[Any]()
    monkeypatch.setattr(module, "fit", lambda _, __, *batches, **___: given.extend(batches))
    run_baselines(prepared, tmp_path)
    assert len(given) == 2
    for code, batches in enumerate(given, 1):
        places = np.concatenate([one.index for one in batches.batches(0)])
        assert sorted(places) == np.flatnonzero(prepared.split.parts == code).tolist()


def test_units_are_the_blocks_of_the_test_pixels(prepared: PreparedScene) -> None:
    assert units_of(prepared) == [str(one) for one in prepared.split.unit[prepared.split.parts == 3]]
    assert 5 < len(set(units_of(prepared))) < 30


def test_a_comparison_in_pairs_draws_the_same_units_for_both(prepared: PreparedScene) -> None:
    truth = pixels(prepared, 3)[1]
    chance = np.random.default_rng(0)
    ours = np.where(chance.random(len(truth)) < 0.1, (truth + 1) % 3, truth)
    theirs = np.where(chance.random(len(truth)) < 0.3, (truth + 1) % 3, truth)
    told = in_pairs(prepared, ours, Baseline(name="SVM", predicted=theirs, metrics={}, seconds=0.0))
    found = re.fullmatch(r"network minus SVM, OA on the same pixels: (\S+) \[(\S+), (\S+)\]", told)
    assert found is not None
    units = np.array(units_of(prepared))
    gain = (ours == truth).astype(float) - (theirs == truth)
    names = np.unique(units)
    sums, sizes = (np.array([value[units == name].sum() for name in names]) for value in (gain, np.ones(len(gain))))
    drawn = np.random.default_rng(5).integers(len(names), size=(20_000, len(names)))
    expected = np.quantile(sums[drawn].sum(1) / sizes[drawn].sum(1), [0.025, 0.975])
    assert float(found[1]) == pytest.approx(gain.mean(), abs=6e-4)
    assert [float(found[2]), float(found[3])] == pytest.approx(expected, abs=0.015)
    same = in_pairs(prepared, ours, Baseline(name="SVM", predicted=ours, metrics={}, seconds=0.0))
    assert "pixels: 0.000 [0.000, 0.000]" in same


def test_an_interval_is_over_blocks_and_wider_than_over_pixels(prepared: PreparedScene) -> None:
    truth, units = pixels(prepared, 3)[1], np.array(units_of(prepared))
    wrong = np.isin(units, np.unique(units)[::3])  # whole blocks
    found = measured(prepared, np.where(wrong, (truth + 1) % 3, truth))["accuracy"]
    assert found.value is not None and found.low is not None and found.high is not None
    alone = (found.value * (1 - found.value) / len(truth)) ** 0.5 * 3.92
    assert found.high - found.low > 3 * alone


def test_an_unknown_one_is_refused() -> None:
    with pytest.raises(UsageError, match="baselines.0: Input should be 'svm', 'forest' or 'cnn', got 'knn'"):
        load_config(SceneConfig, values={"baselines": ["knn"]})
