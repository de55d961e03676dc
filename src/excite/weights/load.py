"""Loading weights into a network: strict, adapted where that is exact, and told in words and percent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from excite.errors import ModelError, UsageError
from excite.layers.form import differing, told
from excite.layers.options import check_choice
from excite.weights.adapt import Channels, adapt_channels
from excite.weights.catalog import Row, recognise
from excite.weights.inflate import Mode, inflated
from excite.weights.intake import read_safetensors
from excite.weights.keymap import cautions_of, guess_layout, to_excite
from excite.weights.parts import COUNTER, FORMS, HEAD, Shapes, choose_part, few, fresh_gates, weighty
from excite.weights.store import digest, is_path, metadata, resolve, stored_checksum


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What a load did.

    Args:
        percent: Of the declared part's values that were loaded: parameters and running statistics.
        loaded: The keys of the network that were filled.
        missing: Keys of the declared part that the source lacks.
        unexpected: Keys of the source that the network does not have.
        mismatched: "key: (shape in the source), (shape in the network)".
        part: What the source declares: "features", or "all" with the classifier.
        source: File or tag.
        sha256: Of the file; None for tensors in memory.
        notes: What was adapted or left fresh, in words; the cautions among them.
        cautions: What makes, or may make, other outputs than the source's.
    """

    percent: float
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    part: Literal["features", "all"]
    source: str
    sha256: str | None
    notes: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the load in one line."""
        what = "features" if self.part == "features" else "features and classifier"
        words = [f"{self.percent:.4g} % of the {what} loaded from {self.source}", *self.notes]
        for name in ("missing", "unexpected", "mismatched"):
            keys: tuple[str, ...] = getattr(self, name)
            if keys:
                words.append(f"{len(keys)} {name}: {few(keys)}")
        return "; ".join(words)


def load_weights(model: nn.Module, source: str | Path | Mapping[str, Tensor], *, layout: str = "auto",
                 strict: bool = True, part: Literal["auto", "features", "all"] = "auto", channels: Channels = "sum",
                 inflate: Mode = "centre", name: str | None = None) -> LoadReport:
    """Load weights into `model` in place; nothing is changed where an error is raised.

    Args:
        model: What create_model returned. One with dims=3 takes weights of its 2-D form too: they are inflated.
        source: A catalog tag, a .safetensors file, or a state dict.
        layout: Whose key names it has: torchvision, timm, cadene, monai, tonylins, excite; "auto" finds out.
        strict: Raise where a key of the declared part is missing, unexpected or of another shape.
        part: "features" leaves the classifier fresh; "all" demands that it fits; "auto" takes the classifier where
            the source has one for as many classes, and says so where it does not.
        channels: How the first convolution is fitted to another number of channels, see adapt_channels.
        inflate: How kernels of images become kernels of volumes, see inflate.
        name: What create_model calls the network; `model.name` or the file's own word otherwise.

    Raises:
        ModelError: the source is damaged or does not fit. EnvironmentFault: it is not at hand.
    """
    check_choice("part", part, Literal["auto", "features", "all"])
    check_choice("channels", channels, Channels)
    if not isinstance(source, str | Path | Mapping):
        raise UsageError(f"weights must be a tag, a file or a state dict, got {type(source).__name__}")
    name = name or getattr(model, "name", None)
    given = _read(source, name)
    layout = (given.layout if layout == "auto" else layout) or guess_layout(given.state)
    mapped = dict(given.state)
    if layout != "excite":
        mapped = to_excite(mapped, model_name=_known(name or given.backbone), layout=layout)
    own, notes, cautions = model.state_dict(), list[str](), list[str]()
    chosen = choose_part(own, mapped, part, given.origin, notes)
    if chosen == "features":
        mapped = {key: value for key, value in mapped.items() if not key.startswith(HEAD)}
    fresh = fresh_gates(model, mapped)
    if fresh:
        moved = _moved(model, fresh)
        (cautions if moved else notes).append(f"{len(fresh)} attention gates stay fresh: the source has none{moved}")
    mapped, kernels = inflated(mapped, model, mode=inflate)
    if kernels:
        notes.append(f"inflated from 2-D ({inflate})")
    _fit_channels(own, mapped, channels, notes)
    wanted = {key: value for key, value in own.items()
              if not key.startswith(fresh) and not (chosen == "features" and key.startswith(HEAD))}
    fits, mismatched = _compare(wanted, mapped)
    if given.row is not None and given.row.note:
        cautions.append(f"of these weights: {given.row.note}")
    if silent := _silent(own, mapped):
        cautions.append(f"the source does not say its {silent}: it is taken to be this network's")
    cautions += cautions_of(given.state, layout)
    report = LoadReport(
        percent=100 * _values(wanted, fits) / max(1, _values(wanted, wanted)), loaded=tuple(fits),
        missing=tuple(key for key in wanted if key not in mapped and weighty(key)),
        unexpected=tuple(key for key in mapped if key not in wanted), mismatched=mismatched, part=chosen,
        source=given.origin, sha256=given.sha256, notes=(*notes, *cautions), cautions=tuple(cautions))
    _refuse(report, strict, given.row, model)
    model.load_state_dict({key: mapped[key] for key in fits}, strict=False)
    return report


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Tensors, and what is known of them."""

    state: Mapping[str, Tensor]
    origin: str = "a state dict"
    sha256: str | None = None
    layout: str | None = None
    backbone: str | None = None
    row: Row | None = None


def _read(source: str | Path | Mapping[str, Tensor], name: str | None) -> _Source:
    """Return the tensors that `source` means."""
    if isinstance(source, Mapping):
        return _Source(state=_checked(source))
    file = resolve(source, _known(name) if isinstance(source, str) and not is_path(source) else "")
    if file is None:
        raise UsageError("no weights are named", fix="leave load_weights out for random values")
    summed, noted = digest(file), stored_checksum(file)
    if noted is not None and noted != summed:
        raise ModelError("the weights file is damaged: its sha256 is not the stored one", where=file,
                         why=f"{summed[:12]}... now, {noted[:12]}... then",
                         fix="delete it, then get or import it again")
    state, words = _checked(read_safetensors(file), file), metadata(file)
    published = recognise(summed)
    row = published or recognise(words.get("source_sha256", ""))
    layout = words.get("layout") if published is None else published.layout_of(summed)
    return _Source(state=state, origin=file.name, sha256=summed, layout=layout, row=row,
                   backbone=row.backbone if row else words.get("backbone"))


def _checked(state: Mapping[str, Tensor], file: Path | None = None) -> Mapping[str, Tensor]:
    """Return `state` after a look at its values.

    Raises:
        UsageError: it holds something else than tensors. ModelError: values that are not finite.
    """
    other = [key for key, value in state.items() if not isinstance(value, Tensor)]
    if other:
        inside = f"the state dict is weights[{other[0]!r}]" if isinstance(state[other[0]], Mapping) else "convert them"
        raise UsageError(f"weights must be tensors by name, got {type(state[other[0]]).__name__} at {other[0]!r}",
                         fix=inside)
    bad = [key for key, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    below = [key for key, value in state.items() if key.endswith("running_var") and bool((value < 0).any())]
    for keys, what in ((bad, "values that are not finite"), (below, "variances below 0")):
        if keys:
            raise ModelError(f"{len(keys)} tensors hold {what}: {few(keys)}", where=file,
                             why="a damaged file, or a training that broke", fix="take other weights")
    return state


def _silent(own: Shapes, mapped: Shapes) -> str:
    """Return what the network's own form says, and the source's form leaves unsaid altogether."""
    key = "backbone.form"
    if key not in own or told(mapped.get(key, own[key][:0])):
        return ""
    return ", ".join(f"{name} ({value})" for name, value in told(own[key]).items())


def _known(name: str | None) -> str:
    """Return the name under which create_model knows the network; key maps and tags need it."""
    if not name:
        raise UsageError("which network this is has to be known to map foreign key names to it",
                         fix="load_weights(model, source, name='mobilenet_v2'), as in create_model")
    return name


def _moved(model: nn.Module, fresh: Sequence[str]) -> str:
    """Return the word that fresh gates of the published start change what the weights compute."""
    published = any(getattr(model.get_submodule(prefix[:-1]), "start", None) == "paper" for prefix in fresh)
    return ", and start='paper' is not 1 at first: the outputs are not the source's (start='open')" if published else ""


def _fit_channels(own: Shapes, mapped: dict[str, Tensor], mode: Channels, notes: list[str]) -> None:
    """Fit the first convolution to the network's input channels."""
    first = next((key for key, value in own.items() if value.ndim >= 4), None)
    if first is None or first not in mapped:
        return
    here, there = own[first].shape, mapped[first].shape
    if here[1] != there[1] and (here[0], *here[2:]) == (there[0], *there[2:]):
        mapped[first] = adapt_channels(mapped[first], here[1], mode=mode)
        alike = mode != "repeat" and min(here[1], there[1]) > 1
        notes.append(f"first convolution fitted from {there[1]} to {here[1]} channels ({mode}"
                     + (", all alike: channels='repeat' keeps them apart)" if alike else ")"))


def _compare(wanted: Shapes, mapped: Shapes) -> tuple[list[str], tuple[str, ...]]:
    """Return the keys that fit, and those of another shape or of another form of gate, told with both."""
    fits, other = [], []
    for key in wanted.keys() & mapped.keys():
        mine, theirs = wanted[key], mapped[key]
        if key.endswith(FORMS):
            wrong = differing(told(mine), told(theirs))
            other += [f"{key}: {name}={there!r} in the source, {here!r} in the network"
                      for name, (here, there) in wrong.items()]
            fits += [] if wrong else [key]
        elif mine.is_floating_point() and not theirs.is_floating_point():
            other.append(f"{key}: {theirs.dtype} in the source, {mine.dtype} in the network")
        elif mine.shape != theirs.shape:
            other.append(f"{key}: {tuple(theirs.shape)} in the source, {tuple(mine.shape)} in the network")
        else:
            fits.append(key)
    order = list(wanted)
    return sorted(fits, key=order.index), tuple(sorted(other))


def _values(tensors: Shapes, keys: Sequence[str] | Shapes) -> int:
    return sum(tensors[key].numel() for key in keys if not key.endswith(COUNTER))


def _refuse(report: LoadReport, strict: bool, row: Row | None, model: nn.Module) -> None:
    """Raise for a load that is not whole, that would load nothing at all, or weights of another form.

    Another form is refused where `strict` is False too: nothing else tells it from the right one.
    """
    forms = [text for text in report.mismatched if text.split(":")[0].endswith(FORMS)]
    faults = [f"{len(keys)} {word}: {few(keys)}" for word, keys in
              (("that do not fit", report.mismatched), ("missing", report.missing), ("unknown", report.unexpected))
              if keys]
    if not forms and not (faults and (strict or not report.loaded)):
        return
    what = "features" if report.part == "features" else "features and classifier"
    raise ModelError(f"the weights do not fit the network: {'; '.join(faults)}", where=report.source,
                     why=f"{report.percent:.3g} % of the {what} would be loaded",
                     fix=_remedy(report, forms, row, model))


def _remedy(report: LoadReport, forms: Sequence[str], row: Row | None, model: nn.Module) -> str:
    """Return what to do about a load that is refused."""
    made = f"these are for {row.call}; " if row else ""
    if forms:
        told_by = [text.split(": ", 1)[1].split(" in the source")[0] for text in forms]
        return f"{made}build the network with {', '.join(dict.fromkeys(told_by))}"
    if any(key.endswith("running_mean") for key in report.unexpected) and any(
            isinstance(layer, nn.GroupNorm) for layer in model.modules()):
        return f"{made}they were made with norm='batch', this network has norm='group'"
    return (f"{made}use the network and options that they were made with; part='features' leaves another number of "
            "classes out; strict=False loads what fits")
