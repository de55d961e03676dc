import copy

import pytest
import torch

from excite.attention.cbam import ConvolutionalBlockAttention
from excite.attention.plan import AttentionPlan
from excite.errors import UsageError
from excite.layers.residual import Residual
from excite.models.classifier import create_model
from lively import assert_equal, lively, varied_images
from references import cbam_names, resnet50_with_cbam

RESNET50 = 25_557_032


def size(model):
    return sum(value.numel() for value in model.parameters())


def test_has_the_papers_parameters():  # table 4: 28.09 M
    with torch.device("meta"):
        model = create_model("cbam_resnet50")
        bare = create_model("cbam_resnet50", attention=AttentionPlan(kind="cbam", options={"bias": False}))
    mlp = sum(blocks * c * c // 8 for blocks, c in ((3, 256), (4, 512), (6, 1024), (3, 2048)))
    biases = sum(blocks * (c + c // 16) for blocks, c in ((3, 256), (4, 512), (6, 1024), (3, 2048)))
    assert size(model) == 28_089_624 == RESNET50 + mlp + biases + 16 * (98 + 2)
    assert f"{size(model) / 1e6:.2f}" == "28.09"
    assert size(bare) == RESNET50 + mlp + 16 * 98


def test_every_block_has_its_own_cbam_in_the_authors_form():
    with torch.device("meta"):
        backbone = create_model("cbam_resnet50").backbone
    gates = [block.attention for block in backbone.modules() if isinstance(block, Residual)]
    assert len({id(gate) for gate in gates}) == len(backbone.attended()) == 16
    for gate in gates:
        assert isinstance(gate, ConvolutionalBlockAttention) and gate.spatial.norm.momentum == 0.01
        assert gate.squeeze.bias is not None and gate.start == "paper"


def test_options():
    with torch.device("meta"):
        model = create_model("cbam_resnet50", reduction=(4, 8, 16, 32))
        first, last = model.backbone.stages[0][1], model.backbone.stages[3][0]
        assert first.attention.squeeze.out_channels == last.attention.squeeze.out_channels == 64
        other = create_model("cbam_resnet50", attention=AttentionPlan(kind="se"))
        assert size(other) == size(create_model("se_resnet50"))
        with pytest.raises(UsageError, match="reduction and attention cannot be given together"):
            create_model("cbam_resnet50", reduction=8, attention=AttentionPlan(kind="cbam"))


@pytest.mark.parametrize("dims", [2, 3])
def test_trains_and_sees_its_input(dims):
    images = varied_images(2, size=(64, 64) if dims == 2 else (2, 33, 33)).float()
    model = create_model("cbam_resnet50", dims=dims, num_classes=3)
    model(images).square().sum().backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in model.parameters())


def test_open_gates_change_nothing_at_first():
    images = varied_images(2, size=(65, 64))
    plan = AttentionPlan(kind="cbam", start="open", options={"norm": True})
    model = create_model("cbam_resnet50", num_classes=3, attention=plan).double().eval()
    plain = lively(create_model("resnet50", num_classes=3), images)
    missing, unexpected = model.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected and all(".attention." in key for key in missing)
    with torch.no_grad():
        assert torch.equal(model(images), plain(images))


@pytest.mark.peers
@pytest.mark.parametrize("shape", [(64, 64), (97, 65)])
def test_equals_torchvisions_resnet50_with_timms_cbam(shape):
    images = varied_images(4, size=shape)
    theirs = lively(resnet50_with_cbam(), images)
    ours = create_model("cbam_resnet50", num_classes=7).double().eval()
    state = cbam_names(theirs.state_dict())
    forms = {key: value for key, value in ours.state_dict().items() if key.endswith(("form", "position"))}
    assert not forms.keys() & state.keys()
    ours.load_state_dict(state | forms)
    with torch.no_grad():
        assert_equal(ours(images), theirs(images))
        # Planted failures: spatial maps the other way round in one block, and the gate before the shortcut is joined.
        wrong = copy.deepcopy(ours)
        layer = wrong.backbone.stages[2][0].attention.spatial.conv
        layer.weight.copy_(layer.weight.flip(1))
        with pytest.raises(AssertionError):
            assert_equal(wrong(images), theirs(images))
