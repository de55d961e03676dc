"""Errors carry what, where, why and fix; the registry helps with names."""

import pytest

from excite.errors import DataError, EnvironmentFault, ExciteError, Interrupted, ModelError, ParityError, UsageError
from excite.registry import Registry


def test_a_message_has_all_its_parts() -> None:
    fault = DataError("the label is empty", where="t.csv row 3", why="the cell is blank", fix="fill it")
    assert str(fault) == "t.csv row 3: the label is empty (the cell is blank); fill it"
    assert str(UsageError("no table")) == "no table"


def test_every_kind_has_its_exit_code() -> None:
    codes = {kind: kind.exit_code for kind in (ExciteError, ParityError, UsageError, DataError, ModelError,
                                               EnvironmentFault)}
    assert list(codes.values()) == [1, 1, 2, 3, 4, 5]
    assert Interrupted(15, fix="again").exit_code == 143
    assert all(issubclass(kind, ValueError) for kind in (UsageError, DataError, ModelError))


def test_an_unknown_name_names_the_nearest_and_all() -> None:
    registry: Registry[type] = Registry("colour")
    registry.register("red")(int)
    registry.register("green")(float)
    with pytest.raises(UsageError, match="unknown colour 'rad'; did you mean 'red'. known: green, red"):
        registry["rad"]
    with pytest.raises(UsageError, match="'red' is already registered"):
        registry.register("red")(str)
    assert list(registry) == ["green", "red"] and "red" in registry and "blue" not in registry
