"""Areas by counting, regions as scipy counts them, plain data as the house promises it."""

import json

import numpy as np
import pytest
from scipy import ndimage

from excite.ellipse import Ellipse
from excite.outcome.heads import HeadPrediction
from excite.outcome.masks import MaskPrediction, area_of
from excite.outcome.overlay import ELLIPSE, overlay


@pytest.mark.parametrize(("spacing", "pixel"), [(None, None), ((0.5,), 0.25), ((0.2, 0.3), 0.06)])
def test_areas_and_regions(spacing: tuple[float, ...] | None, pixel: float | None) -> None:
    inside = np.random.default_rng(0).random((40, 70)) > 0.6
    found = area_of(inside, spacing)
    assert found.area_px == inside.sum() and found.share == pytest.approx(inside.mean())
    assert found.regions == ndimage.label(inside)[1]
    assert found.area_mm2 == (None if pixel is None else pytest.approx(inside.sum() * pixel))
    assert area_of(np.zeros((3, 3), bool), spacing).regions == 0


def test_plain_data_is_the_promised_one() -> None:
    one = MaskPrediction(file="a.png", classes=("region",), mask="m.png", area_px=3, area_mm2=0.5, share=0.1, regions=1)
    assert json.loads(json.dumps(one.to_json())) == {"file": "a.png", "mask": "m.png", "area_px": 3, "area_mm2": 0.5,
                                                     "share": 0.1, "regions": 1}
    assert one == MaskPrediction(**{**one.__dict__, "probabilities": np.zeros((2, 2), np.float32)})
    several = MaskPrediction(file="a", classes=("rest", "x"), of_classes={"x": area_of(np.ones((2, 2), bool), None)},
                             notes=("so",)).to_json()
    assert several["classes"]["x"]["area_px"] == 4 and several["notes"] == ["so"] and several["mask"] is None


def test_an_overlay_draws_where_it_was_found_and_leaves_the_rest() -> None:
    ellipse = Ellipse(60, 50, 30, 20, 0.4)
    image = np.full((1, 100, 120), 77, np.uint8)
    one = HeadPrediction(file="a", hc_mm=100.0, bpd_mm=20.0, ofd_mm=30.0, interval_mm=(95.0, 105.0), ellipse=ellipse,
                         probabilities=ellipse.coverage((100, 120)))
    drawn = overlay(image, one, level=0.5)
    changed = (drawn != 77).any(axis=2)
    rows, columns = np.indices(changed.shape)
    far = np.abs(ellipse.distances(np.stack([columns.ravel(), rows.ravel()], axis=1))).reshape(changed.shape)
    assert drawn.shape == (100, 120, 3) and changed[far < 0.5].mean() > 0.95
    assert not changed[(far > 3) & (rows > 45)].any() and changed[:30, :60].any()  # numbers in the corner
    assert np.abs(drawn.astype(int) - ELLIPSE).sum(axis=2).min() < 60 and (image == 77).all()
    deep = overlay(np.full((3, 100, 120), 3000, np.uint16), HeadPrediction(file="b"), level=0.5, value_range=(0, 6000))
    assert (deep[60:] == 127).all()


@pytest.mark.parametrize("ellipse", [Ellipse(150.25, 160.5, 90, 70, 0.4), Ellipse(150.75, 160.25, 100, 60, 1.2)])
def test_the_ellipse_is_drawn_to_a_fraction_of_a_pixel(ellipse: Ellipse) -> None:
    drawn = overlay(np.zeros((1, 300, 300), np.uint8), HeadPrediction(file="a", ellipse=ellipse), level=0.5)
    weights = drawn[40:, :, 0].astype(np.float64)  # below the numbers
    rows, columns = np.indices(weights.shape)
    middle = (weights * columns).sum() / weights.sum(), (weights * (rows + 40)).sum() / weights.sum()
    assert middle == pytest.approx(ellipse[:2], abs=0.1)
