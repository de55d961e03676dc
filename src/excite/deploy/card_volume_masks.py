"""What a model card says of a network for label volumes."""

from collections.abc import Mapping
from typing import Any

from excite.deploy.card_text import row_of, text_of

KINDS = {"map": "each map has one scale for all scans, learnt on the training part",
         "volume": "each volume is brought to mean 0 and standard deviation 1 by itself"}
SHOWN = ("dice", "hd95_mm", "hd95_voxels", "assd_mm", "surface_dice", "difference_ml")


def what(info: Mapping[str, Any]) -> list[str]:
    """Return what the network does."""
    names = "\n".join(f"- {value}: {text_of(name)}" for value, name in
                      zip(info["preprocess"]["values"], info["classes"], strict=True))
    maps = ", ".join(map(text_of, info["preprocess"]["maps"]))
    return ["## What it does", f"Labels each voxel of a scan ({maps}) as one of these; the first is the background. "
            f"Labels are written on the scan's own grid.\nMade {info['created'] or 'at an unknown time'}.", names]


def measured(info: Mapping[str, Any]) -> list[str]:
    """Return the numbers of the evaluation, of all classes and of each."""
    found = info["metrics"]
    if not found.get("metrics"):
        return ["## How good it is", "Not measured: the bundle holds no evaluation."]
    lines = ["| measure | value | 95 % interval |", "|---|---|---|"]
    for name, of in {"mean of classes": found["metrics"], **found["per_class"]}.items():
        lines += [row_of(f"{key.replace('_', ' ')} of {text_of(name)}", of[key]) for key in SHOWN if key in of]
    said = (f"Measured on the {text_of(found['part'])} part: {found['n']} scans, {found['n_units']} units "
            f"({text_of(found['unit_kind'])}), in their own voxels; intervals from a bootstrap over these units.")
    notes = [f"- {text_of(note)}" for note in found.get("notes", ())]
    return ["## How good it is", said, "\n".join(lines), *(["\n".join(notes)] if notes else [])]


def prepared(info: Mapping[str, Any]) -> list[str]:
    """Return what is done to a scan before the network sees it, and to its outputs after."""
    found = info["preprocess"]
    patch, steps = (" x ".join(f"{value:g}" for value in found[name]) for name in ("patch", "spacing"))
    return ["## What it does to a scan first",
            f"It is resampled to voxels of {steps} mm (D, H, W) around its own middle; {KINDS[found['kind']]}; patches "
            f"of {patch} voxels, which overlap by {found['overlap']:g}, are predicted and averaged with Gaussian "
            "weights. Probabilities are brought back to the scan's own grid, where each voxel takes the most probable "
            "class."]


def limits(info: Mapping[str, Any]) -> list[str]:
    """Return what it does not do."""
    return ["## Limits",
            "- It labels every scan, also one that shows something else.\n"
            "- Other scanners, sequences, resolutions, crops or patients than those of the training data can change "
            "how good it is; measure it on scans of your own first.\n"
            "- It knows its structures by their surroundings: a scan of the whole body is not what it was trained on "
            "where the training scans were cut to an organ.\n"
            f"- {info['disclaimer']}"]
