"""A whole scene at once against its windows one by one: the same logits for every border, window, tile and option."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from excite.attention.plan import AttentionPlan
from excite.errors import UsageError
from excite.models.classifier import create_model
from excite.models.scene_dense import SceneDense, patch_size
from excite.models.scene_prediction import TiledScene
from excite.models.whole_scene import BandedConv, Kept, WholeScene, in_eval_mode, refuse_inexact
from lively import lively, varied_images


def network(window=11, bands=14, classes=5, **options):
    """One with random biases and measured statistics, in double precision."""
    model = create_model("hybridsn", in_channels=bands, num_classes=classes, window=window, **options)
    for name, value in model.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(value, 0.0, 0.1)
    return lively(model, varied_images(3, channels=bands, size=(window, window)))


def scene(height, width, bands=14, seed=0):
    return np.random.default_rng(seed).standard_normal((height, width, bands))


def cut_out(model, cube, border):
    """The logits of every pixel, from a cube that numpy padded and windows cut out in two loops."""
    window = model.window
    before, after = (window - 1) // 2, window // 2
    mode = {"mode": "reflect"} if border == "reflect" else {"mode": "constant"}
    padded = np.pad(cube, ((before, after), (before, after), (0, 0)), **mode)
    every = [padded[row:row + window, column:column + window].transpose(2, 0, 1)
             for row in range(cube.shape[0]) for column in range(cube.shape[1])]
    with torch.no_grad():
        return model(torch.from_numpy(np.stack(every))).view(*cube.shape[:2], -1)


def tiled(model, cube, **options):
    made = TiledScene(model, cube, **options)
    found = torch.full((*cube.shape[:2], model.classifier.out_features), torch.nan, dtype=made.like.dtype)
    for part in made.tiles:
        found[part.inside] = made.logits(part)
    return found


def assert_same(found, expected):
    scale = float(expected.abs().max())
    assert float(expected.std(dim=(0, 1)).max()) > 0.01 * scale  # it sees its input
    assert float((found - expected).abs().max()) <= 1e-12 * scale
    assert torch.equal(found.argmax(2), expected.argmax(2))


def drawn(count):
    """Windows, scenes, tiles and borders drawn with a fixed seed, the awkward ones first."""
    random = np.random.default_rng(4)
    fixed = [(9, 1, 1, 5, "reflect"), (25, 4, 3, 2, "reflect"), (25, 4, 3, 160, "zero"), (10, 7, 1, 3, "zero"),
             (24, 6, 9, 4, "reflect"), (9, 8, 7, 1, "zero")]
    return fixed + [(int(random.integers(9, 20)), int(random.integers(1, 16)), int(random.integers(1, 16)),
                     int(random.integers(1, 30)), str(random.choice(["reflect", "zero"]))) for _ in range(count)]


@pytest.mark.parametrize(("window", "height", "width", "tile", "border"), drawn(5))
def test_equals_windows_for_every_window_scene_tile_and_border(window, height, width, tile, border):
    model, cube = network(window), scene(height, width)
    expected = cut_out(model, cube, border)
    assert_same(tiled(model, cube, tile=tile, border=border), expected) if height * width > 1 else \
        torch.testing.assert_close(tiled(model, cube, tile=tile, border=border), expected)
    slow = tiled(model, cube, method="windows", tile=tile, border=border, batch=7)
    torch.testing.assert_close(slow, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("window", "height", "width", "tile", "border"), drawn(46)[11:])
def test_equals_windows_for_many_more(window, height, width, tile, border):
    test_equals_windows_for_every_window_scene_tile_and_border(window, height, width, tile, border)


@pytest.mark.parametrize("options", [
    {"normalisation": "batch"}, {"bands": 13}, {"bands": 30}, {"classes": 1},
    {"attention": AttentionPlan(kind="sse")}, {"attention": AttentionPlan(kind="sse", position="post")},
    {"attention": AttentionPlan(kind="sse", position="inner"), "normalisation": "batch"}])
def test_equals_windows_with_what_sees_each_place_alone(options):
    model, bands = network(10, **options), options.get("bands", 14)
    cube = scene(12, 9, bands)
    expected = cut_out(model, cube, "zero")
    found = tiled(model, cube, tile=7, border="zero")
    assert float((found - expected).abs().max()) <= 1e-12 * float(expected.abs().max())


@pytest.mark.slow
def test_in_float32_it_is_as_near_to_double_precision_as_windows_are():
    model, cube = network(25, 30, 16), scene(4, 8, 30)
    expected = cut_out(model, cube, "reflect")
    single = copy.deepcopy(model).float()
    whole, windows = (tiled(single, cube.astype(np.float32), method=method) for method in ("whole", "windows"))
    scale = float(expected.abs().max())
    apart = [float((one.double() - expected).abs().max()) / scale for one in (whole, windows)]
    assert apart[0] < 1e-6 and apart[0] < 3 * apart[1]
    assert torch.equal(whole.argmax(2), windows.argmax(2)) and len(whole.argmax(2).unique()) > 1


def test_bfloat16_is_near_and_says_the_same_where_the_choice_is_clear():
    model, cube = network(13).float(), scene(30, 30).astype(np.float32)
    exact, rounded = tiled(model, cube), tiled(model, cube, precision="bfloat16")
    apart = (rounded - exact).abs().amax()
    assert 1e-5 < float(apart / exact.abs().max()) < 0.05
    best = exact.topk(2, dim=2).values
    clear = best[..., 0] - best[..., 1] > 2 * apart
    assert bool(clear.any()) and torch.equal(rounded.argmax(2)[clear], exact.argmax(2)[clear])


def test_later_blocks_do_not_show_in_memory_that_is_used_again():
    model = network()
    whole = WholeScene(model, places=12)
    small, large = (torch.from_numpy(scene(*sizes)) for sizes in ((14, 19), (40, 33)))
    first = whole(small)
    kept = first.clone()
    whole(large)
    assert torch.equal(first, kept) and torch.equal(whole(small), kept)


@pytest.mark.parametrize(("options", "message"), [
    ({"attention": "se"}, r"spatial.attention \(SqueezeExcitation\) may look at its window as a whole"),
    ({"attention": "simam"}, r"spatial.attention \(SimpleAttention\) may look"),
    ({"attention": AttentionPlan(kind="sse", position="pre")}, r"spatial \(Residual\) has attention before its conv"),
    ({"normalisation": "group"}, r"spectral.0.norm \(GroupNorm\) measures each window; spectral.1.norm")])
def test_what_would_not_be_exact_is_refused_by_name(options, message):
    with pytest.raises(UsageError, match=f"method='whole' would not be exact: {message}.*method='windows' computes it"):
        WholeScene(network(**options))
    model, cube = network(**options), scene(3, 4)
    assert torch.isfinite(tiled(model, cube, method="windows")).all()


def test_changed_layers_and_hooks_are_refused_too():
    model = network(normalisation="batch")
    refuse_inexact(model)
    for change, message in (
            (lambda one: setattr(one.spectral[1].conv, "padding", (0, 1, 1)), "spectral.1.conv .Conv3d. pads"),
            (lambda one: setattr(one.spatial.branch.norm, "running_mean", None), "spatial.branch.norm .BatchNorm2d. m"),
            (lambda one: one.hidden.register_forward_hook(lambda *_: None), "hidden .Linear. has a hook"),
            (lambda one: setattr(one.spectral[0], "act", nn.Softmax(1)), "spectral.0.act .Softmax. may look")):
        changed = copy.deepcopy(model)
        change(changed)
        with pytest.raises(UsageError, match=message):
            refuse_inexact(changed)
    with pytest.raises(UsageError, match="method='whole' knows hybridsn only, got Linear; method='windows' computes"):
        WholeScene(nn.Linear(2, 2))
    with pytest.raises(UsageError, match=r"takes weights of float32 or float64, got torch.bfloat16; network.float\(\)"):
        WholeScene(copy.deepcopy(model).bfloat16())
    with pytest.raises(UsageError, match="precision must be 'float32' or 'bfloat16', got 'half'"):
        WholeScene(model, precision="half")


def test_modes_are_put_back_even_after_an_error():
    model = network(normalisation="batch").train()
    model.spectral.eval()
    modes = [part.training for part in model.modules()]
    with pytest.raises(KeyError), in_eval_mode(model):
        assert not any(part.training for part in model.modules())
        raise KeyError
    assert [part.training for part in model.modules()] == modes and True in modes and False in modes


@pytest.mark.parametrize(("channels", "kernels", "bands", "depth"), [(1, 8, 7, 30), (8, 16, 5, 24), (3, 5, 2, 2),
                                                                     (2, 7, 3, 12), (1, 64, 1, 4)])
def test_a_banded_convolution_is_torchs_in_three_dimensions(channels, kernels, bands, depth):
    layer = nn.Conv3d(channels, kernels, (bands, 3, 3)).double()
    x = torch.randn(1, channels, depth, 9, 8, dtype=torch.float64)
    kept = Kept(x.device)
    banded = BandedConv(layer.weight.detach(), layer.bias.detach(), dtype=torch.float64, take=kept.take)
    with torch.no_grad():
        found = banded(x.transpose(1, 2).flatten(1, 2).contiguous(memory_format=torch.channels_last), name="y")
        torch.testing.assert_close(found.view(1, -1, kernels, 7, 6).transpose(1, 2), layer(x), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("side", "size", "height", "width"), [(1, 16, 20, 33), (5, 16, 12, 12), (5, 45, 3, 50),
                                                               (17, 48, 40, 21), (9, 18, 1, 1), (3, 4, 7, 6)])
def test_the_dense_layer_by_spectra_is_a_convolution(side, size, height, width):
    dense = nn.Linear(6 * side**2, 10).double()
    maps = torch.rand(height + side - 1, width + side - 1, 6, dtype=torch.float64) + 3
    with torch.inference_mode():
        found = SceneDense(dense, side=side, size=size, take=Kept(maps.device).take)(maps)
        expected = nn.functional.conv2d(maps.permute(2, 0, 1)[None], dense.weight.view(10, 6, side, side), dense.bias)
    ordered = found.permute(2, 0, 3, 1, 4).flatten(2, 3).flatten(0, 1)[:height, :width]
    torch.testing.assert_close(ordered, expected[0].permute(1, 2, 0), rtol=1e-11, atol=1e-11)


def test_the_patch_fits_the_kernel_and_bounds_the_memory():
    assert patch_size(17, 145) == 45 and patch_size(17, 160) == 48
    for side in (1, 3, 11, 17, 25, 40):
        for places in (1, 20, 160):
            size = patch_size(side, places)
            assert size > side and (size * (size // 2 + 1) <= 2200 or size == 2 * side)
    assert patch_size(80, 10) == 160
