"""Insertion into networks which nobody here wrote."""

import copy

import pytest
import torch

from excite.attention.insertion.insert import insert, inserted_plan
from excite.attention.insertion.locate import located
from excite.errors import UsageError
from insertion_checks import AWAKE, COMPILERS, awake, equal_at_start, equal_in_training, learns, output
from insertion_zoo import NETWORKS, POSITIONS, of_monai, public, stages
from lively import assert_equal, lively, varied_images
from references import of_timm, of_torchvision

pytestmark = pytest.mark.peers

COMPILED = ("torchvision resnet18", "torchvision mobilenet_v2", "torchvision convnext_tiny", "timm regnety_008",
            "MONAI 3-D UNet")
QUICK = ("torchvision resnet18", "torchvision mobilenet_v2", "timm convnext_atto", "MONAI 3-D UNet")
ALL = [pytest.param(label, marks=() if label in QUICK else pytest.mark.slow) for label in NETWORKS]
LEARNING = ("torchvision resnet18", "torchvision mobilenet_v2", "timm convnext_atto", "MONAI 3-D UNet")


@pytest.mark.parametrize("label", NETWORKS)
def test_every_residual_block_is_found(label):
    found = located(public(label)[0])
    counts = [sum(block.stage == stage for block in found.blocks) for stage in range(found.blocks[-1].stage + 1)]
    assert tuple(counts) == stages(label)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("label", ALL)
def test_nothing_changes_at_first(label, position):
    base, x = public(label)
    for kind in ("se", "eca", "cbam") if position != "inner" else ("se",):
        model = copy.deepcopy(base)
        report = insert(model, f"{kind}:position={position}")
        assert report.unchanged and len(report.places) + len(report.refused) == sum(stages(label))
        assert equal_at_start(base, model, x) and equal_in_training(base, model, x)
    with torch.no_grad():
        assert not torch.allclose(output(awake(model).eval(), x), output(base.eval(), x), rtol=1e-2)


def survived(label, checks):
    """The checks that a network with SE at the standard position does not pass, with what is wrong."""
    base, x = public(label)
    model = copy.deepcopy(base)
    insert(model)
    awake(model)
    return {name: found for name, check in checks.items() if (found := check(base, model, x)) is not True}


@pytest.mark.parametrize("label", ALL)
def test_survives(label):
    assert survived(label, AWAKE) == {}


@pytest.mark.slow
@pytest.mark.parametrize("label", COMPILED)
def test_survives_the_compilers(label):
    assert survived(label, COMPILERS) == {}


@pytest.mark.slow
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("label", LEARNING)
def test_every_gate_learns(label, position):
    base, x = public(label)
    model = copy.deepcopy(base)
    insert(model, f"se:position={position}")
    assert learns(base, model, x) is True


def moved(state, names):
    """Weights of a network with its own attention under the names of the inserted one."""
    for old, new in names.items():
        state = {key.replace(old, new): value for key, value in state.items()}
    return state


@pytest.mark.parametrize(("plain", "theirs", "plan", "names"), [
    ("resnet50", "seresnet50", "se:start=paper",
     {".se.fc1.": ".attention.squeeze.", ".se.fc2.": ".attention.excite."}),
    ("resnet26t", "ecaresnet26t", "eca:start=paper", {".se.conv.": ".attention.excite."}),
])
def test_the_public_network_with_attention_is_the_one_without_and_an_insertion(plain, theirs, plan, names):
    x = varied_images(2)
    reference, ours = lively(of_timm(theirs), x), of_timm(plain).double().eval()
    report = insert(ours, plan)
    forms = {key: value for key, value in ours.state_dict().items() if key.endswith(("form", "position"))}
    ours.load_state_dict(moved(reference.state_dict(), names) | forms)
    assert len(report.places) == {"resnet50": 16, "resnet26t": 8}[plain] and not report.unchanged
    with torch.no_grad():
        assert_equal(ours(x), reference(x))


@pytest.mark.parametrize("build", [
    lambda: of_torchvision("densenet121"), lambda: of_torchvision("shufflenet_v2_x0_5"), lambda: of_timm("vgg11"),
    lambda: of_timm("vit_tiny_patch16_224"), lambda: of_torchvision("googlenet", init_weights=False),
    lambda: of_monai("DenseNet121", in_channels=1, out_channels=2)])
def test_a_network_without_residual_sums_is_refused(build):
    model = build()
    with pytest.raises(UsageError, match="has no residual sum that attention could go to .*; networks that"):
        insert(model)
    assert inserted_plan(model) is None


def test_a_network_that_asks_for_larger_images_gets_them():
    assert located(of_timm("inception_resnet_v2")).input_size == (3, 224, 224)


