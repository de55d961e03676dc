"""What every attention owes its users, checked for each kind that is registered, in 2-D and in 3-D."""

import copy
import inspect

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from excite.attention.cbam import ConvolutionalBlockAttention
from excite.attention.plan import PLACES, AttentionPlan
from excite.attention.registry import ATTENTION
from excite.attention.se import SqueezeExcitation
from excite.errors import ModelError, UsageError
from excite.layers.gate import Gate
from excite.models.classifier import create_model
from excite.models.groups import split_parameters
from lively import assert_sees_its_input, lively, varied_images

VARIANTS = [("se", {"squeeze": "max", "gate": "hard_sigmoid"}), ("cbam", {"norm": True}), ("cbam", {"spatial": False}),
            ("scse", {"combine": "max"})]
CASES = [*((kind, {}) for kind in ATTENTION), *VARIANTS]
OPENING = [case for case in CASES if case[0] != "simam"]  # it has no parameter that could learn
ONE_FORM = ("gct",)  # its published start is the open one
DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]
SIZES = {2: (6, 5), 3: (4, 6, 5)}


def named(case):
    return "-".join([case[0], *(str(value) for value in case[1].values())])


@pytest.fixture(params=CASES, ids=named)
def case(request):
    return request.param


@pytest.fixture(params=OPENING, ids=named)
def opening(request):
    return request.param


@pytest.fixture(params=[2, 3], ids=["2-D", "3-D"])
def dims(request):
    return request.param


def made(case, dims, channels=16, start="paper"):
    return ATTENTION[case[0]](channels, dims=dims, start=start, **case[1])


def maps(dims, count=3, channels=16, size=None):
    return varied_images(count, channels=channels, size=size or SIZES[dims])


def awake(gate, x):
    """The gate in float64 and eval mode, its weights random and its statistics measured: a fresh one hardly gates."""
    with torch.no_grad():
        for name, value in gate.named_parameters():
            spread = value[0].numel() ** -0.5 if value.ndim > 1 else 0.7
            value.normal_(2.0 if name == "squeeze.bias" else 0.0, spread)  # one squeezed channel must not be dead
    return lively(gate, x)


def check_common_arguments(kind):
    first, *options = inspect.signature(kind).parameters.values()
    assert issubclass(kind, Gate) and first.name == "channels"
    assert all(one.kind is one.KEYWORD_ONLY and one.default is not one.empty for one in options)
    defaults = {one.name: one.default for one in options}
    assert defaults["dims"] == 2 and defaults["start"] == "paper"


def check_factors(gate, x):
    """The output is x times the gate, which differs from sample to sample and is finite; and x + add is the same."""
    factors, add = gate.gate(x), torch.randn_like(x)
    y = gate(x)
    assert y.shape == x.shape and factors.isfinite().all()
    whole = factors.expand_as(x).detach()
    assert float((whole[0] - whole[-1]).abs().max()) > 0.01 * float(whole.abs().max())
    torch.testing.assert_close(y, x * factors, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gate(x, add), x * factors + add, rtol=1e-12, atol=1e-12)


def check_open(gate, x):
    """The gate is exactly 1 in the number kind of x, and some gradient says how it should change."""
    gate = gate.to(x.dtype)
    assert torch.equal(gate.gate(x).expand_as(x), torch.ones_like(x))
    y = gate(x)
    assert y.dtype == x.dtype and torch.equal(y, x)
    y.float().square().sum().backward()
    found = [value.grad for value in gate.parameters() if value.grad is not None]
    assert all(grad.isfinite().all() for grad in found) and any(bool((grad != 0).any()) for grad in found)


def check_alone(gate, x):
    """A sample's output does not depend on its batch."""
    torch.testing.assert_close(gate(x[1:2]), gate(x)[1:2], rtol=1e-12, atol=1e-12)


def check_copy(gate, x):
    twin, before = copy.deepcopy(gate), gate(x)
    with torch.no_grad():
        for value in twin.parameters():
            value.add_(0.5)
    assert torch.equal(gate(x), before)
    assert not list(gate.parameters()) or not torch.equal(twin(x), before)


def test_takes_the_common_arguments(case):
    check_common_arguments(ATTENTION[case[0]])


def test_scales_its_input_and_adds_in_one_go(case, dims):
    x = maps(dims)
    with torch.no_grad():
        check_factors(awake(made(case, dims), x), x)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_the_open_start_is_exactly_one_and_learns(opening, dims, dtype, training):
    x = torch.randn(2, 16, *SIZES[dims], generator=torch.Generator().manual_seed(1)).to(dtype)
    check_open(made(opening, dims, start="open").train(training), x)


def test_the_published_start_is_not_one_unless_the_paper_says_so(case, dims):
    x = maps(dims)
    y = made(case, dims).double()(x)
    assert torch.equal(y, x) == (case[0] in ONE_FORM)


def test_a_batch_does_not_mix_its_samples(case, dims):
    x = maps(dims)
    with torch.no_grad():
        check_alone(awake(made(case, dims), x), x)


def test_a_copy_shares_nothing(case, dims):
    x = maps(dims)
    with torch.no_grad():
        check_copy(awake(made(case, dims), x), x)


@pytest.mark.parametrize("start", ["paper", "open"])
def test_saved_and_loaded_it_is_the_same(case, dims, start, tmp_path):
    if case[0] == "simam" and start == "open":
        with pytest.raises(UsageError, match="start must be 'paper' for simam"):
            made(case, dims, start=start)
        return
    x = maps(dims)
    gate = awake(made(case, dims, start=start), x)
    save_file(gate.state_dict(), tmp_path / "gate.safetensors")
    other = made(case, dims, start=start).double().eval()
    other.load_state_dict(load_file(tmp_path / "gate.safetensors"))
    with torch.no_grad():
        assert torch.equal(other(x), gate(x))


@pytest.mark.parametrize(("saved", "own"), [("paper", "open"), ("open", "paper")])
def test_weights_of_the_other_start_are_refused(opening, dims, saved, own):
    x = maps(dims)
    gate = awake(made(opening, dims, start=saved), x)
    other = made(opening, dims, start=own).double().eval()
    if opening[0] in ONE_FORM:
        other.load_state_dict(gate.state_dict())
        with torch.no_grad():
            assert torch.equal(other(x), gate(x))
        return
    before = copy.deepcopy(other.state_dict())
    for strict in (True, False):
        with pytest.raises(ModelError, match=rf"a network with start=.*start='{saved}'"):
            other.load_state_dict(gate.state_dict(), strict=strict)
    assert all(torch.equal(value, before[key]) for key, value in other.state_dict().items())


def test_moves_to_another_number_kind_whole(case, dims):
    gate = made(case, dims).double()
    assert all(value.dtype == torch.float64 for value in gate.state_dict().values() if value.is_floating_point())
    assert gate(maps(dims)).dtype == torch.float64


@pytest.mark.parametrize("channels", [1, 8, 12, 15])
def test_few_and_odd_channels_pass(case, dims, channels):  # T3-6
    x = maps(dims, channels=channels)
    y = awake(made(case, dims, channels=channels), x)(x)
    assert y.shape == x.shape and y.isfinite().all() and not torch.equal(y, x)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 3)])
@pytest.mark.parametrize("depth", [1, 3])
def test_one_place_one_slice_and_oblong_maps_pass(case, dims, size, depth):
    x = maps(dims, size=size if dims == 2 else (depth, *size))
    gate = awake(made(case, dims), x)
    for mode in (True, False):
        y = gate.train(mode)(x)
        assert y.shape == x.shape and y.isfinite().all() and not torch.equal(y, x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("value", [0.0, 300.0, -300.0])
def test_gates_of_flat_and_large_maps_are_finite(case, dims, dtype, value):
    gate = made(case, dims).to(dtype).eval()
    x = torch.full((2, 16, *SIZES[dims]), value, dtype=dtype)
    x[:, ::2, ..., 0] *= 0.5
    y = gate(x)
    assert gate.gate(x).isfinite().all() and y.isfinite().all() and y.dtype == dtype


def test_bf16_autocast_follows_fp32_and_trains(case, dims):
    x = maps(dims)
    gate = awake(made(case, dims), x).float()
    x = x.float()
    for given in (x, x.bfloat16()):
        with torch.no_grad():
            with torch.autocast("cpu", torch.bfloat16):
                half = gate.gate(given).float()
            assert float((half - gate.gate(x)).norm()) < 0.03 * float(half.norm())
    given = x.bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = gate.train()(given, given)
    assert y.dtype == torch.bfloat16
    y.float().square().mean().backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in (given, *gate.parameters()))


@pytest.mark.slow
def test_export_computes_the_same_for_any_batch_and_size(case, dims):
    x = maps(dims)
    gate = awake(made(case, dims), x)
    free = {0: torch.export.Dim("batch"), **{2 + axis: torch.export.Dim(f"side{axis}") for axis in range(dims)}}
    program = torch.export.export(gate, (maps(dims, count=2),), dynamic_shapes=(free,)).module()
    with torch.no_grad():
        for given in (x, maps(dims, count=4, size=(7, 9, 8)[:dims])):
            torch.testing.assert_close(program(given), gate(given), rtol=1e-12, atol=1e-12)


@pytest.mark.slow
def test_onnx_computes_the_same(case, dims):
    import io

    import onnxruntime

    x = maps(dims)
    gate = awake(made(case, dims), x).float()
    x = x.float()
    program = torch.onnx.export(gate, (x[:2],), dynamo=True, dynamic_shapes=({0: torch.export.Dim("batch")},),
                                verbose=False)
    program.save(file := io.BytesIO())
    found = onnxruntime.InferenceSession(file.getvalue()).run(None, {program.model.graph.inputs[0].name: x.numpy()})[0]
    with torch.no_grad():
        expected = gate(x)
    assert float((torch.from_numpy(found) - expected).abs().max()) < 1e-5 * float(expected.abs().max())


@pytest.mark.parametrize("position", PLACES)
def test_open_in_a_network_it_changes_nothing_at_first(opening, position):
    images = varied_images(2, size=(16, 12))
    plan = AttentionPlan(kind=opening[0], position=position, start="open", options=opening[1])
    model = create_model("resnet20", num_classes=3, shortcut="conv", attention=plan).double().eval()
    plain = lively(create_model("resnet20", num_classes=3, shortcut="conv"), images)
    missing, unexpected = model.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected and missing and all("attention." in key for key in missing)
    with torch.no_grad():
        expected = plain(images)
        assert_sees_its_input(expected)
        assert torch.equal(model(images), expected)
    gates = split_parameters(model)["gates"]
    assert gates == [key for key, _ in model.named_parameters() if "attention." in key]
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.float().train()(images.float()).float().square().sum()
    loss.backward()
    assert any(bool((model.get_parameter(key).grad != 0).any()) for key in gates)


def inflated(state, like, centre=True):
    """The weights of a gate for images as one for volumes has them: kernels in the middle slice, or in the first.

    Coordinate attention's gate along the depth has no counterpart in 2-D: it stays at zero, so open at exactly 1.
    """
    found = dict(like)
    for key, value in state.items():
        if key.startswith("excite.") and key.split(".")[1].isdigit():
            key = f"excite.{int(key.split('.')[1]) + 1}.{key.split('.')[2]}"
        if found[key].shape != value.shape:
            grown = torch.zeros_like(found[key])
            grown[:, :, grown.shape[2] // 2 if centre else 0] = value
            value = grown
        found[key] = value
    return found


def twins(case, x, centre=True):
    """The outputs of a gate for images and of its twin for volumes on eight times the same slice."""
    start = "paper" if case[0] == "simam" else "open"
    flat = awake(made(case, 2, start=start), x)
    deep = made(case, 3, start=start).double().eval()
    deep.load_state_dict(inflated(flat.state_dict(), deep.state_dict(), centre))
    volume = x.unsqueeze(2).expand(-1, -1, 8, -1, -1)
    with torch.no_grad():
        return flat(x).unsqueeze(2).expand_as(volume), deep(volume)


# Not exactly so: GCT's eps is added to a sum over space, which eight slices make eight times as large; SimAM divides
# by the number of places less one, and 8 n - 1 is not 8 (n - 1).
NEARLY = {"gct": 1e-3, "simam": 0.05}


def test_a_volume_of_one_slice_repeated_is_gated_as_the_slice(case):
    expected, got = twins(case, maps(2))
    apart = float((expected - got).abs().max() / expected.abs().max())
    if case[0] in NEARLY:
        assert 1e-12 < apart < NEARLY[case[0]]
    else:
        assert apart < 1e-12


def test_wrong_names_are_named(case, dims):
    with pytest.raises(UsageError, match="start must be 'paper' or 'open', got 'closed'"):
        made(case, dims, start="closed")
    with pytest.raises(UsageError, match=r"dims must be 2 \(images\) or 3 \(volumes\), got 4"):
        made(case, 4)


class Forgetful(SqueezeExcitation):
    """Adds nothing."""

    def forward(self, x, add=None):
        return super().forward(x)


class Halved(SqueezeExcitation):
    """Never more than a half."""

    def gate(self, x):
        return super().gate(x) * 0.5


class Stuck(SqueezeExcitation):
    """One at first, and at last."""

    def gate(self, x):
        return torch.sigmoid(self.excite(x.mean((2, 3), keepdim=True).relu().mean(1, keepdim=True).expand(
            -1, self.squeeze.out_channels, -1, -1)) * 0 + 20).round()


class Mixing(SqueezeExcitation):
    """Looks at the whole batch."""

    def gate(self, x):
        return super().gate(x - x.mean(0, keepdim=True))


class Sharing(SqueezeExcitation):
    """Copies keep the first one's layers."""

    def __deepcopy__(self, memo):
        twin = copy.copy(self)
        twin._modules = self._modules
        return twin


class Loose(nn.Module):
    """Takes anything."""

    def __init__(self, channels, **options):
        super().__init__()


@pytest.mark.parametrize(("kind", "check"), [(Forgetful, check_factors), (Halved, check_open), (Stuck, check_open),
                                             (Mixing, check_alone), (Sharing, check_copy)])
def test_a_faulty_attention_would_be_found_out(kind, check):
    x = maps(2)
    check(SqueezeExcitation(16, start="open") if check is check_open else awake(SqueezeExcitation(16), x), x)
    gate = kind(16, start="open") if check is check_open else awake(kind(16), x)
    with pytest.raises(AssertionError):
        check(gate, x)


def test_loose_arguments_and_a_kernel_in_the_wrong_slice_would_be_found_out():
    with pytest.raises(AssertionError):
        check_common_arguments(Loose)
    expected, got = twins(("cbam", {}), maps(2), centre=False)
    assert not torch.allclose(expected, got, rtol=1e-3)
    assert isinstance(made(("cbam", {}), 2), ConvolutionalBlockAttention)
