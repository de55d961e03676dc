"""Loading weights into a network: strict, adapted where that is exact, and told in words and percent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from excite.errors import ModelError, UsageError
from excite.layers.form import differing, told
from excite.weights.adapt import adapt_channels
from excite.weights.catalog import recognise
from excite.weights.intake import COUNTER, read_safetensors
from excite.weights.keymap import guess_layout, to_excite
from excite.weights.store import digest, is_path, metadata, resolve, stored_checksum

HEAD = "classifier."
FORMS = ("form", ".position")  # keys that tell in words what shapes do not, see layers/form.py
Shapes = Mapping[str, Tensor]


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
        notes: What was adapted or left fresh, in words.
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

    def text(self) -> str:
        """Return the load in one line."""
        what = "features" if self.part == "features" else "features and classifier"
        words = [f"{self.percent:.4g} % of the {what} loaded from {self.source}", *self.notes]
        for name in ("missing", "unexpected", "mismatched"):
            keys: tuple[str, ...] = getattr(self, name)
            if keys:
                words.append(f"{len(keys)} {name}: {_few(keys)}")
        return "; ".join(words)


def load_weights(model: nn.Module, source: str | Path | Mapping[str, Tensor], *, layout: str = "auto",
                 strict: bool = True, part: Literal["auto", "features", "all"] = "auto",
                 grey: Literal["sum", "mean"] = "sum", name: str | None = None) -> LoadReport:
    """Load weights into `model` in place; nothing is changed where an error is raised.

    Args:
        model: What create_model returned.
        source: A catalog tag, a .safetensors file, or a state dict.
        layout: Whose key names it has: torchvision, cadene, tonylins, excite; "auto" finds out.
        strict: Raise where a key of the declared part is missing, unexpected or of another shape.
        part: "features" leaves the classifier fresh; "all" demands that it fits; "auto" takes the classifier where
            the source has one for as many classes, and says so where it does not.
        grey: How the first convolution is fitted to another number of channels, see adapt_channels.
        name: What create_model calls the network; `model.name` or the file's own word otherwise.

    Raises:
        ModelError: the source is damaged or does not fit. EnvironmentFault: it is not at hand.
    """
    name = name or getattr(model, "name", None)
    state, words, origin, summed = _read(source, name)
    layout = (words.get("layout") if layout == "auto" else layout) or guess_layout(state)
    mapped = dict(state)
    if layout != "excite":
        mapped = to_excite(mapped, model_name=_known(name or words.get("backbone")), layout=layout)
    own, notes = model.state_dict(), list[str]()
    chosen = _choose_part(own, mapped, part, origin, notes)
    if chosen == "features":
        mapped = {key: value for key, value in mapped.items() if not key.startswith(HEAD)}
    fresh = _fresh_gates(model, mapped, notes)
    _fit_channels(own, mapped, grey, notes)
    wanted = {key: value for key, value in own.items()
              if key not in fresh and not (chosen == "features" and key.startswith(HEAD))}
    fits, mismatched = _compare(wanted, mapped)
    report = LoadReport(
        percent=100 * _values(wanted, fits) / max(1, _values(wanted, wanted)), loaded=tuple(fits),
        missing=tuple(key for key in wanted if key not in mapped and not key.endswith(COUNTER)),
        unexpected=tuple(key for key in mapped if key not in wanted), mismatched=mismatched, part=chosen, source=origin,
        sha256=summed, notes=tuple(notes))
    _refuse(report, strict)
    model.load_state_dict({key: mapped[key] for key in fits}, strict=False)
    return report


def _read(source: str | Path | Mapping[str, Tensor],
          name: str | None) -> tuple[Mapping[str, Tensor], dict[str, str], str, str | None]:
    """Return tensors, what is known of them (layout, backbone), the source's name and its sha256."""
    if isinstance(source, Mapping):
        return source, {}, "a state dict", None
    file = resolve(source, _known(name) if isinstance(source, str) and not is_path(source) else "")
    if file is None:
        raise UsageError("no weights are named", fix="leave load_weights out for random values")
    summed, noted = digest(file), stored_checksum(file)
    if noted is not None and noted != summed:
        raise ModelError("the weights file is damaged: its sha256 is not the stored one", where=file,
                         why=f"{summed[:12]}... now, {noted[:12]}... then",
                         fix="delete it, then get or import it again")
    state, words, row = read_safetensors(file), metadata(file), recognise(summed)
    if row is not None:
        words |= {"layout": row.layout_of(summed) or row.layout, "backbone": row.backbone}
    bad = [key for key, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if bad:
        raise ModelError(f"{len(bad)} tensors hold values that are not finite: {_few(bad)}", where=file,
                         why="a damaged file, or a training that broke", fix="take another file")
    return state, words, file.name, summed


def _known(name: str | None) -> str:
    """Return the name under which create_model knows the network; key maps and tags need it."""
    if not name:
        raise UsageError("which network this is has to be known to map foreign key names to it",
                         fix="load_weights(model, source, name='mobilenet_v2'), as in create_model")
    return name


def _choose_part(own: Shapes, mapped: Shapes, part: str, name: str, notes: list[str]) -> Literal["features", "all"]:
    """Return which part is loaded, with a word where the classifier is left out."""
    has = [key for key in mapped if key.startswith(HEAD)]
    if part == "features" or (part == "auto" and not has):
        notes.append("the classifier stays fresh" + ("" if has else ": the source has none"))
        return "features"
    if part == "auto" and any(key in own and own[key].shape != mapped[key].shape for key in has):
        there, here = (shapes[has[0]].shape[0] for shapes in (mapped, own))
        notes.append(f"the classifier stays fresh: the source has {there} classes, the network {here}")
        return "features"
    if part == "all" and not has:
        raise ModelError("the source has no classifier", where=name, fix="part='features', or another file")
    return "all"


def _fresh_gates(model: nn.Module, mapped: Shapes, notes: list[str]) -> set[str]:
    """Return the keys of attention that the source knows nothing of."""
    prefixes = [name + "." for name, module in model.named_modules() if name.rsplit(".", 1)[-1] == "attention"
                and next(module.parameters(), None) is not None]
    fresh = tuple(prefix for prefix in prefixes if not any(key.startswith(prefix) for key in mapped))
    if not fresh or (len(fresh) < len(prefixes) and any(".attention." in key for key in mapped)):
        return set()  # a source with some gates must have all
    notes.append(f"{len(fresh)} attention gates stay fresh: the source has none")
    return {key for key in model.state_dict() if key.startswith(fresh)}


def _fit_channels(own: Shapes, mapped: dict[str, Tensor], mode: Literal["sum", "mean"], notes: list[str]) -> None:
    """Fit the first convolution to the network's input channels."""
    for key, value in mapped.items():
        shape = own[key].shape if key in own else value.shape
        ungrouped = value.ndim >= 4 and value.shape[1] == 3
        if ungrouped and shape[1] != 3 and (shape[0], *shape[2:]) == (value.shape[0], *value.shape[2:]):
            mapped[key] = adapt_channels(value, shape[1], mode=mode)
            notes.append(f"first convolution fitted from 3 to {shape[1]} channels ({mode})")
            return


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
        elif mine.shape != theirs.shape:
            other.append(f"{key}: {tuple(theirs.shape)} in the source, {tuple(mine.shape)} in the network")
        else:
            fits.append(key)
    order = list(wanted)
    return sorted(fits, key=order.index), tuple(sorted(other))


def _values(tensors: Shapes, keys: Sequence[str] | Shapes) -> int:
    return sum(tensors[key].numel() for key in keys if not key.endswith(COUNTER))


def _refuse(report: LoadReport, strict: bool) -> None:
    """Raise for a load that is not whole, or that would load nothing at all."""
    faults = [f"{len(keys)} {word}: {_few(keys)}" for word, keys in
              (("of another shape", report.mismatched), ("missing", report.missing), ("unknown", report.unexpected))
              if keys]
    if faults and (strict or not report.loaded):
        raise ModelError(f"the weights do not fit the network: {'; '.join(faults)}", where=report.source,
                         why=f"{report.percent:.3g} % of the {report.part} would be loaded",
                         fix="use the network and options that they were made with; part='features' leaves another "
                             "number of classes out; strict=False loads what fits")


def _few(keys: Sequence[str], most: int = 4) -> str:
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")
