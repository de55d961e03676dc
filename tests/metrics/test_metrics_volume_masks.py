"""Numbers of label volumes: against what is counted by hand, and the conventions for classes that are not there."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from excite.errors import DataError
from excite.metrics.surface import boundary
from excite.metrics.volume_masks import VolumeMaskRow, evaluate_volume_masks, label_scores

CLASSES = {"outer": 1, "inner": 7}
NAMES = ("background", *CLASSES)


def labels(seed, share=0.3):
    random = np.random.default_rng(seed)
    return np.where(random.random((9, 10, 11)) < share, random.choice([1, 7], (9, 10, 11)), 0)


def row(number, scores, unit=None):
    return VolumeMaskRow(file=f"s{number}", line=number, unit=unit or f"u{number}", voxels=990, classes=scores)


def evaluated(rows):
    return evaluate_volume_masks(rows, classes=NAMES, part="test", unit_kind="patient", resamples=200)


def test_each_class_is_counted_and_measured_by_itself():
    found, truth, spacing = labels(1), labels(2), (2.0, 1.0, 0.5)
    scores = label_scores(found, truth, CLASSES, spacing=spacing)
    for name, value in CLASSES.items():
        one, other, of = found == value, truth == value, scores[name]
        assert (of.predicted, of.truth) == (one.sum(), other.sum())
        assert of.scores["dice"] == pytest.approx(2 * (one & other).sum() / (one.sum() + other.sum()))
        assert of.scores["iou"] == pytest.approx((one & other).sum() / (one | other).sum())
        assert of.scores["sensitivity"] == pytest.approx((one & other).sum() / other.sum())
        assert of.scores["difference_ml"] == pytest.approx((int(one.sum()) - int(other.sum())) * 1.0 / 1000)
        there, back = (distance_transform_edt(~boundary(b), sampling=spacing)[boundary(a)]
                       for a, b in ((one, other), (other, one)))
        assert of.scores["hd95_mm"] == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
        assert of.scores["assd_mm"] == pytest.approx(np.concatenate([there, back]).mean())


def test_without_a_spacing_there_are_no_millimetres():
    scores = label_scores(labels(1), labels(2), CLASSES, spacing=None)["outer"].scores
    assert "hd95_voxels" in scores and not any("mm" in name or "ml" in name for name in scores)
    found = evaluated([row(n, label_scores(labels(n), labels(n + 9), CLASSES, spacing=None)) for n in range(3)])
    assert any("no voxel size is known for 3 of 3 scans" in note for note in found.notes)


def test_a_class_that_is_not_there_is_left_out_one_that_is_missed_is_0():
    truth, found = np.zeros((6, 6, 6), int), np.zeros((6, 6, 6), int)
    nothing = label_scores(found, truth, CLASSES, spacing=(1, 1, 1))
    assert nothing["outer"].scores["dice"] is None and nothing["outer"].scores["hd95_mm"] is None
    truth[2:4, 2:4, 2:4] = 1
    missed = label_scores(found, truth, CLASSES, spacing=(1, 1, 1))
    assert missed["outer"].scores["dice"] == 0 and missed["outer"].scores["hd95_mm"] is None
    made_up = label_scores(truth, found, CLASSES, spacing=(1, 1, 1))
    assert made_up["outer"].scores["dice"] == 0 and made_up["outer"].scores["sensitivity"] is None
    right = label_scores(truth, truth, CLASSES, spacing=(1, 1, 1))
    table = evaluated([row(0, nothing), row(1, missed), row(2, made_up), row(3, right)])
    assert table.per_class["outer"]["dice"].value == pytest.approx(1 / 3)
    assert table.per_class["inner"]["dice"].value is None
    assert table.metrics["dice"].value == pytest.approx(1 / 3)
    said = " ".join(table.notes)
    assert "outer is not there in 2 of 4 scans: found all the same in 1, which count as Dice 0" in said
    assert "outer was not found in 1 of 4 scans where it is" in said and "fewer than 10 units" in said


def test_a_scans_number_is_the_mean_of_its_classes_and_intervals_are_over_units():
    rows = [row(n, label_scores(labels(n), labels(n + 50), CLASSES, spacing=(1, 1, 1)), unit=f"u{n // 2}")
            for n in range(24)]
    found = evaluated(rows)
    means = [np.mean([one.scores["dice"] for one in each.classes.values()]) for each in rows]
    assert found.metrics["dice"].value == pytest.approx(np.mean(means)) and found.n_units == 12
    assert [each.dice for each in rows] == pytest.approx(means)
    one = found.metrics["dice"]
    assert one.low < one.value < one.high and "mean of classes  dice 0." in found.text()
    assert found.to_json()["per_class"]["inner"]["dice"]["value"] == found.per_class["inner"]["dice"].value


def test_a_network_no_better_than_one_answer_is_said_to_be_so():
    truth = np.where(np.random.default_rng(0).random((9, 10, 11)) < 0.9, 1, 0)
    found = evaluated([row(n, label_scores(truth * (np.arange(11) < 2), truth, {"outer": 1, "inner": 7},
                                           spacing=(1, 1, 1))) for n in range(12)])
    assert found.unproven and "one class for the whole scan" in found.unproven[0] and "BEWARE" in found.text()


def test_what_cannot_be_measured_is_an_error():
    with pytest.raises(DataError, match=r"must have the true ones' size \(2, 2, 2\), got \(2, 2, 3\)"):
        label_scores(np.zeros((2, 2, 3)), np.zeros((2, 2, 2)), CLASSES, spacing=None)
    with pytest.raises(DataError, match="there is no scan to measure"):
        evaluated([])
