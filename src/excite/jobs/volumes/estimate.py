"""What a training on volumes would do, why, and how long it would take, measured on a few of its own steps."""

import torch

from excite.jobs.estimate import measured_epoch
from excite.jobs.volume_masks.prepare import PreparedMasks, prepare_masks
from excite.jobs.volume_masks.sections import MaskedVolumeConfig
from excite.jobs.volumes.prepare import PreparedVolumes, prepare_volumes
from excite.jobs.volumes.sections import VolumeConfig
from excite.progress import Progress, silent

SHOWN = 5


def dry_run_volumes(config: VolumeConfig | MaskedVolumeConfig, *, progress: Progress | None = None) -> dict[str, str]:
    """Return what a training would do, a line a topic, with its reason and a measured time.

    Nothing is kept but the prepared volumes, which the training takes from the cache. Of a cross-validation the first
    fold is looked at.

    Raises:
        DataError, UsageError: what would stop the training.
    """
    progress, folds = progress or silent(), 1
    if isinstance(config, MaskedVolumeConfig):
        prepared: PreparedMasks | PreparedVolumes = prepare_masks(config, progress=progress)
    else:
        if config.split.folds is not None and config.split.fold is None:
            folds = config.split.folds
            config = config.model_copy(update={"split": config.split.model_copy(update={"fold": 1})})
        prepared = prepare_volumes(config, progress=progress)
    progress.say("measuring the time of a few steps")
    train = prepared.batches("train", train=True)
    seconds = measured_epoch(prepared.model, prepared.task, train, prepared.batches("val"), optim=config.optim,
                             loop=config.loop)
    return prepared.reasons | {
        "network": f"{prepared.reasons['network']}; {_parameters(prepared):,} parameters, input "
                   f"{' x '.join(map(str, prepared.shape))} (maps, depth, height, width)",
        "recipe": _recipe(config, train.steps),
        "leaks": "; ".join(fault.message for fault in prepared.leaks[:SHOWN]) or "none between the parts",
        "time": _time(config, seconds, folds)}


def _parameters(prepared: PreparedVolumes | PreparedMasks) -> int:
    return sum(one.numel() for one in prepared.model.parameters())


def _recipe(config: VolumeConfig | MaskedVolumeConfig, steps: int) -> str:
    optim, loop = config.optim, config.loop
    given = bool(loop.model_fields_set or optim.model_fields_set)
    return (f"{optim.name} lr {optim.lr:g}, {config.schedule.name} schedule, batch {loop.batch_size}, {loop.epochs} "
            f"epochs of {steps} steps, augmentation {'on' if config.augment.enabled else 'off'}: "
            f"{'as given' if given else 'the default recipe'}")


def _time(config: VolumeConfig | MaskedVolumeConfig, seconds: float, folds: int) -> str:
    loop = config.loop
    each = f" for each of {folds} folds, {seconds * loop.epochs * folds / 60:.1f} together" if folds > 1 else ""
    return (f"{seconds:.1f} s an epoch, measured here with {torch.get_num_threads()} threads; about "
            f"{seconds * loop.epochs / 60:.1f} minutes for {loop.epochs} epochs{each}"
            f"{' at most (early stopping)' if loop.early_stopping else ''}; export and report come after")
