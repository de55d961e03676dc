"""Numbers beside the maps: what is a number, the training part's scale, and which values are doubted."""

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from excite.data.volumes.clinical import ClinicalColumn, doubts_of, number_of, scaled
from excite.errors import DataError, ModelError

VALUES = np.array([[40, 58], [36, np.nan], [62, 98], [55, 71], [np.nan, 34]], np.float32)


@pytest.fixture
def columns():
    return tuple(ClinicalColumn.fit(name, column) for name, column in zip(("age", "egfr"), VALUES.T, strict=True))


def test_the_scale_is_scikit_learns_and_missing_values_stay(columns):
    assert np.allclose(scaled(columns, VALUES), StandardScaler().fit_transform(VALUES), atol=1e-6, equal_nan=True)
    assert scaled(columns, VALUES).dtype == np.float32 and [one.known for one in columns] == [4, 4]
    assert (columns[0].low, columns[0].high) == (36, 62)


@pytest.mark.parametrize(("cell", "value"), [("54", 54), (" -1.5e2 ", -150), (".5", 0.5), ("7.", 7), (3, 3.0),
                                             (np.float32(2), 2.0)])
def test_numbers(cell, value):
    assert number_of(cell) == value


@pytest.mark.parametrize("cell", ["", None, float("nan")])
def test_what_is_missing(cell):
    assert np.isnan(number_of(cell))


@pytest.mark.parametrize("cell", ["fifty", "61,5", "1_000", "nan", "NA", "inf", "0x10", "4 5", ">60"])
def test_texts_are_no_numbers(cell):
    with pytest.raises(ValueError, match=r"must be a number with a decimal point, or empty, got "):
        number_of(cell)


@pytest.mark.parametrize("cell", [True, float("inf"), [4], b"4"])
def test_other_things_are_no_numbers(cell):
    with pytest.raises(ValueError, match=r"must be a number, or left out, got "):
        number_of(cell)


@pytest.mark.parametrize("cell", ["1e39", "-1e39", 1e39, -1e39, np.float64(4e38), 10 ** 400])
def test_numbers_that_float32_cannot_hold(cell):
    with pytest.raises(ValueError, match=r"must be a number from -3.403e\+38 to 3.403e\+38, got -?[14]"):
        number_of(cell)
    assert number_of("3.4e38") == 3.4e38


@pytest.mark.parametrize(("values", "held"), [([5, 5, np.nan], "5 alone"), ([np.nan, np.nan], "none")])
def test_a_column_that_tells_nothing_is_refused(values, held):
    with pytest.raises(DataError, match=f"the column age must hold different values in the training part, got {held}"):
        ClinicalColumn.fit("age", np.array(values, np.float32))


def test_values_far_outside_the_training_are_doubted(columns):
    # ages 36 to 62: a quarter of the range is 6.5
    assert not doubts_of(columns, [68.5, np.nan]) and not doubts_of(columns, [29.5, 98])
    assert doubts_of(columns, [600.0, 60]) == ["age: 600 lies outside what the training patients have, 36 to 62: "
                                               "another unit, or a patient unlike them"]
    assert doubts_of(columns, [68.6, 60]) and doubts_of(columns, [29.4, 60])
    wide = ClinicalColumn.fit("egfr", np.array([18.0, 110]))  # less than a fifth of the least: mL/s
    assert wide.doubt(1.2) and not wide.doubt(4)
    signed = ClinicalColumn.fit("z", np.array([-2.0, 2]))
    assert not signed.doubt(-3) and signed.doubt(-3.1)


def test_json_gives_the_same_back_and_refuses_others(columns):
    tree = columns[0].to_json()
    assert ClinicalColumn.from_json(tree) == columns[0]
    for broken in ({**tree, "std": 0}, {**tree, "mean": float("nan")}, {**tree, "low": 50}, {**tree, "more": 1},
                   {key: value for key, value in tree.items() if key != "high"}, {**tree, "name": 3}):
        with pytest.raises(ModelError, match="the stored clinical columns cannot be used"):
            ClinicalColumn.from_json(broken)
