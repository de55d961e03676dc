"""`excite explain --gates`: the gate report in the terminal."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from excite.cli.talk import emit, say

if TYPE_CHECKING:
    from excite.jobs.gates.folding import FoldTold
    from excite.jobs.gates.measure import GateReport


def explain_gates(source: Path, *, data: Path | None, split: str | None, fold: bool, out: Path | None,
                  threads: int | None, json: bool, fold_loss: float | None = None, fold_difference: float = 0.01,
                  columns: Mapping[str, object] | None = None) -> None:
    """Measure the gates of a run or bundle, print a line a layer, and write gates.html, gates.json and gates.csv.

    Args:
        source: Run folder, or bundle, which needs `data`.
        data: A table with labels or masks.
        split: Part of the run, or of the table.
        fold: Also write a bundle in which constant gates are part of a convolution.
        out: Folder; "gates" in the run folder otherwise, in the current one for a bundle.
        threads: CPU threads.
        json: One JSON object on stdout.
        fold_loss: Fold layers besides whose gates vary, as long as all together lose no more of accuracy or Dice.
        fold_difference: Largest change of a probability by constant gates.
        columns: How to read `data`, by the keys of the config section `data`.
    """
    import typer

    from excite.data.sections import DataSection
    from excite.errors import DataError, UsageError
    from excite.jobs.evaluation_data import is_run
    from excite.jobs.gates.measure import Promise, measure_gates
    from excite.progress import silent, spoken

    if fold_loss is not None and fold_loss < 0 or not fold_difference > 0:
        raise UsageError(f"--fold-loss must be at least 0 and --fold-difference above 0, got {fold_loss} and "
                         f"{fold_difference}")
    promise = Promise(difference=fold_difference, loss=fold_loss) if fold or fold_loss is not None else None
    folder = out or (source / "gates" if is_run(source) else Path("gates"))
    section = DataSection().model_copy(update={key: one for key, one in (columns or {}).items() if one is not None})
    found = measure_gates(source, data, split, out=folder, columns=section, fold=promise, threads=threads,
                          progress=silent() if json else spoken())
    if json:
        emit(found.to_json())
    else:
        for line in _lines(found):
            typer.echo(line)
        for text in (*found.notes, *found.words):
            say(text)
        say(f"next: open {found.files[0]}")
    if found.failed:
        raise DataError(f"{len(found.failed)} rows could not be used", where=found.part, why=found.failed[0]["error"])


def _lines(found: "GateReport") -> list[str]:
    score = next(iter(found.costs[0].lost))
    cost = {(one.name, one.how): one.lost[score].text() for one in found.costs}
    wide = max(len(one.name) for one in found.layers)
    lines = [f"{'layer':{wide}}  gates  median   dead   sat. const.   live  over inputs  "
             f"{score.replace('_', ' ')} lost as constants, off"]
    for one in found.layers:
        shares = "".join(f"{100 * share:5.0f} %" for share in one.shares.values())
        lines.append(f"{one.name:{wide}}  {len(one.states):5}  {one.quantiles[0.5]:6.2f}{shares}"
                     f"  {100 * one.share_of_inputs:8.0f} %  {cost[one.name, 'mean']}, {cost[one.name, 'one']}")
    return [*lines, *(_folded(found.fold) if found.fold is not None else [])]


def _folded(fold: "FoldTold") -> list[str]:
    lines = [f"folded {name}: {where}" for name, where in fold.into.items()]
    lines += [f"left {name}: {why}" for name, why in fold.left.items()]
    if fold.before is not None and fold.after is not None:
        lost = "; ".join(f"{key.replace('_', ' ')} lost {one.text()}" for key, one in fold.lost.items())
        lines.append(f"{fold.before.said()} before, {fold.after.said()} after, one thread; largest change of a "
                     f"probability {fold.difference:.2g}; {lost}")
        lines.append(f"new bundle: {fold.bundle}")
    return [*lines, *fold.notes]
