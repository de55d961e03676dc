"""How a cube is read, as it is typed."""

from pathlib import Path
from typing import Any

import pytest

from excite.cli.scene_options import reading
from excite.errors import UsageError

NONE: dict[str, Any] = {"variable": None, "drop_bands": None, "no_data": None, "white": None, "dark": None}


@pytest.mark.parametrize(("text", "bands"), [
    ("0", (0,)), ("104-108,150", (104, 105, 106, 107, 108, 150)), (" 3 , 5 - 6 ", (3, 5, 6)), ("7-7", (7,))])
def test_bands(text: str, bands: tuple[int, ...]) -> None:
    assert reading(**NONE | {"drop_bands": text}) == {"drop_bands": bands}


@pytest.mark.parametrize("text", ["", "a", "1,", "-3", "3-", "5-4", "1.5", "1-2-3", "[1, 2]"])
def test_wrong_bands(text: str) -> None:
    with pytest.raises(UsageError, match="--drop-bands must be numbers and runs of them, from 0, such as 104-108,150, "
                                         "got "):
        reading(**NONE | {"drop_bands": text})


def test_what_was_not_typed_is_left_out() -> None:
    assert reading(**NONE) == {}
    assert reading(**NONE | {"no_data": "0", "drop_bands": "0", "variable": "cube"}) == {
        "no_data": 0.0, "drop_bands": (0,), "variable": "cube"}
    assert reading(**NONE | {"white": Path("w"), "dark": Path("d")}) == {"white": Path("w"), "dark": Path("d")}


@pytest.mark.parametrize(("text", "value"), [("nan", "nan"), ("NaN", "nan"), ("-9999", -9999.0), ("1e-3", 0.001)])
def test_no_data(text: str, value: float | str) -> None:
    assert reading(**NONE | {"no_data": text}) == {"no_data": value}


@pytest.mark.parametrize(("given", "message"), [
    ({"no_data": "none"}, "--no-data must be a number or nan, got 'none'"),
    ({"no_data": "-inf"}, "--no-data must be a number or nan, got '-inf'"),
    ({"white": Path("w")}, "--white and --dark must be given together; name the other reference too"),
    ({"dark": Path("d")}, "--white and --dark must be given together"),
])
def test_what_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        reading(**NONE | given)
