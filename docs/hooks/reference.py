"""Write the pages that come from code: `python docs/hooks/reference.py`.

docs/reference/config.md has every key of the configs, docs/reference/commands.md what every command says of itself,
docs/howto/workflow.md is examples/workflow.py to read. A test holds all three against the code.
"""

import inspect
import io
import re
import tokenize
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

DOCS = Path(__file__).parents[1]
WORKFLOW = DOCS.parent / "examples" / "workflow.py"
WIDTH = 100  # columns of a command's help
TASKS = {"Pictures": "excite.jobs.sections.TrainConfig",
         "Hyperspectral scenes": "excite.jobs.scenes.sections.SceneConfig",
         "Volumes": "excite.jobs.volumes.sections.VolumeConfig",
         "Volumes, nested cross-validation": "excite.jobs.volumes.nested.sections.NestedConfig",
         "Label volumes": "excite.jobs.volume_masks.sections.MaskedVolumeConfig",
         "Studies": "excite.jobs.study.sections.StudyConfig"}
BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
KINDS = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`", "string": "text", "path": "path",
         "object": "mapping", "null": "", "any": "any"}
SECTIONS = {"AttentionSection": "a plan, or its line of text: `se@2,3:position=pre`",
            "ArmSection": "mappings: name, set"}
CONFIG = """# Config keys

Written by `python docs/hooks/reference.py` from the sections' own definitions. A key goes into a YAML file for
`--config`, behind `--set` of `excite train` (`--set loop.epochs=10`), or into
`load_config(TrainConfig, values={"loop.epochs": 10})`. Unknown keys are errors that name the nearest one; a run's
config.yaml holds every key with its value.
"""
COMMANDS = """# Commands

Written by `python docs/hooks/reference.py`: what every command says with `--help`. Results are on stdout, talk on
stderr; `--json` gives JSON. Exit codes: 0 done, 1 an export that is not the trained network, 2 usage, 3 data, 4 model,
5 environment, 130 and 143 stopped. `excite --debug VERB` shows the traceback of an error.
"""


def config_page() -> str:
    """Return the page of the config keys, a heading a kind of work and a table a section."""
    parts, said = [CONFIG], {}
    for title, path in TASKS.items():
        module, _, name = path.rpartition(".")
        model = getattr(__import__(module, fromlist=[name]), name)
        parts.append(f"## {title}\n\n{summary(model)}\n")
        parts += sections(model, said, title)
    return "\n".join(parts)


def sections(model: type[BaseModel], said: dict[str, str], title: str) -> list[str]:
    """Return a config's tables: of its own keys, and of each section that no other kind of work has as it is."""
    own, below = [], []
    for name, field in model.model_fields.items():
        section = field.annotation if isinstance(field.annotation, type) else None
        if section is None or not issubclass(section, BaseModel):
            own.append(name)
            continue
        table = rows(section, list(section.model_fields), f"{name}.")
        if table in said:
            place = re.sub(r"[^\w-]", "", said[table].lower().replace(" ", "-"))
            below.append(f"`{name}`: as for [{said[table]}](#{place}).\n")
            continue
        said[table] = title
        below.append(f"**`{name}`**: {summary(section)}\n\n{table}")
    return [rows(model, own, ""), *below]


def rows(model: type[BaseModel], names: list[str], before: str) -> str:
    """Return a table of keys, values, defaults and what they mean."""
    if not names:
        return ""
    notes, schema = written(model), model.model_json_schema()["properties"]
    lines = ["| key | values | default | |", "|---|---|---|---|"]
    for name in names:
        field = model.model_fields[name]
        default = field.get_default(call_default_factory=True)
        shown = "" if default is PydanticUndefined else f"`{plain(default)}`"
        lines.append(f"| `{before}{name}` | {words(schema[name])} | {shown} | {notes.get(name, '')} |")
    return "\n".join(lines) + "\n"


def written(model: type[BaseModel]) -> dict[str, str]:
    """Return what the source says of each key: the comment behind it, or above it."""
    notes: dict[str, str] = {}
    for kind in reversed([one for one in model.__mro__ if issubclass(one, BaseModel) and one is not BaseModel]):
        name, above = "", ""
        for line in inspect.getsource(kind).splitlines()[1:]:
            bare, note = re.match(r"    # (.+)$", line), comment(line)
            if started := re.match(r"    (\w+): ", line):
                name, above = started[1], f"{above} {note}".strip()
                notes[name], above = above or notes.get(name, ""), ""
            elif bare and name and notes[name] and bare[1][:1].islower():
                notes[name] += f" {bare[1]}"
            elif bare:
                name, above = "", f"{above} {bare[1]}".strip()
            elif name and re.match(r"     +\S", line):
                notes[name] = f"{notes[name]} {note}".strip()
            else:
                name, above = "", ""
    return {name: cell(note) for name, note in notes.items()}


def comment(line: str) -> str:
    """Return the comment at a line's end."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(line.strip()).readline))
    except tokenize.TokenError as fault:  # the line goes on below
        found = re.search(r"  # (.+)$", line)
        return found[1] if found and fault else ""
    said = next((token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT), "")
    return "" if said.startswith("type:") else said


def words(schema: dict[str, Any]) -> str:
    """Return what a value may be, from its JSON schema."""
    if several := schema.get("anyOf"):
        return " or ".join(dict.fromkeys(said for one in several if (said := words(one))))
    if choices := schema.get("enum") or [one for one in [schema.get("const")] if one]:
        return ", ".join(f"`{one}`" for one in choices)
    if name := schema.get("$ref", "").rpartition("/")[2]:
        return SECTIONS[name]
    if schema.get("type") == "array":
        kinds = [schema["items"]] if "items" in schema else schema.get("prefixItems", [])
        return f"list of {', '.join(dict.fromkeys(map(words, kinds)))}"
    bounds = (f", {sign} {schema[bound]:g}" for bound, sign in BOUNDS.items() if bound in schema)
    return KINDS[schema.get("format") or schema.get("type", "any")] + "".join(bounds)


def plain(value: Any) -> str:
    """Return a default as YAML has it, on one line; of a section what it sets."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, BaseModel):
        value = {key: one for key, one in value if one not in (None, {})}
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {plain(one)}" for key, one in value.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(plain(one) for one in value) + "]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def summary(model: type[BaseModel]) -> str:
    """Return the first sentence of a class."""
    return " ".join((model.__doc__ or "").split("\n\n")[0].split())


def cell(text: str) -> str:
    """Return a text as a table's cell."""
    return re.sub(r"\bNone\b", "null", text).replace("|", "\\|").replace("<", "&lt;")


def commands_page() -> str:
    """Return the page of the commands, in the order of a day's work."""
    import typer

    from excite.cli.main import VERBS, build

    top = typer.main.get_command(build())
    parts = [COMMANDS]
    for verb in VERBS:
        command = top.get_command(None, verb)  # type: ignore[attr-defined]
        parts.append(f"## {verb}\n\n{helped(command, f'excite {verb}')}")
        for name in getattr(command, "commands", {}):
            parts.append(f"### {verb} {name}\n\n{helped(command.commands[name], f'excite {verb} {name}')}")
    return "\n".join(parts)


def helped(command: Any, called: str) -> str:
    """Return a command's help as a block."""
    context = command.context_class(command, info_name=called, terminal_width=WIDTH, max_content_width=WIDTH,
                                    help_option_names=["-h", "--help"])
    return f"```text\n{command.get_help(context).rstrip()}\n```\n"


def workflow_page() -> str:
    """Return the cells of the workflow: text as text, code as blocks."""
    parts = []
    for cell in re.split(r"^# %%", WORKFLOW.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        kind, _, body = cell.partition("\n")
        if kind.strip() == "[markdown]":
            parts.append(re.sub(r"^# ?", "", body.strip(), flags=re.MULTILINE))
        else:
            parts.append(f"```python\n{body.strip()}\n```")
    return "\n\n".join(parts) + "\n"


PAGES = {"reference/config.md": config_page, "reference/commands.md": commands_page, "howto/workflow.md": workflow_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")
