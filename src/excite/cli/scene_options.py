"""The options that say how a hyperspectral cube is read, the same for every verb that reads one."""

from pathlib import Path
from typing import Annotated, Any

import typer

SCENES = "Options for hyperspectral cubes"

Confidence = Annotated[Path | None, typer.Option(help="Write how sure each pixel's class is: .npy; of several cubes a "
                                                      "folder.", rich_help_panel=SCENES)]
Variable = Annotated[str | None, typer.Option(metavar="NAME", help="Which array of a .mat or .npz file.",
                                              rich_help_panel=SCENES)]
DropBands = Annotated[str | None, typer.Option(metavar="BANDS", help="Bands to leave out, from 0: 104-108,150; those "
                                               "of the training otherwise.", rich_help_panel=SCENES)]
NoData = Annotated[str | None, typer.Option(metavar="VALUE", help="Value of pixels without data: a number, or nan; "
                                            "that of the training or the header otherwise.", rich_help_panel=SCENES)]
White = Annotated[Path | None, typer.Option(help="White reference of a cube of raw counts; with --dark.",
                                            rich_help_panel=SCENES)]
Dark = Annotated[Path | None, typer.Option(help="Dark reference; with --white.", rich_help_panel=SCENES)]
Labels = Annotated[Path | None, typer.Option(help="Labels of the pixels of --data; else those beside it.",
                                             rich_help_panel=SCENES)]
ClassNames = Annotated[str | None, typer.Option("--classes", metavar="NAMES", help="Names of the labels 1, 2, ... of "
                                                "--data, comma-separated; those of the file otherwise.",
                                                rich_help_panel=SCENES)]
Block = Annotated[int | None, typer.Option(metavar="PIXELS", help="Side of the blocks of --data that the intervals "
                                           "are over; at least a window otherwise.", rich_help_panel=SCENES)]
Maps = Annotated[bool, typer.Option("--maps", help="Write prediction.png and errors.png beside evaluation.json.",
                                    rich_help_panel=SCENES)]


def reading(*, variable: str | None, drop_bands: str | None, no_data: str | None, white: Path | None,
            dark: Path | None) -> dict[str, Any]:
    """Return what was typed of how to read a cube, by the names of `open_cube`; what was not is left out.

    Raises:
        UsageError: it cannot be.
    """
    from excite.errors import UsageError

    if (white is None) != (dark is None):
        raise UsageError("--white and --dark must be given together", fix="name the other reference too")
    found = {"variable": variable, "drop_bands": None if drop_bands is None else _bands(drop_bands),
             "no_data": None if no_data is None else _no_data(no_data), "white": white, "dark": dark}
    return {name: value for name, value in found.items() if value is not None}


def _bands(text: str) -> tuple[int, ...]:
    from excite.data.scenes.sections import bands_of
    from excite.errors import UsageError

    try:
        return bands_of(text)
    except ValueError as fault:
        raise UsageError(f"--drop-bands {fault}, got {text!r}") from None


def _no_data(text: str) -> float | str:
    from excite.errors import UsageError

    try:
        value = float(text)
    except ValueError:
        value = None
    if value is None or value in (float("inf"), float("-inf")):
        raise UsageError(f"--no-data must be a number or nan, got {text!r}")
    return value if value == value else "nan"
