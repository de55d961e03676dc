"""Preprocessing against Pillow, numpy and (peers) torchvision: pixels, geometry, ranges, and its record."""

import json
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from excite.data.augment import Augmentation
from excite.data.preprocess import Preprocess
from excite.data.sections import PreprocessSection
from excite.errors import DataError, ModelError, UsageError

RANDOM = np.random.default_rng(0)


def made(**options: Any) -> Preprocess:
    return Preprocess(PreprocessSection(**options))


def rendered(preprocess: Preprocess, image: np.ndarray, augmentation: Augmentation | None = None) -> np.ndarray:
    stored = preprocess.store(image)
    out = np.full((preprocess.height, preprocess.width, stored.shape[2]), 77, stored.dtype)
    preprocess.render(stored, out=out, augmentation=augmentation)
    return out


def picture(height: int, width: int, channels: int = 1, dtype: type = np.uint8) -> np.ndarray:
    smooth = cv2.GaussianBlur(RANDOM.normal(size=(height, width, channels)), (0, 0), 3).reshape(height, width, -1)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    top = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[dtype]
    return np.ascontiguousarray((smooth * top).astype(dtype).transpose(2, 0, 1))


@pytest.mark.parametrize("shape", [(540, 800), (801, 333), (256, 256), (257, 640), (100, 150)])
@pytest.mark.parametrize("channels", [1, 3])
def test_crop_is_bit_equal_to_pillow_resize_and_centre_crop(shape: tuple[int, int], channels: int) -> None:
    image = picture(*shape, channels)
    height, width = shape
    short = min(shape)
    size = (int(256 * width / short), int(256 * height / short))  # torchvision.transforms.Resize: truncated
    whole = Image.fromarray(image.transpose(1, 2, 0).squeeze()).resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - 224) / 2.0), round((size[1] - 224) / 2.0)
    expected = np.asarray(whole.crop((left, top, left + 224, top + 224))).reshape(224, 224, channels)
    assert np.array_equal(rendered(made(mode="crop"), image), expected)


@pytest.mark.peers
@pytest.mark.parametrize("shape", [(540, 800), (801, 333), (257, 641)])
def test_crop_equals_torchvision(shape: tuple[int, int]) -> None:
    image = picture(*shape, 3)
    from torchvision import transforms

    chain = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(),
                                transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
    expected = chain(Image.fromarray(image.transpose(1, 2, 0))).numpy()
    np.testing.assert_allclose(made(mode="crop")(image), expected, atol=2e-6)


@pytest.mark.parametrize(("shape", "content"), [((540, 800), (151, 224)), ((801, 333), (224, 93)),
                                                ((173, 256), (151, 224)), ((1, 5000), (1, 224))])
def test_letterbox_is_a_resize_between_black_bars(shape: tuple[int, int], content: tuple[int, int]) -> None:
    image = np.maximum(picture(*shape), 1)
    found = rendered(made(), image)[..., 0].astype(int)
    top, left = (224 - content[0]) // 2, (224 - content[1]) // 2
    inside = found[top:top + content[0], left:left + content[1]]
    expected = np.asarray(Image.fromarray(image[0]).resize(content[::-1], Image.Resampling.BILINEAR)).astype(int)
    assert inside.min() > 0 and found.sum() == inside.sum()  # content where it belongs, exactly 0 around it
    assert np.abs(inside - expected).mean() < 3 and np.abs(inside - expected).max() <= 20
    assert np.abs(np.roll(inside, 1, axis=1) - expected).mean() > 2 * np.abs(inside - expected).mean()  # planted


@pytest.mark.parametrize("side", [256, 224, 200, 160])
def test_a_ramp_stays_a_ramp_with_centres_on_half_pixels(side: int) -> None:
    ramp = np.broadcast_to(np.arange(side, dtype=np.float32), (1, side, side))
    preprocess = Preprocess(PreprocessSection(), value_range=(0.0, 1.0))
    found = rendered(preprocess, np.ascontiguousarray(ramp))[..., 0]
    centres = (np.arange(224) + 0.5) * side / 224 - 0.5
    within = (centres >= 0) & (centres <= side - 1)
    np.testing.assert_allclose(found[112, within], centres[within], atol=1e-3)
    assert np.abs(found[112, within] - np.arange(224)[within] * side / 224).max() > 0.05 or side == 224  # planted


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_what_fits_already_is_copied_bit_by_bit(dtype: type) -> None:
    image = picture(224, 224, 3, dtype)
    preprocess = Preprocess(PreprocessSection(), value_range=(0.0, 65535.0))
    assert np.array_equal(rendered(preprocess, image), image.transpose(1, 2, 0))
    assert np.array_equal(rendered(preprocess, image[:, :121])[51:172], image[:, :121].transpose(1, 2, 0))


def test_shrinking_does_not_alias() -> None:
    stripes = np.zeros((1, 1792, 1792), np.uint8)
    stripes[:, :, ::2] = 255  # finer than the input can show: grey is the right answer
    inside = rendered(made(), stripes)[8:-8, 8:-8].astype(float)
    assert inside.std() < 2 and inside.mean() == pytest.approx(127.5, abs=1)
    naive = cv2.warpAffine(stripes[0], np.array([[224 / 1792, 0, 0], [0, 224 / 1792, 0]]), (224, 224))
    assert abs(naive[8:-8, 8:-8].mean() - 127.5) > 50 or naive.std() > 50  # planted: one warp alone aliases


def test_stored_images_are_no_larger_than_needed_and_never_enlarged() -> None:
    assert made().store(picture(540, 800)).shape == (173, 256, 1)
    assert made().store(picture(60, 90)).shape == (60, 90, 1)
    assert made(resize=300).store(picture(540, 800)).shape == (202, 300, 1)
    assert made(mode="crop").store(picture(540, 800)).shape == (256, 379, 1)
    assert made(channels=1).store(picture(300, 300, 3)).shape == (256, 256, 1)


def test_one_channel_is_the_luma_that_pillow_makes() -> None:
    image = picture(200, 200, 3)
    expected = np.asarray(Image.fromarray(image.transpose(1, 2, 0)).convert("L")).astype(int)
    assert np.abs(made(channels=1).store(image)[..., 0] - expected).max() <= 1


def test_floats_are_range_mean_and_std_of_each_channel() -> None:
    batch = RANDOM.integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    expected = (batch / 255.0 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    np.testing.assert_allclose(made().normalise(batch), expected, atol=2e-6)
    grey = batch[..., :1]
    assert np.array_equal(made().normalise(grey), made().normalise(np.repeat(grey, 3, axis=3)))
    one = made(channels=1, mean=(0.449,), std=(0.226,)).normalise(grey)
    np.testing.assert_allclose(one, (grey / 255.0 - 0.449) / 0.226, atol=2e-6)


def test_grey_in_a_colour_batch_is_the_same_picture() -> None:
    preprocess, image = made(), picture(300, 200)
    stored = preprocess.store(image)
    wide = np.empty((224, 224, 3), np.uint8)
    change = Augmentation(rotation=10, gamma=1.3)
    preprocess.render(stored, out=wide, augmentation=change)
    assert np.array_equal(wide, np.repeat(rendered(preprocess, image, change), 3, axis=2))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_deep_images_learn_their_range_from_the_training_part(dtype: type) -> None:
    images = [picture(64, 64, dtype=dtype) for _ in range(5)]
    images[2][0, 0, 0] = np.iinfo(np.uint16).max  # a hot pixel decides nothing
    stored = [made().store(image) for image in images]
    fitted = made().fit(iter(stored))
    ends = np.array([np.percentile(image, (0.1, 99.9)) for image in stored])
    assert (fitted.low, fitted.high) == pytest.approx(tuple(np.median(ends, axis=0)))
    values = (stored[0] - fitted.low) / (fitted.high - fitted.low)
    floats = fitted.normalise(np.full((1, 224, 224, 1), stored[0][5, 5, 0], dtype))
    np.testing.assert_allclose(floats[0, 0, 0, 0], (values[5, 5, 0] - 0.485) / 0.229, rtol=1e-4)


def test_around_a_deep_image_is_the_low_end_of_its_range() -> None:
    image = picture(100, 224, dtype=np.uint16) // 4 + 1000
    fitted = made().fit([made().store(image)])
    assert rendered(fitted, image)[0, 0, 0] == round(fitted.low) > 900


def test_eight_bits_are_always_0_to_255_and_constant_images_do_not_divide_by_zero() -> None:
    assert made().fit([np.full((9, 9, 1), 3, np.uint8)]).to_json() == made().to_json()
    flat = made().fit([np.full((9, 9, 1), 3.0, np.float32)])
    assert (flat.low, flat.high) == (3.0, 4.0)


def test_two_depths_none_or_nan_in_training_are_errors() -> None:
    with pytest.raises(DataError, match="several depths.*training image 1 is uint8, training image 2 is uint16"):
        made().fit([np.zeros((4, 4, 1), np.uint8), np.zeros((4, 4, 1), np.uint16)])
    with pytest.raises(DataError, match="no image"):
        made().fit([])
    with pytest.raises(DataError, match="not finite"):
        made().fit([np.full((4, 4, 1), np.nan, np.float32)])


def test_an_image_of_another_depth_is_refused_not_washed_out() -> None:
    with pytest.raises(DataError, match="images are uint16, the preprocessing was fitted on uint8; convert"):
        made()(picture(50, 50, dtype=np.uint16))


@pytest.mark.parametrize("image", [np.zeros((2, 9, 9), np.uint8), np.zeros((9, 9), np.uint8),
                                   np.zeros((1, 9, 9), np.float64), np.zeros((1, 0, 9), np.uint8)])
def test_what_is_no_picture_is_refused(image: np.ndarray) -> None:
    with pytest.raises(DataError, match="a picture must be"):
        made().store(image)


@pytest.mark.parametrize(("options", "text"), [
    ({"resize": 200}, "resize must be at least size"),
    ({"resize": 449}, "at most twice the size .*aliases"),
    ({"mean": (0.5,)}, "preprocess.mean must have 3 numbers"),
    ({"std": (1.0, 1.0, 0.0)}, "std must be above 0"),
])
def test_sections_that_cannot_be(options: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        made(**options)
    with pytest.raises(UsageError, match="two rising numbers"):
        Preprocess(PreprocessSection(), value_range=(1.0, 1.0))


def test_the_record_gives_the_same_bits_and_strange_ones_are_refused() -> None:
    image = picture(90, 120, dtype=np.uint16)
    fitted = made(mean=(0.1, 0.2, 1 / 3), std=(0.1, 0.7, 0.9)).fit([made().store(image)])
    again = Preprocess.from_json(json.loads(json.dumps(fitted.to_json())))
    assert again.to_json() == fitted.to_json() and again.stored_key == fitted.stored_key
    assert np.array_equal(again(image), fitted(image))
    with pytest.raises(ModelError, match="missing or unknown keys: resizing"):
        Preprocess.from_json({**fitted.to_json(), "resizing": 1})
    with pytest.raises(ModelError, match="cannot be used"):
        Preprocess.from_json({**fitted.to_json(), "std": [0, 0, 0]})


@pytest.mark.parametrize("mode", ["letterbox", "crop"])
@pytest.mark.parametrize("shape", [(540, 800), (801, 333), (100, 90)])
def test_a_point_of_the_input_goes_back_to_its_place_in_the_original(mode: str, shape: tuple[int, int]) -> None:
    preprocess = made(mode=mode)
    y, x = np.mgrid[:shape[0], :shape[1]]
    centre = (shape[1] * 0.45, shape[0] * 0.55)
    blob = 255 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * (min(shape) / 12) ** 2))
    found = rendered(preprocess, blob[np.newaxis].astype(np.uint8))[..., 0].astype(float)
    rows, columns = np.mgrid[:224, :224]
    middle = np.array([(columns * found).sum(), (rows * found).sum()]) / found.sum()
    back = preprocess.inverse((1, *shape)) @ [*middle, 1]
    np.testing.assert_allclose(back, centre, atol=0.15)
    stored = preprocess.store(blob[np.newaxis].astype(np.uint8))
    forward = np.vstack([preprocess.matrix(stored.shape), [0, 0, 1]])
    both = np.vstack([preprocess.inverse((1, *shape)), [0, 0, 1]]) @ forward  # stored -> original: centres stay
    np.testing.assert_allclose(both @ [-0.5, -0.5, 1], [-0.5, -0.5, 1], atol=1e-9)


def test_whole_changes_are_exact() -> None:
    image = picture(224, 224)
    plain = image[0]
    preprocess = made()
    assert np.array_equal(rendered(preprocess, image, Augmentation())[..., 0], plain)
    assert np.array_equal(rendered(preprocess, image, Augmentation(horizontal_flip=True))[..., 0], plain[:, ::-1])
    assert np.array_equal(rendered(preprocess, image, Augmentation(vertical_flip=True))[..., 0], plain[::-1])
    assert np.array_equal(rendered(preprocess, image, Augmentation(rotation=90))[..., 0], np.rot90(plain, -1))
    shifted = rendered(preprocess, image, Augmentation(shift=(8 / 224, 0.0)))[..., 0]
    assert np.array_equal(shifted[:, 8:], plain[:, :-8]) and not shifted[:, :8].any()


def test_rotation_and_scale_are_opencv_s_around_the_centre() -> None:
    image = picture(224, 224)
    found = rendered(made(), image, Augmentation(rotation=12, scale=0.9))[..., 0].astype(int)
    turn = cv2.getRotationMatrix2D((111.5, 111.5), -12, 0.9)  # its angles are counter-clockwise
    assert np.abs(found - cv2.warpAffine(image[0], turn, (224, 224)).astype(int)).max() <= 1


def test_tones_are_the_same_curve_in_every_depth_and_black_stays_one() -> None:
    change = Augmentation(brightness=0.05, contrast=1.1, gamma=1.2)
    eight = picture(151, 224)
    shown = rendered(made(), eight, change)
    deep = rendered(Preprocess(PreprocessSection(), value_range=(0.0, 65535.0)), eight.astype(np.uint16) * 257, change)
    unit = rendered(Preprocess(PreprocessSection(), value_range=(0.0, 1.0)), eight.astype(np.float32) / 255, change)
    assert np.abs(deep / 257 - shown).max() <= 0.51
    assert np.abs(np.minimum(unit * 255, 255) - shown).max() <= 0.51  # floats run on beyond white
    assert shown[0, 0, 0] == change.table()[0]


def test_an_input_need_not_be_square_and_says_so_in_the_bundle() -> None:
    wide = Preprocess(PreprocessSection(size=(128, 192), channels=1, mean=(0.0,), std=(1.0,)))
    assert (wide.height, wide.width, wide.resize, wide.to_json()["size"]) == (128, 192, 220, [128, 192])
    again = Preprocess.from_json(json.loads(json.dumps(wide.to_json())))
    picture = np.random.default_rng(0).integers(0, 256, (1, 270, 400), np.uint8)
    np.testing.assert_array_equal(again(picture), wide(picture))
    assert wide(picture).shape == (1, 128, 192)
    assert Preprocess(PreprocessSection(size=(96, 96))).to_json() == Preprocess(PreprocessSection(size=96)).to_json()
    assert wide.stored_key != Preprocess(PreprocessSection(size=192, channels=1, mean=(0.0,), std=(1.0,))).stored_key


@pytest.mark.parametrize("shape", [(270, 400), (400, 270), (90, 500), (64, 96)])
def test_in_a_wide_input_pixels_stay_square_and_find_their_way_back(shape: tuple[int, int]) -> None:
    wide = Preprocess(PreprocessSection(size=(128, 192), channels=1, mean=(0.0,), std=(1.0,)))
    stored = wide.stored_shape(shape)
    forth, back = wide.matrix(stored), wide.inverse(shape)
    to_stored = np.array([[stored[1] / shape[1], 0, stored[1] / shape[1] / 2 - 0.5],
                          [0, stored[0] / shape[0], stored[0] / shape[0] / 2 - 0.5], [0, 0, 1]])
    whole = np.vstack([back, [0, 0, 1]]) @ np.vstack([forth, [0, 0, 1]]) @ to_stored
    np.testing.assert_allclose(whole, np.eye(3), atol=1e-9)
    assert back[0, 0] == pytest.approx(back[1, 1], rel=0.02)
    across, down = shape[1] / back[0, 0], shape[0] / back[1, 1]
    assert across <= 192.01 and down <= 128.01 and (across > 191.9 or down > 127.9)


def test_a_crop_is_square() -> None:
    with pytest.raises(UsageError, match=r"must be one number in mode crop, got \[128, 192\]"):
        Preprocess(PreprocessSection(mode="crop", size=(128, 192)))
