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
            f"from its spectrum and its neighbours'.\nMade {info['created'] or 'at an unknown time'}.", names]


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
    return ["## Limits",
            "- It names one of its classes for every pixel, also for one that is none of them.\n"
            "- Another sensor, season, light, calibration or place can change how good it is; measure it on a labelled "
            "scene of your own first.\n"
            "- Numbers of one scene say little about another: pixels of one scene resemble each other.\n"
            f"- {info['disclaimer']}"]
