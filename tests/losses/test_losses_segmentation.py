"""Losses of masks: equal to MONAI's and to the papers' formulas, safe in depth, and strict about masks."""

import itertools

import numpy as np
import pytest
import torch
from scipy.special import expit
from torch import Tensor
from torch.nn import functional

from excite.config import load_config
from excite.errors import DataError, UsageError
from excite.losses.dice import dice
from excite.losses.focal_tversky import LEAST, focal_tversky
from excite.losses.sections import LossSection
from excite.losses.segmentation import bce, dice_bce

LOSSES = {"dice": dice, "focal_tversky": focal_tversky, "bce": bce, "dice_bce": dice_bce}
EXACT = {"rtol": 1e-12, "atol": 1e-12}


def drawn(*size: int, soft: bool, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return logits and masks with large and small objects and one empty image."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(size, generator=generator, dtype=torch.float64)
    masks = torch.rand(size, generator=generator, dtype=torch.float64)
    masks = masks if soft else (masks > torch.linspace(0.2, 0.95, size[0]).reshape(-1, *[1] * (len(size) - 1))).double()
    masks[-1] = 0
    return logits, masks


def classes_of(*size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits, class indices and the same as one target a class."""
    logits, _ = drawn(*size, soft=True)
    indices = torch.randint(size[1] - 1, (size[0], *size[2:]), generator=torch.Generator().manual_seed(1))
    return logits, indices, torch.moveaxis(functional.one_hot(indices, size[1]), -1, 1).double()


def sure(masks: Tensor) -> Tensor:
    """Return the logits of a perfect prediction."""
    return (masks * 2 - 1) * 800


SIZES = [(4, 1, 9, 7), (3, 2, 5, 6, 4)]


@pytest.mark.peers
@pytest.mark.parametrize(("size", "over", "soft"), [*itertools.product(SIZES, ["image", "batch"], [False, True])])
@pytest.mark.parametrize("form", ["semimetric", "linear", "squared"])
def test_dice_equals_monais(size, over, soft, form):
    from monai.losses import DiceLoss

    logits, masks = drawn(*size, soft=soft)
    theirs = DiceLoss(sigmoid=True, squared_pred=form == "squared", soft_label=form == "semimetric", smooth_nr=0.7,
                      smooth_dr=0.7, batch=over == "batch")(logits, masks)
    ours = dice(logits, masks, form=form, over=over, smooth=0.7)
    assert ours.shape == (size[0],)
    torch.testing.assert_close(ours.mean(), theirs, **EXACT)
    assert abs(dice(logits + 0.1, masks, form=form, over=over, smooth=0.7).mean() / theirs - 1) > 1e-3


@pytest.mark.peers
@pytest.mark.parametrize("background", [True, False])
def test_dice_of_exclusive_classes_equals_monais(background):
    from monai.losses import DiceCELoss, DiceLoss

    logits, indices, targets = classes_of(3, 4, 8, 6)
    options = {"softmax": True, "smooth_nr": 1, "smooth_dr": 1, "include_background": background}
    found = dice(logits, indices, activation="softmax", background=background)
    torch.testing.assert_close(found.mean(), DiceLoss(**options)(logits, targets), **EXACT)
    torch.testing.assert_close(dice(logits, targets, activation="softmax", background=background), found)
    found = dice_bce(logits, indices[:, None], activation="softmax", background=background, dice_weight=0.3)
    if background:  # without, MONAI drops a class from the softmax too
        theirs = DiceCELoss(**options, lambda_dice=0.3, lambda_ce=0.5)(logits, targets)
        torch.testing.assert_close(found.mean(), theirs, **EXACT)


@pytest.mark.peers
@pytest.mark.parametrize("soft", [False, True])
def test_dice_and_cross_entropy_equal_monais(soft):
    from monai.losses import DiceCELoss, DiceFocalLoss

    logits, masks = drawn(4, 1, 9, 7, soft=soft)
    shared = {"sigmoid": True, "smooth_nr": 1, "smooth_dr": 1, "lambda_dice": 0.8}
    found = dice_bce(logits, masks, dice_weight=0.8, bce_weight=0.2, form="linear").mean()
    torch.testing.assert_close(found, DiceCELoss(**shared, lambda_ce=0.2)(logits, masks), **EXACT)
    focal = DiceFocalLoss(**shared, lambda_focal=0.2, gamma=0)(logits, masks)  # its cross-entropy is in float32
    torch.testing.assert_close(found, focal, rtol=1e-6, atol=0)


@pytest.mark.peers
@pytest.mark.parametrize(("over", "soft"), [*itertools.product(["image", "batch"], [False, True])])
@pytest.mark.parametrize("form", ["semimetric", "linear"])
def test_tversky_equals_monais_whose_alpha_is_the_papers_beta(over, soft, form):
    from monai.losses import TverskyLoss

    logits, masks = drawn(4, 2, 9, 7, soft=soft)
    theirs = TverskyLoss(sigmoid=True, alpha=0.2, beta=0.9, smooth_nr=1, smooth_dr=1, batch=over == "batch",
                         soft_label=form == "semimetric", reduction="none")(logits, masks)
    options = {"alpha": 0.9, "beta": 0.2, "form": form, "over": over}
    torch.testing.assert_close(focal_tversky(logits, masks, gamma=1, **options).mean(), theirs.mean(), **EXACT)
    torch.testing.assert_close(focal_tversky(logits, masks, gamma=2, **options).mean(), theirs.sqrt().mean(), **EXACT)
    swapped = focal_tversky(logits, masks, gamma=1, **options | {"alpha": 0.2, "beta": 0.9}).mean()
    assert abs(swapped / theirs.mean() - 1) > 0.01


def test_each_loss_is_its_formula_written_out() -> None:
    logits, masks = (one.numpy() for one in drawn(4, 1, 9, 7, soft=False))
    for row in range(4):
        p, g = expit(logits[row]), masks[row]
        hit, missed, false = (p * g).sum(), ((1 - p) * g).sum(), (p * (1 - g)).sum()
        expected = {"dice": 1 - (2 * hit + 1) / (p.sum() + g.sum() + 1),
                    "focal_tversky": (1 - (hit + 1) / (hit + 0.7 * missed + 0.3 * false + 1)) ** 0.75,
                    "bce": -(g * np.log(p) + (1 - g) * np.log(1 - p)).mean()}
        expected["dice_bce"] = (expected["dice"] + expected["bce"]) / 2
        for name, value in expected.items():
            found = LOSSES[name](torch.tensor(logits), torch.tensor(masks))
            assert float(found[row]) == pytest.approx(value, rel=1e-12), (name, row)
        squared = float(dice(torch.tensor(logits), torch.tensor(masks), form="squared")[row])
        assert squared == pytest.approx(1 - (2 * hit + 1) / ((p**2).sum() + (g**2).sum() + 1), rel=1e-12)


def test_each_part_of_the_sum_has_its_own_weight() -> None:
    logits, masks = drawn(4, 1, 9, 7, soft=False)
    expected = 0.8 * dice(logits, masks) + 0.2 * bce(logits, masks)
    torch.testing.assert_close(dice_bce(logits, masks, dice_weight=0.8, bce_weight=0.2), expected, **EXACT)


def test_over_image_and_over_batch_are_two_things() -> None:
    logits, masks = drawn(4, 1, 9, 7, soft=False)
    each, whole = dice(logits, masks), dice(logits, masks, over="batch")
    assert (whole == whole[0]).all() and abs(whole[0] - each.mean()) > 0.05
    torch.testing.assert_close(dice(logits[:1], masks[:1], over="batch"), each[:1], **EXACT)
    half = focal_tversky(logits, masks, alpha=0.5, beta=0.5, gamma=1, over="batch", smooth=1)
    torch.testing.assert_close(half, dice(logits, masks, over="batch", smooth=2), **EXACT)


@pytest.mark.parametrize("name", LOSSES)
def test_a_perfect_prediction_costs_nothing_and_moves_nothing(name: str) -> None:
    _, masks = drawn(4, 1, 9, 7, soft=False)
    for depth in (torch.float64, torch.float32, torch.bfloat16):
        logits = sure(masks).to(depth).requires_grad_()
        losses = LOSSES[name](logits, masks.float())
        assert (losses == 0).all(), losses
        losses.sum().backward()
        assert (logits.grad == 0).all()
        wrong = LOSSES[name](-sure(masks), masks)
        assert torch.isfinite(wrong).all() and (wrong > 0.9).all()


def test_the_slope_of_the_focal_power_is_finite_next_to_perfection() -> None:
    _, masks = drawn(2, 1, 9, 7, soft=False)
    for scale in (800, 40, 20, 10):
        logits = (sure(masks) / 800 * scale).requires_grad_()
        focal_tversky(logits, masks, gamma=3).sum().backward()
        assert torch.isfinite(logits.grad).all()
    bare = torch.zeros(1, requires_grad=True)  # what is prevented
    bare.pow(1 / 3).backward()
    assert torch.isinf(bare.grad).all() and 0 < LEAST < 1e-6


@pytest.mark.parametrize("smooth", [1.0, 1e-5])
def test_empty_masks_follow_the_stated_rule(smooth: float) -> None:
    masks = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    nothing, logits = torch.full_like(masks, -800), torch.full_like(masks, -800)
    logits[..., 0, :5] = 800
    assert float(dice(nothing, masks, smooth=smooth)) == 0
    assert float(dice(logits, masks, smooth=smooth)) == pytest.approx(5 / (5 + smooth), rel=1e-12)
    assert float(focal_tversky(nothing, masks, smooth=smooth)) == 0
    assert float(focal_tversky(logits, masks, smooth=smooth)) == pytest.approx((1.5 / (1.5 + smooth)) ** 0.75)
    with pytest.raises(UsageError, match="smooth must be a number above 0, got 0"):
        dice(nothing, masks, smooth=0)


def test_soft_targets_have_their_best_prediction_at_themselves_but_for_the_linear_form() -> None:
    _, masks = drawn(3, 1, 6, 6, soft=True)
    masks = masks.clamp(0.05, 0.95)
    exact = torch.logit(masks)
    for name, form in itertools.product(["dice", "focal_tversky"], ["semimetric", "squared"]):
        if (name, form) != ("focal_tversky", "squared"):
            assert LOSSES[name](exact, masks, form=form).max() < 1e-9
    harder = 3 * exact  # the planted failure: the plain form pays for a wrong outline
    assert (dice(harder, masks, form="linear") < dice(exact, masks, form="linear")).all()
    assert (dice(harder, masks) > 0.1).all()
    hard = (masks > 0.5).double()
    torch.testing.assert_close(dice(exact, hard), dice(exact, hard, form="linear"), **EXACT)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_gradients_are_those_of_finite_differences(name: str, activation: str) -> None:
    logits, masks = drawn(2, 3, 3, 4, soft=True)
    masks = masks + 0.1
    masks = masks / masks.sum(dim=1, keepdim=True)
    forms = {"dice": ["semimetric", "linear", "squared"], "dice_bce": ["semimetric"], "bce": [None],
             "focal_tversky": ["semimetric", "linear"]}[name]
    for form in forms:
        options = {} if form is None else {"form": form}
        assert torch.autograd.gradcheck(
            lambda x, options=options: LOSSES[name](x, masks, activation=activation, **options),
            logits.requires_grad_(), eps=1e-7, atol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_under_autocast_and_in_bfloat16_the_sums_are_float32(name: str) -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 1, 96, 96, generator=generator).bfloat16()
    masks = (torch.rand(2, 1, 96, 96, generator=generator) > 0.7).float()
    expected = LOSSES[name](logits.double(), masks.double())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = LOSSES[name](logits, masks)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)
    narrow = torch.sigmoid(logits)
    rounded = 1 - 2 * (narrow * masks.bfloat16()).sum() / (narrow.sum() + masks.bfloat16().sum())
    assert rounded.dtype == torch.bfloat16  # what is prevented: three digits
    large = torch.tensor([[[[-400.0, 400.0]]]])
    assert float(bce(large, 1 - large.sign().clamp(min=0))) == 400
    assert torch.isinf(torch.log(1 - torch.sigmoid(large))).any()  # what BCE on probabilities would meet


@pytest.mark.parametrize("name", LOSSES)
def test_a_second_sigmoid_is_seen(name: str) -> None:
    """A network that ends in a sigmoid cannot reach 0: sigmoid(0) = 0.5 is the least that its empty pixels can say."""
    _, masks = drawn(4, 1, 9, 7, soft=False)
    twice = LOSSES[name](torch.sigmoid(sure(masks)), masks)
    assert (twice > 0.15).all() and (LOSSES[name](sure(masks), masks) == 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_masks_that_cannot_be_are_refused(name: str) -> None:
    loss = LOSSES[name]
    logits, masks = drawn(3, 1, 5, 5, soft=False)
    with pytest.raises(DataError, match=r"image 0 of the batch.*values from 0 to 1, got 255; divide a 0/255 mask by"):
        loss(logits, masks * 255)
    with pytest.raises(DataError, match="got 255"):
        loss(logits, (masks * 255).byte())
    negative, holed = masks.clone(), masks.clone()
    negative[1, 0, 0, 0], holed[2, 0, 0, 0] = -1, float("nan")
    with pytest.raises(DataError, match=r"image 1 of the batch.*got -1"):
        loss(logits, negative)
    with pytest.raises(DataError, match=r"image 2 of the batch.*a mask has NaN"):
        loss(logits, holed)
    for wrong in (masks[:, 0], masks[..., :4], masks[:2], masks.expand(3, 2, 5, 5)):
        with pytest.raises(UsageError, match=r"masks must have the logits' shape \(3, 1, 5, 5\), got"):
            loss(logits, wrong)
    assert torch.equal(loss(logits, masks.bool()), loss(logits, masks))
    with pytest.raises(UsageError, match=r"logits must have the shape \(N, K, \*S\), got \(3, 1\)"):
        loss(logits[:, :, 0, 0], masks[:, :, 0, 0])


@pytest.mark.parametrize("name", LOSSES)
def test_class_indices_that_cannot_be_are_refused(name: str) -> None:
    logits, indices, targets = classes_of(3, 4, 5, 5)
    indices[1, 0, 0] = 4
    with pytest.raises(DataError, match=r"image 1 of the batch.*class indices 0 to 3, got 4"):
        LOSSES[name](logits, indices, activation="softmax")
    with pytest.raises(UsageError, match=r"shape \(3, 5, 5\) of class indices, got \(3, 5, 4\)"):
        LOSSES[name](logits, indices[..., :4], activation="softmax")
    with pytest.raises(DataError, match="sum to 1 over the classes"):
        LOSSES[name](logits, targets / 2, activation="softmax")
    with pytest.raises(UsageError, match="class indices are integers"):
        LOSSES[name](logits, indices.double(), activation="softmax")
    with pytest.raises(UsageError, match="activation must be sigmoid for one class"):
        LOSSES[name](logits[:, :1], targets[:, :1], activation="softmax")
    with pytest.raises(UsageError, match="activation must be one of sigmoid, softmax, got 'tanh'"):
        LOSSES[name](logits, targets, activation="tanh")


@pytest.mark.parametrize("name", LOSSES)
def test_a_nan_output_is_never_hidden(name: str) -> None:
    logits, masks = drawn(3, 1, 5, 5, soft=False)
    logits[1, 0, 2, 2] = float("nan")
    found = LOSSES[name](logits, masks)
    assert found.isnan().tolist() == [False, True, False]


def test_options_that_cannot_be_are_refused() -> None:
    pair = drawn(2, 1, 4, 4, soft=False)
    with pytest.raises(UsageError, match="form must be one of semimetric, linear, squared, got 'cubic'"):
        dice(*pair, form="cubic")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="over must be one of image, batch, got 'epoch'"):
        dice(*pair, over="epoch")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"gamma must be at least 1, got 0.75.*for a port's 0.75 give 4/3"):
        focal_tversky(*pair, gamma=0.75)
    with pytest.raises(UsageError, match="alpha and beta must be at least 0 and not both 0"):
        focal_tversky(*pair, alpha=0, beta=0)
    with pytest.raises(UsageError, match="semimetric or linear for focal Tversky"):
        focal_tversky(*pair, form="squared")
    with pytest.raises(UsageError, match="dice_weight and bce_weight must be at least 0 and not both 0"):
        dice_bce(*pair, dice_weight=0, bce_weight=0)


@pytest.mark.parametrize(("name", "key", "value", "told"), [
    ("focal_tversky", "tversky_gamma", 0.75, "tversky_gamma: must be at least 1 (the power is 1 / gamma: for a port's "
     "0.75 give 4/3), got 0.75"),
    ("focal_tversky", "tversky_gamma", float("inf"), "tversky_gamma: must be at least 1"),
    ("dice_bce", "smooth", 0, "smooth: must be a number above 0 (an empty mask would give 0 / 0), got 0"),
    ("focal_tversky", "smooth", -1.0, "smooth: must be a number above 0"),
    ("focal_tversky", "form", "squared", "form: must be semimetric or linear for focal Tversky, got 'squared'")])
def test_what_a_loss_would_refuse_is_refused_with_the_config(name: str, key: str, value: object, told: str) -> None:
    with pytest.raises(UsageError) as fault:
        load_config(LossSection, values={"name": name, key: value})
    assert told in str(fault.value)
    fine = load_config(LossSection, values={"name": "dice_bce", "form": "squared", "tversky_gamma": 1})
    assert fine.form == "squared" and fine.tversky_gamma == 1
