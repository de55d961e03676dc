"""Hashes against hashlib, near duplicates on altered copies, the real sets, and the size of a large one."""

import csv
import hashlib
import itertools
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from excite.data import fingerprint as module
from excite.data.fingerprint import ALIKE, Fingerprint, file_hash, fingerprint, near_duplicates, same_pixels
from excite.data.sample import Sample


def picture(seed: int, size: tuple[int, int] = (180, 240)) -> np.ndarray:
    """Return a picture with structure at several scales."""
    random = np.random.default_rng(seed)
    scales = [gaussian_filter(random.standard_normal(size), sigma) * sigma for sigma in (2, 6, 14)]
    total = sum(scales)
    return np.clip(128 + 45 * total / total.std(), 0, 255).astype(np.uint8)


def seen(image: np.ndarray) -> Fingerprint:
    return fingerprint(Sample(image=image if image.ndim == 3 else image[None], source=Path("x.png")), "content")


def copies(image: np.ndarray) -> dict[str, np.ndarray]:
    height, width = image.shape
    drawn = image.copy()
    cv2.line(drawn, (60, 40), (170, 130), 255, 1)
    cv2.putText(drawn, "LT 12.3 mm", (5, height - 6), 0, 0.4, 255)
    return {"jpeg": cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 35])[1], 0),
            "smaller": cv2.resize(image, (width * 6 // 10, height * 6 // 10), interpolation=cv2.INTER_AREA),
            "other aspect": cv2.resize(image, (width, width)),
            "cropped": image[height // 14:, : width - width // 14],
            "calipers": drawn,
            "gain": np.clip(255 * (image / 255.0) ** 0.6, 0, 255).astype(np.uint8)}


def test_file_hash_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert file_hash(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_pixels_are_told_apart_by_value_depth_and_shape_only() -> None:
    image = picture(0)
    assert seen(image).pixels == seen(np.repeat(image[None], 3, axis=0)).pixels == seen(image.copy()).pixels
    changed = image.copy()
    changed[3, 4] ^= 1
    others = [changed, image.astype(np.uint16), image.reshape(240, 180)]
    assert len({seen(other).pixels for other in [image, *others]}) == 4


@pytest.mark.parametrize("kind", copies(picture(0)))
def test_an_altered_copy_is_a_near_duplicate(kind: str) -> None:
    for seed in range(5):
        pair = [seen(picture(seed)), seen(copies(picture(seed))[kind])]
        assert [(i, j) for i, j, _ in near_duplicates(pair)] == [(0, 1)], seed


def test_different_pictures_are_none_and_constant_ones_match_nothing() -> None:
    prints = [seen(picture(seed)) for seed in range(40)]
    prints += [seen(np.zeros((50, 60), np.uint8)), seen(np.zeros((50, 60), np.uint8))]
    assert near_duplicates(prints) == []
    assert prints[-1].constant and same_pixels(prints) == []


def test_sixteen_bit_and_float_pictures_match_their_eight_bit_copy() -> None:
    image = picture(3)
    prints = [seen(image), seen(image.astype(np.uint16) * 200 + 411), seen((image / 7 - 3).astype(np.float32))]
    assert [(i, j) for i, j, _ in near_duplicates(prints)] == [(0, 1), (0, 2), (1, 2)]


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [picture(seed) for seed in range(30)]
    prints = [seen(image) for image in [*images, *(copies(image)["cropped"] for image in images[::3])]]
    whole = near_duplicates(prints)
    monkeypatch.setattr(module, "BLOCK", 7)
    assert near_duplicates(prints) == whole and len(whole) == 10, whole


def test_one_or_no_picture_has_no_duplicate() -> None:
    assert near_duplicates([]) == near_duplicates([seen(picture(0))]) == []


@pytest.mark.slow
def test_a_large_set_takes_seconds() -> None:
    random = np.random.default_rng(0)
    thumbnails = random.standard_normal((12_400, module.SIDE, module.SIDE)).astype(np.float32)
    thumbnails = np.stack([cv2.GaussianBlur(thumbnail, (0, 0), 3) for thumbnail in thumbnails]).reshape(12_400, -1)
    thumbnails /= np.linalg.norm(thumbnails, axis=1, keepdims=True)
    thumbnails[-50:] = thumbnails[:50]
    begin = time.process_time()
    found = near_duplicates([Fingerprint("", str(k), row, (1,), False, "uint8") for k, row in enumerate(thumbnails)])
    assert {(i, 12_350 + i) for i in range(50)} <= {(i, j) for i, j, _ in found}
    assert time.process_time() - begin < 90  # of all cores; 26 s were measured


def load(path: Path) -> Fingerprint:
    with Image.open(path) as image:
        return seen(np.asarray(image.convert("L")))


@pytest.mark.real
def test_pairs_of_busi(real_data: Path) -> None:
    with (real_data / "busi" / "groups.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    prints = [load(real_data / "busi" / row["image"]) for row in rows]
    groups = [row["near_duplicate_group"] for row in rows]
    known = {(i, j) for i, j in itertools.combinations(range(len(rows)), 2) if groups[i] and groups[i] == groups[j]}
    found = {(i, j) for i, j, _ in near_duplicates(prints)}
    assert len(found & known) / len(found) >= 0.98
    assert len(found & known) / len(known) >= 0.54
    names = [row["image"] for row in rows]
    assert [(names[i], names[j]) for i, j in same_pixels(prints)] == [("benign/benign (433).png",
                                                                       "malignant/malignant (145).png")]
    for step in range(0, len(rows), 25):  # altered copies of real pictures
        with Image.open(real_data / "busi" / rows[step]["image"]) as image:
            grey = np.asarray(image.convert("L"))
        for kind, copy in copies(grey).items():
            assert near_duplicates([prints[step], seen(copy)]), (rows[step]["image"], kind)


@pytest.mark.real
def test_two_women_never_look_the_same(real_data: Path) -> None:
    with (real_data / "fetal_planes" / "fetal_planes.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    prints = [load(real_data / "fetal_planes" / "images" / f"{row['Image_name']}.jpg") for row in rows]
    patients = [row["Patient_num"] for row in rows]
    found = near_duplicates(prints)
    assert all(patients[i] == patients[j] for i, j, _ in found)
    assert {(i, j) for i, j in same_pixels(prints)} <= {(i, j) for i, j, _ in found}
    assert len(found) <= 15
    assert sum(patients[i] != patients[j] for i, j, _ in near_duplicates(prints, least=ALIKE)) <= 8


@pytest.mark.parametrize("depth", ["uint8", "uint16", "float32"])
def test_the_depth_is_told(depth: str) -> None:
    image = np.random.default_rng(0).integers(0, 255, (1, 40, 40)).astype(depth)
    assert fingerprint(Sample(image=image, source=Path("x.png")), "").depth == depth
