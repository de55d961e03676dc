"""The image cache: what it holds, when it is built again, what it refuses, and that it leaves no litter."""

import io
import json
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from excite.data import cache as module
from excite.data.cache import ImageCache, cache_folder, cache_info, clear_cache
from excite.data.fingerprint import file_hash, fingerprint
from excite.data.preprocess import Preprocess
from excite.data.reading import read
from excite.data.sections import CacheSection, PreprocessSection
from excite.errors import DataError, EnvironmentFault
from excite.progress import Progress

RANDOM = np.random.default_rng(0)


def save(file: Path, shape: tuple[int, ...] = (60, 90), dtype: type = np.uint8) -> Path:
    pixels = RANDOM.integers(0, np.iinfo(dtype).max, shape, dtype=dtype)
    Image.fromarray(pixels).save(file)
    return file


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [save(tmp_path / f"{number}.png", (200 + number, 300)) for number in range(5)]


@pytest.fixture
def section(tmp_path: Path) -> CacheSection:
    return CacheSection(folder=tmp_path / "cache")


@pytest.fixture
def preprocess() -> Preprocess:
    return Preprocess(PreprocessSection())


def spoken() -> tuple[Progress, io.StringIO]:
    stream = io.StringIO()
    return Progress(stream), stream


def never(*_: object) -> None:
    pytest.fail("decoded although the set was there")


def litter(section: CacheSection) -> list[Path]:
    return list(cache_folder(section).glob(".*"))


def test_holds_the_stored_pixels_and_the_originals_fingerprints(files: list[Path], section: CacheSection,
                                                               preprocess: Preprocess) -> None:
    cache = ImageCache.build(files, preprocess, section)
    assert len(cache) == 5
    for place, file in enumerate(files):
        sample = read(file)
        assert np.array_equal(cache[place], preprocess.store(sample.image)) and cache[place].shape[1] == 256
        ours, theirs = cache.fingerprints[place], fingerprint(sample, file_hash(file))
        assert (ours.content, ours.pixels, ours.shape, ours.constant) == (
            theirs.content, theirs.pixels, theirs.shape, theirs.constant)
        assert np.array_equal(ours.thumbnail, theirs.thumbnail)
    with pytest.raises(ValueError, match="read-only"):
        cache[0][...] = 0
    assert not litter(section)


def test_is_decoded_once_whatever_the_order_and_the_names(files: list[Path], section: CacheSection,
                                                          preprocess: Preprocess,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    first = ImageCache.build(files, preprocess, section)
    monkeypatch.setattr(module, "decode", never)
    files[2].rename(moved := files[2].with_name("moved.png"))
    again = ImageCache.build([moved, files[0], moved, files[4], files[1], files[3]], preprocess, section)
    assert np.array_equal(again[0], first[2]) and np.array_equal(again[2], first[2])
    assert np.array_equal(again[3], first[4])


def test_a_changed_file_of_the_same_size_and_time_is_noticed(files: list[Path], section: CacheSection,
                                                             preprocess: Preprocess) -> None:
    files[0] = files[0].with_suffix(".bmp")
    pixels = np.zeros((50, 50), np.uint8)
    Image.fromarray(pixels).save(files[0])
    before = files[0].stat()
    assert not ImageCache.build(files, preprocess, section)[0].any()
    Image.fromarray(pixels + 9).save(files[0])
    os.utime(files[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert files[0].stat().st_size == before.st_size
    assert (ImageCache.build(files, preprocess, section)[0] == 9).all()


def test_another_geometry_is_another_set_and_another_mean_is_not(files: list[Path], section: CacheSection,
                                                                 preprocess: Preprocess) -> None:
    folder = ImageCache.build(files, preprocess, section).folder
    for other in ({"mode": "crop"}, {"resize": 230}, {"size": 100}, {"channels": 1}):
        assert ImageCache.build(files, Preprocess(PreprocessSection(**other)), section).folder != folder, other
    plain = Preprocess(PreprocessSection(mean=(0.5,) * 3, std=(0.5,) * 3))
    assert ImageCache.build(files, plain, section).folder == folder


def test_grey_and_colour_share_a_set_each_with_its_own_channels(tmp_path: Path, section: CacheSection,
                                                               preprocess: Preprocess) -> None:
    pair = [save(tmp_path / "grey.png", (70, 50)), save(tmp_path / "colour.png", (70, 50, 3))]
    cache = ImageCache.build(pair, preprocess, section)
    assert [cache[place].shape for place in range(2)] == [(70, 50, 1), (70, 50, 3)]
    assert [cache.channels(place) for place in range(2)] == [1, 3]


def test_sixteen_bits_stay_and_two_depths_are_refused_by_name(tmp_path: Path, section: CacheSection,
                                                              preprocess: Preprocess) -> None:
    deep, plain = save(tmp_path / "deep.png", dtype=np.uint16), save(tmp_path / "plain.png")
    cache = ImageCache.build([deep], preprocess, section)
    assert cache[0].dtype == np.uint16 and np.array_equal(cache[0][..., 0], np.asarray(Image.open(deep)))
    with pytest.raises(DataError, match="several depths.*plain.png is uint8, deep.png is uint16.*one depth"):
        ImageCache.build([plain, deep], preprocess, section)


def test_pages_of_one_file_are_different_images(tmp_path: Path, section: CacheSection,
                                                preprocess: Preprocess) -> None:
    pages = [Image.fromarray(np.full((40, 40), value, np.uint8)) for value in (10, 20)]
    pages[0].save(tmp_path / "two.tif", save_all=True, append_images=pages[1:])
    cache = ImageCache.build([tmp_path / "two.tif#page=1", tmp_path / "two.tif#page=2"], preprocess, section)
    assert [int(cache[place].max()) for place in range(2)] == [10, 20]


@pytest.mark.parametrize("harm", ["cut", "flip", "index", "no index", "no data", "other format"])
def test_a_damaged_set_is_built_again_and_said(harm: str, files: list[Path], section: CacheSection,
                                               preprocess: Preprocess) -> None:
    cache = ImageCache.build(files, preprocess, section)
    expected, folder = cache[3].copy(), cache.folder
    data, index = folder / "data.bin", folder / "index.json"
    if harm == "cut":
        data.write_bytes(data.read_bytes()[:-64])
    elif harm == "flip":
        content = bytearray(data.read_bytes())
        content[1000] ^= 1
        data.write_bytes(bytes(content))
    elif harm == "index":
        index.write_text(index.read_text(encoding="utf-8").replace('"uint8"', '"uint9"', 1), encoding="utf-8")
    elif harm == "other format":
        index.write_text(json.dumps({"format": 0, "index_sha256": ""}), encoding="utf-8")
    else:
        (index if harm == "no index" else data).unlink()
    progress, stream = spoken()
    again = ImageCache.build(files, preprocess, section, progress=progress)
    assert np.array_equal(again[3], expected) and again.folder == folder
    assert "is damaged" in stream.getvalue() and "built again" in stream.getvalue() and not litter(section)
    progress, stream = spoken()
    ImageCache.build(files, preprocess, section, progress=progress)
    assert "is damaged" not in stream.getvalue()


def test_all_files_that_cannot_be_read_are_named_at_once(files: list[Path], section: CacheSection,
                                                         preprocess: Preprocess) -> None:
    files[1].write_bytes(files[1].read_bytes()[:500])
    files[3].unlink()
    files[4].write_bytes(b"no picture")
    with pytest.raises(DataError, match="3 of 5 images cannot be read") as caught:
        ImageCache.build(files, preprocess, section)
    text = str(caught.value)
    assert all(str(files[place]) in text for place in (1, 3, 4)) and str(files[0]) not in text
    assert "excite check TABLE --write-clean OUT.csv" in text
    assert not litter(section) and cache_info(section)["sets"] == []


def test_a_long_list_of_faults_is_counted(tmp_path: Path, section: CacheSection, preprocess: Preprocess) -> None:
    missing = [tmp_path / f"none{number}.png" for number in range(14)]
    with pytest.raises(DataError, match="14 of 14 images.*and 4 more") as caught:
        ImageCache.build(missing, preprocess, section)
    assert str(caught.value).count("none") == 10
    with pytest.raises(DataError, match="no image to decode"):
        ImageCache.build([], preprocess, section)


def test_the_limit_is_kept_before_anything_is_written(files: list[Path], tmp_path: Path,
                                                      preprocess: Preprocess) -> None:
    small = CacheSection(folder=tmp_path / "cache", limit_gb=1e-4)
    with pytest.raises(EnvironmentFault, match="needs about 0.000.* GB and 0.0001 GB are left.*"
                                               "excite cache clear, or --set cache.limit_gb=0.1"):
        ImageCache.build(files, preprocess, small)
    assert not list(cache_folder(small).glob("*")) and not litter(small)


def test_other_sets_count_and_clearing_helps(files: list[Path], section: CacheSection,
                                             preprocess: Preprocess) -> None:
    ImageCache.build(files, preprocess, section)
    size = cache_info(section)["bytes"]
    tight = section.model_copy(update={"limit_gb": 1.5 * size / 1e9})
    other = Preprocess(PreprocessSection(resize=250))
    with pytest.raises(EnvironmentFault, match="other sets take"):
        ImageCache.build(files, other, tight)
    clear_cache(tight)
    assert len(ImageCache.build(files, other, tight)) == 5


def test_a_set_that_outgrows_its_estimate_stops_and_leaves_nothing(tmp_path: Path, section: CacheSection,
                                                                   preprocess: Preprocess,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    several = [save(tmp_path / f"{number}.png", (10, 10) if number != 1 else (250, 250)) for number in range(3)]
    monkeypatch.setattr(module, "PROBE", 1)  # sees the first only, which is small
    with pytest.raises(EnvironmentFault, match="grows beyond the 5e-05 GB"):
        ImageCache.build(several, preprocess, section.model_copy(update={"limit_gb": 5e-5}))
    assert not litter(section) and cache_info(section)["sets"] == []


def test_a_full_disk_and_a_folder_that_cannot_be_are_said(files: list[Path], tmp_path: Path, section: CacheSection,
                                                          preprocess: Preprocess,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(EnvironmentFault, match="cannot be written.*EXCITE_CACHE"):
        ImageCache.build(files, preprocess, CacheSection(folder=tmp_path / "file" / "cache"))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EnvironmentFault, match="disk full: .* MB are left"):
        ImageCache.build(files, preprocess, section)
    assert not litter(section)


def test_place_and_size_are_said(files: list[Path], section: CacheSection, preprocess: Preprocess) -> None:
    progress, stream = spoken()
    cache = ImageCache.build(files, preprocess, section, progress=progress)
    assert f"decoding 5 images into {cache.folder} (limit 20 GB)" in stream.getvalue()
    assert f"MB, in {cache.folder}" in stream.getvalue()


def test_the_folder_is_the_section_s_or_the_variable_s_or_the_platform_s(tmp_path: Path,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXCITE_CACHE", str(tmp_path / "named"))
    assert cache_folder(CacheSection(folder=tmp_path / "own")) == tmp_path / "own"
    assert cache_folder(CacheSection()) == cache_folder() == tmp_path / "named"
    monkeypatch.delenv("EXCITE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr("sys.platform", "linux")
    assert cache_folder() == tmp_path / "xdg" / "excite" / "images"
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "Library" / "Caches" / "excite" / "images"


def test_clear_removes_sets_and_unfinished_ones_and_nothing_else(files: list[Path], section: CacheSection,
                                                                preprocess: Preprocess) -> None:
    folder = ImageCache.build(files, preprocess, section).folder
    root = cache_folder(section)
    (root / "mine").mkdir()
    (root / "mine" / "notes.txt").write_text("keep", encoding="utf-8")
    (root / f".{folder.name}.0.tmp").mkdir()
    info = cache_info(section)
    assert info["sets"] == [{"name": folder.name, "images": 5, "bytes": info["bytes"] - 4, "state": "ok"}]
    done = clear_cache(section)
    assert (done["removed"], done["freed_bytes"]) == (1, info["bytes"] - 4)
    assert [path.name for path in root.iterdir()] == ["mine"] and (root / "mine" / "notes.txt").exists()
    assert clear_cache(section)["removed"] == 0 and cache_info(CacheSection(folder=root / "none"))["bytes"] == 0


def test_old_unfinished_folders_are_swept_and_young_ones_left(files: list[Path], section: CacheSection,
                                                              preprocess: Preprocess) -> None:
    root = cache_folder(section)
    old, young = root / f".{'a' * 32}.1.tmp", root / f".{'b' * 32}.1.tmp"
    for folder in (old, young):
        folder.mkdir(parents=True)
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    ImageCache.build(files, preprocess, section)
    assert not old.exists() and young.exists()


def _build(files: list[Path], folder: Path, line: "multiprocessing.Queue[float]") -> None:
    cache = ImageCache.build(files, Preprocess(PreprocessSection()), CacheSection(folder=folder))
    line.put(float(sum(cache[place].astype(float).sum() for place in range(len(cache)))))


@pytest.mark.slow
def test_processes_that_build_the_same_set_do_not_disturb_each_other(tmp_path: Path) -> None:
    several = [save(tmp_path / f"{number}.png", (400, 400)) for number in range(20)]
    context = multiprocessing.get_context("spawn")
    line: multiprocessing.Queue[float] = context.Queue()
    workers = [context.Process(target=_build, args=(several, tmp_path / "cache", line)) for _ in range(3)]
    for worker in workers:
        worker.start()
    sums = {line.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join()
    assert len(sums) == 1 and [worker.exitcode for worker in workers] == [0, 0, 0]
    section = CacheSection(folder=tmp_path / "cache")
    assert len(cache_info(section)["sets"]) == 1 and not litter(section)


def test_the_depth_of_the_original_comes_back_from_a_warm_cache(tmp_path: Path, section: CacheSection,
                                                               preprocess: Preprocess) -> None:
    Image.fromarray(np.arange(1600, dtype=np.uint16).reshape(40, 40)).save(tmp_path / "deep.png")
    for _ in range(2):
        cache = ImageCache.build([tmp_path / "deep.png"], preprocess, section)
        assert [print_.depth for print_ in cache.fingerprints] == ["uint16"]
