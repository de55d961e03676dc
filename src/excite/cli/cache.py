"""`excite cache`: where decoded images and prepared volumes are kept, how much there is, and removing it."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None,
                  help="Decoded images and prepared volumes on disk: how much, and remove them.")

Folder = Annotated[Path | None, typer.Option(help="The cache's folder; EXCITE_CACHE or the user's otherwise.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


@app.command()
def info(folder: Folder = None, json: Json = False) -> None:
    """Tell the folders, their size, the limit of images, and the sets in them.

    \b
    Examples:
      excite cache info
      excite cache info --json
      excite cache info --folder /data/excite-cache
    """
    from excite.cli.talk import emit
    from excite.data.cache import cache_info
    from excite.data.sections import CacheSection
    from excite.data.volumes.store_files import volumes_info

    facts = cache_info(CacheSection(folder=folder)) | {"volumes": volumes_info(folder)}
    if json:
        emit(facts)
        return
    typer.echo(f"{facts['folder']}: {facts['bytes'] / 1e6:.1f} MB of {facts['limit_gb']:g} GB")
    for found in facts["sets"]:
        typer.echo(f"  {found['name']}  {found['images']:>7} images  {found['bytes'] / 1e6:>9.1f} MB  {found['state']}")
    volumes = facts["volumes"]
    typer.echo(f"{volumes['folder']}: {volumes['sets']} sets of prepared volumes, {volumes['bytes'] / 1e6:.1f} MB")


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
    from excite.data.volumes.store_files import clear_volumes

    done = clear_cache(CacheSection(folder=folder)) | {"volumes": clear_volumes(folder)}
    if json:
        emit(done)
        return
    typer.echo(f"{done['folder']}: {done['removed']} sets removed, {done['freed_bytes'] / 1e6:.1f} MB freed")
    volumes = done["volumes"]
    typer.echo(f"{volumes['folder']}: {volumes['removed']} sets of prepared volumes removed, "
               f"{volumes['freed_bytes'] / 1e6:.1f} MB freed")
