"""`excite export`: the bundle of a run once more, with a proof on its data."""

from pathlib import Path
from typing import Annotated

import typer

INPUTS = {"scene": "CUBE", "volumes": "TABLE", "volume_masks": "SCAN.nii.gz"}


def export(
    source: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, or bundle (then --data is needed).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the bundle.")],
    data: Annotated[list[Path] | None, typer.Option(help="Images, scans, folder or table to prove it on, or a "
                                                         "cube; the run's own otherwise.")] = None,
    images: Annotated[int, typer.Option(min=1, help="How many images, or windows, patients, scans, prove it.")] = 32,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Export a run's weights to ONNX and prove on real images, or windows of its cube, patients or scans,
    that nothing changed.

    excite train does this at its end; use it to move a run to another place, or after an update of torch. Exit code 1,
    and nothing written, where the exported network differs from the trained one.

    \b
    Examples:
      excite export runs/busi --out model
      excite export runs/busi/bundle --out model --data images/
      excite export runs/busi --out model --images 100 --json
      excite export runs/pines --out model
    """
    from excite.cli.scenes import quoted
    from excite.cli.talk import emit, say
    from excite.jobs.export import export_again
    from excite.progress import spoken

    info = export_again(source, out, data=data or (), images=images, progress=spoken())
    if json:
        emit({"bundle": str(out), "parity": info.parity, "sha256": info.sha256})
    else:
        typer.echo(f"bundle: {out}")
    say(f"next: excite predict {quoted(out)} {INPUTS.get(info.task, 'IMAGE_OR_FOLDER')}")
