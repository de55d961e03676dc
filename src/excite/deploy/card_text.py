"""Text and numbers of a model card."""

from collections.abc import Mapping
from typing import Any


def row_of(name: str, one: Mapping[str, Any]) -> str:
    """Return a line of a table: name, value and interval of one number, or why there is none."""
    if one["value"] is None:
        return f"| {name} | not defined | {text_of(one.get('note') or '')} |"
    low, high = one.get("low"), one.get("high")
    interval = "not defined" if low is None or high is None else f"{low:.3f} to {high:.3f}"
    return f"| {name} | {one['value']:.3f} | {interval} |"


def text_of(value: object) -> str:
    """Return any text so that Markdown and HTML show it and do not obey it."""
    text = " ".join(str(value).split())
    for mark in "\\`*_[]<>|#":
        text = text.replace(mark, f"\\{mark}" if mark not in "<>" else {"<": "&lt;", ">": "&gt;"}[mark])
    return text
