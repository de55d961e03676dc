"""`excite models`: the networks, what they cost, one in every part, or all in a table; and attention in others'."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from excite.cli.models_insert import insert

if TYPE_CHECKING:
    from excite.jobs.model_cost import Counted, Order
    from excite.models.measure import Timing

TABLE = "docs/models.md"


class _Shown(TyperGroup):
    """Verbs of which `show` need not be said."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args if args and args[0] in self.commands else ["show", *args])


app = typer.Typer(cls=_Shown, rich_markup_mode=None,
                  help="The networks and what they cost; attention in those of other libraries.")
app.command()(insert)


@app.command()
def show(
    pattern: Annotated[str | None, typer.Argument(metavar="NAME", help="One network, or names with * and ?; with "
                                                  "--table its file.")] = None,
    dims: Annotated[int | None, typer.Option(help="2 for images, 3 for volumes.")] = None,
    size: Annotated[str | None, typer.Option(help="Input: N, HxW or DxHxW; otherwise 224, or 16x112x112 in 3-D, or "
                                                  "32 a side where the network is for small images.")] = None,
    num_classes: Annotated[int | None, typer.Option("--classes", help="Number of classes, or of masks.")] = None,
    channels: Annotated[int | None, typer.Option(help="Channels of the input.")] = None,
    attention: Annotated[str | None, typer.Option(help="Attention in the place of the network's own: se, "
                                                       "cbam@2,3, se:position=pre.")] = None,
    option: Annotated[list[str] | None, typer.Option(help="Of the network: width=0.5. As often as needed.")] = None,
    table: Annotated[bool, typer.Option("--table", help=f"Write all networks, 2-D and 3-D, to NAME, a .md file; "
                                                        f"{TABLE} otherwise.")] = False,
    time: Annotated[bool, typer.Option("--time/--no-time", help="Measure the time of one, or for --table.")] = True,
    batch: Annotated[int, typer.Option(min=1, help="Samples of the pass that is timed.")] = 1,
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="CPU threads of the pass; all cores otherwise.")
                       ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")] = False,
) -> None:
    """Show the networks that excite train --model and create_model take, and what they cost.

    Without NAME, or with a pattern: a line a network. With one NAME: its parts, sizes, memory and milliseconds.
    For attention in a network of another library: excite models insert --help.

    \b
    Examples:
      excite models
      excite models "se_*" --classes 6
      excite models mobilenet_v2 --dims 3 --size 16x64x64 --channels 1
      excite models resnet50 --attention cbam@2,3 --no-time --json
      excite models --table docs/models.md
    """
    from excite.jobs.model_cost import read_options, read_sizes, usual_order

    if table:
        _refuse_with_table(size=size, dims=dims, classes=num_classes, channels=channels, attention=attention,
                           option=option)
        _write(Path(pattern or TABLE), time=time, threads=threads, json=json)
        return
    sizes, found = read_sizes(size, dims)
    one = pattern is not None and not set("*?[") & set(pattern)
    orders = [usual_order(name, channels=channels, classes=num_classes, dims=found, attention=attention,
                          options=read_options(option or ()), sizes=sizes)
              for name in ([pattern] if one and pattern else _matching(pattern or "*"))]
    if one:
        _show(orders[0], time=time, batch=batch, threads=threads, json=json)
    else:
        _list(orders, json=json)


def _refuse_with_table(**given: object) -> None:
    from excite.errors import UsageError

    named = [f"--{name}" for name, value in given.items() if value is not None]
    if named:
        raise UsageError(f"--table takes no {', '.join(named)}", fix="it writes all networks at their usual sizes")


def _matching(pattern: str) -> list[str]:
    from excite.errors import UsageError
    from excite.models.classifier import list_models

    names = list_models(pattern)
    if not names:
        raise UsageError(f"no network matches {pattern!r}", fix=f"known: {', '.join(list_models())}")
    return names


def _list(orders: "Sequence[Order]", *, json: bool) -> None:
    """Print a line a network; one that cannot be built or cannot take the size says so, and the rest goes on."""
    from excite.cli.talk import emit, say
    from excite.errors import ExciteError
    from excite.jobs.model_cost import counted

    if not json:
        typer.echo(f"{'name':<26}{'dims':>4}  {'input':<18}{'parameters':>13}{'MACs':>17}")
    failed: list[ExciteError] = []
    for order in orders:
        try:
            found = counted(order)
        except ExciteError as fault:
            failed.append(fault)
            if json:
                emit({"name": order.name, "dims": order.dims, "error": fault.message()})
            else:
                say(f"{order.name}: {fault.message()}")
            continue
        if json:
            emit({"name": order.name, "dims": order.dims, "input": list(found.size),
                  "parameters": found.cost.parameters, "macs": found.cost.macs})
        else:
            typer.echo(f"{order.name:<26}{order.dims:>4}  {' x '.join(map(str, found.size)):<18}"
                       f"{found.cost.parameters:>13,}{found.cost.macs:>17,}")
    if failed and len(failed) == len(orders):
        raise failed[0]
    say("next: excite models NAME shows the parts and the time of one")


def _show(order: "Order", *, time: bool, batch: int, threads: int | None, json: bool) -> None:
    """Print all about one network."""
    from excite.cli.talk import emit, say
    from excite.jobs.model_cost import counted, machine, timed
    from excite.machine import usable_cores

    found = counted(order)
    if time and not json:
        say("measuring the time of a pass; --no-time leaves it out")
    times = timed(order, found.size, batch=batch, threads=threads) if time else {}
    where = machine(threads or usable_cores())
    if json:
        emit(_facts(found, times, batch, where))
        return
    for line in _parts(found):
        typer.echo(line)
    for name, text in _lines(found, times, batch, where):
        typer.echo(_wrapped(name, text))
    say(f"next: {_next(order)}")


def _next(order: "Order") -> str:
    """Return what to type to have this network: a training, or the call where it is no classifier of images."""
    from excite.models.registry import NETWORKS

    usual = getattr(NETWORKS[order.name], "usual_side", None) if order.name in NETWORKS else None
    if usual is not None and hasattr(NETWORKS[order.name], "usual_classes"):  # of scenes
        flags = [f"--window {order.options.get('window', usual)} --set reduction.components={order.channels}"]
        flags += [f"--attention {order.attention}"] if order.attention else []
        flags += [f"--set model.options.{name}={value}" for name, value in order.options.items() if name != "window"]
        return " ".join(["excite train CUBE --model", order.name, *flags])
    if order.dims == 2 and order.name not in NETWORKS:
        flags = [f"--attention {order.attention}"] if order.attention else []
        flags += [f"--set model.options.{name}={value}" for name, value in order.options.items()]
        return " ".join(["excite train TABLE --model", order.name, *flags])
    said = [repr(order.name)] + ["dims=3"] * (order.dims == 3)
    said += [f"attention={order.attention!r}"] if order.attention else []
    said += [f"{name}={value!r}" for name, value in order.options.items()]
    return f"from excite import create_model; create_model({', '.join(said)})"


def _facts(found: "Counted", times: "dict[str, Timing]", batch: int, where: dict[str, Any]) -> dict[str, Any]:
    from excite.jobs.model_cost import published

    order, cost = found.order, found.cost
    parts = {name: {"parameters": parameters, "macs": macs, "output": cost.outputs.get(name)}
             for name, (parameters, macs) in cost.by_part.items()}
    return {"name": order.name, "dims": order.dims, "input": found.size, "classes": order.classes,
            "attention": order.attention, "options": order.options, "parameters": cost.parameters,
            "trainable": cost.trainable, "macs": cost.macs, "parts": parts, "parameter_bytes": cost.parameter_bytes,
            "activation_bytes": cost.activation_bytes, "kept_bytes": cost.kept_bytes, "notes": found.notes,
            "published": [{"parameters": row.parameters, "macs": row.macs, "source": row.source}
                          for row in published(found)],
            "milliseconds": {layout: timing.rounded() for layout, timing in times.items()},
            "batch": batch, "machine": where}


def _parts(found: "Counted") -> list[str]:
    """Return the head line and the table of parts."""
    order, cost = found.order, found.cost
    told = [f"{order.name}, {order.dims}-D, input {' x '.join(map(str, found.size))}, {order.classes} classes"]
    told += [f"attention {order.attention}"] if order.attention else []
    told += [f"{name}={value}" for name, value in order.options.items()]
    rows = [(name, f"{parameters:,}", f"{macs:,}", f"{100 * macs / max(1, cost.macs):.1f}",
             " x ".join(map(str, cost.outputs.get(name, ())))) for name, (parameters, macs) in cost.by_part.items()]
    rows = [("part", "parameters", "MACs", "%", "output"), *rows,
            ("all", f"{cost.parameters:,}", f"{cost.macs:,}", "100.0", "")]
    wide = [max(len(row[column]) for row in rows) for column in range(4)]
    return [_wrapped("", ", ".join(told)).strip(), "",
            *(f"{row[0]:<{wide[0]}}  {row[1]:>{wide[1]}}  {row[2]:>{wide[2]}}  {row[3]:>{wide[3]}}  {row[4]}".rstrip()
              for row in rows), ""]


def _lines(found: "Counted", times: "dict[str, Timing]", batch: int, where: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what follows the table, (word, text) a line."""
    from excite.jobs.model_cost import published
    from excite.models.measure import short
    from excite.models.published import figure

    cost, mib = found.cost, 2**20
    lines = [("parameters", f"{cost.parameter_bytes / mib:.1f} MiB; {cost.trainable:,} can be trained"),
             ("FLOPs", f"{2 * cost.macs / 1e9:.3f} G operations, a multiply-add being two; many papers mean MACs"),
             ("maps", f"{cost.activation_bytes / mib:.1f} MiB: the largest single operation reads and writes so much, "
                      "batch of one"),
             ("", f"{cost.kept_bytes / mib:.1f} MiB a sample: training keeps so much for the backward pass")]
    if "attention" in cost.by_part:
        lines.append(("attention", "is counted apart: the rows of the stages are without it"))
    for layout, timing in times.items():
        rate = batch * cost.macs / timing.median / 1e6
        lines.append(("time" if layout == "contiguous" else "",
                      f"{timing.said()} {layout.replace('_', ' ')}, {short(rate)} GMAC/s"))
    if times:
        repeats = next(iter(times.values())).repeats
        lines.append(("", f"median [p10, p90] of {repeats} repeats in turns, batch {batch}, evaluation mode, torch "
                          f"{where['torch']}, threads: {where['threads']}, {where['cpu']}"))
    for row in published(found):
        told = [f"{figure(number)} {what}" for number, what in ((row.parameters, "parameters"), (row.macs, "MACs"))
                if number]
        lines.append(("published", f"{', '.join(told)}: {row.source}"))
    return lines + [("note", text) for text in found.notes]


def _wrapped(name: str, text: str) -> str:
    """Return "name  text" within the terminal's width, continued under the text."""
    import textwrap

    width = max(40, min(110, shutil.get_terminal_size((100, 24)).columns))
    return "\n".join(textwrap.wrap(text, width, initial_indent=f"{name:<12}", subsequent_indent=" " * 12,
                                   break_long_words=False, break_on_hyphens=False)) or name


def _write(file: Path, *, time: bool, threads: int | None, json: bool) -> None:
    from excite.cli.talk import emit
    from excite.jobs.model_table import write_table
    from excite.progress import spoken

    lines = write_table(file, time=time, threads=threads, progress=spoken())
    if json:
        emit({"file": str(file), "networks": sum(line.counted is not None for line in lines),
              "left_out": {f"{line.name} {line.dims}-D": line.why for line in lines if line.counted is None}})
    else:
        typer.echo(f"table: {file}")
