"""The options that map a table's columns, the same for every verb that reads one."""

from pathlib import Path
from typing import Annotated

import typer

Root = Annotated[Path | None, typer.Option(help="Folder that image paths are relative to; the table's otherwise.")]
ImageCol = Annotated[str | None, typer.Option(help="Column of image paths.")]
LabelCol = Annotated[str | None, typer.Option(help="Column of labels.")]
PatientCol = Annotated[str | None, typer.Option(help="Column of patient ids.")]
GroupCol = Annotated[str | None, typer.Option(help="Column of groups that must stay together.")]
PatientFrom = Annotated[str | None, typer.Option(help="Regex on the image path; its group is the patient.")]
Layout = Annotated[str | None, typer.Option(help="auto, table, folder, busi or fetal_planes.")]
ExistingOnly = Annotated[bool | None, typer.Option("--existing-only", help="Leave out rows without a file, counted.")]
ClassesFrom = Annotated[str | None, typer.Option("--classes", help="Order of the classes, comma-separated.")]
