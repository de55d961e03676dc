"""What `excite bench networks` measured, as tables of words: the terminal and a page print them each in its form."""

from collections.abc import Sequence
from typing import NamedTuple

from excite.jobs.bench_networks import Bench, Row
from excite.models.measure import short

TITLES = {"forward": "A pass", "step": "A training step"}
SHORT = {"float32": "fp32", "bfloat16": "bf16"}
WAYS = {"forward": ("same", "float32", "default"), "step": ("same", "default")}
WORDS = (
    "ms, medians; `x`: times as fast as the public network of that line, which is the same one with the same weights.",
    "`peer`: the public network, `same`: excite's, both in eager float32 and PyTorch's usual memory layout.",
    "`default`, a pass: what excite.for_prediction makes, in the precision of the last column; bfloat16 is taken where "
    "it is faster and outputs stay within 1 %, which weights at random cannot tell of yours: `float32` is the same "
    "without it.",
    "`default`, a step: one of the library's training loop, with its average of weights and its check of gradients; "
    "`same` and `peer`: forward, cross-entropy, backward, torch.optim.AdamW. All of them keep freed memory, as that "
    "loop asks for.",
    "`GEMM`: operations a second of the default (of the peer where it stands alone) as a share of the largest matrix "
    "rate in its precision; a multiply-add is two operations, a step is three passes.",
)


class Table(NamedTuple):
    """A title, the names of the columns, and cells; all columns but the first hold numbers."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]


def tables(found: Bench) -> list[Table]:
    """Return for images and for volumes a table of the networks, and one for each kind of work and shape."""
    shown = []
    for rank in sorted({len(row.shape) for row in found.rows}):
        rows = [row for row in found.rows if len(row.shape) == rank]
        kinds = dict.fromkeys((row.work, row.shape) for row in rows)
        shown += [_networks(rows, f"Networks, {rank - 2}-D"),
                  *(_times(found, rows, work, shape) for work, shape in sorted(kinds))]
    return shown


def proof(found: Bench) -> str:
    """Return how equal the networks are that are called the same."""
    same = {row.network for row in found.rows if row.peer}
    apart = max((value for name, value in found.apart.items() if name in same), default=None)
    return "No network stands beside the same one." if apart is None else (
        f"Outputs of the same networks: {apart:.0e} of the largest apart at most, in float64.")


def limits(found: Bench) -> str:
    """Return what the machine reaches, in one line."""
    facts = found.limits.facts()
    half = facts["bfloat16_gflops"]
    return (f"Limits: matrix product {facts['float32_gflops']:.0f} GFLOP/s in float32, "
            + (f"{half:.0f} in bfloat16" if half else "no bfloat16") + f"; copy {facts['copy_gbytes']:.0f} GB/s")


def said(shape: Sequence[int]) -> str:
    """Return "16 x 3 x 224 x 224"."""
    return " x ".join(map(str, shape))


def _networks(rows: Sequence[Row], title: str) -> Table:
    """Return each network with its counts, and which public one it is."""
    cells = {(row.network, row.shape[1:]): (row.network, said(row.shape[1:]).replace(" ", ""),
                                            f"{row.cost.parameters:,}", f"{row.cost.macs / 1e9:.2f}", row.peer or "-")
             for row in rows}
    return Table(title, ("", "input", "parameters", "GMACs", "the same as"), list(cells.values()))


def _times(found: Bench, rows: Sequence[Row], work: str, shape: tuple[int, ...]) -> Table:
    ways = WAYS[work]
    head = ["", "peer", *(word for way in ways for word in (way, "x")), "GEMM", ""]
    cells = [_cells(found, row, ways) for row in rows if (row.work, row.shape) == (work, shape)]
    return Table(f"{TITLES[work]}, {said(shape)}", tuple(head), cells)


def _cells(found: Bench, row: Row, ways: Sequence[str]) -> tuple[str, ...]:
    cells = [row.network, short(row.times["peer"].median) if "peer" in row.times else "-"]
    for way in ways:
        ratio = row.ratio(way)
        cells += [short(row.times[way].median) if way in row.times else "-", "-" if ratio is None else f"{ratio:.2f}"]
    share = row.share("default" if row.chosen else "peer", found.limits)
    return (*cells, "-" if share is None else f"{share:.0%}", SHORT[row.chosen[0]] if row.chosen else "fp32")
