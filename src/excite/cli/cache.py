"""`excite cache`: where decoded images are kept, how much there is, and removing it."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Decoded images on disk: how much, and remove it.")

Folder = Annotated[Path | None, typer.Option(help="The cache's folder; EXCITE_CACHE or the user's otherwise.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


@app.command()
def info(folder: Folder = None, json: Json = False) -> None:
    """Tell the folder, its size and limit, and the sets in it.

    \b
    Examples:
      excite cache info
      excite cache info --json
      excite cache info --folder /data/excite-cache
    """
    from excite.cli.talk import emit
    from excite.data.cache import cache_info
    from excite.data.sections import CacheSection

    facts = cache_info(CacheSection(folder=folder))
    if json:
        emit(facts)
        return
    typer.echo(f"{facts['folder']}: {facts['bytes'] / 1e6:.1f} MB of {facts['limit_gb']:g} GB")
    for found in facts["sets"]:
        typer.echo(f"  {found['name']}  {found['images']:>7} images  {found['bytes'] / 1e6:>9.1f} MB  {found['state']}")


@app.command()
def clear(folder: Folder = None, json: Json = False) -> None:
    """Remove all sets; they are built again when they are needed. Other files in the folder stay.

    \b
    Examples:
      excite cache clear
      excite cache clear --json
      excite cache clear --folder /data/excite-cache
    """
    from excite.cli.talk import emit
    from excite.data.cache import clear_cache
    from excite.data.sections import CacheSection

    done = clear_cache(CacheSection(folder=folder))
    if json:
        emit(done)
        return
    typer.echo(f"{done['folder']}: {done['removed']} sets removed, {done['freed_bytes'] / 1e6:.1f} MB freed")
