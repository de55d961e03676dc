"""`excite info`: is the installation whole, and what can this machine do."""

import typer


def info(json: bool = typer.Option(False, "--json", help="One JSON object on stdout.")) -> None:
    """Verify the installation: versions, processor, extras, folders.

    \b
    Examples:
      excite info
      excite info --json
      python -m excite info
    """
    from excite.cli.talk import emit
    from excite.data.cache import cache_folder
    from excite.jobs.environment import cpu, extras, versions
    from excite.weights.store import folder as weights_folder

    facts = {"versions": versions(), "cpu": cpu(), "extras": extras(),
             "folders": {"cache": str(cache_folder()), "weights": str(weights_folder())}}
    if json:
        emit(facts)
        return
    processor = cpu()
    rows = [(name, text) for name, text in versions().items()]
    rows += [("processor", str(processor["name"])), ("cores", str(processor["cores"])),
             ("features", " ".join(map(str, processor["features"])) or "none of note")]  # type: ignore[call-overload]
    rows += [(f"extra {name}", "installed" if there else f"missing: pip install '.[{name}]' in the clone")
             for name, there in extras().items()]
    rows += [("cache", str(cache_folder())), ("weights", str(weights_folder()))]
    for name, text in rows:
        typer.echo(f"{name:<24}{text}")
