"""`excite study`: a controlled comparison of attentions, positions and networks on one table."""

from pathlib import Path
from typing import Annotated

import typer

from excite.cli.columns import GroupCol, ImageCol, LabelCol, Layout, PatientCol, PatientFrom, Root


def study(
    table: Annotated[Path, typer.Argument(help="CSV table or folder of images; or a YAML config with a section study.")
                     ],
    config: Annotated[Path | None, typer.Option("--config", "-c", help="YAML config besides a table.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder; studies/NAME otherwise.")] = None,
    attention: Annotated[str | None, typer.Option(help="What is compared, the baseline first: none,se,eca,cbam@3; "
                                                       "none is the network as it is.")] = None,
    positions: Annotated[str | None, typer.Option(help="Of each attention: standard,pre,post,identity.")] = None,
    stages: Annotated[str | None, typer.Option(help="Of each attention, a semicolon between: all;2,3.")] = None,
    starts: Annotated[str | None, typer.Option(help="Of the gates: auto, or open,paper.")] = None,
    seeds: Annotated[str | None, typer.Option(help="How many trainings of each arm, or which: 3, or 0,1,2.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes side by side; the cores otherwise.")] = None,
    metric: Annotated[str | None, typer.Option(help="That decides; balanced_accuracy, dice or adf_mm otherwise.")
                      ] = None,
    model: Annotated[str | None, typer.Option(help="Network: excite models.")] = None,
    weights: Annotated[str | None, typer.Option(help="imagenet, a weights file, or none.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of every run.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a batch.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    size: Annotated[str | None, typer.Option(help="The network's input: 224, or HEIGHTxWIDTH.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Any config key: optim.lr=0.01.")] = None,
    root: Root = None,
    image_col: ImageCol = None,
    label_col: LabelCol = None,
    patient_col: PatientCol = None,
    group_col: GroupCol = None,
    patient_from: PatientFrom = None,
    layout: Layout = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be trained, and how long it takes.")
                       ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout at the end.")] = False,
) -> None:
    """Compare attentions on your own data: same split, same budget, several seeds, and what can be shown.

    Every arm is trained on every seed; the runs are ordinary ones of excite train, in OUT/runs/ARM/seed-S. The same
    command again goes on where it stopped; more seeds or arms may be added.

    \b
    Examples:
      excite study table.csv --dry-run
      excite study table.csv --attention none,se,eca --seeds 3 --epochs 5 --out studies/mine
      excite study table.csv --attention none,se --positions standard,pre,post
      excite study study.yaml --out studies/mine --set study.workers=1
    """
    from excite.cli.talk import emit, say
    from excite.cli.train import size_of
    from excite.config import load_config
    from excite.jobs.study.advice import told
    from excite.jobs.study.sections import StudyConfig
    from excite.jobs.study.study import study as run_study
    from excite.progress import spoken

    if table.suffix.lower() in (".yaml", ".yml"):
        table, config = None, table  # type: ignore[assignment]
    values = {"data.table": table, "data.root": root, "data.image_col": image_col, "data.label_col": label_col,
              "data.patient_col": patient_col, "data.group_col": group_col, "data.patient_from": patient_from,
              "data.layout": layout, "model.name": model, "model.weights": weights, "loop.epochs": epochs,
              "loop.batch_size": batch_size, "optim.lr": lr, "preprocess.size": size_of(size) if size else None,
              "study.attention": _split(attention), "study.positions": _split(positions),
              "study.stages": stages.split(";") if stages else None, "study.starts": _split(starts),
              "study.seeds": _seeds(seeds), "study.workers": workers, "study.metric": metric}
    _refuse_others(table, config)
    chosen = load_config(StudyConfig, config, overrides=settings or (), values=values)
    if dry_run:
        from excite.jobs.study.estimate import dry_run_study

        plan = dry_run_study(chosen, progress=spoken())
        emit(plan) if json else typer.echo("\n".join(f"{name + ':':<10} {text}" for name, text in plan.items()))
        return
    if out is None and config is not None:
        out = Path("studies") / config.resolve().stem
    found = run_study(chosen, out=out, progress=spoken())
    if json:
        emit(found.data)
    else:
        for line in told(found.results, "BEWARE: "):
            typer.echo(line)
    say(f"next: open {found.data['report']}, or paste {found.planned.out / 'study.md'}")


def _refuse_others(table: Path | None, config: Path | None) -> None:
    """Raise where the data are no images."""
    from excite.cli.scenes import is_for_scenes
    from excite.cli.volume_masks import is_for_volume_masks
    from excite.cli.volumes import is_for_volumes
    from excite.errors import UsageError

    if any(of(table, config) for of in (is_for_scenes, is_for_volume_masks, is_for_volumes)):
        raise UsageError("excite study compares trainings on images; on volumes and cubes it is not built",
                         where=table or config, fix="excite train --attention and --seed for each, then excite compare")


def _split(text: str | None) -> list[str] | None:
    """Return the parts of "none,se@2,3,eca": a number belongs to what stands before it."""
    if not text:
        return None
    found: list[str] = []
    for part in text.split(","):
        if found and part.strip()[:1].isdigit():
            found[-1] += f",{part.strip()}"
        else:
            found.append(part.strip())
    return found


def _seeds(text: str | None) -> list[int] | None:
    """Return the seeds in "3" (0, 1, 2) or in "0,5,7"."""
    from excite.errors import UsageError

    if not text:
        return None
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts) or text.strip() == "0":
        raise UsageError(f"--seeds must be how many, or which with commas between, got {text!r}",
                         fix="--seeds 3, or --seeds 0,1,2")
    return list(range(int(text))) if len(parts) == 1 else [int(part) for part in parts]
