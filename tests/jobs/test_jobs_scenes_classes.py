"""Classes of another scene: matched by name, by number where there are no names, and never by chance."""

import numpy as np
import pytest
from numpy.typing import ArrayLike

from excite.data.scenes.labels import LabelMap, make_labels
from excite.errors import DataError
from excite.jobs.scenes.classes import truth_of

CLASSES = ("soil", "tree", "water")


def labelled(values: ArrayLike, classes: tuple[str, ...] | None) -> LabelMap:
    return make_labels(np.asarray(values, np.int32), source="b.hdr", classes=classes)


def test_classes_are_matched_by_name_whatever_their_numbers() -> None:
    found, notes = truth_of(labelled([[0, 1], [2, 3]], ("water", "soil", "tree")), CLASSES)
    assert found.tolist() == [[0, 3], [1, 2]] and found.dtype == np.int32 and not notes


def test_classes_that_one_of_the_two_lacks_do_not_matter() -> None:
    found, notes = truth_of(labelled([[0, 2], [2, 0]], ("road", "tree")), CLASSES)
    assert found.tolist() == [[0, 2], [2, 0]] and not notes


def test_labels_without_names_are_taken_by_their_numbers_and_it_is_said() -> None:
    found, notes = truth_of(labelled([[0, 1], [3, 3]], None), CLASSES)
    assert found.tolist() == [[0, 1], [3, 3]]
    assert notes == ["the labels have no names: their numbers are taken for the network's, 1 soil, 2 tree, 3 water"]


def test_a_network_without_names_takes_such_labels_without_a_word() -> None:
    found, notes = truth_of(labelled([[1, 2]], None), ("class 1", "class 2", "class 3"))
    assert found.tolist() == [[1, 2]] and not notes


@pytest.mark.parametrize(("values", "classes", "message"), [
    ([[1, 2, 2]], ("soil", "trees"), r"b.hdr: labels that the network does not know: 'trees' \(2 pixels\) \(its "
                                     r"classes are 'soil', 'tree', 'water'\); did you mean 'tree'\? rename them"),
    ([[1, 2, 3, 4]], None, r"the network has 3 classes, the labels go up to 4 \(its classes are soil, tree, water\); "
                           "give the names of the labels with --classes, or set such pixels to 0"),
    ([[1, 2]], ("class 1", "soil"), r"'class 1' \(1 pixel\)"),
])
def test_what_does_not_fit_is_refused(values: ArrayLike, classes: tuple[str, ...] | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        truth_of(labelled(values, classes), CLASSES)
