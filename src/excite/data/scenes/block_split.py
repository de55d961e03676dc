"""The honest split of a scene: whole blocks to train, val and test, and a guard between the parts.

Source: arXiv 1811.03707 asks for it; how blocks are given away is this file's own. Many grids and assignments are
tried, the best are improved block by block. Each is judged by what is left of every class after the guard.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from excite.data.scenes.overlap import near
from excite.data.scenes.split import (
    CODES,
    PARTS,
    SceneSplit,
    check_shares,
    class_counts,
    class_totals,
    describe,
    name_of,
)
from excite.data.stratify import assign
from excite.errors import DataError, UsageError
from excite.tiling import reach

Guard = Literal["pixel", "window"]
Loss = tuple[int, float]
Grid = tuple[int, int]
ORDERS = (("test", "train", "val"), ("train", "test", "val"), ("test", "val", "train"))  # the later gives pixels away
ALONG = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16)  # blocks along an axis
MOST, LEAST = 600, 40  # assignments that are judged, in a small scene and in one of millions of pixels
IMPROVED = 3           # of the best assignments


@dataclass(frozen=True, kw_only=True, eq=False)
class _Draft:
    """How many blocks down and across, the part of each, and what they come to.

    The loss is how many classes lack train or test, then how far the shares are off.
    """

    grid: Grid
    part: NDArray[np.int64]
    loss: Loss
    parts: NDArray[np.uint8]


def block_split(labels: NDArray[Any], *, window: int, train: float = 0.6, val: float = 0.15, block: int | None = None,
                guard: Guard = "pixel", seed: int = 345, classes: Sequence[str] = (),
                least: int = 1) -> SceneSplit:
    """Return parts made of blocks, with every class in train and test and no test pixel in a training window.

    Pixels nearer than the guard to another part are dropped from the part where that hurts the classes least; a note
    says from which. Even windows are guarded as the next larger odd ones, which covers what is mirrored at the border.

    Args:
        labels: (H, W) of the scene: 0 no label, classes from 1 on.
        window: Pixels; decides the guard.
        train: Share of each class.
        val: Share of each class; the rest is tested on.
        block: Pixels along a block; None tries many.
        guard: "pixel": no test pixel lies in a training window; "window": their windows share no pixel.
        seed: Another seed, another search.
        classes: Names of the classes 1, 2, ... for messages.
        least: Smallest window that the network takes, pixels; a smaller one is not advised.

    Raises:
        UsageError: an argument that cannot be.
        DataError: a class cannot be in train and in test; the largest smaller window for which it can is named.
    """
    check_shares(train=train, val=val, seed=seed)
    reach(window)
    if guard not in ("pixel", "window"):
        raise UsageError(f"guard must be pixel or window, got {guard!r}")
    if block is not None and not 1 <= block <= max(labels.shape):
        raise UsageError(f"block must be from 1 to {max(labels.shape)} pixels, got {block}")
    total = class_totals(labels, classes)
    search = _Search(labels=labels, total=total, train=train, val=val, block=block, guard=guard, seed=seed)
    best = search.best(window)
    if best is None or best.loss[0]:
        raise _refusal(search, best, window, classes, least)
    apart = search.distance(window)
    notes = (f"{len(best.part)} blocks, parts kept more than {apart} pixels apart; guard pixels dropped: "
             f"{search.dropped(best)}",)
    return describe(labels, best.parts, search.unit(best.grid), kind="block", guard=apart, window=window, notes=notes,
                    classes=classes)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Search:
    labels: NDArray[Any]
    total: NDArray[np.int64]
    train: float
    val: float
    block: int | None
    guard: Guard
    seed: int

    @property
    def shares(self) -> dict[str, float]:
        return {"train": self.train, "val": self.val, "test": 1 - self.train - self.val}

    def distance(self, window: int) -> int:
        """Return up to how many pixels apart two parts must not come."""
        return (window // 2) * (2 if self.guard == "window" else 1)

    def best(self, window: int) -> _Draft | None:
        """Return the best assignment that was found; None where no grid has blocks enough."""
        budget = int(np.clip(2e7 / self.labels.size, LEAST, MOST))
        apart = self.distance(window)
        random = np.random.default_rng([self.seed, window])
        grids = self._grids(apart)
        grids = [grids[place] for place in random.permutation(len(grids))[:max(IMPROVED, budget // 14)]]
        drafts = [self._judge(grid, part, apart) for grid in grids for part in self._starts(grid)]
        drafts = sorted(drafts, key=lambda draft: draft.loss)[:IMPROVED]
        found = [self._improved(draft, apart, budget // (2 * IMPROVED), random) for draft in drafts]
        return min(found, key=lambda draft: draft.loss, default=None)

    def unit(self, grid: Grid) -> NDArray[np.int32]:
        """Return the map of block numbers, from 1 on."""
        rows, columns = (np.arange(length, dtype=np.int32) * blocks // length
                         for length, blocks in zip(self.labels.shape, grid, strict=True))
        numbers: NDArray[np.int32] = rows[:, None] * np.int32(grid[1]) + columns + np.int32(1)
        return numbers

    def given(self, grid: Grid, part: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the parts before the guard."""
        parts: NDArray[np.uint8] = (part + 1).astype(np.uint8)[self.unit(grid) - 1]
        parts[self.labels == 0] = 0
        return parts

    def dropped(self, draft: _Draft) -> str:
        """Return how many pixels the guard took from which part, in words."""
        before, after = (class_counts(self.labels, parts).sum(axis=1).tolist()
                         for parts in (self.given(draft.grid, draft.part), draft.parts))
        lost = [f"{had - has} from {part}" for part, had, has in zip(PARTS, before, after, strict=True) if had > has]
        return ", ".join(lost) or "none"

    def _grids(self, apart: int) -> list[Grid]:
        height, width = self.labels.shape
        if self.block:
            grid = max(1, round(height / self.block)), max(1, round(width / self.block))
            return [grid] if grid != (1, 1) else []
        return [(down, across) for down in ALONG for across in ALONG if down * across >= 3
                and (down == 1 or height // down > apart) and (across == 1 or width // across > apart)]

    def _starts(self, grid: Grid) -> Iterator[NDArray[np.int64]]:
        """Yield parts of the blocks: scattered for equal shares, and in runs that have short borders."""
        blocks, kinds = grid[0] * grid[1], len(self.total) + 1
        held = np.bincount(((self.unit(grid) - 1) * kinds + self.labels).ravel(), minlength=blocks * kinds)
        counts = held.reshape(blocks, kinds)[:, 1:]
        names = [str(number) for number in range(blocks)]
        found = assign(names, counts, {part: share for part, share in self.shares.items() if share > 0}, seed=self.seed)
        yield np.array([PARTS.index(found[name]) for name in names])
        numbers = np.arange(blocks).reshape(grid)
        for lines in (numbers, numbers.T):
            snake = np.concatenate([line[::1 - 2 * (place % 2)] for place, line in enumerate(lines)])
            size = counts[snake].sum(axis=1)
            middle = np.cumsum(size) - size / 2
            for order in (("train", "val", "test"), ("test", "val", "train"), ("val", "train", "test")):
                edges = np.cumsum([self.shares[part] for part in order])[:2] * self.total.sum()
                part = np.empty(blocks, np.int64)
                part[snake] = np.array([PARTS.index(name) for name in order])[np.searchsorted(edges, middle)]
                yield part

    def _judge(self, grid: Grid, part: NDArray[np.int64], apart: int) -> _Draft:
        """Return what an assignment comes to with the order of giving away that is best for it."""
        given, unit = self.given(grid, part), self.unit(grid)
        kept = [_kept_apart(given, apart, order) for order in ORDERS]
        losses = [self._loss(parts, unit) for parts in kept]
        place = losses.index(min(losses))
        return _Draft(grid=grid, part=part, loss=losses[place], parts=kept[place])

    def _loss(self, parts: NDArray[np.uint8], unit: NDArray[np.int32]) -> Loss:
        held = class_counts(self.labels, parts)[:, self.total > 0]
        wanted = np.array(list(self.shares.values()))[:, None] * self.total[self.total > 0]
        short = np.maximum(0, 1 - held / np.maximum(wanted, 1e-9)) ** 2
        tested = len(np.flatnonzero(np.bincount(unit[parts == CODES["test"]])))
        missing = int((held[[0, 2]] == 0).any(axis=0).sum()) + int(self.val > 0 and not held[1].any())
        return missing, float(short.mean() + 0.1 / max(1, tested))  # an interval over blocks needs several

    def _improved(self, draft: _Draft, apart: int, tries: int, random: np.random.Generator) -> _Draft:
        """Return the draft after single blocks changed their part, or two theirs, wherever that helped."""
        for _ in range(tries):
            part = draft.part.copy()
            first, second = random.integers(len(part), size=2)
            if random.random() < 0.5:
                part[first], part[second] = part[second], part[first]
            else:
                part[first] = random.integers(3) if self.val else 2 * random.integers(2)
            if (part != draft.part).any():
                changed = self._judge(draft.grid, part, apart)
                draft = changed if changed.loss < draft.loss else draft
        return draft


def _kept_apart(given: NDArray[np.uint8], apart: int, order: Sequence[str]) -> NDArray[np.uint8]:
    """Return the parts without the pixels at most `apart` from a part that comes earlier in `order`."""
    kept, taken = np.zeros_like(given), np.zeros(given.shape, np.bool_)
    for part in order:
        mine = given == CODES[part]
        if apart and taken.any():
            mine &= ~near(taken, apart)
        kept[mine] = CODES[part]
        taken |= mine
    return kept


def _refusal(search: _Search, best: _Draft | None, window: int, classes: Sequence[str], least: int) -> DataError:
    """Return the error that names the classes, and the largest smaller window that works."""
    smaller = next((size for size in range(window - 2, least - 1, -2)
                    if (found := search.best(size)) is not None and not found.loss[0]), None)
    rest = "leave such classes out by scene.drop_classes, or merge them"
    fix = f"use a window of {smaller}, or {rest}" if smaller else f"{rest}, or get a second scene"
    if best is None:
        height, width = search.labels.shape
        return DataError(f"a scene of {height} x {width} pixels has no blocks that stay {search.distance(window)} "
                         "pixels apart", why=f"windows of {window}", fix=fix)
    held = class_counts(search.labels, best.parts)
    gone = [f"{name_of(place + 1, classes)} in {part}" for place in np.flatnonzero(search.total).tolist()
            for part, numbers in zip(PARTS, held, strict=True) if part != "val" and not numbers[place]]
    if search.val > 0 and not held[1].any():
        gone.append("any in val")
    return DataError(f"no blocks leave every class pixels in train and test with windows of {window}: at best none of "
                     f"class {', '.join(gone)}", why=f"the parts must stay more than {search.distance(window)} pixels "
                     "apart", fix=fix)
