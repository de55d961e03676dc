"""What a person reads of a prediction, and types of a pixel's size."""

from collections.abc import Mapping
from typing import Any


def line_of(found: Mapping[str, Any]) -> str:
    """Return one line for a prediction's plain data: the answer first, the file last."""
    if "label" in found:
        return f"{found['probabilities'][found['label']]:.3f}  {found['label']:<16}  {found['file']}"
    return f"{_head(found) if 'ellipse' in found else _mask(found):<32}  {found['file']}"


def spacing_of(text: str | None) -> tuple[float, ...] | None:
    """Return the size of a pixel that was typed: one number, or two.

    Raises:
        UsageError: it is no such number.
    """
    from excite.data.table import parse_spacing
    from excite.errors import UsageError

    if text is None:
        return None
    try:
        found = parse_spacing(text)
    except ValueError:
        found = ()
    if len(found) not in (1, 2):
        raise UsageError(f"--spacing must be one or two positive numbers, got {text!r}",
                         fix="millimetres a pixel, down and across: --spacing 0.12")
    return found


def _head(found: Mapping[str, Any]) -> str:
    if found["ellipse"] is None:
        return "no head was found"
    if found["hc_mm"] is None:
        return "a head; --spacing MM measures it"
    interval = "" if found["interval_mm"] is None else " [{:.1f}, {:.1f}]".format(*found["interval_mm"])
    return f"HC {found['hc_mm']:.1f} mm{interval}"


def _mask(found: Mapping[str, Any]) -> str:
    if not found["area_px"]:
        return "nothing was found"
    area = f"{found['area_px']} pixels" if found["area_mm2"] is None else f"{found['area_mm2']:.1f} mm2"
    return f"{area}, {100 * found['share']:.1f} %"
