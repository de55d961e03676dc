"""The config of a scene: its words are those of the functions, and what does not go together is refused."""

import inspect
from pathlib import Path
from typing import Any

import pytest

from excite.config import Section, load_config
from excite.data.scenes.scene import open_scene
from excite.data.scenes.sections import ReductionSection, SceneAugmentSection, SceneSection, SceneSplitSection
from excite.errors import UsageError
from excite.jobs.scenes.sections import SceneConfig


@pytest.mark.parametrize(("section", "values", "text"), [
    (SceneSection, {"white": Path("w.hdr")}, "white and dark go together: give both or none"),
    (SceneSection, {"table": Path("t.csv"), "labels": Path("l.png")}, "a table names its cubes and the files of their "
                                                                      "labels: leave out cube, labels and purest"),
    (SceneSection, {"table": Path("t.csv"), "cube": Path("c.npy")}, "leave out cube, labels and purest"),
    (SceneSection, {"table": Path("t.csv"), "purest": 0.5}, "leave out cube, labels and purest"),
    (SceneSection, {"drop_bands": [-1]}, "greater than or equal to 0"),
    (SceneSection, {"no_data": "none"}, "no_data"),
    (SceneSplitSection, {"kind": "blocks"}, "'block', 'random', 'given' or 'patient'"),
    (SceneSplitSection, {"train": 0.9, "val": 0.1}, "train and val together must leave something to test on"),
    (SceneSplitSection, {"kind": "given", "train_map": Path("a")}, "kind given needs train_map and test_map"),
    (SceneSplitSection, {"val_map": Path("a")}, "train_map, val_map and test_map go with kind given"),
    (SceneSplitSection, {"gaurd": "pixel"}, "did you mean 'guard'"),
    (ReductionSection, {"kind": "bands"}, "kind bands needs bands or nanometres"),
    (ReductionSection, {"kind": "bands", "bands": [1], "nanometres": [500.0]}, "kind bands needs bands or nanometres"),
    (ReductionSection, {"bands": [1]}, "kind bands needs bands or nanometres"),
    (ReductionSection, {"kind": "none", "whiten": True}, "components and whiten go with kind pca"),
    (SceneAugmentSection, {"noise": -1}, "greater than or equal to 0"),
])
def test_what_cannot_be(section: type[Section], values: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_config(section, values=values)
    assert text in str(caught.value)


def test_what_can_be() -> None:
    assert load_config(SceneSection, values={"no_data": "nan"}).no_data == "nan"
    assert load_config(SceneSection, values={"no_data": -9999}).no_data == -9999
    assert load_config(ReductionSection, values={"kind": "bands", "nanometres": [550, 680]}).nanometres == (550, 680)


def test_the_words_of_a_scene_are_those_of_its_reader() -> None:
    given_by_code = {"choose", "usual_no_data"}
    assert {*SceneSection.model_fields, *given_by_code} == {"table", "drop_classes",
                                                            *inspect.signature(open_scene).parameters}


@pytest.mark.parametrize(("text", "bands"), [
    ("[10, 11]", (10, 11)), ("100-102,150", (100, 101, 102, 150)), ("7", (7,)), ("0", (0,)), ("3, 5-6", (3, 5, 6))])
def test_bands_are_set_as_they_are_typed(text: str, bands: tuple[int, ...]) -> None:
    assert load_config(SceneConfig, overrides=[f"scene.drop_bands={text}"]).scene.drop_bands == bands


@pytest.mark.parametrize("text", ["5-4", "a", "1,", "-3", "1.5,2"])
def test_wrong_bands_are_named_by_their_key(text: str) -> None:
    with pytest.raises(UsageError, match="scene.drop_bands: must be numbers and runs of them, from 0, such as "
                                         f"104-108,150, got '?{text}"):
        load_config(SceneConfig, overrides=[f"scene.drop_bands={text}"])


@pytest.mark.parametrize("text", ["bare soil, tree,water", "[bare soil, tree, water]"])
def test_class_names_are_set_as_they_are_typed(text: str) -> None:
    found = load_config(SceneConfig, overrides=[f"scene.classes={text}"]).scene
    assert found.classes == ("bare soil", "tree", "water")
