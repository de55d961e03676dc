"""An attention plan in one line of text, the same on the command line, in a config and in Python. Nothing needs torch.

    se                                     SE in every block
    se@2,3                                 in stages 2 and 3, counted from 0
    cbam@3.*,2.5:position=inner            in these blocks, inside their branches
    se:start=open:reduction=32,16,16,8     exactly 1 at first; one reduction a stage
"""

from typing import Any, Literal, get_args

from excite.errors import UsageError

Place = Literal["standard", "pre", "post", "identity", "inner", "tail"]
PLACES: tuple[str, ...] = get_args(Place)
FORM = "KIND[@STAGES or BLOCKS][:position=...][:start=...][:OPTION=VALUE]"


def parse(text: str) -> dict[str, Any]:
    """Return the arguments of an AttentionPlan that `text` stands for.

    Raises:
        UsageError: it is not of the form KIND[@WHERE][:NAME=VALUE]...
    """
    head, *settings = text.strip().split(":")
    kind, at, where = head.partition("@")
    if not kind or (at and not where):
        raise _unclear(text)
    found: dict[str, Any] = {"kind": kind}
    places = [place.strip() for place in where.split(",")] if where else []
    if not all(places):
        raise _unclear(text)
    if places and all(place.isdigit() for place in places):
        found["stages"] = tuple(int(place) for place in places)
    elif places:
        found["blocks"] = tuple(f"{place}.*" if place.isdigit() else place for place in places)
    options: dict[str, object] = {}
    for setting in settings:
        name, equals, value = (part.strip() for part in setting.partition("="))
        if not (name and equals and value):
            raise _unclear(text)
        if name in ("position", "start"):
            found[name] = value
        else:
            options[name] = _value(value)
    return found | ({"options": options} if options else {})


def _value(text: str) -> object:
    """Return a number, a truth value, a word, or a tuple of them."""
    if "," in text:
        return tuple(_value(part.strip()) for part in text.split(","))
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _unclear(text: str) -> UsageError:
    return UsageError(f"an attention must be written {FORM}, got {text!r}", fix="for example se@2,3:position=pre")
