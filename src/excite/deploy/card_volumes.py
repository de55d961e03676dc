"""What a model card says of a network for volumes."""

from collections.abc import Mapping, Sequence
from typing import Any

from excite.deploy.card_text import text_of

KINDS = {"map": "each map has one scale for all patients, learnt on the training part, so that a level that disease "
                "has moved stays moved",
         "volume": "each volume is brought to mean 0 and standard deviation 1 by itself"}


def what(info: Mapping[str, Any]) -> list[str]:
    """Return what the network does."""
    names = "\n".join(f"- {text_of(name)}" for name in info["classes"])
    maps = ", ".join(map(text_of, info["preprocess"]["maps"]))
    columns = ", ".join(text_of(one["name"]) for one in info["preprocess"].get("clinical", ()))
    beside = f"\nBeside them it takes {columns}; what is not known is left out." if columns else ""
    return ["## What it does", f"Tells which of {len(info['classes'])} classes a patient belongs to, from these maps: "
            f"{maps}; any that are there.{beside}\nMade {info['created'] or 'at an unknown time'}.", names]


def prepared(info: Mapping[str, Any]) -> list[str]:
    """Return what is done to volumes before the network sees them."""
    found = info["preprocess"]
    shape, steps = (" x ".join(f"{value:g}" for value in found[name]) for name in ("shape", "spacing"))
    levels = "\n".join(f"- {text_of(name)}: {level['low']:.5g} to {level['high']:.5g}, mean {level['mean']:.5g}"
                       for name, level in zip(found["maps"], found["levels"], strict=True)) \
        if found["kind"] == "map" else ""
    return ["## What it does to volumes first",
            f"All maps of a patient are resampled onto {shape} voxels of {steps} mm (D, H, W) around the middle of the "
            f"{text_of(found['reference'])}, through their own places in the scanner; {KINDS[found['kind']]}.",
            *([levels] if levels else []), *_clinical(found.get("clinical", ()))]


def _clinical(columns: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what the training part held of the clinical columns."""
    lines = [f"- {text_of(one['name'])}: {one['low']:.5g} to {one['high']:.5g}, mean {one['mean']:.5g}, known of "
             f"{one['known']} training rows" for one in columns]
    return ["Clinical columns are brought to mean 0 and standard deviation 1 of the training part:",
            "\n".join(lines)] if lines else []


def limits(info: Mapping[str, Any]) -> list[str]:
    """Return what it does not do."""
    return ["## Limits",
            "- It names one of its classes for every patient, also for one that is none of them.\n"
            "- Maps have physical units: other units, scanners, field strengths, sequences or fits can change how good "
            "it is; measure it on patients of your own first.\n"
            "- Maps are put together by their headers; whether they show the same place is only looked at roughly.\n"
            f"- {info['disclaimer']}"]
