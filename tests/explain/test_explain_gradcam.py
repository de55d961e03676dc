"""Grad-CAM: equal to captum, to itself in the fast twin, and pointing at what a network is built to look at."""

import pytest
import torch
from torch import nn

from excite.errors import UsageError
from excite.explain.gradcam import enlarged, gradcam, of_classes, of_regions
from excite.explain.quick import ordered, quickened
from excite.explain.taps import find_layer, usual_layers
from excite.models.classifier import create_model
from lively import lively, varied_images

NETWORKS = [("resnet20", 2, (32, 32), {}), ("mobilenet_v3_small", 2, (96, 96), {}), ("se_resnet20", 2, (32, 32), {}),
            ("mobilenet_v2_se", 3, (16, 64, 64), {"in_channels": 1, "width": 0.25})]


def network(name, dims, options):
    torch.manual_seed(0)
    size = next((size for known, _, size, _ in NETWORKS if known == name), (32, 32))
    model = create_model(name, dims=dims, num_classes=4, **options)
    return lively(model, varied_images(channels=options.get("in_channels", 3), size=size)).float()


def images_for(model, size, options, count=3):
    return torch.randn(count, options.get("in_channels", 3), *size, generator=torch.Generator().manual_seed(1))


class Bright(nn.Module):
    """Class 1 is the brightness of the upper left quarter, class 0 that of the lower right: nothing else counts."""

    def __init__(self, dims=2):
        super().__init__()
        self.maps = (nn.Conv2d if dims == 2 else nn.Conv3d)(1, 2, 1, bias=False)
        self.dims = dims
        with torch.no_grad():
            self.maps.weight.fill_(1.0)

    def forward(self, x):
        y = self.maps(x)
        half = [size // 2 for size in y.shape[2:]]
        first = (slice(None), 1, *(slice(0, one) for one in half))
        last = (slice(None), 0, *(slice(one, None) for one in half))
        return torch.stack((y[last].flatten(1).mean(1), y[first].flatten(1).mean(1)), 1)


@pytest.mark.parametrize(("name", "dims", "size", "options"), NETWORKS)
def test_the_fast_twin_gives_the_same(name, dims, size, options):
    model, score = network(name, dims, options), of_classes(torch.tensor([0, 1, 2]))
    images = images_for(model, size, options)
    layers = ["backbone"]  # farther from the answer, rounding alone moves a gradient by a part in a hundred
    whole = gradcam(model, images, score=score, layers=layers)
    twin = gradcam(quickened(model, images, layers=layers), ordered(model, images), score=score, layers=layers)
    assert whole.maps[0].max() > 0
    assert torch.allclose(whole.maps[0], twin.maps[0], atol=1e-4 * float(whole.maps[0].max()))
    assert torch.allclose(whole.outputs, twin.outputs, atol=1e-4 * float(whole.outputs.abs().max()))


def test_it_is_equations_1_and_2():
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4))
    images = torch.randn(2, 3, 9, 8)
    found = gradcam(model, images, score=of_classes(torch.tensor([2, 0])), layers=["1"]).maps[0]
    maps = model[1](model[0](images)).detach()
    for row, label in enumerate((2, 0)):
        weights = model[4].weight[label].detach() / maps[row, 0].numel()  # the gradient of a mean, then the mean of it
        assert torch.allclose(found[row], (weights[:, None, None] * maps[row]).sum(0).relu(), atol=1e-6)


@pytest.mark.parametrize("layer", ["0", "1"])
def test_layers_before_one_that_writes_into_its_input(layer):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                          nn.Linear(4, 2))
    found = gradcam(model, torch.randn(1, 1, 6, 6), score=of_classes(torch.tensor([1])), layers=[layer])
    assert found.maps[0].shape == (1, 4, 4)


def test_masks_are_explained_by_the_sum_over_their_region():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 1, bias=False))
    image, region = torch.randn(1, 1, 8, 8), torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    region[..., 2:5, 3:6] = True
    found = gradcam(model, image, score=of_regions(region), layers=["1"]).maps[0][0]
    maps, weights = model[1](model[0](image))[0].detach(), model[2].weight[0, :, 0, 0].detach() * 9 / 64
    assert torch.allclose(found, (weights[:, None, None] * maps).sum(0).relu(), atol=1e-6)


@pytest.mark.parametrize("dims", [2, 3])
def test_it_marks_what_a_class_speaks_for(dims):
    images = torch.zeros(1, 1, *[8] * dims)
    images[(0, 0, *[slice(1, 3)] * dims)] = 1.0
    found = gradcam(Bright(dims), images, score=of_classes(torch.tensor([1])), layers=["maps"]).maps[0][0]
    assert torch.equal(found > 0, images[0, 0] > 0)


def squares(count, seed, *, size=64, side=20):
    """Return noise with a bright square in every second picture, and where it is."""
    random = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 1, size, size, generator=random) - 0.8
    corners = torch.randint(0, size - side + 1, (count, 2), generator=random)
    boxes = [(slice(row, row + side), slice(column, column + side)) for row, column in corners.tolist()]
    for place in range(1, count, 2):
        images[(place, 0, *boxes[place])] = 2.8
    return images, torch.arange(count) % 2, boxes


@pytest.mark.slow
def test_a_trained_network_looks_at_what_tells_its_classes_apart():
    torch.manual_seed(0)
    model = create_model("resnet20", in_channels=1, num_classes=2).train()
    best = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(30):
        images, labels, _ = squares(16, step)
        best.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        best.step()
    images, labels, boxes = squares(16, 99)
    found = gradcam(model.eval(), images, score=of_classes(torch.ones(16, dtype=torch.long)),
                    layers=usual_layers(model, images[:1]).layers)
    maps = enlarged(found.maps[0], (64, 64))
    assert torch.equal(found.outputs.argmax(1), labels)
    inside = [float(maps[(place, *boxes[place])].sum() / maps[place].sum()) for place in range(1, 16, 2)]
    peaks = [divmod(int(maps[place].argmax()), 64) for place in range(1, 16, 2)]
    assert min(inside) > 3 * 20**2 / 64**2  # of the map, beside what the square is of the picture
    assert all(box[0].start <= row < box[0].stop and box[1].start <= column < box[1].stop
               for (row, column), box in zip(peaks, boxes[1::2], strict=True))


def test_slices_of_one_volume_are_weighted_alike():
    torch.manual_seed(1)
    trunk, last = nn.Conv2d(1, 3, 3), nn.Linear(3, 2)

    class Sliced(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk, self.last = trunk, last

        def forward(self, x):  # (N, 1, D, H, W)
            y = self.trunk(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (-1, x.shape[2])).transpose(1, 2)
            return self.last((y ** 2).flatten(2).mean(2))

    volumes = torch.randn(2, 1, 4, 6, 6)
    found = gradcam(Sliced(), volumes, score=of_classes(torch.tensor([0, 1])), layers=["trunk"], slices=4).maps[0]
    maps = trunk(volumes.transpose(1, 2).flatten(0, 1)).detach().unflatten(0, (2, 4)).transpose(1, 2)
    slope = 2 * maps * last.weight.detach()[[0, 1]][:, :, None, None, None] / maps[0, 0].numel()
    expected = (slope.flatten(2).mean(2)[..., None, None, None] * maps).sum(1).relu()
    assert torch.allclose(found, expected, atol=1e-6)


def test_usual_layers_are_the_last_with_enough_places():
    model = network("resnet20", 2, {})
    assert usual_layers(model, torch.randn(1, 3, 32, 32)) == (["backbone"], "")
    layers, note = usual_layers(model, torch.randn(1, 3, 8, 8))
    assert layers == ["backbone.stages.1"]
    assert note == ("the last maps have 2 x 2 places, too few to show a place: backbone.stages.1 with 4 x 4 is shown")
    unet = create_model("unet", encoder="resnet20", in_channels=1).eval()
    assert usual_layers(unet, torch.randn(1, 1, 64, 64)) == (["bridge"], "")
    own = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    assert usual_layers(own, torch.randn(1, 1, 8, 8)).layers == ["1"]


def test_what_cannot_be_explained_is_told():
    model = network("resnet20", 2, {})
    with pytest.raises(UsageError, match=r"the network has no layer 'backbone.stage.1'; did you mean 'backbone.stages"):
        find_layer(model, "backbone.stage.1")
    images, score = torch.randn(1, 3, 32, 32), of_classes(torch.tensor([0]))
    with pytest.raises(UsageError, match=r"layer must give maps \(N, C, \*S\), Linear gives \(1, 4\); name one before"):
        gradcam(model, images, score=score, layers=["classifier"])
    with pytest.raises(UsageError, match="the answer does not depend on layer backbone"):
        gradcam(model, images, score=lambda logits: torch.ones(1), layers=["backbone"])


def test_enlarged_is_linear_between_the_middles_of_cells():
    found = enlarged(torch.tensor([[[0.0, 1.0]]]), (1, 4))
    assert torch.allclose(found, torch.tensor([[[0.0, 0.25, 0.75, 1.0]]]))


@pytest.mark.peers
@pytest.mark.parametrize(("name", "dims", "size", "options"), NETWORKS)
def test_equal_to_captum(name, dims, size, options):
    captum = pytest.importorskip("captum.attr")
    model = network(name, dims, options).double()
    images = images_for(model, size, options).double()
    for layers in (usual_layers(model, images[:1]).layers, ["backbone.stages.1"]):
        labels = torch.tensor([3, 0, 2])
        found = gradcam(model, images, score=of_classes(labels), layers=layers).maps[0]
        expected = captum.LayerGradCam(model, find_layer(model, layers[0])).attribute(
            images, target=labels, relu_attributions=True)[:, 0].detach()
        assert expected.max() > 0
        assert (found - expected).abs().max() <= 1e-9 * expected.abs().max()
