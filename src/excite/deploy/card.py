"""The model card: what a bundle is, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from excite.deploy import card_scene, card_volume_masks, card_volumes
from excite.deploy.card_masks import levels, limits, measured, what
from excite.deploy.card_text import row_of, text_of

DISCLAIMER = "Research and education only; not a medical device."
_UNPROVEN = "not shown to be better than always answering"  # the evaluation's note that has to be read first
_TRUSTED = 100  # validation images below which a temperature is too rough
_SHOWN = ("balanced_accuracy", "auroc_macro", "accuracy", "f1_macro", "kappa", "ece", "brier")


def card(info: Mapping[str, Any]) -> str:
    """Return card.md for the plain data of a bundle.json."""
    if info["task"] == "scene":
        own = [*card_scene.what(info), *_data(info), *_measured(info, "pixels"), *card_scene.prepared(info),
               *_probabilities(info, "pixels"), *_network(info, "windows"), *card_scene.limits(info)]
    elif info["task"] == "volumes":
        own = [*card_volumes.what(info), *_data(info), *_measured(info, "rows"), *card_volumes.prepared(info),
               *_probabilities(info, "rows"), *_network(info, "patients"), *card_volumes.limits(info)]
    elif info["task"] == "volume_masks":
        own = [*card_volume_masks.what(info), *_data(info), *card_volume_masks.measured(info),
               *card_volume_masks.prepared(info), *_network(info, "scans"), *card_volume_masks.limits(info)]
    elif info["task"] == "classification":
        own = [*_what(info), *_data(info), *_measured(info), *_images(info), *_probabilities(info), *_network(info),
               *_limits(info)]
    else:
        own = [*what(info), *_data(info), *measured(info), *_images(info), *levels(info), *_network(info),
               *limits(info)]
    parts = [f"# {text_of(info['name'])}", f"**{info['disclaimer']}**", *own, *_licence(info)]
    return "\n\n".join(parts) + "\n"


def _what(info: Mapping[str, Any]) -> list[str]:
    classes = "\n".join(f"- {text_of(name)}" for name in info["classes"])
    return ["## What it does",
            f"Tells which of {len(info['classes'])} classes a picture belongs to; exactly one class a picture.\n"
            f"Made {info['created'] or 'at an unknown time'}.", classes]


def _data(info: Mapping[str, Any]) -> list[str]:
    data = info["provenance"].get("data")
    return ["## Data", *(_list(data) if data else ["The bundle does not say what it was trained on."])]


def _measured(info: Mapping[str, Any], of: str = "images") -> list[str]:
    found = info["metrics"]
    if not found.get("metrics"):
        return ["## How good it is", "Not measured: the bundle holds no evaluation."]
    lines = ["| measure | value | 95 % interval |", "|---|---|---|"]
    lines += [row_of(name.replace("_", " "), found["metrics"][name]) for name in _SHOWN if name in found["metrics"]]
    lines += [row_of(f"recall of {text_of(name)}", one["recall"]) for name, one in found.get("per_class", {}).items()
              if "recall" in one]
    said = (f"Measured on the {found['part']} part: {found['n']} {of}, {found['n_units']} units "
            f"({found['unit_kind']});")
    remarks = found.get("notes", ())
    first = [f"**Beware: {text_of(note)}.**" for note in remarks if note.startswith(_UNPROVEN)]
    notes = [f"- {text_of(note)}" for note in remarks if not note.startswith(_UNPROVEN)]
    return ["## How good it is", *first, f"{said} intervals from a bootstrap over these units.", "\n".join(lines),
            *(["\n".join(notes)] if notes else [])]


def _images(info: Mapping[str, Any]) -> list[str]:
    outputs = "probabilities" if info["task"] == "classification" else "outputs"
    views = {"one": "The picture is looked at once.",
             "flip": f"The picture and its mirror image are looked at and their {outputs} averaged."}
    return ["## What it does to a picture first", *_list(info["preprocess"]), views[info["views"]]]


def _probabilities(info: Mapping[str, Any], of: str = "images") -> list[str]:
    fitted = info["provenance"].get("temperature") or {}
    if info["temperature"] == 1.0 and not fitted:
        return ["## Probabilities", "Not calibrated: the softmax of the network's outputs as they are."]
    count = f"{fitted['n']} validation {of}" if "n" in fitted else "the validation part"
    rough = ": too few to trust" if fitted.get("n", _TRUSTED) < _TRUSTED else ""
    lines = [f"Calibrated on {count}{rough}.",
             f"The outputs are divided by the temperature {info['temperature']:.3f} before the softmax.",
             f"The {of} that it was fitted on also chose the best epoch, so on new data the probabilities are likely "
             "a little more confident than they should be."]
    if {"nll_before", "nll_after"} <= fitted.keys():
        lines.append(f"There it took the negative log-likelihood from {fitted['nll_before']:.3f} to "
                     f"{fitted['nll_after']:.3f}.")
    return ["## Probabilities", "\n".join(lines)]


def _network(info: Mapping[str, Any], of: str = "images") -> list[str]:
    parity = info["parity"]
    lines = _list(info["model"]) if info["model"] else ["A network of the caller's own."]
    if parity:
        lines.append(f"model.onnx against the trained network on {parity['n']} real {of}: largest difference "
                     f"{parity['max_abs']:.2g} ({parity['max_rel']:.2g} of the largest output), {_agreement(parity)}.")
    else:
        lines.append("model.onnx was not compared with the trained network.")
    return ["## Network", *lines]


def _agreement(parity: Mapping[str, Any]) -> str:
    """Return in words how far the two networks' answers agree."""
    if "dice" not in parity:
        return f"{parity['agreement']:.1%} equal labels"
    said = f"masks equal to a Dice of {parity['dice']:.6f}"
    if parity.get("hc") is not None:
        said += f", circumferences to {parity['hc']:.2g} {parity['hc_unit']}"
    sizes = ", ".join(parity.get("sizes") or ())
    return said + (f"; the same outputs at {sizes} pixels" if sizes else "; other sizes it does not take")


def _limits(info: Mapping[str, Any]) -> list[str]:
    return ["## Limits",
            "- It names one of its classes for every picture, also for one that shows none of them.\n"
            "- Other machines, probes, operators or patients than those of the training data can change how good it "
            "is; measure it on your own data first: `excite evaluate BUNDLE --data TABLE`.\n"
            "- Burned-in text, calipers and machine marks can act as shortcuts.\n"
            f"- {info['disclaimer']}"]


def _licence(info: Mapping[str, Any]) -> list[str]:
    weights = info["provenance"].get("weights")
    if not isinstance(weights, Mapping):
        said = {None: "The bundle does not say what they were trained from.",
                "none": "Trained from random values: what holds for the training data holds for them."}
        return ["## Licence of the weights", said.get(weights) or text_of(weights)]
    return ["## Licence of the weights",
            f"They started from weights under: {text_of(weights.get('licence') or 'a licence that was not stated')}.",
            *_list(weights)]


def _list(values: Mapping[str, Any]) -> list[str]:
    return ["\n".join(f"- {text_of(key)}: {_value(value)}" for key, value in values.items())]


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{text_of(key)} {_value(one)}" for key, one in value.items()) or "none"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_value(one) for one in value) or "none"
    return f"{value:.6g}" if isinstance(value, float) else text_of(value)
