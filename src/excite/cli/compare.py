"""`excite compare`: whether one network is better than another, how sure that is, and what it costs."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from excite.cli.columns import GroupCol, ImageCol, LabelCol, PatientCol, PatientFrom, Root

RESAMPLES = 10_000


def compare(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="Run folder; with --data a bundle too.")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help="The other, which may be better.")],
    metric: Annotated[str | None, typer.Option(help="The question: balanced accuracy of classes, Dice of masks, "
                                                    "adf_mm of heads otherwise.")] = None,
    margin: Annotated[float | None, typer.Option(help="How much worse B may be and still count as not worse: 0.02 is "
                                                      "2 points; of distances, mm.")] = None,
    data: Annotated[Path | None, typer.Option(help="Measure both on all rows of this table or folder.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for compare.html and compare.json.")] = None,
    resamples: Annotated[int, typer.Option(min=1, help="Of the bootstrap, and swaps.")] = RESAMPLES,
    seed: Annotated[int, typer.Option(min=0, help="Of both.")] = 0,
    root: Root = None,
    image_col: ImageCol = None,
    label_col: LabelCol = None,
    patient_col: PatientCol = None,
    group_col: GroupCol = None,
    patient_from: PatientFrom = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Say in one sentence whether B is better than A, by how much, how sure that is, and what it costs.

    Both must have been tested on the same images with the same truth; with --data both are measured on one table. The
    metric is the question, named before you look; the p of all others are corrected for how many there are (Holm).
    Tests go by patient, or what else the units are. Milliseconds are measured here, both networks in turn.

    \b
    Examples:
      excite compare runs/plain runs/se
      excite compare runs/plain runs/se --metric auroc_macro --margin 0.02 --out plain-against-se
      excite compare runs/plain/bundle runs/se/bundle --data other-hospital.csv --patient-col patient --json
    """
    from excite.cli.talk import emit, say
    from excite.data.sections import DataSection
    from excite.jobs.compare.compare import compare as run_comparison
    from excite.progress import spoken

    options = {"root": root, "image_col": image_col, "label_col": label_col, "patient_col": patient_col,
               "group_col": group_col, "patient_from": patient_from}
    section = DataSection().model_copy(update={key: value for key, value in options.items() if value is not None})
    found = run_comparison(run_a, run_b, metric=metric, margin=margin, data=data, columns=section,
                           resamples=resamples, seed=seed, progress=spoken())
    if json:
        emit(found.to_json())
    else:
        typer.echo(found.text())
    if out is not None:
        from excite.jobs.compare.files import write_comparison

        page = write_comparison(found, out)
        say(f"next: open {page}")
    else:
        typed = {"metric": metric, "margin": margin, "data": data, "resamples": resamples if resamples != RESAMPLES else
                 None, "seed": seed or None, **options}
        again = [word for name, value in typed.items() if value is not None
                 for word in (f"--{name.replace('_', '-')}", str(value))]
        say(f"next: {shlex.join(['excite', 'compare', str(run_a), str(run_b), *again])} --out FOLDER  (the same as a "
            "page)")
