"""The base of every config section, and the loader: YAML, `--set`, errors with line and nearest key."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from excite.errors import UsageError
from excite.registry import nearest


class Section(BaseModel):
    """A part of a config: unknown keys are errors, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


C = TypeVar("C", bound=Section)


def load_config(model: type[C], file: Path | None = None, *, overrides: Iterable[str] = (),
                values: Mapping[str, object] | None = None) -> C:
    """Return `model` from a YAML file, then `values` (dotted keys), then `overrides` ("a.b=c").

    Args:
        model: The config class.
        file: A YAML mapping; None starts from the defaults.
        overrides: What `--set` takes; each value is read as YAML.
        values: Dotted keys with values already typed, as command-line options give them; None values are left out.

    Raises:
        UsageError: the file is missing or is no mapping, a key is unknown (the nearest one is named), or a value
            does not fit; the message has file and line.
    """
    tree, lines = read_yaml(file) if file else ({}, {})
    for key, value in (values or {}).items():
        if value is not None:
            _plant(tree, key, value, model)
    for text in overrides:
        key, sep, value = text.partition("=")
        if not sep or not key:
            raise UsageError(f"--set takes key=value, got {text!r}", fix="for example --set optim.lr=0.01")
        try:
            _plant(tree, key.strip(), yaml.safe_load(value), model)
        except yaml.YAMLError as fault:
            raise UsageError(f"--set {key}: {value!r} cannot be read", why=_first_line(fault)) from None
    return validate(model, tree, where=file, lines=lines)


def validate(model: type[C], tree: Mapping[str, object], *, where: Path | str | None = None,
             lines: Mapping[tuple[str, ...], int] | None = None) -> C:
    """Return `model` built from `tree`; every fault of one pass in one message, each with its line where known."""
    try:
        return model.model_validate(dict(tree))
    except ValidationError as fault:
        messages = []
        for error in fault.errors():
            location = tuple(str(part) for part in error["loc"])
            line = (lines or {}).get(location)
            at = f"line {line}: " if line else ""
            messages.append(at + _explain(model, location, error))
        raise UsageError("; ".join(messages), where=where) from None


def read_yaml(file: Path) -> tuple[dict[str, Any], dict[tuple[str, ...], int]]:
    """Return the mapping in `file` and the line of each key."""
    try:
        text = file.read_text(encoding="utf-8-sig")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        tree = yaml.safe_load(text)
    except FileNotFoundError:
        raise UsageError("config file does not exist", where=file, fix="check the path") from None
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        raise UsageError("config file is not YAML in UTF-8", where=file, why=_first_line(fault)) from None
    if tree is None:
        return {}, {}
    if not isinstance(tree, dict) or not isinstance(node, yaml.MappingNode):
        raise UsageError("config file must hold a mapping of sections", where=file, fix="see configs/ for examples")
    lines: dict[tuple[str, ...], int] = {}
    _collect_lines(node, (), lines, file)
    return tree, lines


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return one line a leaf that differs between two plain trees: "key: old -> new"."""
    found = []
    for key in sorted({*old, *new}, key=str):
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}: {a!r} -> {b!r}")
    return found


def dump_yaml(config: Section) -> str:
    """Return `config` as YAML, every default written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _plant(tree: dict[str, Any], key: str, value: object, model: type[Section]) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        child = tree.setdefault(parent, {})
        if child is None:
            child = tree[parent] = {}
        if not isinstance(child, dict):
            raise UsageError(f"{key} cannot be set: {parent} is not a section of {model.__name__}")
        tree = child
    tree[last] = value


def _collect_lines(node: yaml.MappingNode, path: tuple[str, ...], lines: dict[tuple[str, ...], int],
                   file: Path) -> None:
    for key, value in node.value:
        here = (*path, str(key.value))
        if here in lines:
            raise UsageError(f"line {key.start_mark.line + 1}: {'.'.join(here)} is given twice", where=file,
                             fix="keep one of the two")
        lines[here] = key.start_mark.line + 1
        if isinstance(value, yaml.MappingNode):
            _collect_lines(value, here, lines, file)


def _explain(model: type[BaseModel], location: Sequence[str], error: Mapping[str, Any]) -> str:
    key, whole = ".".join(location), model
    if error["type"] != "extra_forbidden":
        got = error.get("input")
        shown = f", got {got!r}" if isinstance(got, (str, int, float, bool, type(None), list, tuple)) else ""
        return f"{key}: {str(error['msg']).removeprefix('Value error, ')}{shown}"
    for part in location[:-1]:
        field = model.model_fields.get(part)
        model = next((kind for kind in _classes(field.annotation if field else None)), model)
    known = list(model.model_fields)
    elsewhere = [path for path in _keys(whole) if path.rpartition(".")[2] == location[-1]]
    hint = f"did you mean {' or '.join(elsewhere)}? " if elsewhere else nearest(key, [*_keys(whole), *known])
    return f"unknown key {key!r}; {hint}known here: {', '.join(known)}"


def _keys(model: type[BaseModel], before: str = "") -> list[str]:
    """Return every key of a config, dotted."""
    found = []
    for name, field in model.model_fields.items():
        inner = [key for kind in _classes(field.annotation) for key in _keys(kind, f"{before}{name}.")]
        found += [f"{before}{name}", *inner]
    return found


def _classes(annotation: object) -> list[type[BaseModel]]:
    """Return the config classes inside an annotation such as `Section | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in getattr(annotation, "__args__", ()) for found in _classes(part)]


def _first_line(fault: Exception) -> str:
    return " ".join(str(fault).split())[:200]
