"""`excite weights`: what is known, what is at hand, getting, importing and checking it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from excite.weights.catalog import Row
    from excite.weights.intake import Entry

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None,
                  help="Pretrained weights: what is known and at hand; get, import, verify.")

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")]


@app.command(name="list")
def list_(pattern: Annotated[str, typer.Argument(help="Networks to show, with * and ?.")] = "*",
          json: Json = False) -> None:
    """List the known weights: network, tag, part, whether at hand, licence, how to have them.

    \b
    Examples:
      excite weights list
      excite weights list "se_*"
      excite weights list --json
    """
    from fnmatch import fnmatch

    from excite.cli.talk import emit, say
    from excite.weights.catalog import CATALOG
    from excite.weights.store import folder, own_files

    rows = [_facts(row) for row in CATALOG if fnmatch(row.backbone, pattern)]
    own = [path for path in own_files() if fnmatch(path.stem, f"{pattern}*")]
    if json:
        for facts in rows:
            emit(facts)
        for path in own:
            emit({"file": str(path), "at_hand": True, "bytes": path.stat().st_size, "source": "your own import"})
        return
    typer.echo(f"{'network':<20}{'tag':<26}{'part':<10}{'at hand':<10}{'licence'}")
    for facts in rows:
        here = f"{facts['bytes'] / 1e6:.0f} MB" if facts["at_hand"] else "no"
        typer.echo(f"{facts['backbone']:<20}{facts['tag']:<26}{facts['part']:<10}{here:<10}{facts['licence']}")
        words = (", ".join(f"{name}={value}" for name, value in facts["options"].items()),
                 f"top-1 {facts['top1']:.1f} %" if facts["top1"] else "", facts["note"],
                 "" if facts["at_hand"] else facts["how"])
        if any(words):
            typer.echo("    " + "; ".join(filter(None, words)))
    for path in own:
        typer.echo(f"{path.stem:<56}{path.stat().st_size / 1e6:.0f} MB    your own import")
    say(f"folder: {folder()}\nnext: excite weights get mobilenet_v2")


@app.command()
def get(
    name: Annotated[str, typer.Argument(help="Network, as in excite weights list.")],
    tag: Annotated[str, typer.Option(help="Which of its weights.")] = "imagenet",
    json: Json = False,
) -> None:
    """Fetch weights over https, check their sha256 and keep them as safetensors.

    \b
    Examples:
      excite weights get mobilenet_v2
      excite weights get mobilenet_v2 --tag imagenet-torchvision-v2
      excite weights get se_resnext50_32x4d --json
    """
    from excite.cli.talk import emit, say
    from excite.errors import UsageError
    from excite.progress import spoken
    from excite.registry import nearest
    from excite.weights.catalog import CATALOG, find, rows_of
    from excite.weights.store import get as fetch
    from excite.weights.store import verify as check

    row = find(name, tag)
    if row is None:
        tags = [known.tag for known in rows_of(name)]
        names = sorted({known.backbone for known in CATALOG})
        fix = f"{nearest(tag, tags)}tags of {name}: {', '.join(tags)}" if tags else \
            f"{nearest(name, names)}known networks: {', '.join(names)}"
        raise UsageError(f"no weights {tag!r} of {name!r} are known", fix=fix)
    path = fetch(row, spoken())
    verdict = check(path, row)
    if json:
        emit({**_facts(row), "file": str(path), "verified": verdict.ok, "says": verdict.text})
    else:
        typer.echo(f"{path}\n  {verdict.text}\n  licence: {row.licence}; source: {row.source}")
    say(f"next: excite train TABLE --model {name} --weights {tag}")


@app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(help="A .safetensors, .pth or .pt file.")],
    name: Annotated[str | None, typer.Option(help="Network of a file that the catalog does not know.")] = None,
    tag: Annotated[str, typer.Option(help="What --weights will call such a file.")] = "custom",
    layout: Annotated[str, typer.Option(help="Whose key names it has: torchvision, timm, cadene, monai ...")] = "auto",
    json: Json = False,
) -> None:
    """Convert a published weights file into the store; no code in it is run.

    \b
    Examples:
      excite weights import mobilenet_v2-7ebf99e0.pth
      excite weights import se_resnext50_32x4d-a260b3a4.pth
      excite weights import ours.pth --name mobilenet_v2 --tag ours --layout torchvision
    """
    from dataclasses import replace

    from excite.cli.talk import emit, say
    from excite.models.classifier import create_model
    from excite.weights.intake import take_in
    from excite.weights.load import load_weights

    reports = []

    def fits(state: "Mapping[str, Tensor]", entry: "Entry") -> None:
        options = dict(entry.row.options) if entry.row else {}
        model = create_model(entry.backbone, num_classes=entry.classes or 2, **options)
        reports.append(replace(load_weights(model, state, layout=entry.layout, name=entry.backbone), source=file.name))

    entry = take_in(file, name=name, tag=tag, layout=layout, check=fits)
    report = reports[0]
    known = f"recognised by its sha256 as {entry.row.name}" if entry.row else "not in the catalog: your own weights"
    if json:
        emit({"file": str(entry.path), "backbone": entry.backbone, "tag": entry.tag, "part": entry.part,
              "layout": entry.layout, "recognised": entry.row is not None, "percent": report.percent,
              "tensors": entry.tensors, "values": entry.values})
    else:
        typer.echo(f"{entry.path}\n  {known}\n  {report.text()}")
    say(f"next: excite train TABLE --model {entry.backbone} --weights {entry.tag}")


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Networks or .safetensors files; the whole store.")] = None,
    json: Json = False,
) -> None:
    """Check weights at hand against their sha256; exit code 4 where one is not right.

    \b
    Examples:
      excite weights verify
      excite weights verify mobilenet_v2
      excite weights verify ours.safetensors --json
    """
    from excite.cli.talk import emit, say
    from excite.errors import ModelError
    from excite.weights.store import files_of
    from excite.weights.store import verify as check

    wrong, files = [], list(files_of(names or []))
    if not files:
        say("no weights are at hand; next: excite weights list")
        return
    for path, row in files:
        verdict = check(path, row)
        if not verdict.ok:
            wrong.append(path.name)
        if json:
            emit({"file": str(path), "ok": verdict.ok, "sha256": verdict.sha256, "says": verdict.text})
        else:
            typer.echo(f"{'ok   ' if verdict.ok else 'WRONG'} {path.name}: {verdict.text}")
    if wrong:
        raise ModelError(f"{len(wrong)} weights files are not right: {', '.join(wrong)}",
                         fix="delete them, then get or import them again")
    say("next: excite train TABLE --dry-run")


def _facts(row: "Row") -> dict[str, Any]:
    """Return a row and its state as plain data."""
    from excite.weights.store import at_hand

    path = at_hand(row)
    tag = "" if row.tag == "imagenet" else f" --tag {row.tag}"
    return {"backbone": row.backbone, "tag": row.tag, "part": row.part, "at_hand": path is not None,
            "file": str(path) if path else None, "bytes": path.stat().st_size if path else None,
            "licence": row.licence, "source": row.source, "url": row.url, "sha256": row.sha256,
            "options": dict(row.options), "top1": row.top1, "top5": row.top5, "note": row.note,
            "how": f"excite weights get {row.backbone}{tag}" if row.url else "excite weights import FILE"}
