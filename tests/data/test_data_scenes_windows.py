"""Windows against slicing, batches from (seed, epoch, pixel), memory that is neither copied nor torn away."""

import gc
import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage, stats

from excite.data.scenes.reduction import BandReduction, fit_reduction
from excite.data.scenes.sections import SceneAugmentSection
from excite.data.scenes.window_augment import WindowChange, WindowNoise, change_of
from excite.data.scenes.windows import SceneWindows, pad_scene, window_view
from excite.errors import DataError, UsageError

STILL = SceneAugmentSection(horizontal_flip=0, vertical_flip=0, quarter_turns=False, gain=0, offset=0, noise=0)


def scene(height: int = 12, width: int = 15, bands: int = 4, seed: int = 0
          ) -> tuple[NDArray[np.float32], BandReduction]:
    raw = np.random.default_rng(seed).uniform(1, 9, (height, width, bands + 2))
    reduction = fit_reduction(raw.reshape(-1, bands + 2), components=bands)
    return reduction.apply(raw), reduction


def everywhere(cube: NDArray[Any]) -> NDArray[np.int64]:
    return np.stack(np.indices(cube.shape[:2]), axis=-1).reshape(-1, 2)


def windows(cube: NDArray[np.float32], **options: Any) -> SceneWindows:
    positions = options.pop("positions", everywhere(cube))
    labels = options.pop("labels", np.arange(len(positions)) % 3)
    return SceneWindows(cube, positions, labels, **({"window": 5, "batch_size": 16, "seed": 3} | options))


@pytest.mark.parametrize("window", [1, 2, 5, 6])
@pytest.mark.parametrize(("border", "mode"), [("reflect", "mirror"), ("zero", "constant")])
def test_windows_are_those_around_each_pixel(window: int, border: Any, mode: str) -> None:
    cube, _ = scene()
    view = window_view(pad_scene(cube, window, border=border), window)
    assert view.shape == (12, 15, 4, window, window)
    offsets = np.arange(window) - (window - 1) // 2
    for row, column in ((0, 0), (11, 14), (6, 7), (0, 14)):
        places = np.meshgrid(row + offsets, column + offsets, indexing="ij")
        for band in range(4):
            wanted = ndimage.map_coordinates(cube[..., band], places, order=0, mode=mode)
            assert (view[row, column, band] == wanted).all(), (row, column, band)


def test_no_window_is_copied_and_none_can_be_written_into() -> None:
    cube, _ = scene()
    padded = pad_scene(cube, 5)
    view = window_view(padded, 5)
    assert np.shares_memory(view, padded) and view.nbytes > 10 * padded.nbytes
    with pytest.raises(ValueError, match="read-only"):
        view[0, 0, 0, 0, 0] = 1


def test_batches_hold_the_windows_of_their_pixels() -> None:
    cube, _ = scene()
    source = windows(cube, sampler="shuffle")
    view = window_view(pad_scene(cube, 5), 5)
    seen = []
    for batch in source.batches(0):
        assert batch.images.dtype == np.float32 and batch.labels.dtype == np.int64
        rows, columns = np.divmod(batch.index, 15)
        assert (batch.images == view[rows, columns]).all() and (batch.labels == batch.index % 3).all()
        seen += batch.index.tolist()
    assert sorted(seen) == list(range(180)) and len(source) == 180 and source.steps == 12


@pytest.mark.parametrize("sampler", ["order", "shuffle", "balanced"])
def test_an_epoch_depends_on_its_number_and_the_seed_and_starts_anywhere(sampler: Any) -> None:
    cube, reduction = scene()

    def epoch(seed: int, number: int, start: int = 0) -> list[bytes]:
        source = windows(cube, seed=seed, sampler=sampler, augment=SceneAugmentSection(), reduction=reduction)
        return [batch.index.tobytes() + batch.images.tobytes() for batch in source.batches(number, start=start)]

    assert epoch(3, 1) == epoch(3, 1) and epoch(3, 1, start=5) == epoch(3, 1)[5:]
    assert epoch(3, 1) != epoch(3, 2) and epoch(3, 1) != epoch(4, 1)


def test_a_change_belongs_to_the_pixel_not_to_its_company() -> None:
    cube, reduction = scene()
    options: dict[str, Any] = {"augment": SceneAugmentSection(), "reduction": reduction}
    whole = {int(pixel): image.copy() for batch in windows(cube, sampler="shuffle", **options).batches(4)
             for pixel, image in zip(batch.index, batch.images, strict=True)}
    some = everywhere(cube)[50:90]
    for batch in windows(cube, positions=some, batch_size=7, **options).batches(4):
        for pixel, image in zip(batch.index.tolist(), batch.images, strict=True):
            assert (image == whole[pixel]).all()


def test_balanced_epochs_have_equal_classes_and_repeats_differ() -> None:
    cube, reduction = scene()
    labels = np.zeros(180, np.int64)
    labels[:6] = 1
    source = windows(cube, labels=labels, sampler="balanced", augment=SceneAugmentSection(), reduction=reduction)
    batches = [(batch.labels, batch.index, batch.images.copy()) for batch in source.batches(0)]
    assert np.bincount(np.concatenate([found for found, _, _ in batches])).tolist() == [90, 90]
    index = np.concatenate([found for _, found, _ in batches])
    images = np.concatenate([found for _, _, found in batches])
    assert len({image.tobytes() for image in images[index == 0]}) == np.count_nonzero(index == 0) == 15


def test_a_training_epoch_has_no_last_batch_of_one() -> None:
    cube, _ = scene()
    sizes = {sampler: [len(batch.index) for batch in windows(cube, positions=everywhere(cube)[:33],
                                                             sampler=sampler).batches(0)]
             for sampler in ("order", "shuffle")}
    assert sizes == {"order": [16, 16, 1], "shuffle": [16, 17]}


def test_memory_is_used_again_but_never_under_a_view() -> None:
    cube, _ = scene()
    source = windows(cube)
    first = next(iter(source.batches(0)))
    kept, expected = first.images[2:3, :, ::2], first.images[2:3, :, ::2].copy()
    address = first.images.ctypes.data
    del first
    gc.collect()
    held = [batch.images.ctypes.data for batch in source.batches(0)]
    assert address not in held and (kept == expected).all()
    assert len(set(held)) <= 3
    del kept
    gc.collect()
    assert address in [batch.images.ctypes.data for batch in source.batches(0)]


def test_turns_and_flips_are_those_of_the_square_and_equally_likely() -> None:
    square = np.arange(18).reshape(2, 3, 3)
    found = {WindowChange(horizontal_flip=across, vertical_flip=down, quarters=quarters).turned(square).tobytes()
             for across in (False, True) for down in (False, True) for quarters in range(4)}
    assert len(found) == 8
    section = SceneAugmentSection()
    changes = [change_of(section, seed=0, epoch=0, index=index) for index in range(4000)]
    shapes = [change.turned(square).tobytes() for change in changes]
    assert stats.chisquare([shapes.count(shape) for shape in found]).pvalue > 1e-4
    gains = [(change.gain - 1) / section.gain for change in changes]
    assert stats.kstest(gains, stats.uniform(-1, 2).cdf).pvalue > 1e-4


def test_one_change_switched_off_does_not_move_the_others() -> None:
    some = change_of(SceneAugmentSection(), seed=1, epoch=2, index=3)
    fewer = change_of(SceneAugmentSection(horizontal_flip=0, noise=0), seed=1, epoch=2, index=3)
    assert (some.gain, some.offset, some.quarters) == (fewer.gain, fewer.offset, fewer.quarters)
    assert change_of(SceneAugmentSection(enabled=False), seed=1, epoch=2, index=3) == WindowChange()


def test_gain_and_offset_are_those_of_the_spectra_and_noise_has_its_spread() -> None:
    raw = np.random.default_rng(0).uniform(1, 9, (40, 40, 6))
    reduction = fit_reduction(raw.reshape(-1, 6), components=4, scale="none")
    image = reduction.apply(raw).transpose(2, 0, 1).copy()
    noise = WindowNoise(image.shape, reduction, seed=0)
    noise.add(image, WindowChange(gain=1.1, offset=0.05))
    wanted = reduction.apply(1.1 * raw + 0.05 * raw.mean())
    np.testing.assert_allclose(image, wanted.transpose(2, 0, 1), rtol=1e-4, atol=1e-4)
    added = np.zeros_like(image)
    noise.add(added, WindowChange(noise=0.5, start=0.3))
    np.testing.assert_allclose(added.std(axis=(1, 2)), 0.5 * np.array(reduction.spread), rtol=0.1)
    assert abs(np.corrcoef(added.reshape(4, -1))[0, 1]) < 0.1


def test_changes_of_size_nothing_change_nothing() -> None:
    cube, reduction = scene()
    plain = [batch.images.tobytes() for batch in windows(cube).batches(0)]
    assert plain == [batch.images.tobytes() for batch in windows(cube, augment=STILL, reduction=reduction).batches(0)]


@pytest.mark.parametrize(("options", "kind", "text"), [
    ({"window": 0}, UsageError, "window must be at least 1, got 0"),
    ({"window": 24}, UsageError, "window must be below twice the scene's shorter side, 12, got 24"),
    ({"border": "wrap"}, UsageError, "border must be reflect or zero, got 'wrap'"),
    ({"batch_size": 0}, UsageError, "batch_size must be at least 1 and seed at least 0, got 0 and 3"),
    ({"sampler": "random"}, UsageError, "sampler must be shuffle, balanced or order, got 'random'"),
    ({"augment": STILL}, UsageError, "augment needs the reduction that made the cube, got none"),
    ({"positions": np.zeros((0, 2), int)}, DataError, "there are no pixels to make windows of"),
    ({"positions": np.array([[0, 15]])}, DataError, "positions must lie in the scene of 12 x 15 pixels"),
    ({"positions": np.array([[-1, 0]])}, DataError, "positions must lie in the scene of 12 x 15 pixels"),
    ({"positions": np.array([[1, 1], [1, 1]])}, DataError, "1 positions are named twice"),
    ({"positions": np.array([[1, 1]]), "labels": np.array([-1])}, DataError, "classes from 0 on, got -1"),
    ({"labels": np.zeros(7, int)}, UsageError, "got shapes (180, 2) and (7,)"),
])
def test_what_cannot_be(options: dict[str, Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as caught:
        windows(scene()[0], **options)
    assert text in str(caught.value)


def test_a_scene_with_gaps_or_of_another_depth_is_refused() -> None:
    cube, _ = scene()
    cube[3, 3] = np.nan
    with pytest.raises(DataError, match="1 pixels of the reduced scene hold NaN.*set pixels without data to 0"):
        windows(cube)
    with pytest.raises(UsageError, match="cube must be float32"):
        windows(np.zeros((9, 9, 2)))  # type: ignore[arg-type]


@pytest.mark.slow
def test_gathering_is_quicker_than_stacking_copies_of_slices() -> None:
    cube = np.random.default_rng(0).standard_normal((100, 100, 30), np.float32)
    source = windows(cube, window=25, batch_size=256, sampler="shuffle")
    padded = np.pad(cube, ((12, 12), (12, 12), (0, 0)), mode="reflect")

    def ours() -> None:
        for _ in source.batches(0):
            pass

    def naive() -> None:
        order = source.order(0)
        for first in range(0, len(order), 256):
            np.stack([padded[row:row + 25, column:column + 25].transpose(2, 0, 1).copy()
                      for row, column in source.positions[order[first:first + 256]].tolist()])

    def quickest(work: Any) -> float:
        times = []
        for _ in range(3):
            began = time.perf_counter()
            work()
            times.append(time.perf_counter() - began)
        return min(times)

    assert quickest(ours) < quickest(naive)
