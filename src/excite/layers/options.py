"""Options by name, checked against the constructor that will take them."""

import inspect
from collections.abc import Callable, Collection, Iterable
from typing import Any, get_args

from excite.errors import UsageError
from excite.registry import nearest


def check_options(what: str, build: Callable[..., object], given: Iterable[str], *, fixed: Collection[str] = (),
                  also: Collection[str] = ()) -> None:
    """Raise for the first of `given` that `build` does not take, naming the nearest that it does.

    Args:
        what: Whose options they are, for the message.
        build: The constructor.
        given: Names to check.
        fixed: Arguments of `build` that are no options.
        also: Options that are taken elsewhere.

    Raises:
        UsageError: a name is unknown.
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


def check_choice(what: str, given: object, choices: Any, *, fix: str | None = None) -> None:
    """Raise where `given` is none of the `choices`, a Literal.

    Raises:
        UsageError: with all the choices.
    """
    known = get_args(choices)
    if given not in known:
        raise UsageError(f"{what} must be {' or '.join([', '.join(map(repr, known[:-1])), repr(known[-1])])}, "
                         f"got {given!r}", fix=fix)
