"""`excite bench`: what layers cost, in multiply-adds and in milliseconds."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from excite.jobs.bench_cost import Bench, Measured

app = typer.Typer(help="Measure on this machine what papers only count.", no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure on this machine what papers only count.

    \b
    Examples:
      excite bench cost
      excite bench cost --threads 1 --seconds 20
      excite bench cost --json
    """


@app.command()
def cost(
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="Time to measure; every layer is run five times at "
                                                                  "least.")] = 12.0,
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="CPU threads; all cores otherwise.")] = None,
    channels_last: Annotated[bool, typer.Option("--channels-last", help="Channels last in memory, which torch's "
                                                "kernels for depth-wise convolution like better.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Compare depth-wise separable with dense convolution: multiply-adds, and the time they take here.

    \b
    Examples:
      excite bench cost
      excite bench cost --threads 1 --channels-last
      excite bench cost --seconds 5 --json
    """
    from excite.cli.talk import emit, say
    from excite.jobs.bench_cost import bench_cost

    say(f"measuring for about {seconds:g} s")
    found = bench_cost(seconds=seconds, threads=threads, channels_last=channels_last)
    if json:
        emit(_facts(found))
        return
    for line in [*_table_3(found), "", *_ratios(found), "", *_measured(found), "", *_words(found)]:
        typer.echo(line)
    say("next: excite models mobilenet_v2 counts and times a whole network")


def _facts(found: "Bench") -> dict[str, Any]:
    return {
        "table_3": [{**row.step._asdict(), "counted_macs": row.macs, "counted_parameters": row.parameters}
                    for row in found.table_3],
        "ratios": [{"channels": row.channels, "macs": row.macs, "formula": row.formula, "time": round(row.time, 4)}
                   for row in found.ratios],
        "measured": [{**row.layer._asdict(), "way": row.way, "parameters": row.parameters, "macs": row.macs,
                      "milliseconds": row.time.rounded(), "gmacs_per_second": round(row.rate, 3),
                      "gflops_per_second": round(2 * row.rate, 3), "macs_ratio": round(row.macs_ratio, 4),
                      "time_ratio": round(row.time_ratio, 4)} for row in found.measured],
        "channels_last": found.channels_last, "machine": found.machine}


def _table_3(found: "Bench") -> list[str]:
    lines = ["One layer, 14 x 14, 512 -> 512, 3 x 3; each row on top of the one before",
             "(arXiv:1704.04861, table 3; counted here on real layers)", "",
             f"{'':<22}{'MACs, million':>14}{'paper':>8}{'parameters, M':>16}{'paper':>8}"]
    return lines + [f"{row.step.name:<22}{row.macs / 1e6:>14.1f}{row.step.macs:>8g}{row.parameters / 1e6:>16.2f}"
                    f"{row.step.parameters:>8.2f}" for row in found.table_3]


def _ratios(found: "Bench") -> list[str]:
    lines = ["Separable over dense, N -> N channels, 14 x 14: 1/N + 1/9 of the multiply-adds.",
             "\"8 to 9 times less\" needs a large N, and says nothing of the time:", "",
             f"{'N':>6}{'MACs':>10}{'1/N + 1/9':>12}{'time here':>14}"]
    return lines + [f"{row.channels:>6}{_part(row.macs):>10}{_part(row.formula):>12}{_part(row.time):>14}"
                    for row in found.ratios]


def _measured(found: "Bench") -> list[str]:
    where = found.machine
    lines = [f"Time, median [p10, p90] of {found.measured[0].time.repeats} rounds in turns; torch {where['torch']},",
             f"threads: {where['threads']}, {where['cpu']}" + (", channels last" if found.channels_last else "")]
    for row in found.measured:
        if row.way == "dense":
            layer = row.layer
            lines += ["", f"{layer.label}, {layer.channels} channels, {' x '.join(map(str, layer.sizes))}, batch "
                          f"{layer.batch}",
                      f"{'':<11}{'M MACs':>9}{'ms':>22}{'GMAC/s':>9}{'fewer MACs':>12}{'less time':>11}"]
        lines.append(_line(row))
    return lines


def _line(row: "Measured") -> str:
    from excite.models.measure import short

    time = f"{short(row.time.median)} [{short(row.time.low)}, {short(row.time.high)}]"
    return (f"{row.way:<11}{row.macs / 1e6:>9,.1f}{time:>22}{short(row.rate):>9}"
            f"{short(row.macs_ratio) + ' x':>12}{short(row.time_ratio) + ' x':>11}")


def _words(found: "Bench") -> list[str]:
    """Return the lesson, of the numbers above."""
    lines = [f"{row.layer.label}, batch {row.layer.batch}: separable has {row.macs_ratio:.1f} times fewer MACs, and "
             f"takes {_less(row.time_ratio)}" for row in found.measured if row.way == "separable"]
    return [*lines, "",
            "MACs and FLOPs are counts: a multiply-add is one MAC and two FLOPs (many papers",
            "call MACs FLOPs). FLOPS are a rate: operations a second, twice the MAC/s above.",
            "A depth-wise layer multiplies each value 9 times (27 in 3-D), a dense one 9 x N",
            "times: reading and writing the maps sets its time, which MACs do not count."]


def _less(ratio: float) -> str:
    return f"{ratio:.1f} times less time" if ratio >= 1 else f"{1 / ratio:.1f} times MORE time"


def _part(ratio: float) -> str:
    return f"1/{1 / ratio:.1f}" if ratio < 0.995 else f"{ratio:.1f} (MORE)"
