"""What a model card says of a network for hyperspectral scenes."""

from collections.abc import Mapping
from typing import Any

from excite.deploy.card_text import text_of

BORDERS = {"reflect": "beyond the border of the scene lies its mirror image",
           "zero": "beyond the border of the scene lie zeros, the mean of the training pixels"}


def what(info: Mapping[str, Any]) -> list[str]:
    """Return what the network does."""
    names = "\n".join(f"- {text_of(name)}" for name in info["classes"])
    return ["## What it does", f"Tells which of {len(info['classes'])} classes each pixel of a hyperspectral scene is, "
            f"from its spectrum and its neighbours'.\nMade {info['created'] or 'at an unknown time'}.", names,
            *_cubes(info)]


def prepared(info: Mapping[str, Any]) -> list[str]:
    """Return what is done to a scene before the network sees it."""
    found = info["preprocess"]
    reduction, window = found["reduction"], found["window"]
    kept = len(reduction["offset"])
    kinds = {"pca": f"reduced to {kept} principal components", "bands": f"of which {kept} are used",
             "none": "all of which are used"}
    return ["## What it does to a scene first",
            f"A scene has {reduction['bands']} bands, {kinds[reduction['kind']]}; what that needs was learnt on "
            f"{reduction['pixels']} {reduction['fitted_on']}. A pixel is told by the {window} x {window} pixels around "
            f"it; {BORDERS[found['border']]}."]


def limits(info: Mapping[str, Any]) -> list[str]:
    """Return what it does not do."""
    one, other = ("a few patients", "others") if "cubes" in _data(info) else ("one scene", "another")
    return ["## Limits",
            "- It names one of its classes for every pixel, also for one that is none of them.\n"
            "- Another sensor, season, light, calibration or place can change how good it is; measure it on a labelled "
            "scene of your own first.\n"
            f"- Numbers of {one} say little about {other}: pixels of one resemble each other.\n"
            f"- {info['disclaimer']}"]


def _cubes(info: Mapping[str, Any]) -> list[str]:
    """Return how many cubes of how many patients it was made with, and how these were split; none for one scene."""
    data = _data(info)
    if "cubes" not in data:
        return []
    of = f" of {data['patients']} patients" if data.get("patients") else ", of patients that nobody named"
    dealt = [f"{data[key]} to {part}" for part in ("train", "val", "test")
             if (key := f"{part} {data['split']}s") in data]
    return [f"Made with {data['cubes']} cubes{of}, split by {text_of(data['split'])}"
            f"{': ' if dealt else ''}{', '.join(dealt)}."]


def _data(info: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = info["provenance"].get("data") or {}
    return found
