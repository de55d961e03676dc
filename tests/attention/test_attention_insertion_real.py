"""A network of torchvision with real ImageNet weights loses nothing by open gates, and much by the published start."""

import copy
import json

import pytest
import torch

from excite.attention.insertion.insert import insert
from imagenet_photos import logits, photos, with_attention
from imagenet_photos import pretrained as build

pytestmark = [pytest.mark.peers, pytest.mark.real]


@pytest.fixture(scope="module")
def pretrained(real_data):
    """torchvision's MobileNetV2 with weights, photos, classes, logits."""
    model, (images, classes) = build("mobilenet_v2", real_data / "weights"), photos(real_data / "imagenet_sample")
    return model, images, classes, logits(model, images)


def first(found, classes):
    return int((found.argmax(1) == classes).sum())


def test_open_gates_keep_every_logit_of_every_photo(real_data, pretrained):
    model, images, classes, before = pretrained
    page = real_data / "weights/mobilenet_v2-imagenet-dequantised.json"
    top1 = json.loads(page.read_text(encoding="utf-8"))["measured"]["plain_torchvision"]["shared300_top1"]
    assert first(before, classes) == round(300 * top1)
    gated = copy.deepcopy(model)
    insert(gated, "cbam@1,2,3")
    assert torch.equal(logits(gated.eval(), images), before)


def test_the_published_start_loses_most_of_it(pretrained):
    model, images, classes, before = pretrained
    lost = logits(with_attention(model, "se:start=paper"), images)
    assert first(lost, classes) < first(before, classes) / 2
