"""The text of docs/models.md."""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from excite.errors import ExciteError
from excite.jobs.model_cost import Order, counted
from excite.models.measure import Timing, short
from excite.models.published import ROWS, Published, figure, usual

if TYPE_CHECKING:
    from excite.jobs.model_table import Line

HEAD = """\
# What the networks cost

Written by `excite models --table`; for one network, with its parts: `excite models NAME`.

- **parameters**: at 1000 classes (one mask of the U-Nets, the 16 of Indian Pines of `hybridsn`), attention included,
  running statistics not.
- **MACs**: multiply-adds of convolutions and matrix products for one sample. Two operations each, so FLOPs (a count)
  are twice as many; many papers call the multiply-adds themselves FLOPs. FLOPS (a rate) are operations per second.
- **largest step**: MiB of the maps that the largest single operation reads and writes, 32-bit, batch of one.
- **kept**: MiB of maps a sample that training keeps for the backward pass.
- **ms**: one pass, batch of one, evaluation mode: median [10th, 90th percentile]; **channels last**: the same network
  with the channels last in memory. A wide interval says that the machine had other work meanwhile.

MACs do not tell the time: compare the columns. `excite bench cost` shows why, layer by layer.
"""
SE_COST = """
Squeeze-and-Excitation with reduction 16 adds {parameters:.1f} % to the parameters of ResNet-50 and {macs:.2f} % to its
multiply-adds (the paper's table 2 says 3.86 and 3.87 GFLOPs, 0.26 % apart); its pooling and its product with the map
are no multiply-adds, and take time all the same.
"""


def page(lines: Sequence["Line"], where: Mapping[str, Any] | None) -> str:
    """Return the page; `where` is the machine that the times are of, None where there are none."""
    parts = [HEAD]
    if where is not None:
        parts.append(f"\nTimes: {datetime.date.today():%Y-%m-%d}, {where['cpu']}, threads: {where['threads']}, "
                     f"torch {where['torch']}, weights at random.\n")
    for dims, title in ((2, "Images"), (3, "Volumes")):
        parts.append(f"\n## {title}, {dims}-D\n\n")
        parts.append(_table(("network", "input", "parameters", "published", "MACs", "largest step", "kept", "ms",
                             "channels last"), (_row(line) for line in lines if line.dims == dims and line.counted)))
        parts += [f"\n`{line.name}` is left out: {line.why}.\n" for line in lines
                  if line.dims == dims and not line.counted]
    parts.append(_se_cost())
    names = {line.name for line in lines}
    parts.append("\n## Beside the published figures\n\nThe figures of `models/published.py`, and what excite "
                 "counts for the same network and input.\n\n")
    parts.append(_table(("network", "options", "input", "classes", "parameters", "excite", "MACs", "excite", "source",
                         "remark"), (_beside(row) for row in ROWS if row.network in names)))
    return "".join(parts)


def _row(line: "Line") -> list[str]:
    found = line.counted
    if found is None:
        return []
    row, cost, times = usual(line.name, found.size), found.cost, line.times or {}
    return [f"`{line.name}`", sides(found.size), f"{cost.parameters:,}", figure(row.parameters if row else None),
            f"{cost.macs / 1e6:,.1f} M", _mib(cost.activation_bytes), _mib(cost.kept_bytes),
            _time(times.get("contiguous")), _time(times.get("channels_last"))]


def _beside(row: Published) -> list[str]:
    options = ", ".join(f"{name}={value}" for name, value in row.options)
    try:
        cost = counted(order_of(row)).cost
        parameters, macs = f"{cost.parameters:,}", f"{cost.macs / 1e6:,.1f} M"
    except ExciteError as fault:
        parameters, macs = fault.message(), ""
    return [f"`{row.network}`", options, sides(row.size), str(row.classes), figure(row.parameters),
            parameters if row.parameters else "", figure(row.macs), macs if row.macs else "", row.source, row.why]


def order_of(row: Published) -> Order:
    """Return the network and the input of a published row."""
    return Order(name=row.network, dims=row.dims, channels=row.size[0], classes=row.classes,
                 options=dict(row.options), sizes=row.size[1:])


def _se_cost() -> str:
    """Return what SE costs ResNet-50, counted."""
    plain, gated = (counted(Order(name="resnet50", attention=kind)).cost for kind in (None, "se"))
    return SE_COST.format(parameters=100 * (gated.parameters / plain.parameters - 1),
                          macs=100 * (gated.macs / plain.macs - 1))


def sides(size: Iterable[int]) -> str:
    """Return "3 x 224 x 224"."""
    return " x ".join(map(str, size))


def _mib(count: int) -> str:
    return f"{count / 2**20:.1f}"


def _time(timing: Timing | None) -> str:
    return f"{short(timing.median)} [{short(timing.low)}, {short(timing.high)}]" if timing else "-"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; numbers stand to the right."""
    body = [list(row) for row in rows]
    right = ["---:" if name in ("parameters", "published", "MACs", "excite", "largest step", "kept", "ms",
                                "channels last", "classes") else "---" for name in heads]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [list(heads), right, *body])
