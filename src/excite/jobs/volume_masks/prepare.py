"""From a config to everything that training on label volumes needs: table, spacing, labels, split, network."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from excite.data.fault import Fault
from excite.data.split import Split, make_split, shared_ids
from excite.data.volumes.augment import VolumeAugment
from excite.data.volumes.grid import Grid
from excite.data.volumes.mask_preprocess import MaskPreprocess, usual_patch, usual_spacing
from excite.data.volumes.mask_store import MaskStore
from excite.data.volumes.mask_table import MaskTable, read_mask_table
from excite.data.volumes.reading import read_volume
from excite.data.volumes.store import Reading
from excite.engine.volume_masks import MaskedBatches
from excite.errors import DataError, UsageError
from excite.jobs.network import build_network, check_given
from excite.jobs.volume_masks.classes import Classes, classes_of, empty_told
from excite.jobs.volume_masks.sections import MaskedVolumeConfig
from excite.progress import Progress, silent
from excite.tasks.segmentation import SegmentationTask, loss_of
from excite.weights.load import LoadReport
from excite.weights.store import resolve

LOOKED = 25       # volumes that the usual spacing and size are learnt from
MULTIPLE = 8      # of the patch, where a network does not say its strides
CUBES = 1.5       # longest over shortest side of voxels that are nearly cubes
SHOWN = 20
BY_FILE = ("neither patient nor group is known: each file is a unit of its own; where a person has several, such as "
           "left and right, they may be in two parts, so results are optimistic")


@dataclass(kw_only=True, eq=False)
class PreparedMasks:
    """What a training on label volumes is made of.

    Args:
        preprocess: With levels of the training part and the values of the labels.
        leaks: What is in two parts.
    """

    config: MaskedVolumeConfig
    table: MaskTable
    classes: Classes
    split: Split
    store: MaskStore
    preprocess: MaskPreprocess
    model: nn.Module
    model_record: dict[str, object]
    weights: LoadReport | None
    task: SegmentationTask
    leaks: list[Fault]
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def network(self) -> str:
        """Return what to call the network: its name, or that of the class of one's own."""
        return self.config.model.name if self.model_record else type(self.model).__name__

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the network's input, (M, D, H, W)."""
        return (len(self.preprocess.maps), *self.preprocess.patch)

    @property
    def fingerprint(self) -> dict[str, object]:
        """Return what the run is trained on, to be compared when it goes on."""
        return {"scans": list(self.store.contents), "split": self.split.to_json(), "classes": list(self.classes.names),
                "preprocess": self.preprocess.to_json()}

    def batches(self, part: str, *, train: bool = False) -> MaskedBatches:
        """Return the batches of a part, changed at random and shuffled where `train`."""
        config = self.config
        return MaskedBatches(self.store, self.split.parts[part], self.preprocess, seed=config.seed,
                             batch_size=config.loop.batch_size, sampler="shuffle" if train else "order",
                             augment=_augment(config, self.preprocess) if train else None,
                             foreground=config.volumes.foreground)

    def inputs(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """Return one patch of some rows as the network takes it, (N, M, D, H, W)."""
        batches = MaskedBatches(self.store, rows, self.preprocess, batch_size=1, seed=0)
        return np.stack([batches.patch(row)[0] for row in rows])

    def counts(self, part: str) -> dict[str, int]:
        """Return in how many rows of a part each class is, the background left out."""
        entries = [self.store.entries[row] for row in self.split.parts[part]]
        return {f"with {name}": sum(bool(entry.counts.get(value)) for entry in entries)
                for name, value in zip(self.classes.names[1:], self.classes.values[1:], strict=True)}


def prepare_masks(config: MaskedVolumeConfig, *, model: nn.Module | None = None,
                  progress: Progress | None = None) -> PreparedMasks:
    """Read the table, put every scan on one spacing, split, learn the levels on the training part, build the network.

    Args:
        model: A network that takes the place of config.model, (N, M, *patch) -> (N, classes, *patch).

    Raises:
        DataError: faults of the table, the files, the labels or the split. UsageError: arguments that do not fit.
        ModelError, EnvironmentFault: of the weights.
    """
    progress = progress or silent()
    table = read_mask_table(config.volumes)
    unfitted, told_grid = _on_grid(config, table, _strides(config, table, model))
    how = how_read(config)
    store = MaskStore.build(table.files, table.masks, unfitted, how=how, progress=progress)
    classes, told_classes = classes_of(config.volumes.classes, table, store)
    split = _split(config, table)
    classes.refuse_untaught(store, split)
    preprocess = replace(unfitted, values=classes.values).fit(np.asarray(store.scan(row)) for row in split.train)
    record: dict[str, object] = {}
    report: LoadReport | None = None
    if model is None:
        encoder = str(config.model.options.get("encoder", config.model.name))
        file = resolve(config.model.weights, encoder)
        model, record, report, told = build_network(config.model, file, in_channels=len(table.maps), dims=3,
                                                    num_classes=len(classes.names), seed=config.seed)
    else:
        told = check_given(model, "segmentation", len(classes.names), (len(table.maps), *preprocess.patch))
    loss = loss_of(config.loss, classes=len(classes.names), background=config.loss.background)
    augment = _augment(config, preprocess)
    return PreparedMasks(
        config=config, table=table, classes=classes, split=split, store=store, preprocess=preprocess, model=model,
        model_record=record, weights=report, task=SegmentationTask(classes.names, loss=loss),
        leaks=[*shared_ids(table.manifest.rows, split.parts), *_same_voxels(table, split, store)],
        reasons={"table": "; ".join(table.manifest.notes), "labels": told_classes, "network": told, "grid": told_grid,
                 "patches": _patches_told(store, preprocess),
                 "split": f"{_sizes(split)} rows by {split.unit_kind}; {'; '.join(split.notes) or 'no remarks'}",
                 "augmentation": str(augment or "none"), "readers": _readers_told(store),
                 "masks": empty_told(table, classes, store)})


def how_read(config: MaskedVolumeConfig) -> Reading:
    """Return how a config has files read."""
    return Reading(series=config.volumes.series, gaps=config.volumes.gaps)


def _strides(config: MaskedVolumeConfig, table: MaskTable, model: nn.Module | None) -> tuple[int, ...]:
    """Return what the sides of the network's input are multiples of along D, H and W."""
    if model is None:
        section = config.model.model_copy(update={"weights": None})
        model, *_ = build_network(section, None, in_channels=len(table.maps), dims=3, num_classes=2, seed=0)
        if not hasattr(model, "logits"):
            raise UsageError(f"{config.model.name} tells classes, the work is label volumes",
                             fix="model.name: unet, around any backbone: --set model.options.encoder=NAME")
    found = getattr(model, "strides", None)
    return tuple(found) if isinstance(found, tuple) and len(found) == 3 else (MULTIPLE,) * 3


def _on_grid(config: MaskedVolumeConfig, table: MaskTable, strides: Sequence[int]) -> tuple[MaskPreprocess, str]:
    """Return the preprocessing without its levels, and why it is so."""
    section, step = config.volumes, max(1, len(table.files) // LOOKED)
    looked = [read_volume(files[0], series=section.series.get(table.maps[0])) for files in table.files[::step]] \
        if section.spacing is None or section.patch is None else []
    spacing = section.spacing or usual_spacing(looked)
    multiples = [one * (2 if one < MULTIPLE else 1) for one in strides]
    patch = section.patch or usual_patch([Grid.of(one).extent.tolist() for one in looked], spacing, multiple=multiples)
    if any(side % stride for side, stride in zip(patch, strides, strict=True)):
        raise UsageError(f"volumes.patch must be multiples of the network's strides, {_by(strides)}, got {_by(patch)}")
    told = (f"voxels of {_by(spacing)} mm ({'as asked for' if section.spacing else 'the median'}), patches of "
            f"{_by(patch)} voxels ({'as asked for' if section.patch else 'the usual volume, up to a size'})")
    return MaskPreprocess(maps=table.maps, spacing=spacing, patch=patch, kind=section.levels,
                          overlap=section.overlap), told


def _split(config: MaskedVolumeConfig, table: MaskTable) -> Split:
    """Return the parts; where nobody knows the persons, by file."""
    split = make_split(table.manifest, config.split)
    if not split.val or not split.test:
        raise DataError("the val or the test part is empty", where=table.manifest.source,
                        fix="set split.val and split.test above 0, or name parts in a column split")
    if split.unit_kind != "near-duplicate cluster":
        return split
    return replace(split, unit_kind="file", notes=(BY_FILE, *(note for note in split.notes
                                                              if not note.startswith("neither patient"))))


def _augment(config: MaskedVolumeConfig, preprocess: MaskPreprocess) -> VolumeAugment | None:
    """Return how training patches are changed; scans without a unit also in their levels."""
    section = config.augment
    usual = 0.0 if config.volumes.levels == "map" else 0.1
    given: dict[str, Any] = section.model_dump(exclude={"enabled"})
    cubes = max(preprocess.spacing) <= CUBES * min(preprocess.spacing)
    given["turn"] = given["turn"] if given["turn"] is not None else (0, 1, 2) if cubes else (0,)
    given |= {name: usual for name in ("bias", "contrast") if given[name] is None}
    return VolumeAugment(**given) if section.enabled else None


def _same_voxels(table: MaskTable, split: Split, store: MaskStore) -> list[Fault]:
    """Return a fault for each two rows in two parts whose scans hold the same values, whatever their files are."""
    part = {row: name for name, rows in split.parts.items() for row in rows}
    first: dict[str, int] = {}
    found = []
    for row, entry in enumerate(store.entries):
        other = first.setdefault(entry.voxels, row)
        if part[other] != part[row]:
            one, same = table.manifest.rows[row], table.manifest.rows[other]
            found.append(Fault(kind="same-scan-in-two-splits", row=one.line, file=one.image, message=(
                f"the scan of line {one.line} has the voxels of line {same.line}, which is in {part[other]} while "
                f"this is in {part[row]}; keep one of the two, or put both into one part")))
    return found


def _patches_told(store: MaskStore, preprocess: MaskPreprocess) -> str:
    larger = sum(any(side > length for side, length in zip(entry.shape, preprocess.patch, strict=True))
                 for entry in store.entries)
    return (f"{len(store.entries) - larger} of {len(store.entries)} volumes fit into one patch, {larger} are predicted "
            f"by patches that overlap by {preprocess.overlap:g}; epochs are compared on one patch a volume, around "
            "what is labelled, the final numbers are of whole volumes")


def _readers_told(store: MaskStore) -> str:
    """Return what readers decided, alike notes together."""
    alike: dict[str, list[str]] = {}
    for entry in store.entries:
        for note in entry.notes:
            alike.setdefault(re.sub(r"[0-9.]+", "#", note), []).append(note)
    return "; ".join(f"{notes[0]} (and {len(notes) - 1} like it)" if len(notes) > 1 else notes[0]
                     for notes in alike.values()) or "nothing to decide"


def _sizes(split: Split) -> str:
    return " / ".join(str(len(rows)) for rows in split.parts.values())


def _by(numbers: Sequence[float]) -> str:
    return " x ".join(f"{one:g}" for one in numbers)
