"""The report of a nested cross-validation: that of a cross-validation, with what the inner folds chose and cost."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from excite.config import dump_yaml
from excite.jobs.volumes.folds.numbers import FoldNumbers
from excite.jobs.volumes.folds.report import made_by, missing_of, told_of
from excite.jobs.volumes.nested.choice import Choice
from excite.jobs.volumes.nested.data import NestedData
from excite.jobs.volumes.nested.loop import Simpler
from excite.report.folds_page import FoldsData, FoldTold

ON = {"pooled": "the pooled features of a frozen {trunk}", "levels": "simple numbers of each map", "none": ""}


def nested_page(data: NestedData, numbers: FoldNumbers, choices: Sequence[Choice], simpler: Sequence[Simpler],
                environment: Mapping[str, Any], *, simulated: bool) -> FoldsData:
    """Return what the report tells."""
    table, config = data.table, data.config
    told = told_of(numbers, table, data.prepared.store.hashes)
    told["leaks"] = [vars(fault) for fault in data.leaks]
    return FoldsData(
        title=f"{table.manifest.source.stem}: nested cross-validation in {len(choices)} folds", by="head",
        simpler=[one.to_json() for one in simpler], simulated=simulated, lead=_lead(data, numbers),
        recipe=dump_yaml(config),
        reasons={"inner loop": _inner(data, choices), **data.reasons()},
        made=[*made_by(config.split, table, data.folds.units.kind, len(choices)),
              f"the rows of the other folds were divided into {config.nested.inner} inner folds by unit, each of which "
              "is the validation part once: they chose components and penalty and gave the temperature",
              *data.folds.units.notes],
        selected="The components, the penalty and the temperature of each fold",
        folds=[_fold(choice, numbers, data, number) for number, choice in enumerate(choices, 1)],
        drawn=_drawn(choices), cost=data.cost, weights=data.trunk.told if data.trunk else "", environment=environment,
        cautions=[data.trunk.caution] if data.trunk and data.trunk.caution else [],
        limits=["A head on frozen features finds what the features hold: what only a trained network could see, it "
                "does not."],
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        next_commands=[(f"excite train {table.manifest.source} --folds {len(choices)}",
                        "train whole networks on the same folds, for comparison")], **told)


def _on(data: NestedData) -> str:
    parts = [ON[data.config.nested.features].format(trunk=data.config.model.name), ", ".join(data.table.columns)]
    return " and ".join(part for part in parts if part)


def _lead(data: NestedData, numbers: FoldNumbers) -> str:
    found = numbers.evaluation
    return (f"A penalised logistic regression on {_on(data)} tells {', '.join(found.classes)} apart. Each of {found.n} "
            "rows was predicted once, by a head that was neither trained nor chosen on its unit: the AUROC is "
            f"{found.metrics['auroc_macro'].text()} (95 % interval over {found.n_units} units: {found.unit_kind}).")


def _inner(data: NestedData, choices: Sequence[Choice]) -> str:
    """Return what was chosen between, what it cost, and whether the best lies at an end of what was offered."""
    section = data.config.nested
    taken, fits = sum(one.milliseconds for one in choices), sum(one.fits for one in choices)
    sizes = ", ".join("all" if one is None else str(one) for one in section.components)
    said = [f"components {sizes} and penalties {', '.join(f'{one:g}' for one in section.penalties)}, chosen by the "
            "least negative log-likelihood; of equal ones the simplest",
            f"{fits} heads in {taken:.0f} ms, {taken / fits:.1f} ms each"]
    for end, which in ((section.penalties[0], "smallest"), (section.penalties[-1], "largest")):
        at = [str(number) for number, one in enumerate(choices, 1) if one.penalty == end]
        if at and len(section.penalties) > 1:
            said.append(f"the {which} penalty was chosen in fold {', '.join(at)}: a "
                        f"{'smaller' if which == 'smallest' else 'larger'} one may be better still (nested.penalties)")
    return "; ".join(said)


def _fold(choice: Choice, numbers: FoldNumbers, data: NestedData, number: int) -> FoldTold:
    tested = int((numbers.predicted.fold == number).sum())
    return FoldTold(
        rows={"trained": len(data.labels) - tested, "tested": tested},
        missing=missing_of(numbers, data.table, number), numbers=numbers.each[number - 1],
        temperature=choice.temperature.to_json(),
        chosen={"Components": "all" if choice.components is None else str(choice.components),
                "Penalty": f"{choice.penalty:g}", "Inner loss": f"{choice.loss:.3f}"})


def _drawn(choices: Sequence[Choice]) -> dict[str, Any]:
    """Return the inner loss of each fold by penalty, at the components that were chosen, for a drawing."""
    lines = {f"fold {number}": dict(sorted((penalty, loss) for (size, penalty), loss in one.losses.items()
                                           if size == one.components)) for number, one in enumerate(choices, 1)}
    return {"lines": lines, "marks": {f"fold {number}": one.penalty for number, one in enumerate(choices, 1)},
            "title": "Inner folds' loss; the dot is what was chosen", "below": "penalty", "beside": "loss a row",
            "whole": False, "logarithmic": True}
