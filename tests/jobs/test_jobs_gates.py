"""A bundle's gates are measured on a table; layers that are constant by construction are folded into a new one."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from bundles import pictures
from excite import create_model, load
from excite.attention.plan import AttentionPlan
from excite.data.preprocess import Preprocess
from excite.data.sections import PreprocessSection
from excite.deploy.bundle import BundleInfo, read_bundle
from excite.deploy.ship import export_bundle
from excite.errors import DataError, UsageError
from excite.explain.fold_choice import Promise
from excite.explain.gates import gate_layers
from excite.jobs.export import rebuild
from excite.jobs.gates.measure import measure_gates
from excite.layers.gate import Gate

pytestmark = pytest.mark.slow
SIZE = 32
PLAN = {"kind": "se", "position": "standard", "stages": (1, 2), "blocks": None, "start": "paper",
        "options": {"reduction": 8}}
RECORD = {"name": "resnet20", "dims": 2, "in_channels": 3, "num_classes": 2, "options": {}, "attention": PLAN}


def constant(gate: nn.Module, seed: int) -> None:
    """Let a gate give the same factors whatever it sees."""
    nn.init.zeros_(gate.excite.weight)
    with torch.no_grad():
        gate.excite.bias.copy_(torch.randn(gate.excite.bias.shape, generator=torch.Generator().manual_seed(seed)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a bundle, whose layers of stage 1 are constant, and table.csv."""
    folder = tmp_path_factory.mktemp("gates")
    files = pictures(folder / "images", 10)
    preprocess = Preprocess(PreprocessSection(size=SIZE))
    images = np.stack([preprocess(np.asarray(Image.open(file))[None]) for file in files])
    torch.manual_seed(0)
    model = create_model("resnet20", num_classes=2, attention=AttentionPlan(**PLAN))
    with torch.no_grad():
        for _ in range(3):
            model.train()(torch.from_numpy(images))
        model.classifier.weight.mul_(50)
        for seed, (name, gate) in enumerate(gate_layers(model).items()):
            gate.excite.weight.mul_(30)
            if "stages.1." in name:
                constant(gate, seed)
    info = BundleInfo(name="toy", classes=("a", "b"), model=dict(RECORD), preprocess=preprocess.to_json())
    export_bundle(model.eval(), folder / "bundle", info=info, images=images, files=files)
    rows = "".join(f"images/{file.name},{'ab'[place % 2]},p{place // 2}\n" for place, file in enumerate(files))
    (folder / "table.csv").write_text(f"image,label,patient_id\n{rows}")
    return folder


def test_the_report_says_which_layers_are_constant(made: Path, tmp_path: Path) -> None:
    found = measure_gates(made / "bundle", made / "table.csv", out=tmp_path / "out", threads=1, resamples=50)
    assert (found.part, found.n, found.fold) == ("table", 10, None)
    fixed = {one.name for one in found.layers if "live" not in one.states}
    assert fixed == {one.name for one in found.layers if "stages.1." in one.name} and 0 < len(fixed) < len(found.layers)
    lost = {(one.name, one.how): one.lost for one in found.costs}
    for name in fixed:
        assert abs(lost[name, "mean"]["log_likelihood"].value) < 1e-6
        assert lost[name, "mean"]["accuracy"].value == 0
    said = " ".join(found.words)
    assert said.startswith("Gates are about channels, not regions") and "attend to nothing" in said
    tree = json.loads((tmp_path / "out" / "gates.json").read_text())
    assert [one["name"] for one in tree["layers"]] == [one.name for one in found.layers]
    assert set(tree["scores"]) == {"accuracy", "log_likelihood"}
    with (tmp_path / "out" / "gates.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == sum(len(one.states) for one in found.layers) and "mean of b" in rows[0]
    first = found.layers[0]
    assert float(rows[0]["mean"]) == pytest.approx(first.mean[0], rel=1e-5)
    assert "eta squared takes inputs for independent" in " ".join(found.notes)  # two images a patient


def test_constant_layers_are_folded_into_a_new_bundle_that_answers_alike(made: Path, tmp_path: Path) -> None:
    found = measure_gates(made / "bundle", made / "table.csv", out=tmp_path / "out", threads=1, resamples=50,
                          fold=Promise(difference=1e-4)).fold
    assert found is not None and found.bundle == tmp_path / "out" / "bundle"
    assert all("stages.1." in name and text.startswith("before: ") for name, text in found.into.items()) and found.into
    assert all("gates vary with the input" in why for why in found.left.values()) and found.left
    assert found.difference < 1e-4 and found.lost["accuracy"].value == 0
    assert found.parameters[1] < found.parameters[0] and found.before.median > 0 < found.after.median
    info = read_bundle(found.bundle)
    assert info.parity["n"] == 10 and info.provenance["folded"]["gates"] == found.into and info.metrics == {}
    network = rebuild(info, found.bundle / "weights.safetensors")
    assert list(gate_layers(network)) == list(found.left)
    files = sorted((made / "images").iterdir())
    for a, b in zip(load(made / "bundle")(files), load(found.bundle)(files), strict=True):
        assert list(a.probabilities.values()) == pytest.approx(list(b.probabilities.values()), abs=1e-4)


def test_a_stated_loss_folds_live_layers_too_and_none_of_them_without(made: Path, tmp_path: Path) -> None:
    found = measure_gates(made / "bundle", made / "table.csv", out=tmp_path / "out", threads=1, resamples=50,
                          fold=Promise(loss=1.0)).fold
    assert found is not None and not found.left and len(found.into) > 2
    info = read_bundle(found.bundle)
    assert info.model["attention"] is None
    network = rebuild(info, found.bundle / "weights.safetensors")
    assert not any(isinstance(part, Gate) for part in network.modules())


def test_a_promise_that_cannot_be_kept_folds_nothing(made: Path, tmp_path: Path) -> None:
    found = measure_gates(made / "bundle", made / "table.csv", out=tmp_path / "out", threads=1, resamples=50,
                          fold=Promise(difference=1e-12)).fold
    assert found is not None and not found.into and found.bundle is None and not (tmp_path / "out" / "bundle").exists()
    assert any("a probability changes by" in why for why in found.left.values())


def test_files_that_cannot_be_read_are_told_and_the_rest_is_measured(made: Path, tmp_path: Path) -> None:
    text = (made / "table.csv").read_text() + "images/none.png,a,p9\n"
    (made / "more.csv").write_text(text)
    found = measure_gates(made / "bundle", made / "more.csv", out=tmp_path / "out", threads=1, resamples=20)
    assert found.n == 10 and len(found.failed) == 1 and "none.png" in found.failed[0]["error"]


def test_a_network_for_masks_is_scored_by_dice(tmp_path: Path) -> None:
    rng, folder = np.random.default_rng(0), tmp_path / "masks"
    folder.mkdir()
    lines = []
    for place in range(5):
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[4 + place:20, 5:25] = 255
        Image.fromarray((mask // 2 + rng.integers(0, 60, mask.shape)).astype(np.uint8)).save(folder / f"{place}.png")
        Image.fromarray(mask).save(folder / f"{place}-mask.png")
        lines.append(f"{place}.png,{place}-mask.png\n")
    (folder / "table.csv").write_text("image,mask\n" + "".join(lines))
    preprocess = Preprocess(PreprocessSection(size=SIZE, channels=1, mean=(0.5,), std=(0.5,)))
    torch.manual_seed(0)
    record = {"name": "unet", "dims": 2, "in_channels": 1, "num_classes": 1,
              "options": {"encoder": "resnet20"}, "attention": PLAN | {"stages": None}}
    model = create_model("unet", in_channels=1, num_classes=1, encoder="resnet20",
                         attention=AttentionPlan(**record["attention"])).eval()
    files = [folder / f"{place}.png" for place in range(5)]
    images = np.stack([preprocess(np.asarray(Image.open(file))[None]) for file in files])
    info = BundleInfo(name="toy", task="segmentation", classes=("region",), model=record,
                      preprocess=preprocess.to_json())
    export_bundle(model, folder / "bundle", info=info, images=images, files=files)
    found = measure_gates(folder / "bundle", folder / "table.csv", out=tmp_path / "out", threads=1, resamples=20)
    assert found.n == 5 and list(found.costs[0].lost) == ["dice", "log_likelihood"]
    assert found.layers[0].eta is None and not any("class" in text.split("(")[0] for text in found.words[1:])


def test_faults_are_told(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="a bundle has no data of its own; name a table with --data, or the run"):
        measure_gates(made / "bundle", out=tmp_path)
    with monkeypatch.context() as patch, pytest.raises(
            UsageError, match=r"gates are not measured for bundles of task 'classification'; .* takes any network"):
        patch.setattr("excite.jobs.gates.inputs.BUILT", ("volumes",))
        measure_gates(made / "bundle", made / "table.csv", out=tmp_path)
    (made / "other.csv").write_text((made / "table.csv").read_text().replace(",a,", ",c,"))
    with pytest.raises(DataError, match="labels that the network does not know: 'c'"):
        measure_gates(made / "bundle", made / "other.csv", out=tmp_path)
