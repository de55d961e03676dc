"""The graph of a whole scene is the network on every window, or there is no such graph."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from excite.attention.plan import AttentionPlan
from excite.deploy import scene_network
from excite.deploy.scene_network import SceneNetwork, export_scene, whole_form
from excite.deploy.session import open_session
from excite.errors import ParityError, UsageError
from excite.models.hybridsn import HybridSN
from scene_bundles import KEPT, logits_of, network

SCENE = np.random.default_rng(0).standard_normal((15, 12, KEPT)).astype(np.float32)
NOT_WHOLE = "group"


def padded(window: int) -> np.ndarray[Any, Any]:
    sides = ((window - 1) // 2, window // 2)
    return np.pad(SCENE, (sides, sides, (0, 0)), mode="reflect").transpose(2, 0, 1)[None]


def examples(window: int, count: int = 5) -> np.ndarray[Any, Any]:
    return np.random.default_rng(2).standard_normal((count, KEPT, window, window)).astype(np.float32)


def near(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any], limit: float = 1e-5) -> None:
    assert np.abs(expected).max() > 0.1 and np.ptp(expected, axis=(0, 1)).min() > 1e-3
    np.testing.assert_allclose(found, expected, atol=limit * np.abs(expected).max(), rtol=0)


@pytest.mark.parametrize("window", [9, 10, 13])
@pytest.mark.parametrize("options", [{}, {"normalisation": "batch"}, {"attention": AttentionPlan(kind="sse")}])
def test_a_scene_gets_what_its_windows_get(window: int, options: dict[str, Any]) -> None:
    model = network(window, **options)
    whole = whole_form(model)
    assert whole is not None
    with torch.inference_mode():
        found = whole.eval()(torch.from_numpy(padded(window).copy()))[0].permute(1, 2, 0).numpy()
    near(found, logits_of(model, SCENE, window))


@pytest.mark.slow
@pytest.mark.parametrize(("window", "normalisation"), [(9, "none"), (10, "batch"), (9, NOT_WHOLE)])
def test_the_graph_gives_what_the_network_gives_each_window(tmp_path: Path, window: int, normalisation: str) -> None:
    model = network(window, normalisation=normalisation).train()
    found = export_scene(model, tmp_path / "m.onnx", examples(window))
    assert model.training and found.n == 5 and found.agreement == 1 and found.max_rel < 1e-5
    session = open_session(tmp_path / "m.onnx", threads=1)
    expected = logits_of(model, SCENE, window)
    if normalisation == NOT_WHOLE:
        assert [one.name for one in session.get_outputs()] == ["logits", "features"]
        view = np.lib.stride_tricks.sliding_window_view(padded(window)[0], (window, window), axis=(1, 2))
        windows = np.ascontiguousarray(view.transpose(1, 2, 0, 3, 4).reshape(-1, KEPT, window, window))
        near(session.run(["logits"], {"images": windows})[0].reshape(expected.shape), expected, limit=5e-5)
        return
    logits = session.run(["logits"], {"images": np.ascontiguousarray(padded(window))})[0]
    near(logits[0].transpose(1, 2, 0), expected)
    assert [node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node].count("BatchNormalization") == 0


@pytest.mark.parametrize("model", [
    network(9, normalisation="group"), network(9, attention=AttentionPlan(kind="se")), nn.Sequential(nn.Flatten())])
def test_what_looks_at_a_window_as_a_whole_has_no_whole_form(model: nn.Module) -> None:
    assert whole_form(model) is None


def test_a_network_of_ones_own_that_is_a_kind_of_hybridsn_has_none() -> None:
    class Louder(HybridSN):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(x)

    assert whole_form(Louder(KEPT, num_classes=3, window=9)) is None


def test_the_reason_is_told_where_it_is_asked_for() -> None:
    with pytest.raises(UsageError, match=r"spectral\.0\.norm \(GroupNorm\) measures each window"):
        SceneNetwork(network(9, normalisation="group"))  # type: ignore[arg-type]


def test_the_dense_weights_are_copies_and_the_rest_is_the_networks_own() -> None:
    model: Any = network(9)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    whole = SceneNetwork(model)
    with torch.no_grad():
        for layer in (whole.dense, whole.hidden, whole.classifier):
            layer.weight.zero_()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert whole.spectral is model.spectral


@pytest.mark.slow
def test_a_graph_that_computes_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_convolution = scene_network._as_convolution

    def turned(layer: nn.Linear, side: int) -> nn.Conv2d:
        found = as_convolution(layer, side)
        if side > 1:
            found.weight.data = found.weight.data.flip(2)
        return found

    monkeypatch.setattr(scene_network, "_as_convolution", turned)
    with pytest.raises(ParityError, match="does not compute what the trained one does.*worst: window [0-4]"):
        export_scene(network(10), tmp_path / "m.onnx", examples(10))
