"""The loss of a segmentation is per image; its numbers are means over images and do not hide anything."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit
from torch import Tensor, nn

from excite.engine.loop import fit
from excite.engine.sections import LoopSection, OptimSection, ScheduleSection
from excite.errors import DataError, ModelError, UsageError
from excite.losses.focal_tversky import focal_tversky
from excite.losses.segmentation import dice_bce
from excite.metrics.segmentation import scores
from excite.tasks.segmentation import SegmentationTask


def drawn(count: int = 7, *size: int, classes: int = 1) -> tuple[Tensor, Tensor]:
    """Return logits that know something of their masks, which are the covered shares of pixels."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(count, classes, *(size or (12, 10)), generator=generator)
    return 3 * (masks - 0.5) + torch.randn(masks.shape, generator=generator), masks


def numbers(task: SegmentationTask, logits: np.ndarray, masks: np.ndarray, loss: float) -> dict[str, float | None]:
    """Return the numbers of one validation in a single batch."""
    return task.summary(task.collect(logits, masks), loss)


def dice_of(predicted: np.ndarray, truth: np.ndarray) -> float:
    return float(2 * (predicted & truth).sum() / (predicted.sum() + truth.sum()))


def test_the_loss_is_half_dice_half_cross_entropy_a_mean_over_images() -> None:
    logits, masks = drawn()
    total, weight = SegmentationTask(("head",)).loss(logits, masks)
    assert float(weight) == 7
    torch.testing.assert_close(total / weight, dice_bce(logits, masks).mean())
    one = SegmentationTask(("head",), loss=partial(focal_tversky, gamma=2))
    torch.testing.assert_close(one.loss(logits, masks)[0], focal_tversky(logits, masks, gamma=2).sum())
    one.replace_loss(lambda found, wanted: (found - wanted).square().flatten(1).mean(dim=1))
    torch.testing.assert_close(one.loss(logits, masks)[0] / 7, (logits - masks).square().mean())
    one.replace_loss(nn.BCEWithLogitsLoss())
    with pytest.raises(UsageError, match=r"one value an image, \(7,\), got \(\)"):
        one.loss(logits, masks)


def test_the_loss_of_a_part_does_not_depend_on_its_batches() -> None:
    one = SegmentationTask(("head",))
    logits, masks = drawn()
    logits[6:] *= -5  # the short last batch is bad
    found = [one.loss(logits[place:place + 3], masks[place:place + 3]) for place in (0, 3, 6)]
    whole = float(dice_bce(logits, masks).mean())
    summed = float(sum(total for total, _ in found) / sum(weight for _, weight in found))
    assert summed == pytest.approx(whole, rel=1e-6)
    assert abs(float(sum(total / weight for total, weight in found)) / 3 - whole) > 0.2


def test_the_summary_is_the_mean_of_each_images_dice() -> None:
    logits, masks = (one.numpy() for one in drawn())
    masks[0] *= 0.55  # a small object, which a Dice over all pixels would hide
    truth = masks[:, 0] >= 0.5
    for threshold in (0.5, 0.3):
        found = numbers(SegmentationTask(("head",), threshold=threshold), logits, masks, 0.25)
        each = [dice_of(p >= threshold, t) for p, t in zip(expit(logits[:, 0]), truth, strict=True)]
        assert found["loss"] == 0.25 and list(found) == ["loss", "dice", "iou"]
        assert found["dice"] == pytest.approx(np.mean(each), rel=1e-12)
        assert found["iou"] == pytest.approx(np.mean([one / (2 - one) for one in each]), rel=1e-12)
    whole = dice_of(expit(logits[:, 0]) >= 0.3, truth)
    assert abs(found["dice"] - whole) > 0.01  # not one Dice over all pixels of all images
    one = SegmentationTask(("head",))
    parts = [one.collect(logits[place:place + 3], masks[place:place + 3]) for place in (0, 3, 6)]
    assert one.summary(np.concatenate(parts), 0.25) == numbers(one, logits, masks, 0.25)
    assert parts[0].shape == (3, 1, 4) and (parts[0].sum(axis=2) == 120).all()


def test_a_pixel_that_is_half_covered_is_of_the_object() -> None:
    masks = np.array([[[[0.5, 0.49, 1.0, 0.0]]]])
    logits = np.array([[[[1.0, -1.0, 1.0, -1.0]]]])
    assert numbers(SegmentationTask(("head",)), logits, masks, 0.0)["dice"] == 1


def test_images_without_object_follow_the_rule() -> None:
    logits, masks = drawn(4)
    masks[:2] = 0
    logits[0] = -9  # says nothing where nothing is; the second image draws something
    defined = [scores((logits[row, 0] >= 0).numpy(), (masks[row, 0] >= 0.5).numpy())["dice"] for row in (1, 2, 3)]
    pair = logits.numpy(), masks.numpy()
    assert defined[0] == 0
    assert numbers(SegmentationTask(("a",)), *pair, 0.0)["dice"] == pytest.approx(sum(defined) / 3)
    assert numbers(SegmentationTask(("a",), empty="one"), *pair, 0.0)["dice"] == pytest.approx((1 + sum(defined)) / 4)
    nothing = numbers(SegmentationTask(("a",)), pair[0][:1], pair[1][:1], 0.5)
    assert nothing == {"loss": 0.5, "dice": None, "iou": None}


@pytest.mark.parametrize("size", [(12, 10), (5, 6, 7)])
def test_several_classes_exclude_each_other_and_the_background_is_no_class(size: tuple[int, ...]) -> None:
    logits, _ = drawn(5, *size, classes=3)
    indices = (logits + torch.randn(logits.shape, generator=torch.Generator().manual_seed(2))).argmax(dim=1)
    one = SegmentationTask(("rest", "skull", "brain"))
    total, weight = one.loss(logits, indices)
    torch.testing.assert_close(total / weight, dice_bce(logits, indices, activation="softmax").mean())
    found = numbers(one, logits.numpy(), indices.numpy(), 0.5)
    assert list(found) == ["loss", "dice", "iou", "dice/skull", "dice/brain"]
    chosen, known = logits.argmax(dim=1).numpy(), indices.numpy()
    each = np.array([[dice_of(chosen[row] == place, known[row] == place) for place in (1, 2)] for row in range(5)])
    assert [found["dice/skull"], found["dice/brain"]] == pytest.approx(each.mean(axis=0), rel=1e-12)
    assert found["dice"] == pytest.approx(each.mean(), rel=1e-12)
    shares = torch.moveaxis(nn.functional.one_hot(indices, 3), -1, 1).numpy()
    assert numbers(one, logits.numpy(), shares, 0.5) == found == numbers(one, logits.numpy(), known[:, None], 0.5)


def test_a_network_learns_by_it_from_masks_with_soft_edges() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(16, 1, 16, 16, generator=generator)
    masks = ((images - 0.4) * 5).clamp(0, 1)
    network, one = nn.Conv2d(1, 1, 1), SegmentationTask(("bright",))
    optimiser = torch.optim.Adam(network.parameters(), lr=0.3)
    before = numbers(one, network(images).detach().numpy(), masks.numpy(), 0.0)["dice"]
    for _ in range(60):
        total, weight = one.loss(network(images), masks)
        optimiser.zero_grad()
        (total / weight).backward()
        optimiser.step()
    after = numbers(one, network(images).detach().numpy(), masks.numpy(), 0.0)["dice"]
    assert after > 0.98 > 0.9 > before
    doubled = numbers(one, torch.sigmoid(network(images)).detach().numpy(), masks.numpy(), 0.0)["dice"]
    assert doubled < 0.7  # a sigmoid in the network: no pixel is ever below one half


@dataclass(frozen=True)
class MaskBatch:
    index: np.ndarray
    images: Tensor
    labels: Tensor


class MaskBatches:
    """Noise in which bright pixels are the object, in batches of four and a short last one."""

    steps = 3

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.images = torch.rand(10, 1, 8, 8, generator=generator)
        self.masks = ((self.images - 0.4) * 5).clamp(0, 1)

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[MaskBatch]:
        for first in range(start * 4, 10, 4):
            place = slice(first, first + 4)
            yield MaskBatch(np.arange(10)[place], self.images[place], self.masks[place])


def test_the_training_loop_takes_it_as_it_is(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 1, 1))
    one, val = SegmentationTask(("bright",)), MaskBatches(2)
    done = fit(network, one, MaskBatches(1), val, optim=OptimSection(lr=0.1), schedule=ScheduleSection(),
               loop=LoopSection(epochs=12, precision="float32", threads=1, ema=0.0), seed=3, folder=tmp_path,
               log=lambda event: None)
    last = done.history[-1]["val"]
    assert last["dice"] > 0.9 > done.history[0]["val"]["dice"] and last["loss"] < done.history[0]["val"]["loss"]
    with torch.no_grad():
        logits = network(val.images)
    best = done.history[done.best_epoch - 1]["val"]  # the network ends with the best weights
    assert best["loss"] == pytest.approx(float(dice_bce(logits, val.masks).mean()), rel=1e-5)
    assert best == pytest.approx(numbers(one, logits.numpy(), val.masks.numpy(), best["loss"]), rel=1e-5)


def test_what_cannot_be_is_refused() -> None:
    logits, masks = (one.numpy() for one in drawn())
    one = SegmentationTask(("head",))
    for bad in (np.nan, np.inf, -np.inf):
        broken = logits.copy()
        broken[4, 0, 3, 3] = bad
        with pytest.raises(DataError, match=r"row 4 \(counted from 0\): an output of the network is NaN or infinite"):
            numbers(one, broken, masks, 0.0)
    with pytest.raises(ModelError, match=r"shape \(N, 1, \*S\), got \(7, 2, 12, 10\)"):
        numbers(one, np.repeat(logits, 2, axis=1), masks, 0.0)
    with pytest.raises(DataError, match="a mask must have values from 0 to 1, got 255"):
        one.loss(torch.from_numpy(logits), torch.from_numpy(masks >= 0.5) * 255)
    for classes in ((), ("a", "a")):
        with pytest.raises(UsageError, match="classes must be one name or more, all different"):
            SegmentationTask(classes)
    with pytest.raises(UsageError, match="threshold must be above 0 and below 1, got 0"):
        SegmentationTask(("a",), threshold=0)
