"""Whether the same command again is the same run: its config and its environment, with every difference named."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from excite.config import Section, load_config
from excite.errors import EnvironmentFault
from excite.jobs import run_folder as files
from excite.jobs.environment import environment
from excite.jobs.run_folder import RunFolder

C = TypeVar("C", bound=Section)
VERSIONS = ("python", "torch", "numpy", "opencv-python-headless", "pillow", "excite")


def stored_config(run: RunFolder, kind: type[C]) -> C:
    """Return the config that a run began with.

    Raises:
        EnvironmentFault: its file is damaged.
    """
    file = run.path / files.CONFIG
    if not file.read_text(encoding="utf-8", errors="replace").strip():
        raise EnvironmentFault("a file of the run is damaged", where=file, why="it is empty",
                               fix="start again in a new folder with --out")
    return load_config(kind, file)


def refuse_other_run(run: RunFolder, config: Section, threads: int, *, places: Sequence[tuple[str, str]]) -> None:
    """Raise where a run began with another config than `config`, or in another environment; see the two functions."""
    refuse_other_config(run, stored_config(run, type(config)).model_dump(mode="json"), config.model_dump(mode="json"),
                        places=places)
    refuse_other_environment(run, environment(threads))


def refuse_other_config(run: RunFolder, stored: Mapping[str, Any], asked: Mapping[str, Any], *,
                        places: Sequence[tuple[str, str]]) -> None:
    """Raise where two configs, as plain data, differ in more than `places`.

    Args:
        places: (section, key) of what does not make it another run: where files lie, how long training may take.
    """
    old, new = ({key: dict(part) if isinstance(part, Mapping) else part for key, part in tree.items()}
                for tree in (stored, asked))
    for section, key in places:
        old[section].pop(key, None)
        new[section].pop(key, None)
    run.refuse_changes("config", old, new)


def refuse_other_environment(run: RunFolder, now: Mapping[str, Any]) -> None:
    """Raise where the machine, its threads or the versions that bits rest on are others than at the run's beginning."""
    run.refuse_changes("environment", _fixed(run.read_json(files.ENVIRONMENT)), _fixed(now))


def _fixed(facts: Mapping[str, Any]) -> dict[str, object]:
    """Return the part of an environment on which bit-equality rests."""
    versions, processor = _mapping(facts, "versions"), _mapping(facts, "cpu")
    return {"threads": facts.get("threads"), "system": facts.get("system"),
            "cpu": {key: processor.get(key) for key in ("name", "features")},
            "versions": {key: versions.get(key) for key in VERSIONS}}


def _mapping(facts: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = facts.get(key)
    return found if isinstance(found, Mapping) else {}
