"""The checks of a picture: by hand, against scipy and captum, and with failures that are planted."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from excite.errors import UsageError
from excite.explain.bands import BandWindows, hidden_bands, integrated_bands
from excite.explain.deletion import cell_labels, deletion, usual_cells
from excite.explain.integrated import integrated_gradients
from excite.explain.occlusion import occlusion, own_mean
from excite.explain.randomised import cascade, randomisation, randomised, spearman, ssim


def left(inputs):
    """Return what an answer is that depends on the left half alone: its mean."""
    return inputs[..., : inputs.shape[-1] // 2].flatten(1).mean(1)


class Small(nn.Module):
    def __init__(self, inputs=12, classes=3):
        super().__init__()
        torch.manual_seed(2)
        self.first, self.last = nn.Linear(inputs, 8), nn.Linear(8, classes)

    def forward(self, x):
        return self.last(self.first(x.flatten(1)).tanh())


def test_the_deletion_curve_of_a_known_answer():
    image, picture = torch.ones(1, 4, 8), np.zeros((1, 4, 8))
    picture[..., :4] = 1.0
    found = deletion(left, image, picture, cells=(2, 4), steps=4)
    assert found.shares.tolist() == [0, 0.125, 0.25, 0.375, 0.5]
    assert found.own.tolist() == [1, 0.75, 0.5, 0.25, 0]  # four of eight cells are the left half
    assert found.reverse.tolist() == [1, 1, 1, 1, 1]
    assert found.area(found.own) == pytest.approx(0.5)
    assert found.random.shape == (19, 5)
    assert found.passed
    assert found.words.startswith("the network uses what the picture marks: deleting it first is better than 19 random "
                                  "orders (area 0.500, random orders 0.")


def test_a_picture_of_the_wrong_place_is_not_to_be_read():
    image, picture = torch.ones(1, 4, 8), np.zeros((1, 4, 8))
    picture[..., 4:] = 1.0
    found = deletion(left, image, picture, cells=(2, 4), steps=4)
    assert not found.passed
    assert found.words.startswith("no better than random deletion: do not read this picture (area 1.000")
    empty = deletion(left, image, np.zeros((1, 4, 8)), cells=(2, 4), steps=4)
    assert (empty.passed, empty.words) == (False, "the picture is empty: nothing can be deleted in its order")


def test_an_answer_that_depends_on_nothing_is_told():
    image, picture = torch.ones(1, 4, 8), np.zeros((1, 4, 8))
    picture[..., :4] = 1.0
    found = deletion(lambda inputs: 0.5 + left(inputs) / 50, image, picture, cells=(2, 4), steps=4)
    assert not found.passed
    assert found.words == ("the answer hardly depends on this file: it changes by 0.020 at most, whatever is deleted")


def test_a_picture_of_noise_passes_once_in_twenty():
    random, image = np.random.default_rng(0), torch.from_numpy(np.random.default_rng(1).random((1, 8, 8)))
    weight = torch.from_numpy(np.random.default_rng(2).random((8, 8)))

    def value(inputs):
        return (inputs[:, 0] * weight).flatten(1).sum(1)

    passed = [deletion(value, image, random.random((1, 8, 8)), cells=(4, 4), seed=seed, batch=256).passed
              for seed in range(200)]
    assert sum(passed) <= 20  # 10 are expected; more than 20 have a chance of 0.2 %


def test_what_is_said_of_an_empty_image_does_not_count():
    image, picture = torch.ones(1, 4, 8), np.zeros((1, 4, 8))
    picture[..., :4] = 1.0

    def value(inputs):  # an image that is nearly all gone gets the first answer again
        return torch.where(inputs.flatten(1).mean(1) < 0.3, 1.0, left(inputs))

    assert deletion(value, image, picture, cells=(2, 4)).passed


def test_what_the_image_does_not_show_is_not_deleted():
    image, picture = torch.ones(1, 4, 8), np.arange(32.0).reshape(1, 4, 8)
    inside = np.zeros((4, 8), bool)
    inside[:, :4] = True
    found = deletion(left, image, picture, cells=(2, 4), inside=inside, steps=2)
    assert found.shares.tolist() == [0, 0.25, 0.5]
    assert found.own.tolist() == [1, 0.75, 0.5]


def test_cells_cover_everything_and_pictures_must_fit():
    assert np.bincount(cell_labels((5, 7), (2, 3)).ravel()).tolist() == [9, 6, 6, 6, 4, 4]
    assert usual_cells((8, 64, 48)) == (4, 7, 7)
    volume = deletion(left, torch.ones(1, 4, 4, 8), np.zeros((1, 4, 4, 8)), cells=(1, 2, 4))
    assert len(volume.shares) == 4  # a volume's curve has fewer points
    with pytest.raises(UsageError, match=r"importance \(1, 4, 4\) and cells \(2, 4\) must fit the image \(1, 4, 8\)"):
        deletion(left, torch.ones(1, 4, 8), np.zeros((1, 4, 4)), cells=(2, 4))
    with pytest.raises(UsageError, match="there must be 2 cells to delete at least, got 1; smaller cells"):
        deletion(left, torch.ones(1, 4, 8), np.zeros((1, 4, 8)), cells=(1, 1))


def test_a_picture_that_ignores_the_weights_is_told():
    model, image = Small(), np.random.default_rng(0).random((1, 6, 6)).astype(np.float32)
    inputs = torch.zeros(1, 12)
    edges = randomisation(image, lambda model: image, model, inputs)  # what an edge detector would give
    assert edges.passed is False
    assert edges.words == ("this picture does not depend on what was learned: random weights give the same "
                           "(rank correlation 1.00, SSIM 1.00; with the output layer alone random 1.00)")

    def learned(model):
        return model.first.weight.detach().numpy()[None]

    own = randomisation(learned(model), learned, model, inputs)
    assert own.passed
    assert own.words.startswith("networks with random weights give other pictures (rank correlation ")
    nothing = randomisation(image, lambda model: np.zeros_like(image), model, inputs)
    assert (nothing.passed, nothing.words) == (None, "random weights give an empty picture: nothing can be compared")


def test_random_weights_are_the_learned_ones_in_another_order():
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images = torch.randn(1, 2, 9, 9) * 5 + 3
    other = randomised(model, images, seed=1)
    for name, value in model.named_parameters():
        assert torch.equal(value, before[name])
        assert torch.equal(other.get_parameter(name).flatten().sort().values, value.flatten().sort().values)
    assert not torch.equal(other[0].weight, model[0].weight)
    with torch.no_grad():
        maps = other[0](images)
    assert torch.allclose(other[1].running_mean, maps.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(other[1].running_var, maps.var((0, 2, 3), correction=0), rtol=1e-4)
    assert torch.equal(randomised(model, images, seed=1)[0].weight, other[0].weight)


def test_weights_become_random_from_the_output_layer_downwards():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 3, 3), nn.AdaptiveAvgPool2d(1),
                          nn.Flatten(), nn.Linear(3, 9)).eval()
    image = torch.randn(1, 1, 9, 9)
    assert cascade(model, image, parts=3) == [["6"], ["6", "3"], ["6", "3", "1"], ["6", "3", "1", "0"]]
    assert cascade(model, image, parts=0) == [["6", "3", "1", "0"]]
    other = randomised(model, image, seed=3, layers=["6", "3"])
    changed = [name for name, value in model.named_parameters() if not torch.equal(value, other.get_parameter(name))]
    assert changed == ["3.weight", "3.bias", "6.weight", "6.bias"]
    assert torch.equal(other[1].running_mean, model[1].running_mean)

    def picture(model):  # of the first layer alone
        return model[0].weight.detach().numpy()[:, 0]

    found = randomisation(picture(model), picture, model, image, parts=3)
    assert [(one.layer, one.layers) for one in found.depths] == [("6", 1), ("3", 2), ("1", 3), ("0", 4)]
    assert [one.median == pytest.approx(1) for one in found.depths] == [True, True, True, False]
    assert found.to_json()["depths"][0]["spearman"] == pytest.approx([1.0] * 3)


def test_rank_correlation_is_scipys_and_ssim_is_its_formula():
    random = np.random.default_rng(0)
    one = random.random((1, 7, 7)).round(1)
    other = one + random.random((1, 7, 7)).round(1)
    assert spearman(one, other) == pytest.approx(float(spearmanr(one.ravel(), other.ravel())[0]))
    assert spearman(one, np.zeros_like(one)) is None
    assert ssim(one, one) == pytest.approx(1)
    flat = [np.full((1, 9, 9), level) for level in (0.2, 0.6)]  # then only the brightness counts
    assert ssim(*flat) == pytest.approx((2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4))


def test_occlusion_of_a_known_answer():
    image = torch.ones(1, 4, 8)
    found = occlusion(left, image, window=(4, 4), stride=(4, 4))
    assert torch.equal(found, torch.cat((torch.ones(4, 4), torch.zeros(4, 4)), 1).double())
    assert torch.equal(occlusion(left, image, window=(4, 4), stride=(4, 4), fill=own_mean(image)), torch.zeros(4, 8))
    with pytest.raises(UsageError, match=r"window must fit the image \(4, 8\) and stride the window, got \(5, 4\)"):
        occlusion(left, image, window=(5, 4))


def test_occlusion_of_one_channel():
    def value(inputs):
        return inputs[:, 1].flatten(1).mean(1)

    image = torch.ones(2, 4, 4)
    assert occlusion(value, image, window=(2, 2), channel=0).abs().max() == 0
    assert occlusion(value, image, window=(2, 2), channel=1).min() > 0


def windows(count=3, bands=6, parts=3, side=2):
    random = torch.Generator().manual_seed(4)
    weight, spectra = (torch.randn(*shape, generator=random) for shape in ((parts, bands), (count, bands, side, side)))
    return BandWindows(reduced=torch.einsum("cb,nb...->nc...", weight, spectra), apart=spectra - 0.1, weight=weight)


def test_the_parts_of_bands_sum_to_the_answer():
    model, some, classes = Small(), windows(), torch.tensor([0, 1, 2])
    parts = integrated_bands(model, some, classes=classes)
    rows, none = torch.arange(3), some.without(torch.ones(6, dtype=torch.bool))
    whole = (model(some.reduced) - model(none))[rows, classes].detach()
    assert parts.shape == (3, 6)
    assert torch.allclose(parts.sum(1), whole, atol=1e-4)


def test_a_hidden_band_is_one_at_its_mean():
    model, some, classes = Small(), windows(), torch.tensor([2, 1, 0])
    spectra = some.apart + 0.1
    spectra[:, 4] = 0.1
    hidden = torch.einsum("cb,nb...->nc...", some.weight, spectra)
    expected = (model(some.reduced) - model(hidden))[torch.arange(3), classes].detach()
    assert torch.allclose(hidden_bands(model, some, classes=classes)[:, 4], expected, atol=1e-5)


@pytest.mark.peers
def test_integrated_gradients_and_bands_are_captums():
    captum = pytest.importorskip("captum.attr")
    model, inputs, classes = Small().double(), torch.randn(4, 12).double(), torch.tensor([0, 1, 2, 0])
    found = integrated_gradients(model, inputs, classes=classes, baseline=0.3, steps=20)
    expected = captum.IntegratedGradients(model).attribute(inputs, baselines=0.3, target=classes, n_steps=20)
    assert torch.allclose(found, expected, rtol=1e-6, atol=1e-9)  # captum weighs the steps in float32

    some = windows()
    whole = nn.Sequential(nn.Conv2d(6, 3, 1, bias=False), Small())  # reduction and network as one
    whole[0].weight.data = some.weight[:, :, None, None].clone()
    whole.double()
    expected = captum.IntegratedGradients(whole).attribute((some.apart + 0.1).double(), baselines=0.1, n_steps=20,
                                                           target=torch.tensor([0, 1, 2]))
    doubled = BandWindows(reduced=some.reduced.double(), apart=some.apart.double(), weight=some.weight.double())
    found = integrated_bands(whole[1], doubled, classes=torch.tensor([0, 1, 2]))
    assert torch.allclose(found, expected.flatten(2).sum(2), atol=1e-6)


@pytest.mark.peers
@pytest.mark.parametrize(("window", "stride"), [((3, 3), (2, 2)), ((4, 2), (3, 1)), ((6, 7), (2, 3))])
def test_occlusion_is_captums(window, stride):
    captum = pytest.importorskip("captum.attr")
    model = Small(2 * 6 * 7)
    image = torch.randn(1, 2, 6, 7)
    expected = captum.Occlusion(model).attribute(image, sliding_window_shapes=(2, *window), strides=(2, *stride),
                                                 baselines=0.5, target=1)[0, 0]
    found = occlusion(lambda inputs: model(inputs)[:, 1], image[0], window=window, stride=stride, fill=0.5)
    assert torch.allclose(found, expected.double(), atol=1e-6)
