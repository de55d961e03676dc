"""`excite models`: the networks, with measured parameters and multiply-adds."""

from typing import Annotated

import typer


def models(
    pattern: Annotated[str, typer.Argument(help="Names to show, with * and ?.")] = "*",
    dims: Annotated[int, typer.Option(help="2 for images, 3 for volumes.")] = 2,
    size: Annotated[int, typer.Option(help="Side of the input, pixels or voxels.")] = 224,
    num_classes: Annotated[int, typer.Option("--classes", help="Number of classes.")] = 1000,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")] = False,
) -> None:
    """List the networks that `excite train --model` and create_model take, with their cost.

    \b
    Examples:
      excite models
      excite models "se_*" --classes 6
      excite models mobilenet_v2 --dims 3 --size 64 --json
    """
    from excite.cli.talk import emit
    from excite.errors import UsageError
    from excite.models.classifier import create_model, list_models
    from excite.models.cost import count

    names = list_models(pattern)
    if not names:
        raise UsageError(f"no network matches {pattern!r}", fix=f"known: {', '.join(list_models())}")
    if not json:
        typer.echo(f"{'name':<24}{'parameters':>14}{'MACs':>18}")
    for name in names:
        cost = count(create_model(name, dims=dims, num_classes=num_classes), (3, *[size] * dims))
        if json:
            emit({"name": name, "dims": dims, "parameters": cost.parameters, "macs": cost.macs})
        else:
            typer.echo(f"{name:<24}{cost.parameters:>14,}{cost.macs:>18,}")
