"""What a bundle says of itself, and what cannot be right about it."""

from dataclasses import asdict, dataclass, field
from typing import Any

from excite.deploy.card import DISCLAIMER
from excite.errors import DataError
from excite.metrics.conformal import HeadInterval

FORMAT_VERSION = 1
MASKS = ("segmentation", "heads")
TASKS = ("classification", *MASKS, "scene", "volumes", "volume_masks")
_SEVERAL = ("at least two different texts", 2, 10**6)
_CLASSES = {"classification": _SEVERAL, "scene": _SEVERAL, "volumes": _SEVERAL, "volume_masks": _SEVERAL,
            "heads": ("one text", 1, 1), "segmentation": ("at least one text, all different", 1, 10**6)}


@dataclass(frozen=True, kw_only=True)
class BundleInfo:
    """What bundle.json holds.

    Args:
        name: A name for the model, any text.
        classes: Labels in the order of the network's outputs, any text. Masks: names of its maps; of several the
            first is the background.
        model: Arguments of create_model: name, options, attention, dims, in_channels, num_classes; {} for a
            network of the caller's own, which predicts but cannot be rebuilt.
        preprocess: Preprocess.to_json(); of scenes {"reduction": BandReduction.to_json(), "window", "border"};
            of volumes VolumePreprocess.to_json(), of label volumes MaskPreprocess.to_json().
        task: "classification", "segmentation", "heads": one region that is an ellipse, "scene": the class of every
            pixel of a cube, "volumes": several maps of a patient to one class, or "volume_masks": the class of every
            voxel of a scan.
        views: "one", or "flip": the image and its mirror image.
        temperature: Divides the logits of classes before the softmax.
        thresholds: {"level": P}: the probability from which a pixel is inside, for masks of one class.
        interval: HeadInterval.to_json(): how far off a circumference may be; {} where it is not known.
        provenance: Data, weights, versions, recipe. Absolute paths are cut to their last part when written.
        metrics: Evaluation.to_json() of the part it was tested on; {} where it was not.
        parity: How far model.onnx is from the trained network on real images: Parity.to_json().
        created: Date and time, ISO 8601.
        sha256: Of every other file of the bundle; filled when written.
    """

    name: str
    classes: tuple[str, ...]
    preprocess: dict[str, Any]
    model: dict[str, Any] = field(default_factory=dict)
    task: str = "classification"
    views: str = "one"
    temperature: float = 1.0
    thresholds: dict[str, float] = field(default_factory=dict)
    interval: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    parity: dict[str, Any] = field(default_factory=dict)
    created: str = ""
    sha256: dict[str, str] = field(default_factory=dict)
    disclaimer: str = DISCLAIMER
    format_version: int = FORMAT_VERSION

    @property
    def of_masks(self) -> bool:
        """Return whether the network gives maps, not classes."""
        return self.task in MASKS

    @property
    def level(self) -> float:
        """Return the probability from which a pixel is inside."""
        return float(self.thresholds.get("level", 0.5))

    def to_json(self) -> dict[str, Any]:
        """Return plain data for bundle.json."""
        return asdict(self) | {"classes": list(self.classes)}


def faults_of(info: BundleInfo) -> list[str]:
    """Return what cannot be right about the fields: what predicts relies on them."""
    faults = [f"{name} must be a mapping, got {getattr(info, name)!r}" for name in
              ("model", "preprocess", "thresholds", "interval", "provenance", "metrics", "parity", "sha256")
              if not isinstance(getattr(info, name), dict)]
    names = info.classes
    if info.task not in TASKS:
        faults.append(f"task must be {', '.join(TASKS)}, got {info.task!r}")
    else:
        told, least, most = _CLASSES[info.task]
        if not all(isinstance(one, str) for one in names) or not least <= len(set(names)) == len(names) <= most:
            faults.append(f"classes must be {told}, got {list(names)!r}")
        if info.of_masks and isinstance(info.thresholds, dict) and isinstance(info.interval, dict):
            faults += _mask_faults(info)
    if info.task == "scene" and isinstance(info.preprocess, dict) and isinstance(info.interval, dict):
        faults += _scene_faults(info)
    if info.views not in ("one", "flip"):
        faults.append(f"views must be one or flip, got {info.views!r}")
    if isinstance(info.temperature, bool) or not isinstance(info.temperature, (int, float)) \
            or not 0 < info.temperature < float("inf"):
        faults.append(f"temperature must be a positive number, got {info.temperature!r}")
    if isinstance(info.model, dict) and info.model.get("num_classes", len(names)) != len(names):
        faults.append(f"the network has {info.model['num_classes']} outputs, but there are {len(names)} classes")
    return faults


def _scene_faults(info: BundleInfo) -> list[str]:
    """Return what is wrong with the fields of a network for scenes."""
    window, border = info.preprocess.get("window"), info.preprocess.get("border")
    faults = [] if type(window) is int and window > 0 else [f"preprocess.window must be at least 1, got {window!r}"]
    if border not in ("reflect", "zero"):
        faults.append(f"preprocess.border must be reflect or zero, got {border!r}")
    if not isinstance(info.preprocess.get("reduction"), dict):
        faults.append("preprocess.reduction must be a mapping")
    return faults


def _mask_faults(info: BundleInfo) -> list[str]:
    """Return what is wrong with the fields that only a network for masks has."""
    faults, level = [], info.thresholds.get("level", 0.5)
    if isinstance(level, bool) or not isinstance(level, (int, float)) or not 0 < level < 1:
        faults.append(f"thresholds.level must be above 0 and below 1, got {level!r}")
    if info.temperature != 1:
        faults.append(f"temperature must be 1 for masks, got {info.temperature!r}")
    if info.interval and info.task != "heads":
        faults.append(f"interval must be empty for {info.task}, got {info.interval!r}")
    elif info.interval:
        try:
            HeadInterval.from_json(info.interval)
        except DataError as fault:
            faults.append(fault.what)
    return faults
