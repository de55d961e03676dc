"""Pictures of patients: which are shown, the right way round, missing maps said."""

import numpy as np

from excite.data.volumes.preprocess import VolumePreprocess
from excite.jobs.volumes.pictures import patient_pictures

MAPS = ("t1", "adc")


def made():
    stored = np.random.default_rng(0).normal(100, 10, (12, 2, 3, 8, 16)).astype(np.float32)
    stored[0, 0] = 0
    stored[0, 0, 1, 6:, 12:] = 200  # front and right, in the middle slice alone
    stored[2, 1] = np.nan
    stored[3, 0, 1, :, :8] = np.nan
    return stored, VolumePreprocess(maps=MAPS, reference="t1", shape=(3, 8, 16), spacing=(4.0, 4.0, 2.0)).fit(stored)


def test_the_surest_mistakes_come_first_and_the_patient_lies_as_usual():
    stored, preprocess = made()
    truth = [0, 1] * 6
    shares = np.array([[0.9, 0.1], [0.3, 0.7]] * 6)
    for place, share in ((2, 0.8), (5, 0.1), (6, 0.6), (7, 0.55), (8, 0.95), (9, 0.52)):
        wrong = 1 - truth[place]
        shares[place, wrong], shares[place, truth[place]] = max(share, 1 - share), min(share, 1 - share)
    found = patient_pictures(stored, preprocess, [f"line {row + 2}" for row in range(12)], truth, shares, ("a", "b"))
    assert [one.name for one in found[:4]] == ["line 10", "line 7", "line 4", "line 8"]
    assert all(one.truth != one.label for one in found[:4]) and all(one.truth == one.label for one in found[4:])
    assert len(found) <= 8 and found[4].name == "line 2" and found[0].probability == 0.95
    t1, adc = found[4].panes
    assert t1.pixels.shape == (200, 200) and t1.pixels.dtype == np.uint8  # 8 x 4 mm and 16 x 2 mm
    half = t1.pixels.astype(float)
    corner = half[:40, :40].mean()
    assert corner > 2 * max(half[-40:, :40].mean(), half[-40:, -40:].mean(), half[:40, -40:].mean(), 1)
    low, high = preprocess.levels[0].low, preprocess.levels[0].high
    assert t1.window == f"{low:.4g} to {high:.4g}" and adc.name == "adc"


def test_missing_maps_are_none_and_what_was_not_seen_is_black():
    stored, preprocess = made()
    shares = np.tile([0.9, 0.1], (12, 1))
    both = patient_pictures(stored[2:4], preprocess, ["line 4", "line 5"], [0, 0], shares[:2], ("a", "b"))
    assert both[0].panes[1].pixels is None and both[0].panes[1].window == ""
    pixels = both[1].panes[0].pixels
    assert not pixels[:, 110:].any() and pixels[:, :90].mean() > 50  # the left of the patient is on the right


def test_scans_without_a_unit_have_a_window_each():
    stored, _ = made()
    preprocess = VolumePreprocess(maps=MAPS, reference="t1", shape=(3, 8, 16), spacing=(4.0, 4.0, 2.0),
                                  kind="volume").fit(stored)
    [one] = patient_pictures(stored[1:2], preprocess, ["x"], [0], np.array([[0.9, 0.1]]), ("a", "b"))
    assert one.panes[0].window and one.panes[0].pixels.std() > 30
