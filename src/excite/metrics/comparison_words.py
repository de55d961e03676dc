"""A comparison in plain English, and as a table for a terminal."""

from typing import TYPE_CHECKING

from excite.metrics.direction import spoken, unit_of, words
from excite.metrics.intervals import Interval

if TYPE_CHECKING:
    from excite.metrics.comparison import Comparison

SAME_TIME = 0.1   # share of the milliseconds that the middle half of the turns must be beyond, or within
FEW = 20          # units below which no test can say much
PROVED = 500      # units below which a margin of ranks is doubted; docs/compare.md
SAME_BY_DEFINITION = {"recall_weighted": "accuracy", "recall_macro": "balanced_accuracy"}
DISPUTED = ("! p and interval disagree, one shows a difference and the other does not, for they are made in different "
            "ways: take no difference as shown.")
ONE_SEED = ("Each network was trained once: a difference between two trainings is not yet one between two methods, for "
            "which several seeds of each are needed.")


def sentences(found: "Comparison") -> list[str]:
    """Return the answer with the price; what the margin says, where one was stated; how far that goes."""
    few = [f"Fewer than {FEW} units ({found.n_units}): only large differences can be shown, and intervals are rough."]
    doubt = [f"Of {words(found.metric)} p and interval disagree, one shows a difference and the other does not: do not "
             "build on it."]
    return [_answer(found), *(doubt if found.question.disputed else []), *_margin(found),
            *(few if found.n_units < FEW else []), ONE_SEED]


def shown(found: "Comparison") -> tuple[list[str], list[str]]:
    """Return the names that are shown, the question first and classes last; and what is said of them."""
    same = {twice: name for twice, name in SAME_BY_DEFINITION.items()
            if twice != found.metric and {twice, name} <= set(found.pairs)}
    names = sorted((name for name in found.pairs if name not in same),
                   key=lambda name: (name != found.metric, "/" in name))
    said = [f"Not repeated: {' and '.join(f'{words(twice)}, which is {words(name)}' for twice, name in same.items())}, "
            "by definition."] if same else []
    return names, ([DISPUTED] if any(found.pairs[name].disputed for name in names) else []) + said


def said_p(p: float | None) -> str:
    """Return p as one says it: "p = 0.021", "p < 0.001"."""
    if p is None:
        return "not tested"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.06 else f"p = {p:.2f}"  # 0.049 is not 0.05


def _answer(found: "Comparison") -> str:
    a, b = found.names
    one, name = found.question, spoken(found.metric)
    if found.verdict == "no difference shown":
        values = ", ".join(f"{_short(side.value)} of {letter}" for side, letter in ((one.a, "A"), (one.b, "B")))
        seen = found.detectable
        least = f"differences under about {_amount(found.metric, seen)} could not have been seen" if seen else \
            "how small a difference could have been seen is not known"
        return (f"No difference can be shown between A ({a}) and B ({b}): {name} is {values}; B minus A is "
                f"{_amount(found.metric, one.difference.value)} {_ends(found.metric, one.difference)}, "
                f"{said_p(one.p)}; {least} with {_test_size(found)}. {_price(found)}".rstrip())
    size = _flipped(one.difference) if (one.difference.value or 0) < 0 else one.difference
    price = _price(found)
    return (f"B ({b}) is {found.verdict} than A ({a}) by {_amount(found.metric, size.value)} of {name} "
            f"{_ends(found.metric, size)}, {said_p(one.p)}" + (f"; {price[0].lower()}{price[1:]}" if price else "."))


def _margin(found: "Comparison") -> list[str]:
    if found.margin is None:
        return []
    margin = _amount(found.metric, found.margin)
    one = found.question.difference
    seen = f"B minus A is {_amount(found.metric, one.value)} of {spoken(found.metric)} {_ends(found.metric, one)}"
    ranked = found.metric.startswith(("ap/", "ap_")) or (found.n_units < found.n and found.metric.startswith("auroc"))
    doubt = (f" With fewer than {PROVED} units this is not proved: intervals of {spoken(found.metric)} may end too "
             "early.") if ranked and found.n_units < PROVED else ""
    if found.equivalent:
        return [f"A and B are equivalent within {margin}: {seen}, all of it inside.{doubt}"]
    if found.non_inferior:
        return [f"B is not worse than A by more than {margin} (non-inferior): {seen}.{doubt}"]
    why = "which reaches beyond it" if found.ends else "and nothing shows how far that may be off"
    return [f"That B is worse than A by no more than {margin} is not shown: {seen}, {why}."]


def _price(found: "Comparison") -> str:
    first, second = (price.milliseconds for price in found.prices)
    if first is None or second is None:
        return ""
    thing = {"pixel": "window", "scan": "patch"}.get(found.sample, found.sample)
    low, high = found.prices[1].ratio or (second / first, second / first)
    if low >= 1 - SAME_TIME and high <= 1 + SAME_TIME:
        text = f"It takes as long: {_ms(second)} ms a {thing} against {_ms(first)}, one thread."
    elif low > 1 + SAME_TIME and second > first:
        text = f"It costs {_ms(second - first)} ms more a {thing} ({_ms(second)} against {_ms(first)}, one thread)."
    elif high < 1 - SAME_TIME and second < first:
        text = f"It saves {_ms(first - second)} ms a {thing} ({_ms(second)} against {_ms(first)}, one thread)."
    else:
        text = ("The cost could not be told apart on this machine just now "
                f"({_ms(min(first, second))} to {_ms(max(first, second))} ms a {thing}, one thread).")
    return text.replace(" a image", " an image").replace(" a examination", " an examination")


def _ms(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def _test_size(found: "Comparison") -> str:
    if found.n_units == found.n:
        return f"{found.n} {found.sample}s"
    return f"{found.n} {found.sample}s of {found.n_units} {plural(found.unit_kind)}"


def plural(kind: str) -> str:
    """Return a unit's kind for several: "patients"."""
    return f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"


def _flipped(one: Interval) -> Interval:
    minus = [None if end is None else -end for end in (one.value, one.high, one.low)]
    return Interval(value=minus[0], low=minus[1], high=minus[2], note=one.note)


def _amount(metric: str, value: float | None) -> str:
    """Return a difference in its unit: "1.3 points"."""
    factor, unit = unit_of(metric)
    return f"{_number(metric, value)} {unit}".rstrip() if value is not None else f"an undefined number of {unit}"


def _ends(metric: str, one: Interval) -> str:
    if one.low is None or one.high is None:
        return "(no interval)"
    return f"[{_number(metric, one.low)}, {_number(metric, one.high)}]"


def _number(metric: str, value: float | None) -> str:
    factor, unit = unit_of(metric)
    text = f"{factor * (value or 0):.{1 if unit == 'points' else 2 if unit else 3}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _short(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"


def table(found: "Comparison") -> list[str]:
    """Return all numbers: A, B, B minus A with its interval, p, and p after Holm's procedure."""
    rows = [["", "A", "B", "B minus A", "p", "Holm p", "test"]]
    names, said = shown(found)
    for name, one in ((name, found.pairs[name]) for name in names):
        corrected = found.corrected.get(name)
        rows.append([words(name) + (" *" if name == found.metric else ""), _short(one.a.value), _short(one.b.value),
                     _difference(one.difference), _p(one.p) + (" !" if one.disputed else ""),
                     "" if corrected is None else _p(corrected), one.test or ""])
    sizes = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ["  " + "  ".join(f"{cell:<{size}}" for cell, size in zip(row, sizes, strict=True)).rstrip()
             for row in rows]
    return [f"A: {found.names[0]}", f"B: {found.names[1]}", f"{_test_size(found)}; * the question", *lines,
            *(f"  {text}" for text in said)]


def _difference(one: Interval) -> str:
    """Return a difference with its interval, short where there is none: a column is as wide as its widest cell."""
    return one.text() if one.value is None or one.low is not None else f"{one.value:.3f} (no interval)"


def _p(value: float | None) -> str:
    return "" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
