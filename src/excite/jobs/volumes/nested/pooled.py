"""What a trunk gives for each patient once, pooled over space: computed for all, kept on disk, named by its makings."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from excite import __version__
from excite.data.volumes.preprocess import VolumePreprocess
from excite.data.volumes.store import VolumeStore
from excite.data.volumes.store_files import draft_of, volumes_folder
from excite.deploy.bundle import INFO, WEIGHTS, find_bundle, read_bundle
from excite.deploy.export import evaluating
from excite.errors import DataError, EnvironmentFault, ModelError, UsageError
from excite.jobs.export import rebuild
from excite.jobs.volumes.nested.sections import NestedConfig
from excite.models.modality_fusion import ModalityFusion
from excite.progress import Progress, silent

FORMAT = 1
BATCH = 4  # patients through the trunk at once
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trunk:
    """A network that gives a vector for each patient.

    Args:
        network: With `forward_features`.
        told: What it is and what it started from, in words.
        caution: What has to be read before its numbers.
        preprocess: With the levels that it was trained at; None: they are learnt anew, on each fold's training rows.
        trained_on: By what the patients that it has learnt from are known again, see `VolumeStore.marks`.

    Raises:
        UsageError: the network has no `forward_features`.
    """

    network: nn.Module
    told: str
    caution: str | None = None
    preprocess: VolumePreprocess | None = None
    trained_on: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not callable(getattr(self.network, "forward_features", None)):
            raise UsageError(f"--frozen-features needs a network with forward_features, a {type(self.network).__name__}"
                             " has none", fix="name a classifier: excite models")

    @property
    def digest(self) -> str:
        """Return a hash of what the network is: its structure and every value."""
        found = hashlib.sha256(str(self.network).encode())
        for name, value in sorted(self.network.state_dict().items()):
            found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            found.update(np.ascontiguousarray(value.detach().cpu().numpy()).tobytes())
        return found.hexdigest()

    def refuse_known(self, store: VolumeStore) -> None:
        """Raise where the trunk was trained on patients of this table: they would be tested on what it has learnt."""
        trained = set(self.trained_on)
        known = sum(not trained.isdisjoint(store.marks(row)) for row in range(len(store.contents)))
        if known:
            raise DataError(f"the trunk was trained on {known} of the {len(store.contents)} rows that are tested here",
                            why="what it has learnt of them makes the numbers too good",
                            fix="take a trunk of other patients, --weights imagenet, or leave out --frozen-features")


def trained_on(weights: Path) -> tuple[str, ...] | None:
    """Return what the bundle that a weights file lies in tells of the patients it was trained on; None without one.

    Raises:
        ModelError: the bundle is damaged.
    """
    for file in (weights.absolute(), weights.resolve()):
        for folder in (*file.parents[:2], *(parent / "bundle" for parent in file.parents[:2])):
            if (folder / INFO).is_file() and (info := read_bundle(folder, verify=False)).task == "volumes":
                return tuple(info.provenance.get("train_hashes", ()))
    return None


def trunk_of_bundle(source: Path) -> Trunk:
    """Return the network of a run or a bundle for volumes as a trunk.

    Raises:
        ModelError: there is none, or it is for something else than volumes.
    """
    folder = find_bundle(source)
    info = read_bundle(folder)
    if info.task != "volumes":
        raise ModelError(f"the bundle is for {info.task}, not for volumes", where=folder)
    return Trunk(network=rebuild(info, folder / WEIGHTS), told=f"the trunk of {info.name}, trained before",
                 preprocess=VolumePreprocess.from_json(info.preprocess),
                 trained_on=tuple(info.provenance.get("train_hashes", ())))


def at_home(config: NestedConfig, trunk: Trunk) -> NestedConfig:
    """Return the config with the maps, the grid and the levels that a trained trunk is used to."""
    own = trunk.preprocess
    if own is None:
        return config
    maps = {"maps": own.maps, "reference": own.reference, "shape": own.shape, "spacing": own.spacing,
            "levels": own.kind}
    return config.model_copy(update={"volumes": config.volumes.model_copy(update=maps)})


def pooled(trunk: Trunk, store: VolumeStore, preprocess: VolumePreprocess, *, folder: Path | None = None,
           progress: Progress | None = None) -> Floats:
    """Return what the trunk gives for each patient, mapped from a file that is written where there is none.

    Its name holds the patients' files and grid, the network's values and the levels, so that no other is ever taken
    for it.

    Shape:
        (N, F)

    Raises:
        EnvironmentFault: the file cannot be written. DataError: a vector is not finite.
    """
    progress = progress or silent()
    used = [{name: getattr(one, name) for name in ("kind", "low", "high", "mean", "std")} for one in preprocess.levels]
    key = json.dumps([FORMAT, __version__, store.file.stem, trunk.digest, used], sort_keys=True)
    folder = folder or volumes_folder()
    file = folder / f"pooled-{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"
    if not file.is_file():
        vectors = _vectors(trunk, store, preprocess, progress)
        aside = draft_of(file)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with aside.open("wb") as stream:
                np.save(stream, vectors, allow_pickle=False)
            aside.replace(file)
        except OSError as fault:
            raise EnvironmentFault("the pooled features cannot be written", where=folder, why=str(fault),
                                   fix="free some space, or set EXCITE_CACHE to another folder") from None
        finally:
            aside.unlink(missing_ok=True)
    found: Floats = np.load(file, mmap_mode="r", allow_pickle=False)
    return found


def by_map(trunk: Trunk, vectors: Floats, present: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return vectors with NaN where a map is missing, and the block of each column: its map, or one for all.

    A network that joins the maps as channels has one vector of all, in which nothing is of one map alone.

    Shape:
        (N, F), (N, M) -> (N, G), (G,)
    """
    if not isinstance(trunk.network, ModalityFusion):
        return np.array(vectors, np.float64), np.zeros(vectors.shape[1], np.int64)
    maps = present.shape[1]
    parts = np.array(vectors[:, :-maps], np.float64).reshape(len(vectors), maps, -1)
    parts[~present] = np.nan
    return parts.reshape(len(vectors), -1), np.repeat(np.arange(maps), parts.shape[2])


def _vectors(trunk: Trunk, store: VolumeStore, preprocess: VolumePreprocess, progress: Progress) -> Floats:
    features: Any = trunk.network.forward_features
    count, found = len(store.values), list[Floats]()
    with evaluating(trunk.network), torch.no_grad():
        for start in range(0, count, BATCH):
            images = np.stack([preprocess.normalise(np.asarray(one)) for one in store.values[start:start + BATCH]])
            found.append(features(torch.from_numpy(images)).float().numpy())
            progress.step("pooled features", min(start + BATCH, count), count)
    vectors = np.concatenate(found)
    bad = ~np.isfinite(vectors).all(axis=1)
    if bad.any():
        raise DataError("the trunk's features of a patient are not finite",
                        where=f"row {int(bad.argmax())} (counted from 0)", fix="look at the network's weights")
    return vectors
