"""What a head's prediction looks like as plain data."""

import json

from excite.ellipse import Ellipse
from excite.outcome.heads import HeadPrediction


def test_every_key_is_there_and_null_where_nothing_can_be_said() -> None:
    full = HeadPrediction(file="a.png", mask="a_mask.png", hc_mm=166.6, bpd_mm=45.6, ofd_mm=60.0,
                          interval_mm=(164.0, 169.0), ellipse=Ellipse(1.0, 2.0, 250.0, 190.0, 0.3)).to_json()
    assert json.loads(json.dumps(full)) == {
        "file": "a.png", "mask": "a_mask.png", "hc_mm": 166.6, "bpd_mm": 45.6, "ofd_mm": 60.0,
        "interval_mm": [164.0, 169.0], "ellipse": {"x": 1.0, "y": 2.0, "a": 250.0, "b": 190.0, "angle": 0.3}}
    empty = HeadPrediction(file="b.png", notes=("no head was found",)).to_json()
    assert list(empty) == [*full, "notes"] and [empty[name] for name in list(full)[1:]] == [None] * 6
