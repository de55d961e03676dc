"""What a model card says of a network for masks."""

from collections.abc import Mapping
from typing import Any

from excite.deploy.card_text import row_of, text_of

_UNMEASURED = ["## How good it is", "Not measured: the bundle holds no evaluation."]


def what(info: Mapping[str, Any]) -> list[str]:
    """Return what the network does."""
    names = ", ".join(map(text_of, info["classes"]))
    does = {"heads": f"Draws {names} in a picture, fits an ellipse to the outline, in the picture's own pixels, and "
                     "states its circumference and its two diameters, in millimetres where the size of a pixel is "
                     "known and not at all where it is not.",
            "segmentation": f"Tells for each pixel of a picture whether it is {names}, and how large that is."
            if len(info["classes"]) == 1 else
            f"Tells which of these each pixel of a picture is: {names}; the first is the background."}
    return ["## What it does", f"{does[info['task']]}\nMade {info['created'] or 'at an unknown time'}."]


def measured(info: Mapping[str, Any]) -> list[str]:
    """Return the numbers of the evaluation: each a text, or a value with its interval."""
    found = info["metrics"]
    rows = found.get("metrics") if isinstance(found.get("metrics"), Mapping) else {
        name: value for name, value in found.items() if isinstance(value, str) and name not in ("part", "unit_kind")}
    if not rows:
        return _UNMEASURED
    lines = ["| measure | value | 95 % interval |", "|---|---|---|"]
    lines += [_row(name.replace("_", " "), one) for name, one in rows.items()]
    said = [f"Measured on the {text_of(found['part'])} part: {found['n']} images, {found['n_units']} units "
            f"({text_of(found['unit_kind'])}); intervals from a bootstrap over these units."] if {
        "part", "n", "n_units", "unit_kind"} <= found.keys() else []
    notes = [f"- {text_of(note)}" for note in found.get("notes", ())]
    return ["## How good it is", *said, "\n".join(lines), *(["\n".join(notes)] if notes else [])]


def levels(info: Mapping[str, Any]) -> list[str]:
    """Return what counts as inside, and what is known of the error of one circumference."""
    level = info["thresholds"].get("level", 0.5)
    lines = [f"A pixel is inside from a probability of {level:g} on." if len(info["classes"]) == 1 else
             "A pixel is of the class that is most probable there."]
    interval = info["interval"]
    if interval:
        lines.append(f"Each circumference comes with an interval that is meant to hold the truth of "
                     f"{100 * interval['level']:g} % of new pictures like the {interval['n']} that it was fitted on; "
                     "it is the wider, the more views, levels and outline disagree.")
    elif info["task"] == "heads":
        lines.append("How far off one circumference may be is not known: the bundle holds no interval.")
    return ["## Level and interval", "\n".join(lines)]


def limits(info: Mapping[str, Any]) -> list[str]:
    """Return what not to trust it with."""
    heads = ["- It takes every picture for one of a head in a plane that can be measured; it does not judge the plane.",
             "- A head that the picture's border cuts is measured by the outline inside, and a note says so."]
    return ["## Limits", "\n".join([
        *(heads if info["task"] == "heads" else []),
        "- Millimetres are as right as the size of a pixel that they rest on.",
        "- Other machines, probes, operators or patients than those of the training data can change how good it is; "
        "measure it on your own data first: `excite evaluate BUNDLE --data TABLE`.",
        "- Burned-in text, calipers and machine marks can act as shortcuts.",
        f"- {info['disclaimer']}"])]


def _row(name: str, one: object) -> str:
    if isinstance(one, Mapping):
        return row_of(text_of(name), one)
    value, _, interval = str(one).partition("[")
    return f"| {text_of(name)} | {text_of(value)} | {text_of(interval.rstrip('] '))} |"
