"""The columns of a table of predictions, by the kind of work.

A spreadsheet runs a cell that begins with =, +, - or @ as a formula. In CSV such a file name gets "./" in front, which
is the same file, and other text an apostrophe; a class whose name begins so, or is that of a fixed column, has the
column p(NAME). JSON lines hold every text as it is.
"""

from collections.abc import Sequence
from typing import Protocol

from excite.deploy.bundle import BundleInfo
from excite.ellipse import Ellipse
from excite.outcome.anything import Prediction
from excite.outcome.heads import HeadPrediction
from excite.outcome.masks import MaskPrediction
from excite.outcome.prediction import ClassPrediction

FIXED = ("file", "label", "probability", "error", "notes")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class Columns(Protocol):
    """What stands between the columns file and error."""

    header: tuple[str, ...]

    def row(self, one: Prediction) -> list[str]:
        """Return the cells of one prediction that is none that failed."""


def columns_of(info: BundleInfo) -> Columns:
    """Return the columns of what a bundle predicts."""
    if info.task == "classification":
        return ClassColumns(info.classes)
    return HeadColumns() if info.task == "heads" else MaskColumns(info.classes)


class ClassColumns:
    """label, probability, one column a class; a probability has 6 digits."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.header = (*FIXED[1:3], *map(column, classes))

    def row(self, one: Prediction) -> list[str]:
        """Return the cells of one prediction."""
        assert isinstance(one, ClassPrediction)
        return [cell(one.label), f"{one.probabilities[one.label]:.6f}",
                *(f"{one.probabilities[name]:.6f}" for name in self.classes)]


class NotedClassColumns(ClassColumns):
    """The same and what is doubtful or missing, in one cell."""

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__(classes)
        self.header = (*self.header, "notes")

    def row(self, one: Prediction) -> list[str]:
        """Return the cells of one prediction."""
        assert isinstance(one, ClassPrediction)
        return [*super().row(one), cell("; ".join(one.notes))]


class HeadColumns:
    """Millimetres with 3 digits, the ellipse in pixels of the original image; empty where nothing can be said."""

    header = ("mask", "hc_mm", "bpd_mm", "ofd_mm", "low_mm", "high_mm", "spacing_mm",
              *(f"{name}_px" for name in Ellipse._fields[:4]), "angle_rad", "notes")

    def row(self, one: Prediction) -> list[str]:
        """Return the cells of one prediction."""
        assert isinstance(one, HeadPrediction)
        millimetres = (one.hc_mm, one.bpd_mm, one.ofd_mm, *(one.interval_mm or (None, None)))
        return [_path(one.mask), *("" if value is None else f"{value:.3f}" for value in millimetres),
                " ".join(f"{one:g}" for one in one.spacing_mm or ()),
                *(["" for _ in Ellipse._fields] if one.ellipse is None else (f"{value:.5f}" for value in one.ellipse)),
                cell("; ".join(one.notes))]


class MaskColumns:
    """Areas in pixels and square millimetres, of the whole and of each class where there are several."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes[1:])
        named = (f"{name}({one})" for one in self.classes for name in ("area_px", "area_mm2", "share", "regions"))
        self.header = ("mask", "area_px", "area_mm2", "share", "regions", *named, "notes")

    def row(self, one: Prediction) -> list[str]:
        """Return the cells of one prediction."""
        assert isinstance(one, MaskPrediction)
        areas = [one.whole, *(one.of_classes[name] for name in self.classes)]
        return [_path(one.mask), *(text for area in areas for text in (
            str(area.area_px), "" if area.area_mm2 is None else f"{area.area_mm2:.3f}", f"{area.share:.6f}",
            str(area.regions))), cell("; ".join(one.notes))]


def column(name: str) -> str:
    """Return the header of a class's column."""
    return f"p({name})" if name in FIXED or name.startswith(_FORMULA) else name


def cell(text: str, *, path: bool = False) -> str:
    """Return text that no spreadsheet runs as a formula."""
    if not text.startswith(_FORMULA):
        return text
    return f"./{text}" if path else f"'{text}"


def _path(mask: str | None) -> str:
    return "" if mask is None else cell(mask, path=True)
