"""The gate report as a page: what each layer's gates do, what they depend on, what they are worth, what can go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from excite.report import gates_figures
from excite.report.html import filled, write_page
from excite.report.tables import number
from excite.report.words import DISCLAIMER

MOST_CLASSES = 12  # whose means are shown
SCORES = {"accuracy": "Accuracy", "log_likelihood": "Mean log likelihood", "dice": "Dice, at the network's size"}
STATES = ("dead", "saturated", "constant", "live")


@dataclass(kw_only=True)
class GatesData:
    """What the page tells.

    Args:
        part: What the data are called.
        n: Samples.
        units: How many units they belong to.
        sample: What a sample is called.
        scores: Of the network as it is.
        words: What was found, each a sentence.
        bounds: {"dead", "saturated", "constant"}.
        layers: `LayerGates.to_json()` with "mean", "std" and "class_means" as arrays.
        costs: `GateCost.to_json()`, two a layer.
        classes: Labels; () of masks.
        fold: `FoldTold.to_json()`; None where nothing was to be folded.
        notes: What to beware of.
        failed: {"file", "error"}.
    """

    title: str
    part: str
    n: int
    units: int
    unit_kind: str
    sample: str
    scores: Mapping[str, float]
    words: Sequence[str]
    bounds: Mapping[str, float]
    layers: Sequence[Mapping[str, Any]]
    costs: Sequence[Mapping[str, Any]]
    classes: Sequence[str] = ()
    fold: Mapping[str, Any] | None = None
    notes: Sequence[str] = ()
    failed: Sequence[Mapping[str, str]] = field(default_factory=list)


def write_gates_page(file: Path, data: GatesData) -> Path:
    """Write the page, whole or not at all, and return its path.

    Raises:
        EnvironmentFault: it cannot be written.
    """
    return write_page(file, lambda _images, _without: render(data), images=False)


def render(data: GatesData) -> str:
    """Return the page as text; every value from outside is escaped."""
    score = next(iter(data.scores))
    lower = score.replace("_", " ")
    return filled(
        "gates_template.html", data=data, disclaimer=DISCLAIMER, score=lower, tiles=_tiles(data),
        warnings=[note for note in data.notes if note.startswith(("LEAK", "WARNING"))],
        notes=[note for note in data.notes if not note.startswith(("LEAK", "WARNING"))],
        maps=gates_figures.gate_maps(data.layers), rows=[_row(one) for one in data.layers],
        drawings=[gates_figures.gate_costs(data.costs, score, "mean", title="Every gate its own mean"),
                  gates_figures.gate_costs(data.costs, score, "one", title="Every gate 1: switched off")],
        cost_heads=[(SCORES[key], how) for how in ("mean", "off") for key in data.scores],
        cost_rows=[_cost(data, one["name"]) for one in data.layers],
        class_rows=_class_rows(data), fold=None if data.fold is None else _fold(data.fold))


def _tiles(data: GatesData) -> list[tuple[str, str, str]]:
    count = sum(one["gates"] for one in data.layers)
    shares = {state: sum(one["shares"][state] * one["gates"] for one in data.layers) / count for state in STATES}
    key, value = next(iter(data.scores.items()))
    return [("Gates", f"{count:,}", f"in {len(data.layers)} layers"),
            ("Vary with the input", f"{100 * shares['live']:.0f} %", "of all gates"),
            ("Dead", f"{100 * shares['dead']:.0f} %", f"always below {data.bounds['dead']:g} of the scale"),
            ("Saturated", f"{100 * shares['saturated']:.0f} %", f"always above {data.bounds['saturated']:g}"),
            (SCORES[key].split(",")[0], f"{value:.3f}", f"{data.n} {data.sample}s, {data.part}")]


def _row(layer: Mapping[str, Any]) -> dict[str, Any]:
    quantiles = layer["quantiles"]
    return {"name": gates_figures.short(layer["name"]), "attention": layer["attention"], "kind": layer["kind"],
            "gates": layer["gates"], "largest": f"{layer['largest']:g}",
            "median": f"{quantiles['0.5']:.2f}", "range": f"{quantiles['0.05']:.2f} to {quantiles['0.95']:.2f}",
            "shares": [f"{100 * layer['shares'][state]:.0f} %" for state in STATES],
            "of_inputs": f"{100 * layer['share_of_inputs']:.0f} %",
            "eta": "" if layer["eta_corrected"] is None else f"{100 * layer['eta_corrected']:.1f} %",
            "chance": "not defined" if layer["eta"] is None else
            f"{100 * layer['eta']:.1f} %, {100 * layer['eta_by_chance']:.1f} % by chance"}


def _cost(data: GatesData, name: str) -> tuple[str, list[tuple[str, str]]]:
    of = {one["how"]: one["lost"] for one in data.costs if one["name"] == name}
    return gates_figures.short(name), [number(of[how][key]) for how in ("mean", "one") for key in data.scores]


def _class_rows(data: GatesData) -> list[tuple[str, list[str]]]:
    if not 0 < len(data.classes) <= MOST_CLASSES or data.layers[0]["class_means"] is None:
        return []
    return [(gates_figures.short(one["name"]), ["" if value != value else f"{value:.3f}"
                                                for value in one["class_means"].mean(1).tolist()])
            for one in data.layers]


def _fold(fold: Mapping[str, Any]) -> dict[str, Any]:
    """Return what folding did as the template shows it."""
    promise, before, after = fold["promise"], fold["before"], fold["after"]
    kept = f"layers may lose {promise['loss']:g} of the first score together" if promise["loss"] is not None else \
        f"no probability may change by more than {promise['difference']:g}"
    rows = [("Largest change of a probability", f"{fold['difference']:.2g}", "")]
    rows += [(f"{SCORES[key]} lost", *number(one, digits=4)) for key, one in fold["lost"].items()]
    if before and after:
        rows.append(("Milliseconds an input", f"{after['median']:.3f}",
                     f"before {before['median']:.3f}; medians of {before['repeats']} in turns, ONNX Runtime, one "
                     "thread"))
    rows.append(("Parameters", f"{fold['parameters'][1]:,}", f"before {fold['parameters'][0]:,}"))
    return {"promised": kept, "rows": rows if fold["into"] else [], "bundle": fold["bundle"], "notes": fold["notes"],
            "into": [(gates_figures.short(name), where) for name, where in fold["into"].items()],
            "left": [(gates_figures.short(name), why) for name, why in fold["left"].items()]}
