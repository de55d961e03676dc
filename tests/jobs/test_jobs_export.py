"""A run or bundle is exported again from its weights, proved on the run's own pictures."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from bundles import linear_bundle, pictures
from excite import create_model, load
from excite.data.preprocess import Preprocess
from excite.data.sections import PreprocessSection
from excite.deploy.bundle import BundleInfo, read_bundle, write_bundle
from excite.deploy.ship import export_bundle
from excite.errors import DataError, ModelError, UsageError
from excite.jobs.export import export_again

pytestmark = pytest.mark.slow
SIZE = 32
RECORD = {"name": "mobilenet_v2", "dims": 2, "in_channels": 3, "num_classes": 2, "options": {"width": 0.25},
          "attention": {"kind": "se", "position": "standard", "stages": (3, 4), "start": "paper",
                        "options": {"reduction": 8}}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder as far as an export needs it."""
    from excite.attention.plan import AttentionPlan

    run = tmp_path_factory.mktemp("work") / "run"
    files = pictures(run.parent / "images", 6)
    preprocess = Preprocess(PreprocessSection(size=SIZE))
    images = np.stack([preprocess(np.asarray(Image.open(file))[None]) for file in files])
    torch.manual_seed(0)
    model = create_model("mobilenet_v2", num_classes=2, width=0.25,
                         attention=AttentionPlan(**RECORD["attention"]))  # type: ignore[arg-type]
    with torch.no_grad():
        for _ in range(3):
            model.train()(torch.from_numpy(images))
        model.classifier.weight.mul_(50)
    info = BundleInfo(name="run", classes=("a", "b"), model=dict(RECORD), preprocess=preprocess.to_json())
    export_bundle(model, run / "bundle", info=info, images=images, files=files)
    rows = "".join(f"../images/{file.name},{'ab'[place % 2]}\n" for place, file in enumerate(files))
    (run / "manifest.csv").write_text(f"image,label\n{rows}")
    split = {"train": [0, 1], "val": [2, 3, 4], "test": [5], "units": [str(place) for place in range(6)],
             "unit_kind": "image", "notes": []}
    (run / "split.json").write_text(json.dumps(split))
    return run


def test_the_new_bundle_has_the_same_weights_and_answers(run: Path, tmp_path: Path) -> None:
    info = export_again(run, tmp_path / "again")
    assert info.parity["n"] == 3 and "exported_again" in info.provenance  # the validation images
    old, new = load_file(run / "bundle" / "weights.safetensors"), load_file(tmp_path / "again" / "weights.safetensors")
    assert old.keys() == new.keys() and all(torch.equal(old[key], new[key]) for key in old)
    files = sorted((run.parent / "images").iterdir())
    for a, b in zip(load(run)(files), load(tmp_path / "again")(files), strict=True):
        assert list(a.probabilities.values()) == pytest.approx(list(b.probabilities.values()), abs=1e-6)


def test_a_bundle_alone_asks_for_images(run: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    info = read_bundle(run / "bundle")
    write_bundle(alone, info, weights=run / "bundle" / "weights.safetensors", onnx=run / "bundle" / "model.onnx")
    with pytest.raises(UsageError, match="no images to prove the export on; name some with --data FOLDER"):
        export_again(alone, tmp_path / "again")
    assert export_again(alone, tmp_path / "again", data=[run.parent / "images"], images=4).parity["n"] == 4
    with pytest.raises(DataError, match="none.png"):
        export_again(alone, tmp_path / "again", data=[tmp_path / "none.png"])


def test_weights_that_do_not_fit_are_named(run: Path, tmp_path: Path) -> None:
    state = load_file(run / "bundle" / "weights.safetensors")
    state["classifier.weight"] = state["classifier.weight"][:, :5].contiguous()
    state["extra"] = state.pop("classifier.bias")
    save_file(state, tmp_path / "w.safetensors")
    write_bundle(tmp_path / "bad", read_bundle(run / "bundle"), weights=tmp_path / "w.safetensors",
                 onnx=run / "bundle" / "model.onnx")
    with pytest.raises(ModelError, match=r"1 missing \(classifier.bias\); 1 left over \(extra\); 1 of another shape "
                                         r"\(classifier.weight\)"):
        export_again(tmp_path / "bad", tmp_path / "again", data=[run.parent / "images"])


def test_a_network_of_the_callers_own_cannot_be_rebuilt(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not say how to build its network"):
        export_again(linear_bundle(tmp_path / "own"), tmp_path / "again")


def test_a_dotted_name_in_a_bundle_is_never_imported(run: Path, tmp_path: Path) -> None:
    info = replace(read_bundle(run / "bundle"), model=dict(RECORD) | {"name": "os.system"})
    write_bundle(tmp_path / "evil", info, weights=run / "bundle" / "weights.safetensors",
                 onnx=run / "bundle" / "model.onnx")
    with pytest.raises(UsageError, match="unknown .*'os.system'"):
        export_again(tmp_path / "evil", tmp_path / "again", data=[run.parent / "images"])


def test_a_bundle_for_masks_is_proved_in_millimetres_again(tmp_path: Path) -> None:
    """From a run with a table of masks and pixel sizes, and from the bundle alone with a table."""
    from excite.ellipse import Ellipse
    from mask_bundles import bright, mask_info, saved

    record = {"name": "aspp_se_unet", "dims": 2, "in_channels": 1, "num_classes": 1, "attention": None,
              "options": {"base": 4, "aspp_use_groupnorm": False, "atrous_rates": [1, 2, 4]}}
    info = mask_info((64, 96), model=record, thresholds={"level": 0.4}, views="flip",
                     interval={"level": 0.9, "quantile": 1.5, "base_mm": 2.0, "n": 30})
    preprocess = Preprocess.from_json(info.preprocess)
    run = tmp_path / "run"
    files = [saved(bright(Ellipse(95.0 + place, 70, 50, 40, 0.1 * place), (135, 200)), tmp_path / f"{place}_HC.png")
             for place in range(4)]
    images = np.stack([preprocess(np.asarray(Image.open(file))[None]) for file in files])
    torch.manual_seed(0)
    model = create_model("aspp_se_unet", num_classes=1, base=4, aspp_use_groupnorm=False, atrous_rates=(1, 2, 4))
    with torch.no_grad():
        for _ in range(3):
            model.train()(torch.from_numpy(images))
        model.eval().output.bias.sub_(model(torch.from_numpy(images)).median())
    export_bundle(model, run / "bundle", info=info, images=images, files=files)
    table = "image,label,mask,spacing\n" + "".join(f"../{file.name},,../{file.name},0.3 0.3\n" for file in files)
    (run / "manifest.csv").write_text(table)
    (run / "split.json").write_text(json.dumps({"train": [0], "val": [1, 2], "test": [3], "units": list("0123"),
                                                "unit_kind": "image", "notes": []}))
    again = export_again(run, tmp_path / "again")
    assert again.parity["n"] == 2 and again.parity["hc_unit"] == "mm" and again.parity["dice"] > 0.9999
    assert (again.level, again.interval, again.task) == (0.4, info.interval, "heads")
    for a, b in zip(load(run)(files), load(tmp_path / "again")(files), strict=True):
        assert a == b
    (tmp_path / "table.csv").write_text("image,spacing\n" + "".join(f"{file.name},0.3\n" for file in files))
    (run / "bundle").rename(tmp_path / "alone")
    found = export_again(tmp_path / "alone", tmp_path / "third", data=[tmp_path / "table.csv"])
    assert found.parity["n"] == 4 and found.parity["hc_unit"] == "mm"
