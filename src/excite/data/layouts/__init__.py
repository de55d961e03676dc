"""The forms that data sets come in; `choose` finds the one that fits."""

from excite.data.layouts import busi, fetal_planes, folder, hc18, image_masks, table  # noqa: F401  each registers its layout
from excite.data.layouts.layout import LAYOUTS, Layout
from excite.data.sections import DataSection
from excite.data.table import TABLE_SUFFIXES
from excite.errors import DataError


def choose(section: DataSection) -> tuple[str, Layout, str]:
    """Return name and layout of a section, and the reason in words: the one it names, else the first that fits.

    Raises:
        DataError: no layout fits. UsageError: the section names one that is not there.
    """
    if section.layout != "auto":
        return section.layout, LAYOUTS[section.layout](), f"layout {section.layout}: asked for"
    layouts = sorted(((name, LAYOUTS[name]()) for name in LAYOUTS), key=lambda pair: pair[1].general)
    if section.table is not None:
        for name, layout in layouts:
            reason = layout.fits(section.table)
            if reason:
                return name, layout, f"layout {name}: {reason}"
    raise DataError("neither a table nor a folder of pictures", where=section.table,
                    fix=f"known layouts: {', '.join(name for name, _ in layouts)}; "
                        f"a table ends in {', '.join(TABLE_SUFFIXES)}")
