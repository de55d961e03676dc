"""The network of a config: named, checked before anything is read, built, and filled with its weights."""

import warnings
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from excite.attention.insertion.insert import inserted_plan
from excite.attention.plan import AttentionPlan
from excite.data.sections import PreprocessSection
from excite.errors import UsageError
from excite.jobs.kinds import Kind, of_masks
from excite.jobs.sections import TrainConfig
from excite.models.classifier import create_model, own_attention
from excite.models.registry import NETWORKS
from excite.models.sections import ModelSection
from excite.weights.load import LoadReport, load_weights
from excite.weights.store import resolve, row_of


def check_network(config: TrainConfig, kind: Kind | None = None) -> str:
    """Return the name that tags of the network's weights go by, after building it without memory.

    Args:
        kind: What it is to do; None where that is not known yet.

    Raises:
        UsageError: there is no such network or attention, or it is for another kind of work.
    """
    name = config.model.name
    draws = name in NETWORKS and not hasattr(NETWORKS[name], "usual_classes")
    masks = draws if kind is None else of_masks(kind)
    if kind is not None and draws != masks:
        raise UsageError(f"{name} {'tells classes' if masks else 'draws masks'}, the work is {kind}",
                         fix="model.name: one of excite models " + ("'*unet*'" if masks else "without '*unet*'"))
    file = None if config.model.weights in (None, "none") else Path("weights")
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = create_model(name, in_channels=config.preprocess.channels, num_classes=1 if masks else 2,
                             attention=_plan(config.model, file), **_options(config.model))
    encoder = getattr(model, "encoder_weights", None)
    return str(encoder.name) if encoder is not None and encoder.name else name


def weights_file(config: TrainConfig, name: str) -> Path | None:
    """Return the file of the weights that the network starts from; None where random values are asked for."""
    return resolve(config.model.weights, name)


def build_model(config: TrainConfig, file: Path | None, *,
                num_classes: int) -> tuple[nn.Module, dict[str, object], LoadReport | None, str]:
    """Return the network of a config with the weights in `file`, how to build it again, what was loaded, and why."""
    return build_network(config.model, file, in_channels=config.preprocess.channels, num_classes=num_classes,
                         seed=config.seed)


def build_network(section: ModelSection, file: Path | None, *, in_channels: int, num_classes: int, seed: int,
                  dims: int = 2, **told_by_data: Any) -> tuple[nn.Module, dict[str, object], LoadReport | None, str]:
    """Return a network with the weights in `file`, how to build it again, what was loaded, and why.

    Args:
        told_by_data: Options that the data say, beside the section's own.
    """
    plan = _plan(section, file)
    options = _options(section) | told_by_data
    if section.dropout is not None:
        options["dropout"] = section.dropout
    record: dict[str, object] = {
        "name": section.name, "dims": dims, "in_channels": in_channels, "num_classes": num_classes, "options": options,
        "attention": None if plan is None else plan.record()}
    torch.manual_seed(seed)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        model = create_model(section.name, dims=dims, in_channels=in_channels, num_classes=num_classes,
                             attention=plan, **options)
    what = _told(section.name, options, plan) + "".join(f"; {one.message}" for one in told)
    if file is None:
        return model, record, None, f"{what}, random weights: model.weights is none"
    report: LoadReport = model.load(file) if section.name in NETWORKS else load_weights(model, file)  # type: ignore[operator]
    return model, record, report, f"{what}; {report.text()}"


def check_given(model: nn.Module, kind: Kind, classes: int, shape: tuple[int, ...]) -> str:
    """Return in words a network that the caller gave, after a look at what it makes of two images.

    Args:
        model: It is left as it is.
        kind: What it is to do.
        classes: How many.
        shape: Of an image, (C, H, W).

    Raises:
        UsageError: it does not take the images, or its outputs have another shape than the task needs.
    """
    if not isinstance(model, nn.Module):
        raise UsageError(f"model must be a network, a torch.nn.Module, got {type(model).__name__}",
                         fix="names of excite's networks go into config.model.name")
    if wrong := sorted({str(one.dtype) for one in model.parameters() if one.dtype != torch.float32 or one.is_meta}):
        raise UsageError(f"the given {type(model).__name__} must have float32 weights with values, got "
                         f"{', '.join(wrong)}{' on meta' if any(one.is_meta for one in model.parameters()) else ''}",
                         fix="model.float(); bfloat16 is for loop.precision")
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            found = deepcopy(model).eval()(torch.randn(2, *shape))
        except Exception as fault:  # of any kind: it is the caller's own code
            raise UsageError(f"the given {type(model).__name__} fails on {' x '.join(map(str, shape))} inputs",
                             why=f"{type(fault).__name__}: {fault}",
                             fix="preprocess.channels and preprocess.size say what it gets") from fault
    expected = (2, classes, *shape[1:]) if of_masks(kind) else (2, classes)
    if not isinstance(found, torch.Tensor) or found.shape != expected:
        got = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        raise UsageError(f"the given {type(model).__name__} must make {expected} of two images, got {got}",
                         why=f"the work is {kind} with {classes} classes",
                         fix="give it a head of that size" if isinstance(found, torch.Tensor) else
                         "wrap it in a module that returns its logits alone")
    if not of_masks(kind) and bool((found >= 0).all()) and bool((found.sum(1) - 1).abs().max() < 1e-4):
        raise UsageError(f"the given {type(model).__name__} ends in a softmax, the loss takes its logits",
                         fix="leave the softmax out")
    plan = inserted_plan(model)
    return f"{type(model).__name__}, given by the caller" + (f", with inserted {plan.text()}" if plan else "")


def _options(section: ModelSection) -> dict[str, Any]:
    """Return the network's options; a list of a YAML file is the tuple that the network takes."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in section.options.items()}


def _plan(section: ModelSection, file: Path | None) -> AttentionPlan | None:
    """Return the attention of a config; fresh gates are open where weights are loaded into the trunk."""
    attention = section.attention
    if attention is None:
        return None
    return AttentionPlan(kind=attention.kind, position=attention.position, stages=attention.stages,
                         blocks=attention.blocks, start=attention.start or ("open" if file else "paper"),
                         options=attention.options)


def _told(name: str, options: dict[str, Any], plan: AttentionPlan | None) -> str:
    """Return a network in words, with its options and its attention."""
    said = f"{name}({', '.join(f'{key}={value}' for key, value in options.items())})" if options else name
    own = own_attention(name, **options) if plan else None
    return said + (f" with {plan.text()}" if plan else "") + (f", in the place of its own {own.text()}" if own else "")


def normalisation(config: TrainConfig, file: Path | None) -> tuple[PreprocessSection, str]:
    """Return the preprocessing, with the mean and std that the weights in `file` were trained with."""
    section = config.preprocess
    row = row_of(file) if file else None
    if row is None or {"mean", "std"} & section.model_fields_set or section.channels != 3:
        return section, "normalised as the config says"
    expected = {name: tuple(row.preprocessing[name]) for name in ("mean", "std")}
    return section.model_copy(update=expected), "normalised as the weights expect"


def licence(file: Path | None) -> str | None:
    """Return the licence of the weights in a file, as far as it is known."""
    row = row_of(file) if file else None
    return row.licence if row else "unknown: a file of your own" if file else None
