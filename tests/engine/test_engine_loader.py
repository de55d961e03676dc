"""The loader: what a batch holds, in which order, the same in every process, and a thread that ends."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from excite.data.cache import ImageCache
from excite.data.preprocess import Preprocess
from excite.data.reading import read
from excite.data.sections import AugmentSection, CacheSection, PreprocessSection
from excite.data.targets import Outline
from excite.ellipse import Ellipse
from excite.engine.loader import Loader
from excite.errors import DataError, UsageError

COUNT = 23
LABELS = [0] * 15 + [1] * 6 + [2] * 2
PREPROCESS = Preprocess(PreprocessSection(size=32))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for number in range(COUNT):
        shape = (50, 40 + number, 3) if number % 4 == 0 else (50, 40 + number)
        Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{number}.png")
    return [folder / f"{number}.png" for number in range(COUNT)]


@pytest.fixture(scope="module")
def cache(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> ImageCache:
    return ImageCache.build(files, PREPROCESS, CacheSection(folder=tmp_path_factory.mktemp("cache")))


def made(cache: ImageCache, rows: range | list[int] = range(COUNT), **options: object) -> Loader:
    return Loader(cache, PREPROCESS, rows, LABELS, **{"batch_size": 4, "seed": 1, **options})  # type: ignore[arg-type]


def epoch_of(loader: Loader, epoch: int = 0, start: int = 0) -> dict[int, torch.Tensor]:
    return {int(row): image for batch in loader.batches(epoch, start=start)
            for row, image in zip(batch.index, batch.images.clone(), strict=True)}


def test_without_augmentation_a_batch_is_what_prediction_sees_bit_by_bit(cache: ImageCache, files: list[Path]) -> None:
    rows = [5, 0, 22, 8, 3]
    batches = list(made(cache, rows).batches(0))
    assert [batch.index.tolist() for batch in batches] == [[5, 0, 22, 8], [3]]
    assert [batch.labels.tolist() for batch in batches] == [[0, 0, 2, 0], [0]]
    for batch in batches:
        assert batch.images.is_contiguous(memory_format=torch.channels_last) and batch.images.dtype == torch.float32
        for row, image in zip(batch.index, batch.images, strict=True):
            assert np.array_equal(image.numpy(), PREPROCESS(read(files[row]).image))


@pytest.mark.parametrize("sampler", ["shuffle", "balanced"])
def test_the_same_numbers_give_the_same_batches_from_any_start(cache: ImageCache, sampler: str) -> None:
    first, second = (made(cache, sampler=sampler, augment=AugmentSection()) for _ in range(2))
    whole = list(first.batches(7))
    for start in (0, 2, first.steps - 1, first.steps):
        rest = list(second.batches(7, start=start))
        assert len(rest) == first.steps - start
        for ours, theirs in zip(rest, whole[start:], strict=True):
            assert np.array_equal(ours.index, theirs.index) and torch.equal(ours.images, theirs.images)
    assert not np.array_equal(first.order(7), first.order(8))
    assert not np.array_equal(first.order(7), made(cache, sampler=sampler, seed=2).order(7))


def test_augmentation_belongs_to_the_row_not_to_the_batch(cache: ImageCache) -> None:
    plain = epoch_of(made(cache))
    ordered = epoch_of(made(cache, augment=AugmentSection()), epoch=3)
    shuffled = epoch_of(made(cache, augment=AugmentSection(), sampler="shuffle", batch_size=7), epoch=3)
    later = epoch_of(made(cache, augment=AugmentSection()), epoch=4)
    for row in range(COUNT):
        assert torch.equal(ordered[row], shuffled[row])
        assert not torch.equal(ordered[row], later[row]) and not torch.equal(ordered[row], plain[row])


def test_shuffling_uses_each_row_once(cache: ImageCache) -> None:
    rows = [1, 3, 5, 7, 9, 11, 21]
    loader = made(cache, rows, sampler="shuffle")
    assert sorted(loader.order(0)) == rows and loader.order(0).tolist() != rows
    firsts = [int(loader.order(epoch)[0]) for epoch in range(2000)]
    assert np.bincount(firsts, minlength=22)[rows] / 2000 == pytest.approx(np.full(7, 1 / 7), abs=0.03)


def test_balancing_draws_classes_equally_and_an_image_again_only_after_all_others(cache: ImageCache) -> None:
    loader = made(cache, sampler="balanced", augment=AugmentSection())
    order = loader.order(0)
    counts = np.bincount(np.array(LABELS)[order])
    assert len(order) == COUNT and counts.max() - counts.min() <= 1
    uses = np.bincount(order, minlength=COUNT)
    for label in range(3):
        of_class = uses[np.array(LABELS) == label]
        assert of_class.max() - of_class.min() <= 1
    again = [image for batch in loader.batches(0)
             for row, image in zip(batch.index, batch.images.clone(), strict=True) if row == 22]
    assert len(again) >= 3 and not torch.equal(again[0], again[1])  # drawn again, changed anew


@pytest.mark.parametrize(("rows", "sampler", "sizes"), [
    (9, "shuffle", [4, 5]), (9, "balanced", [4, 5]), (9, "order", [4, 4, 1]), (10, "shuffle", [4, 4, 2]),
    (8, "shuffle", [4, 4]), (1, "shuffle", [1]), (3, "shuffle", [3]),
])
def test_no_training_epoch_ends_with_a_batch_of_one(cache: ImageCache, rows: int, sampler: str,
                                                    sizes: list[int]) -> None:
    loader = made(cache, range(rows), sampler=sampler)
    assert [len(batch.index) for batch in loader.batches(0)] == sizes and loader.steps == len(sizes)


def test_a_batch_in_hand_is_never_written_again(cache: ImageCache) -> None:
    loader = made(cache, sampler="shuffle", augment=AugmentSection())
    views = [(batch.index, batch.images[1:].permute(0, 2, 3, 1), batch.images.clone())
             for epoch in range(3) for batch in loader.batches(epoch)]  # the batch goes, a view of it stays
    for _, view, copy in views:
        assert torch.equal(view, copy[1:].permute(0, 2, 3, 1))
    places = {batch.images.data_ptr() for batch in loader.batches(9)}
    assert len(places) < loader.steps  # and memory is used again once nobody looks at it


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "excite-loader"]


def test_the_thread_ends_with_its_iterator(cache: ImageCache) -> None:
    batches = made(cache, batch_size=1).batches(0)
    next(batches)
    assert len(threads()) == 1
    batches.close()  # type: ignore[attr-defined]
    assert not threads()
    list(made(cache).batches(0))
    assert not threads()


def test_a_fault_in_the_thread_reaches_the_caller(cache: ImageCache, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = made(cache)

    def broken(*_: object, **__: object) -> None:
        raise DataError("planted", where="7.png")

    batches = loader.batches(0)
    monkeypatch.setattr(PREPROCESS, "render", broken)
    with pytest.raises(DataError, match="7.png: planted"):
        list(batches)
    assert not threads()


def test_what_cannot_be_loaded_is_refused(cache: ImageCache) -> None:
    with pytest.raises(DataError, match="no images to load"):
        made(cache, [])
    with pytest.raises(DataError, match="the cache holds 23 images.*rows up to 23"):
        made(cache, [23])
    with pytest.raises(UsageError, match="batch_size must be at least 1"):
        made(cache, batch_size=0)
    with pytest.raises(UsageError, match="sampler must be"):
        made(cache, sampler="random")


def test_a_mask_goes_where_its_image_goes(tmp_path: Path) -> None:
    """The picture is the filled ellipse itself, so each image of a batch is what its mask must be."""
    shape = (64, 96)
    ellipses = [Ellipse(40.0 + 3 * place, 30.0, 20.0, 9.0, 0.3 * place) for place in range(6)]
    files = [tmp_path / f"{place}.png" for place in range(6)]
    for file, ellipse in zip(files, ellipses, strict=True):
        Image.fromarray(np.rint(255 * ellipse.coverage(shape)).astype(np.uint8)).save(file)
    ready = Preprocess(PreprocessSection(size=shape, resize=96, channels=1, mean=(0.0,), std=(1.0,)))
    stored = ImageCache.build(files, ready, CacheSection(folder=tmp_path / "cache"))
    change = AugmentSection(horizontal_flip=0.5, vertical_flip=0.5, rotation=40, shift=0.1, brightness=0, contrast=0,
                            gamma=0)
    loader = Loader(stored, ready, range(6), [Outline(one) for one in ellipses], batch_size=4, seed=1, augment=change)
    for epoch in range(2):
        for batch in loader.batches(epoch):
            assert batch.labels.shape == batch.images.shape and batch.labels.max() > 0.99
            apart = (batch.images - batch.labels).abs().mean(dim=(1, 2, 3))
            assert apart.max() < 0.01
