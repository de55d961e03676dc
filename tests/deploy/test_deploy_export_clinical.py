"""Networks of two inputs: images and clinical values, whose NaN means missing in the exported graph too."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from excite.deploy.export import export
from excite.deploy.parity import RELATIVE_LIMIT, parity
from excite.errors import ParityError
from excite.models.classifier import create_model

SHAPE = (4, 32, 32)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def given():
    random = np.random.default_rng(0)
    images = random.normal(0, 1, (8, 2, *SHAPE)).astype(np.float32)
    images[2, 1] = 0
    clinical = random.normal(0, 1, (8, 3)).astype(np.float32)
    clinical[1, 0] = clinical[2, 1:] = clinical[3] = clinical[5, 2] = np.nan
    return images, clinical


@pytest.fixture(scope="module")
def model(given):
    """A network whose batch norms have measured the images, and whose logits see them."""
    torch.manual_seed(3)
    net = create_model("modality_fusion", dims=3, in_channels=2, num_classes=3, clinical=3, width=16,
                       trunk_options={"width": 0.25})
    for layer in net.modules():
        if isinstance(layer, torch.nn.BatchNorm3d):
            layer.momentum = None
    with torch.no_grad():
        net.train()(*map(torch.from_numpy, given))
        net.classifier.mlp[-1].weight.mul_(20)
    return net.eval()


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    return export(model, tmp_path_factory.mktemp("onnx") / "model.onnx", size=SHAPE, channels=2, clinical=3)


def test_the_graph_has_two_inputs_and_any_batch(model, given, exported):
    graph = onnx.load(exported).graph
    assert [one.name for one in graph.input] == ["images", "clinical"]
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    images, clinical = given
    for count in (1, 3, 8):
        [found] = session.run(["logits"], {"images": images[:count], "clinical": clinical[:count]})
        with torch.no_grad():
            expected = model(torch.from_numpy(images[:count]), torch.from_numpy(clinical[:count])).numpy()
        np.testing.assert_allclose(found, expected, atol=RELATIVE_LIMIT * np.abs(expected).max())


def test_missing_values_are_missing_and_each_value_counts(given, exported):
    images, clinical = given
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])

    def logits(values):
        return session.run(["logits"], {"images": images, "clinical": values.astype(np.float32)})[0]

    whole = logits(clinical)
    assert np.isfinite(whole).all()
    assert not np.allclose(whole, logits(np.nan_to_num(clinical)))  # a mean value is not a missing one
    for place in range(3):
        gone = clinical.copy()
        gone[:, place] = np.nan
        changed = np.abs(logits(gone) - whole).max(axis=1) > 1e-6
        assert (changed == ~np.isnan(clinical[:, place])).all()


def test_parity_holds_with_missing_values_and_a_graph_that_fills_them_is_caught(model, given, exported, tmp_path):
    images, clinical = given
    names = [f"line {row}" for row in range(8)]
    found = parity(model, exported, images, clinical=clinical, names=names, batch_size=3)
    assert found.n == 8 and found.agreement == 1
    graph = onnx.load(exported)
    for node in graph.graph.node:
        if node.op_type == "IsNaN":  # says of every value that it is known
            node.op_type, name = "Less", f"least{node.name}"
            graph.graph.initializer.append(numpy_helper.from_array(np.float32(-1e30), name))
            node.input.append(name)
    onnx.save(graph, tmp_path / "filled.onnx")
    with pytest.raises(ParityError, match=r"not finite|does not compute"):
        parity(model, tmp_path / "filled.onnx", images, clinical=clinical, names=names)
