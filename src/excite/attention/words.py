"""An attention plan in one line of text, the same on the command line, in a config and in Python. Nothing needs torch.

    se                                     SE in every block
    se@2,3                                 in stages 2 and 3, counted from 0
    cbam@3.*,2.5:position=inner            in these blocks, inside their branches
    se@layer3,layer4.0                     in blocks of another network, by the names of its modules
    se:start=open:reduction=32,16,16,8     exactly 1 at first; one reduction a stage
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Literal, get_args

from excite.errors import UsageError
from excite.layers.options import read_value

Place = Literal["standard", "pre", "post", "identity", "inner", "tail"]
PLACES: tuple[str, ...] = get_args(Place)
OWN = ("position", "start", "stages")
BLOCK = r"[0-9]+|[0-9*?]+\.[0-9*?]+"
MODULE = r"[\w*?]+(\.[\w*?]+)*"  # with a letter in it, or it is a BLOCK
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
    if not all(places) or set(text) & set("()[]{}"):
        raise _unclear(text)
    if places and all(place.isdecimal() for place in places):
        found["stages"] = tuple(int(place) for place in places)
    elif places:
        if not all(re.fullmatch(BLOCK, place) or re.search("[^\\W\\d]", place) and re.fullmatch(MODULE, place)
                   for place in places):
            raise _unclear(text)
        found["blocks"] = tuple(f"{place}.*" if place.isdecimal() else place for place in places)
    options: dict[str, object] = {}
    for setting in settings:
        name, equals, value = (part.strip() for part in setting.partition("="))
        if not (name and equals and value):
            raise _unclear(text)
        if name in found or name in options:
            raise UsageError(f"{name} is said twice in {text!r}", fix="say it once")
        if name == "stages":
            found[name] = tuple(int(one) if one.strip().isdecimal() else -1 for one in value.split(","))
        elif name in OWN:
            found[name] = value
        elif close := get_close_matches(name, OWN, n=1, cutoff=0.75):
            raise UsageError(f"an attention has no {name!r}", fix=f"did you mean {close[0]!r}?")
        else:
            options[name] = read_value(value)
    return found | ({"options": options} if options else {})


def spelt(record: Mapping[str, Any]) -> str:
    """Return the line that stands for the arguments of a plan."""
    stages, blocks = record["stages"], record["blocks"]
    where = ",".join(str(place) for place in blocks or stages or ())
    both = {"stages": stages} if stages and blocks else {}
    settings = {**both, "position": record["position"], "start": record["start"], **record["options"]}
    usual = {"position": "standard", "start": "paper"}
    said = [f"{name}={_written(value)}" for name, value in settings.items() if usual.get(name) != value]
    return ":".join([record["kind"] + (f"@{where}" if where else ""), *said])


def _written(value: object) -> str:
    if isinstance(value, tuple | list):
        return ",".join(_written(part) for part in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _unclear(text: str) -> UsageError:
    return UsageError(f"an attention must be written {FORM}, got {text!r}", fix="for example se@2,3:position=pre")
