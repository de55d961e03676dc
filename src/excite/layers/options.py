"""Options by name, checked against the constructor that will take them."""

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, get_args

from excite.errors import UsageError
from excite.registry import nearest


def check_options(what: str, build: Callable[..., object], given: Iterable[str], *, fixed: Collection[str] = (),
                  also: Collection[str] = ()) -> None:
    """Raise for the first of `given` that `build` does not take, by name or, in a mapping, by its kind of value.

    Args:
        what: Whose options they are, for the message.
        build: The constructor.
        given: Names to check, or a mapping from them to values; a value has to be of the kind of the default, a tuple
            or list of values is one a stage.
        fixed: Arguments of `build` that are no options.
        also: Options that are taken elsewhere.

    Raises:
        UsageError: a name is unknown, with the nearest that is known; or a value is of another kind.
    """
    parameters = inspect.signature(build).parameters.values()
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return
    known = sorted({one.name for one in parameters if one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD)}
                   - {"self", *fixed} | {*also})
    for name in given:
        if name not in known:
            raise UsageError(f"{what} has no option {name!r}",
                             fix=f"{nearest(name, known)}options: {', '.join(known) or 'none'}")
    defaults = {one.name: one.default for one in parameters}
    for name, value in given.items() if isinstance(given, Mapping) else ():
        for one in value if isinstance(value, tuple | list) else (value,):
            _check_kind(f"{name} of {what}", one, defaults.get(name))


def _check_kind(what: str, given: object, default: object) -> None:
    """Raise where a value is not of the kind of its default: truth value, whole number, number or word."""
    kinds = {bool: ("true or false", (bool,)), int: ("a whole number", (int,)), float: ("a number", (int, float)),
             str: ("a word", (str,))}
    words, allowed = kinds.get(type(default), ("", ()))
    if allowed and (not isinstance(given, allowed) or (isinstance(given, bool) and bool not in allowed)):
        raise UsageError(f"{what} must be {words}, got {given!r}", fix=f"{default!r} is what it is without")


def read_value(text: str) -> Any:
    """Return a number, a truth value, None, a word, or a tuple of them where there are commas."""
    if "," in text:
        return tuple(read_value(part.strip()) for part in text.split(","))
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def check_choice(what: str, given: object, choices: Any, *, fix: str | None = None) -> None:
    """Raise where `given` is none of the `choices`, a Literal.

    Raises:
        UsageError: with all the choices.
    """
    known = get_args(choices)
    if given not in known:
        raise UsageError(f"{what} must be {' or '.join([', '.join(map(repr, known[:-1])), repr(known[-1])])}, "
                         f"got {given!r}", fix=fix)
