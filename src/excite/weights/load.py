"""Loading weights into a network: strict, adapted where that is exact, and told in words and percent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from excite.errors import ModelError, UsageError
from excite.layers.form import differing, told
from excite.weights.adapt import Channels, adapt_channels
from excite.weights.catalog import Row, recognise
from excite.weights.inflate import Mode, inflated
from excite.weights.intake import read_safetensors
from excite.weights.keymap import guess_layout, to_excite
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
    name = name or getattr(model, "name", None)
    given = _read(source, name)
    layout = (given.layout if layout == "auto" else layout) or guess_layout(given.state)
    mapped = dict(given.state)
    if layout != "excite":
        mapped = to_excite(mapped, model_name=_known(name or given.backbone), layout=layout)
    own, notes = model.state_dict(), list[str]()
    chosen = choose_part(own, mapped, part, given.origin, notes)
    if chosen == "features":
        mapped = {key: value for key, value in mapped.items() if not key.startswith(HEAD)}
    fresh = fresh_gates(model, mapped)
    if fresh:
        notes.append(f"{len(fresh)} attention gates stay fresh: the source has none{_moved(model, fresh)}")
    mapped, kernels = inflated(mapped, model, mode=inflate)
    if kernels:
        notes.append(f"inflated from 2-D ({inflate})")
    _fit_channels(own, mapped, channels, notes)
    wanted = {key: value for key, value in own.items()
              if not key.startswith(fresh) and not (chosen == "features" and key.startswith(HEAD))}
    fits, mismatched = _compare(wanted, mapped)
    report = LoadReport(
        percent=100 * _values(wanted, fits) / max(1, _values(wanted, wanted)), loaded=tuple(fits),
        missing=tuple(key for key in wanted if key not in mapped and weighty(key)),
        unexpected=tuple(key for key in mapped if key not in wanted), mismatched=mismatched, part=chosen,
        source=given.origin, sha256=given.sha256, notes=tuple(notes))
    _refuse(report, strict, given.row)
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
        return _Source(state=source)
    file = resolve(source, _known(name) if isinstance(source, str) and not is_path(source) else "")
    if file is None:
        raise UsageError("no weights are named", fix="leave load_weights out for random values")
    summed, noted = digest(file), stored_checksum(file)
    if noted is not None and noted != summed:
        raise ModelError("the weights file is damaged: its sha256 is not the stored one", where=file,
                         why=f"{summed[:12]}... now, {noted[:12]}... then",
                         fix="delete it, then get or import it again")
    state, words = read_safetensors(file), metadata(file)
    bad = [key for key, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if bad:
        raise ModelError(f"{len(bad)} tensors hold values that are not finite: {few(bad)}", where=file,
                         why="a damaged file, or a training that broke", fix="take another file")
    published = recognise(summed)
    row = published or recognise(words.get("source_sha256", ""))
    layout = words.get("layout") if published is None else published.layout_of(summed)
    return _Source(state=state, origin=file.name, sha256=summed, layout=layout, row=row,
                   backbone=row.backbone if row else words.get("backbone"))


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
        notes.append(f"first convolution fitted from {there[1]} to {here[1]} channels ({mode})")


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


def _refuse(report: LoadReport, strict: bool, row: Row | None) -> None:
    """Raise for a load that is not whole, or that would load nothing at all."""
    faults = [f"{len(keys)} {word}: {few(keys)}" for word, keys in
              (("of another shape", report.mismatched), ("missing", report.missing), ("unknown", report.unexpected))
              if keys]
    if faults and (strict or not report.loaded):
        made = f"these are for {row.call}; " if row else ""
        raise ModelError(f"the weights do not fit the network: {'; '.join(faults)}", where=report.source,
                         why=f"{report.percent:.3g} % of the {report.part} would be loaded",
                         fix=f"{made}use the network and options that they were made with; part='features' leaves "
                             "another number of classes out; strict=False loads what fits")
