"""The public U-Net's parts against ours: the encoder's maps from the same file, the losses, the table's counts."""

import pytest
import torch

from excite.jobs.bench_heads import NETWORKS, SIZE, counted, peers
from excite.losses.dice import dice
from excite.losses.focal_tversky import focal_tversky
from excite.models.classifier import create_model
from excite.weights.load import load_weights
from lively import assert_equal, lively, varied_images

pytestmark = pytest.mark.peers
EXACT = {"rtol": 1e-9, "atol": 0}
COUNTS = {"Unet": (6_628_369, 4_405_073), "DeepLabV3Plus": (4_377_937, 2_154_641)}  # all, with the encoder frozen


@pytest.fixture(scope="module")
def package():
    found, why = peers()
    assert found is not None, why
    return found


def test_the_encoder_gives_the_skips_that_the_public_unet_gets(package):
    torch.manual_seed(0)
    reference = package.Unet("mobilenet_v2", encoder_weights=None, in_channels=3, classes=1).encoder
    images = varied_images(4, size=(64, 96))
    lively(reference, images)
    ours = create_model("mobilenet_v2", num_classes=2).double().eval()
    assert load_weights(ours, reference.state_dict(), layout="torchvision").percent == 100
    with torch.no_grad():
        theirs = reference(images)[1:]
        found = ours.backbone
        maps = {tuple(one.shape): one for one in (*found.features(images), found(images))}  # the deepest of each stride
        assert len(theirs) == 5
        for one in theirs:
            assert_equal(maps[tuple(one.shape)], one)


def test_losses_equal_theirs_over_the_batch(package):
    torch.manual_seed(0)
    logits = 2 * torch.randn(4, 1, 9, 7, dtype=torch.float64)
    masks = torch.rand(4, 1, 9, 7).double()  # covered shares: their Dice has our default form, and half our smooth
    theirs = package.losses.DiceLoss("binary", smooth=0.7)(logits, masks)
    torch.testing.assert_close(dice(logits, masks, over="batch", smooth=1.4).mean(), theirs, **EXACT)
    for other in ({"over": "image"}, {"over": "batch", "form": "linear"}):
        assert abs(dice(logits, masks, smooth=1.4, **other).mean() / theirs - 1) > 1e-4
    theirs = package.losses.TverskyLoss("binary", alpha=0.3, beta=0.7, gamma=0.75, smooth=1.0)(logits, masks)
    ours = focal_tversky(logits, masks, alpha=0.7, beta=0.3, gamma=4 / 3, over="batch").mean()
    torch.testing.assert_close(ours, theirs, **EXACT)  # their alpha weighs false pixels, and their power is 1 / ours


@pytest.mark.parametrize("name", COUNTS)
def test_the_peers_of_the_table_are_the_networks_that_it_names(package, name):
    row = next(one for one in NETWORKS if one.peer and one.name == name)
    cost, notes = counted(row, SIZE, package)
    assert (cost.parameters, cost.trainable) == COUNTS[name] and not notes
