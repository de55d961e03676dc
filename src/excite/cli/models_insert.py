"""`excite models insert`: attention in a network of another library, and in a file of its weights."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from excite.jobs.insert_weights import Insertion


def insert(
    network: Annotated[str, typer.Argument(metavar="MODULE:FUNCTION", help="What builds the network, such as "
                                                                           "torchvision.models:resnet50.")],
    attention: Annotated[str, typer.Option(help="se, cbam@2,3, eca@layer4, se:position=pre. Gates are open at first, "
                                                "unless start=paper is said.")] = "se",
    option: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="An argument of the function. As often "
                                                                                "as needed.")] = None,
    weights: Annotated[Path | None, typer.Option(help="A .safetensors, .pth or .pt file of its state dict; no code in "
                                                      "it is run.")] = None,
    fresh: Annotated[list[str] | None, typer.Option(metavar="PREFIX", help="Keys that begin so are not taken from the "
                                                    "file: fc. where the classes are others.")] = None,
    size: Annotated[str | None, typer.Option(metavar="CxHxW", help="Of an input, CxDxHxW in 3-D; otherwise 64 a side, "
                                                                   "or 224.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write weights, gates and plan to this .safetensors file.")] = None,
    time: Annotated[bool, typer.Option("--time/--no-time", help="Measure a forward pass before and after.")] = True,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Put attention into a residual network of another library; its outputs stay what they were until gates learn.

    Says where the gates are, what they cost, which blocks cannot have them, and how far apart the outputs are.
    In Python: excite.insert_attention(model, "se"); excite.load_inserted(model, FILE) reads what --out wrote.

    \b
    Examples:
      excite models insert torchvision.models:resnet50 --attention se@2,3
      excite models insert timm.models:resnet50 --attention cbam --weights resnet50.safetensors --out cbam.safetensors
      excite models insert monai.networks.nets:SEResNet50 --option spatial_dims=3 --option in_channels=1 --json
    """
    from excite.cli.talk import emit, say
    from excite.jobs.insert_weights import insert_weights
    from excite.jobs.model_cost import read_pairs

    if not json:
        say("building the network" + (", a pass before and after is timed; --no-time leaves it out" if time else ""))
    done = insert_weights(network, attention, options=read_pairs(option or ()), weights=weights, fresh=fresh or (),
                          out=out, input_size=_read_size(size), measure=time)
    if json:
        emit({**done.report.to_json(), "apart": done.apart, "loaded": done.keys, "fresh": done.fresh,
              "out": None if out is None else str(out)})
        return
    for line in _inserted(done):
        typer.echo(line)
    load = f"excite.load_inserted(model, {str(out)!r})" if out else f"excite.insert_attention(model, {attention!r})"
    images = len(done.report.input_size) == 3
    say(f"next, in Python: {load}" + ("; excite.train(config, model=model)" if images else ""))


def _inserted(done: "Insertion") -> list[str]:
    """Return the lines on an insertion and on the weights."""
    told = "the output is no tensor and was not compared" if done.apart is None else "outputs before and after: " + (
        f"up to {done.apart:.2g} apart" if done.apart else "equal bit for bit")
    lines = [done.report.text(), told]
    if done.keys:
        lines.append(f"weights: {done.keys} keys loaded" + (f", {len(done.fresh)} left fresh" if done.fresh else ""))
    else:
        lines.append("weights: as the function makes them, at random unless its options say otherwise")
    return lines + ([f"written: {done.out}"] if done.out else [])


def _read_size(text: str | None) -> tuple[int, ...] | None:
    from excite.errors import UsageError

    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) not in (3, 4) or not all(side.isdecimal() and int(side) for side in sides):
        raise UsageError(f"--size must be CxHxW or CxDxHxW, got {text!r}", fix="for example 3x224x224")
    return tuple(map(int, sides))
