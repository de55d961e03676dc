"""`excite bench`: what layers and networks cost, in multiply-adds and in milliseconds."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from excite.cli.bench_networks import networks

if TYPE_CHECKING:
    from excite.jobs import bench_heads
    from excite.jobs.bench_cost import Bench, Measured

app = typer.Typer(help="Measure on this machine what papers only count.", no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure on this machine what papers only count.

    \b
    Examples:
      excite bench cost
      excite bench cost --threads 1 --seconds 20
      excite bench heads --size 256x384
      excite bench networks --only mobilenet_v2
    """


app.command()(networks)


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


@app.command()
def heads(
    size: Annotated[str, typer.Option(help="Height and width of the images, HxW; one number is both.")] = "256x384",
    seconds: Annotated[float, typer.Option(min=0.1, max=7200, help="Time to measure; every network is run three times "
                                                                   "at least, which can take longer.")] = 60.0,
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="CPU threads; all cores otherwise.")] = None,
    train: Annotated[int, typer.Option(min=0, max=64, metavar="BATCH", help="Time a training step of so many images "
                                                                            "too; 0: none.")] = 0,
    channels_last: Annotated[bool, typer.Option("--channels-last", help="Channels last in memory.")] = False,
    out: Annotated[Path | None, typer.Option(help="Put the table into this .md file, in the place of an older one; "
                                                  "the rest of the page stays.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Compare the networks that draw heads with each other and with segmentation_models_pytorch's, in one run.

    "Efficient" is a MobileNetV2 U-Net with ASPP and SE, "accurate" its sibling that is trained whole. The public
    networks are left out where their package is not installed.

    \b
    Examples:
      excite bench heads
      excite bench heads --threads 1 --train 2 --seconds 300
      excite bench heads --size 256x384 --out docs/segmentation.md
    """
    from excite.cli.talk import emit, say
    from excite.jobs import bench_heads, bench_heads_page
    from excite.jobs.model_cost import read_sizes

    sides, _ = read_sizes(size, 2)
    if out is not None:
        bench_heads_page.begun(out)
    say(f"measuring for about {seconds:g} s, or three rounds; a round with batch 16 takes seconds to a minute")
    height, width = sides or bench_heads.SIZE
    found = bench_heads.bench_heads(size=(height, width), seconds=seconds, threads=threads, step_batch=train,
                                    channels_last=channels_last)
    if not found.compared:
        say(f"without the public networks: {found.peers}")
    if out is not None:
        bench_heads_page.write(out, found)
    if json:
        emit(_heads_facts(found))
        return
    for line in _heads_lines(found):
        typer.echo(line)
    say(f"next: {'see ' + str(out) if out else 'excite models mobilenet_v2_aspp_se_unet shows its parts'}")


def _heads_facts(found: "bench_heads.Bench") -> dict[str, Any]:
    networks = [{
        "label": row.network.label, "name": row.network.name, "options": dict(row.network.options),
        "public": row.network.peer, "encoder_frozen": row.network.frozen,
        "parameters": row.cost.parameters, "trainable": row.cost.trainable, "macs": row.cost.macs,
        "parameter_bytes": row.cost.parameter_bytes, "activation_bytes": row.cost.activation_bytes,
        "kept_bytes": row.cost.kept_bytes, "notes": list(row.notes),
        "passes": [{"batch": batch, "p50_ms": round(time.p50, 3), "p95_ms": round(time.p95, 3),
                    "repeats": time.repeats, "fps": round(row.fps(batch), 3)} for batch, time in row.passes.items()],
        "step": row.step and {"batch": found.step_batch, "p50_ms": round(row.step.p50, 3),
                              "p95_ms": round(row.step.p95, 3), "repeats": row.step.repeats}} for row in found.rows]
    return {"networks": networks, "size": list(found.size), "channels_last": found.channels_last,
            "peers": found.peers, "compared": found.compared, "machine": found.machine}


def _heads_lines(found: "bench_heads.Bench") -> list[str]:
    from excite.models.measure import short

    where = found.machine
    lines = [f"Images 1 x {found.size[0]} x {found.size[1]}, one mask; torch {where['torch']}, float32"
             + (", channels last" if found.channels_last else ""), f"threads: {where['threads']}, {where['cpu']}",
             found.peers, "",
             f"{'':<23}{'parameters':>12}{'trained':>12}{'GMACs':>7}{'MB':>6}{'step MB':>9}{'kept MB':>9}"]
    for row in found.rows:
        cost = row.cost
        sizes = [f"{size / 1e6:.0f}" for size in (cost.parameter_bytes, cost.activation_bytes, cost.kept_bytes)]
        lines.append(f"{row.network.label:<23}{cost.parameters:>12,}{cost.trainable:>12,}{cost.macs / 1e9:>7.2f}"
                     f"{sizes[0]:>6}{sizes[1]:>9}{sizes[2]:>9}")
    for batch in [*found.batches, 0]:
        timed = [(row, row.passes.get(batch) or row.step) for row in found.rows]
        if any(time is None for _, time in timed):
            continue
        title = f"A pass, batch {batch}" if batch else f"Training step of {found.step_batch}"
        lines += ["", f"{title:<23}{'p50 ms':>12}{'p95 ms':>12}{'images/s':>11}{'repeats':>9}"]
        lines += [f"{row.network.label:<23}{short(time.p50):>12}{short(time.p95):>12}"
                  f"{short(1e3 * (batch or found.step_batch) / time.p50):>11}{time.repeats:>9}"
                  for row, time in timed if time is not None]
    lines += ["", *(line for row in found.rows for note in row.notes
                    for line in textwrap.wrap(f"{row.network.label}: {note}", 80))]
    return [*lines, "", "MB: of the parameters; of the maps that the largest operation reads and writes;",
            "of what training keeps of one image, a pretrained encoder frozen. GMACs and MB are",
            "counted for one image. A pass is in evaluation mode."]


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
