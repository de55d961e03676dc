"""A head on a frozen trunk: the vectors are the network's, the trunk stays bit for bit, the rest is an ordinary run."""

import json
import shutil
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file
from torch import Tensor, nn

from excite.data.augment import draw
from excite.data.preprocess import Preprocess
from excite.data.reading import read
from excite.data.sections import PreprocessSection
from excite.deploy.bundle import read_bundle
from excite.deploy.runtime import Predictor
from excite.engine.loop import Fit, fit
from excite.engine.signals import StopFlag
from excite.errors import ExciteError, Interrupted, ModelError, UsageError
from excite.jobs import run_folder as files
from excite.jobs import trunk_runtime
from excite.jobs.feature_cache import FeatureCache, digest
from excite.jobs.frozen_features import FEATURES, check, fit_head, told_time, trunk_hash
from excite.jobs.prepare import Prepared, prepare
from excite.jobs.run_folder import RunFolder
from excite.jobs.trunk_features import TrunkFeatures, Wanted
from excite.jobs.trunk_runtime import TrunkRuntimes, worst
from excite.models.classifier import create_model
from excite.progress import Progress, silent
from runs import simulated_table, small_config
from stand_ins import StopAt, Told

FROZEN: dict[str, object] = {"loop.frozen_features": True, "loop.feature_views": 3, "loop.epochs": 6,
                             "loop.batch_size": 16, "optim.lr": 0.02}


@dataclass(frozen=True, kw_only=True)
class Data:
    """A table of simulated planes, and files of weights whose vectors depend on the picture."""

    table: Path
    weights: Path
    with_gates: Path

    def prepared(self, cache: Path, *, model: nn.Module | None = None, **changes: object) -> Prepared:
        own = {"model.weights": str(self.weights), "cache.folder": cache, **FROZEN}
        return prepare(small_config(self.table, **own | changes), model=model)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    folder = tmp_path_factory.mktemp("planes")
    table, made = simulated_table(folder, patients=16), {}
    cache = folder / "unused"
    images = torch.from_numpy(prepare(small_config(table, **{"cache.folder": cache})).inputs(range(24)))
    for name, attention in (("plain", None), ("gates", "se@2,3")):
        torch.manual_seed(5)
        model = create_model("mobilenet_v2", num_classes=7, width=0.25, attention=attention)
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = None
                nn.init.uniform_(layer.weight, 0.8, 1.2)
                nn.init.normal_(layer.bias, 0.1, 0.1)
        with torch.no_grad():
            model.train()(images)
        made[name] = folder / f"{name}.safetensors"
        save_file({key: value for key, value in model.state_dict().items() if key.startswith("backbone.")}, made[name])
    return Data(table=table, weights=made["plain"], with_gates=made["gates"])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the export, which takes seconds: float32 of torch makes the vectors."""
    monkeypatch.setattr(trunk_runtime, "EXPORT_S", 1e9)
    monkeypatch.setattr(trunk_runtime, "ROUNDED", -1.0)


def trained(prepared: Prepared, folder: Path, *, progress: Progress | None = None,
            stop: StopFlag | None = None) -> Fit:
    with RunFolder(folder) as run:
        run.write(files.CONFIG, "seed: 1\n")
        return fit_head(run, prepared, progress=progress, stop=stop)


def bits(model: nn.Module, *, head: bool) -> dict[str, bytes]:
    return {name: value.contiguous().numpy().tobytes() for name, value in model.state_dict().items()
            if name.startswith("classifier") == head}


def vectors(prepared: Prepared, *, runtime: str | None = None) -> dict[Wanted, np.ndarray]:
    """Return the vectors of a run by view, all by one runtime where it is named."""
    record = None if runtime is None else {"train": runtime, "val": runtime}
    made = TrunkFeatures(prepared, trunk_hash(prepared.model), threads=1, progress=silent(), stop=StopFlag())
    found = made.features(record)
    return {Wanted("val", 0): found.val[0], **{Wanted("train", view): one for view, one in enumerate(found.train)}}


@torch.no_grad()
def own(prepared: Prepared, images: np.ndarray) -> np.ndarray:
    return deepcopy(prepared.model).eval().forward_features(torch.from_numpy(images)).numpy()  # type: ignore[operator]


# The trunk and its vectors.


def test_the_trunk_stays_bit_for_bit_and_the_head_learns(data: Data, tmp_path: Path, quick: None) -> None:
    prepared = data.prepared(tmp_path / "cache")
    prepared.model.train()
    trunk, head = bits(prepared.model, head=False), bits(prepared.model, head=True)
    assert any("running_var" in name for name in trunk) and any("num_batches" in name for name in trunk)
    done = trained(prepared, tmp_path / "run")
    assert bits(prepared.model, head=False) == trunk
    assert bits(prepared.model, head=True) != head
    assert not any(part.training for part in prepared.model.modules())
    assert done.epochs_done == 6 and done.history[-1]["val"]["loss"] < done.history[0]["val"]["loss"]
    assert all(one.is_contiguous() for one in prepared.model.parameters())  # as an export wants them


@pytest.mark.parametrize("runtime", ["float32", pytest.param("onnxruntime", marks=pytest.mark.slow)])
def test_the_vectors_are_the_networks_own(data: Data, tmp_path: Path, runtime: str) -> None:
    prepared = data.prepared(tmp_path / "cache")
    found, split = vectors(prepared, runtime=runtime), prepared.split
    expected = {Wanted("val", 0): prepared.inputs(split.val), Wanted("train", 0): prepared.inputs(split.train),
                Wanted("train", 1): prepared.inputs(split.train)[..., ::-1].copy()}
    drawn = np.empty_like(expected[Wanted("train", 0)])
    for place, row in enumerate(split.train):  # rendered one by one, with the change that (seed, view, row) draws
        out = np.empty((1, 64, 64, prepared.cache[row].shape[2]), prepared.cache[row].dtype)
        change = draw(prepared.config.augment, seed=prepared.config.seed, epoch=2, index=row)
        prepared.preprocess.render(prepared.cache[row], out=out[0], augmentation=change)
        drawn[place] = prepared.preprocess.normalise(out)[0].transpose(2, 0, 1)
    expected[Wanted("train", 2)] = drawn
    assert found.keys() == expected.keys()
    for one, images in expected.items():
        assert worst(found[one], own(prepared, images)) < trunk_runtime.EXACT  # 1e-5 with learnt weights, see below
    spread = found[Wanted("train", 0)]
    assert float(spread.std(0).max() / np.abs(spread).max()) > 0.01  # the vectors depend on the picture
    for view in (1, 2):
        assert worst(found[Wanted("train", view)], spread) > 0.01    # and on the view


def test_no_augmentation_is_one_view_and_no_mirroring_draws_the_second(data: Data, tmp_path: Path, quick: None) -> None:
    plain = data.prepared(tmp_path / "cache", **{"augment.enabled": False})
    assert set(vectors(plain)) == {Wanted("val", 0), Wanted("train", 0)}
    assert Wanted("train", 1).change(plain.config.augment) == "mirror"
    sided = plain.config.augment.model_copy(update={"horizontal_flip": 0.0})
    assert [Wanted("train", view).change(sided) for view in range(3)] == ["none", "drawn", "drawn"]


@pytest.mark.real
@pytest.mark.slow
def test_vectors_of_real_pictures_by_real_weights_are_the_networks_own(real_data: Path, tmp_path: Path) -> None:
    file = next((real_data / "weights").glob("mobilenet_v2-imagenet-dequantised.safetensors"))
    network = create_model("mobilenet_v2", num_classes=3, weights=file).eval()
    pictures = sorted((real_data / "busi" / "malignant").glob("*).png"))[:6]
    preprocess = Preprocess(PreprocessSection())
    images = torch.from_numpy(np.stack([preprocess(read(picture).image) for picture in pictures]))
    with torch.no_grad():
        expected = deepcopy(network).double().forward_features(images.double()).numpy()
    with TrunkRuntimes(network, shape=(3, 224, 224), threads=1, channels_last=True) as runtimes:
        for name in ("onnxruntime", "float32"):
            assert worst(runtimes.run(name)(images), expected) < 1e-5
        assert worst(runtimes.run("bfloat16")(images), expected) > trunk_runtime.ROUNDED  # which is why it is measured


@pytest.mark.parametrize("changes", [{"loop.sampler": "shuffle", "loss.class_weights": "balanced"},
                                     {"loop.sampler": "balanced", "loop.early_stopping": 1, "optim.lr": 0.2},
                                     {"loop.ema": 0.0, "loop.accumulate": 2, "optim.name": "sgd", "optim.clip": 0.1}])
def test_it_is_what_full_training_with_a_frozen_trunk_gives(data: Data, tmp_path: Path, quick: None,
                                                            changes: dict[str, object]) -> None:
    changes = {"augment.enabled": False, "model.dropout": 0.0, "loop.precision": "float32", **changes}
    frozen, whole = data.prepared(tmp_path / "cache", **changes), data.prepared(tmp_path / "cache", **changes)
    ours = trained(frozen, tmp_path / "frozen")
    config = whole.config
    theirs = fit(whole.model, whole.task, whole.loader("train", train=True), whole.loader("val"), optim=config.optim,
                 schedule=config.schedule, loop=config.loop.model_copy(update={"freeze_epochs": 6}), seed=config.seed,
                 folder=tmp_path, log=lambda _: None)
    assert (ours.epochs_done, ours.best_epoch, ours.stopped_early) == (theirs.epochs_done, theirs.best_epoch,
                                                                       theirs.stopped_early)
    for one, other in zip(ours.history, theirs.history, strict=True):
        assert one["val"]["loss"] == pytest.approx(other["val"]["loss"], rel=1e-4)
        assert one["train"]["loss"] == pytest.approx(other["train"]["loss"], rel=1e-4)
    one, other = (net.classifier.weight.detach() for net in (frozen.model, whole.model))
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4 * float(other.abs().max()))
    assert bits(whole.model, head=False) == bits(frozen.model, head=False)


# Which runtime.


def chosen(monkeypatch: pytest.MonkeyPatch, times: dict[str, float], errors: dict[str, float], *, total: int = 5000,
           export: bool = True) -> trunk_runtime.Choice:
    """Return what is chosen where the runtimes took so long and were so far off; 16-bit floats are at hand."""
    own = np.ones((2, 4), np.float32)

    class Planted(TrunkRuntimes):
        def __init__(self) -> None:
            pass

        def run(self, name: str) -> Callable[[Tensor], Any]:
            if name == "onnxruntime" and not export:
                raise ModelError("the network cannot be exported to ONNX")
            return lambda _: own * np.float32(1 + errors.get(name, 0.0))

    monkeypatch.setattr(trunk_runtime, "has_bfloat16", lambda: "bfloat16" in times)
    monkeypatch.setattr(trunk_runtime, "_measured", lambda runs, _: {name: times[name] for name in runs})
    return Planted().choose(torch.zeros(2, 1), total=total)


@pytest.mark.parametrize(("times", "errors", "train", "val"), [
    ((10, 4, 5), (1e-6, 5e-3), "onnxruntime", "onnxruntime"),
    ((10, 4, 3), (1e-6, 5e-3), "bfloat16", "onnxruntime"),
    ((10, 20, 3), (1e-6, 5e-3), "bfloat16", "float32"),
    ((10, 4, 3), (1e-6, 2e-2), "onnxruntime", "onnxruntime"),
    ((10, 4, 3), (1e-6, np.inf), "onnxruntime", "onnxruntime"),
    ((10, 4, 9), (1e-3, 5e-3), "float32", "float32"),
    ((10, 12, 9), (1e-6, 5e-3), "float32", "float32"),
])
def test_the_fastest_within_its_limit_is_chosen(monkeypatch: pytest.MonkeyPatch, times: tuple[float, ...],
                                                errors: tuple[float, ...], train: str, val: str) -> None:
    found = chosen(monkeypatch, dict(zip(("float32", "onnxruntime", "bfloat16"), times, strict=True)),
                   dict(zip(("onnxruntime", "bfloat16"), errors, strict=True)))
    assert (found.train, found.val) == (train, val)
    assert found.errors["float32"] == 0 and found.milliseconds["onnxruntime"] == times[1]
    assert f"{train}, the fastest within its limit" in found.reason and f"onnxruntime {times[1]:.1f} ms" in found.reason


def test_an_export_must_pay_and_may_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"float32": 10.0, "onnxruntime": 1.0}
    few = chosen(monkeypatch, times, {}, total=1000)
    assert few.train == "float32" and "an export takes longer than it can save on 1000 images" in few.reason
    assert chosen(monkeypatch, times, {}, total=1300).train == "onnxruntime"
    failed = chosen(monkeypatch, times, {}, export=False)
    assert failed.train == "float32" and "onnxruntime is left out: the network cannot be exported" in failed.reason


@pytest.mark.slow
def test_all_runtimes_are_measured_on_the_network_itself(data: Data, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trunk_runtime, "EXPORT_S", 0.0)
    prepared = data.prepared(tmp_path / "cache")
    with TrunkRuntimes(prepared.model, shape=prepared.shape, threads=1, channels_last=True) as runtimes:
        found = runtimes.choose(torch.from_numpy(prepared.inputs(prepared.split.val[:4])), total=100)
    assert found.errors["onnxruntime"] < trunk_runtime.EXACT and min(found.milliseconds.values()) > 0
    if "bfloat16" in found.errors:
        assert found.errors["bfloat16"] > 1e-4
    assert found.val in ("onnxruntime", "float32")


# What is kept.


def test_a_second_run_reads_what_the_first_made(data: Data, tmp_path: Path, quick: None) -> None:
    told, again = Told(), Told()
    first, second = data.prepared(tmp_path / "cache"), data.prepared(tmp_path / "cache")
    trained(first, tmp_path / "one", progress=told)
    trained(second, tmp_path / "two", progress=again)
    assert any("vectors made in" in text for text in told.texts)
    assert any(f"read from {tmp_path / 'cache' / 'features'}" in text for text in again.texts)
    assert not any("vectors made in" in text for text in again.texts)
    assert bits(first.model, head=True) == bits(second.model, head=True)
    assert (tmp_path / "one" / FEATURES).read_bytes() == (tmp_path / "two" / FEATURES).read_bytes()


def test_more_views_keep_those_at_hand(data: Data, tmp_path: Path, quick: None) -> None:
    before = vectors(data.prepared(tmp_path / "cache"))
    names = set((tmp_path / "cache" / "features").iterdir())
    after = vectors(data.prepared(tmp_path / "cache", **{"loop.feature_views": 4}))
    assert len(set((tmp_path / "cache" / "features").iterdir()) - names) == 1
    assert all(np.array_equal(before[one], after[one]) for one in before) and len(after) == len(before) + 1


@pytest.mark.parametrize("changes", [{"preprocess.mean": [0.1] * 3}, {"seed": 7}, {"augment.rotation": 3.0},
                                     {"preprocess.size": 72}, {"split.seed": 5}])
def test_what_decides_the_vectors_is_in_their_name(data: Data, tmp_path: Path, quick: None,
                                                   changes: dict[str, object]) -> None:
    facts = []
    for more in ({}, changes):
        prepared = data.prepared(tmp_path / "cache", **more)
        made = TrunkFeatures(prepared, trunk_hash(prepared.model), threads=1, progress=silent(), stop=StopFlag())
        facts.append([made.cache.file(made._facts(Wanted("train", view), "float32")) for view in (0, 2)])
    assert facts[0][1] != facts[1][1]
    assert (facts[0][0] == facts[1][0]) == (changes.keys() <= {"seed", "augment.rotation"})


def test_other_weights_and_another_build_are_another_trunk(data: Data, tmp_path: Path) -> None:
    model = data.prepared(tmp_path / "cache").model
    before = trunk_hash(model)
    model.classifier.weight.data += 1
    assert trunk_hash(model) == before
    name, value = next((name, one) for name, one in model.named_buffers() if name.endswith("running_mean"))
    value[:1] = torch.nextafter(value[:1], torch.tensor(9.0))
    assert trunk_hash(model) != before, name
    changed = deepcopy(model)
    next(layer for layer in changed.modules() if isinstance(layer, nn.BatchNorm2d)).eps = 1e-2
    assert trunk_hash(changed) != trunk_hash(model)


@pytest.mark.parametrize("fault", ["cut", "values", "shape"])
def test_a_damaged_file_is_said_and_made_again(data: Data, tmp_path: Path, quick: None, fault: str) -> None:
    before = vectors(data.prepared(tmp_path / "cache"))
    for file in (tmp_path / "cache" / "features").iterdir():
        content = bytearray(file.read_bytes())
        if fault == "shape":
            save_file({"features": torch.zeros(3, 4)}, file, {"sha256": digest(np.zeros((3, 4), np.float32))})
            continue
        if fault == "values":
            content[-3] ^= 1
        file.write_bytes(content[:-40] if fault == "cut" else content)
    told, prepared = Told(), data.prepared(tmp_path / "cache")
    trained(prepared, tmp_path / "run", progress=told)
    assert sum("is damaged" in text and "it is made again" in text for text in told.texts) == 4
    after = vectors(prepared)
    assert all(np.array_equal(before[one], after[one]) for one in before)


def test_vectors_that_are_not_this_networks_are_found_out(data: Data, tmp_path: Path, quick: None) -> None:
    prepared = data.prepared(tmp_path / "cache")
    before = vectors(prepared)
    for file in (tmp_path / "cache" / "features").iterdir():  # whole, and with a checksum that fits
        other = load_file(file)["features"] * np.float32(1.01)
        save_file({"features": torch.from_numpy(other)}, file, {"sha256": digest(other)})
    told = Told()
    trained(data.prepared(tmp_path / "cache"), tmp_path / "run", progress=told)
    assert sum("are not this network's: made again" in text for text in told.texts) == 4  # val, and three views
    after = vectors(prepared)
    assert all(np.array_equal(before[one], after[one]) for one in before)


def test_without_room_vectors_are_not_kept(tmp_path: Path, data: Data) -> None:
    told, section = Told(), data.prepared(tmp_path / "cache").config.cache
    small = FeatureCache(section.model_copy(update={"limit_gb": 1e-9}), progress=told)
    small.save({"a": 1}, np.ones((4, 5), np.float32))
    assert small.load({"a": 1}, count=4) is None and "no room" in told.texts[0]
    kept = FeatureCache(section, progress=told)
    kept.save({"a": 1}, np.ones((4, 5), np.float32))
    assert kept.load({"a": 1}, count=4) is not None and kept.load({"a": 2}, count=4) is None and len(told.texts) == 1


# Stopping and going on.


def test_a_resumed_run_ends_with_the_same_bits(data: Data, tmp_path: Path, quick: None) -> None:
    whole = data.prepared(tmp_path / "cache")
    looks = StopAt(10**9)
    done = trained(whole, tmp_path / "whole", stop=looks)
    of_vectors = -(-len(whole.split.val) // 8) + 3 * -(-len(whole.split.train) // 8)
    assert looks.looks > of_vectors + 20
    for look in (5, of_vectors + 1, of_vectors + 12, looks.looks - 2):  # of the first view; in the training
        folder, cache = tmp_path / f"cut{look}", tmp_path / f"cache{look}"
        with pytest.raises(Interrupted):
            trained(data.prepared(cache), folder, stop=StopAt(look + 1))
        shutil.rmtree(cache / "features", ignore_errors=True)  # they are made again, by the same runtime
        resumed = data.prepared(cache)
        assert trained(resumed, folder).best_value == done.best_value
        assert bits(resumed.model, head=True) == bits(whole.model, head=True), look


def test_epochs_of_milliseconds_write_no_file_each(data: Data, tmp_path: Path, quick: None) -> None:
    began = time.monotonic()
    done = trained(data.prepared(tmp_path / "cache", **{"loop.epochs": 60}), tmp_path / "run")
    written = sorted((tmp_path / "run" / "checkpoints").glob("*.json"))
    newest = int(written[-1].stem.removeprefix("checkpoint-"))
    assert done.epochs_done == 60 and newest <= 2 + (time.monotonic() - began)  # the first, the last, one a second
    resumed = trained(data.prepared(tmp_path / "cache", **{"loop.epochs": 60}), tmp_path / "run")
    assert resumed.history == done.history  # the last epoch is in the last file


def test_whole_views_survive_an_interruption(data: Data, tmp_path: Path, quick: None) -> None:
    prepared = data.prepared(tmp_path / "cache")
    batches = -(-len(prepared.split.val) // 8)
    with pytest.raises(Interrupted, match="whole views are kept"):
        trained(prepared, tmp_path / "run", stop=StopAt(batches + 3))
    assert len(list((tmp_path / "cache" / "features").glob("[!.]*"))) == 1


@pytest.mark.parametrize(("key", "value", "text"), [
    ("vectors", {"train": "0", "val": "0"}, r"began with another features: vectors\.train: '0' -> "),
    ("views", 9, r"another features: views: 9 -> 3"), ("train", "abacus", "names no runtimes: abacus"),
    ("trunk", "f00", r"another features: trunk: 'f00' -> ")])
def test_a_run_that_began_with_other_vectors_is_refused(data: Data, tmp_path: Path, quick: None, key: str,
                                                        value: object, text: str) -> None:
    trained(data.prepared(tmp_path / "cache"), tmp_path / "run")
    record = json.loads((tmp_path / "run" / FEATURES).read_text(encoding="utf-8"))
    (tmp_path / "run" / FEATURES).write_text(json.dumps(record | {key: value}), encoding="utf-8")
    with pytest.raises(UsageError, match=text):
        trained(data.prepared(tmp_path / "cache"), tmp_path / "run")


# What is refused.


@pytest.mark.parametrize(("changes", "text"), [
    ({"model.weights": "none"}, "the trunk's weights are random, and would stay so"),
    ({"loop.freeze_epochs": 2}, "loop.freeze_epochs must be left out with loop.frozen_features, got 2"),
    ({"loop.budget_minutes": 3}, "loop.budget_minutes must be left out with loop.frozen_features, got 3"),
    ({"model.attention.kind": "se", "model.attention.start": "open"},
     r"parameters of attention are fresh .* \(open gates are exactly 1 and would change nothing\)"),
    ({"model.attention.kind": "cbam", "model.attention.start": "paper"},
     r"parameters of attention are fresh .* \(gates of random values would only disturb the trunk\)"),
])
def test_a_plan_that_cannot_be_meant_is_refused(data: Data, tmp_path: Path, changes: dict[str, object],
                                                text: str) -> None:
    with pytest.raises(UsageError, match=text):
        check(data.prepared(tmp_path / "cache", **changes))


def test_gates_that_come_with_the_weights_are_no_fresh_ones(data: Data, tmp_path: Path, quick: None) -> None:
    prepared = data.prepared(tmp_path / "cache", **{"model.weights": str(data.with_gates),
                                                    "model.attention": "se@2,3:start=paper"})
    check(prepared)
    assert any(".attention." in name for name in prepared.model.state_dict())
    trunk = bits(prepared.model, head=False)
    trained(prepared, tmp_path / "run")
    assert bits(prepared.model, head=False) == trunk


def test_masks_are_refused(data: Data, tmp_path: Path) -> None:
    prepared = data.prepared(tmp_path / "cache")
    masks = replace(prepared, targets=[object()], config=prepared.config.model_copy(update={"task": "heads"}))
    with pytest.raises(UsageError, match=r"loop\.frozen_features is for classes, the work is heads"):
        check(masks)


class Own(nn.Module):
    """A network of somebody's own, which may do more than its parts."""

    def __init__(self, *, after: float = 1.0, counts: bool = False) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.layer = nn.Conv2d(3, 6, 5, stride=4)
        self.classifier = nn.Sequential(nn.Dropout(0.1), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
        self.register_buffer("seen", torch.zeros(()))
        self.after, self.counts = after, counts

    def forward_features(self, x: Tensor) -> Tensor:
        if self.counts:
            self.seen += 1
        return self.layer(x).relu().mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.forward_features(x)) * self.after


def test_a_network_of_ones_own_is_taken_where_it_is_its_two_parts(data: Data, tmp_path: Path, quick: None) -> None:
    prepared = data.prepared(tmp_path / "cache", model=Own())
    before = bits(prepared.model, head=False)
    done = trained(prepared, tmp_path / "run")
    assert bits(prepared.model, head=False) == before and len(bits(prepared.model, head=True)) == 4
    assert done.history[-1]["train"]["loss"] < done.history[0]["train"]["loss"]
    with pytest.raises(ModelError, match=r"the network is not classifier\(forward_features\(x\)\)"):
        trained(data.prepared(tmp_path / "cache", model=Own(after=1.01)), tmp_path / "other")
    bare = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4))
    with pytest.raises(UsageError, match="a Sequential has no forward_features and classifier"):
        check(data.prepared(tmp_path / "cache", model=bare))


def test_outputs_that_are_not_finite_are_told(data: Data, tmp_path: Path, quick: None) -> None:
    broken = Own()
    broken.layer.bias.data[2] = float("nan")
    with pytest.raises(ModelError, match="the trunk's outputs are not finite"):
        trained(data.prepared(tmp_path / "cache", model=broken), tmp_path / "run")


def test_a_trunk_that_changes_itself_is_found_out(data: Data, tmp_path: Path, quick: None) -> None:
    with pytest.raises(ModelError, match="the trunk changed while it was frozen"):
        trained(data.prepared(tmp_path / "cache", model=Own(counts=True)), tmp_path / "run")


def test_a_runtime_that_gives_something_else_is_found_out(data: Data, tmp_path: Path, quick: None,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    real, count = TrunkRuntimes.run, [0]
    ready = trunk_runtime.Choice(train="float32", val="float32", reason="", milliseconds={}, errors={})
    monkeypatch.setattr(TrunkFeatures, "_at_hand", lambda _: ready)

    def bent(self: TrunkRuntimes, name: str) -> Callable[[Tensor], Any]:
        run = real(self, name)

        def off(images: Tensor) -> Any:
            count[0] += 1
            return run(images) * np.float32(1 if count[0] <= 4 else 1.001)  # four views are looked at before

        return off

    monkeypatch.setattr(TrunkRuntimes, "run", bent)
    with pytest.raises(ModelError, match="vectors by float32 are not those of the network") as fault:
        trained(data.prepared(tmp_path / "cache"), tmp_path / "run")
    assert "view 0" in fault.value.message()


# As a whole.


def test_the_time_is_told_before(data: Data, tmp_path: Path) -> None:
    prepared = data.prepared(tmp_path / "cache")
    count = 3 * len(prepared.split.train) + len(prepared.split.val)
    head = bits(prepared.model, head=True)
    text = told_time(prepared)
    assert f"for {count} vectors (3 views of each training image), then " in text and "ms an epoch" in text
    assert bits(prepared.model, head=True) == head and not (tmp_path / "cache" / "features").exists()
    with pytest.raises(UsageError):
        told_time(data.prepared(tmp_path / "cache", **{"model.weights": "none"}))


@pytest.mark.slow
def test_the_run_is_an_ordinary_one(data: Data, tmp_path: Path) -> None:
    from excite.jobs.train import train

    config = small_config(data.table, **{"model.weights": str(data.weights), "cache.folder": tmp_path / "cache",
                                         "predict.views": "one", **FROZEN})
    run = train(config, out=tmp_path / "run")
    bundle, predictor = tmp_path / "run" / files.BUNDLE, Predictor(tmp_path / "run", threads=1)
    shipped = load_file(bundle / "weights.safetensors")
    trunk = load_file(data.weights)
    assert trunk.keys() <= shipped.keys()
    assert all(np.array_equal(shipped[name], value) for name, value in trunk.items())
    inputs = np.stack([predictor.prepare(run.manifest.path(run.manifest.rows[row]))[0] for row in run.split.val])
    logits, features = predictor.logits(inputs)
    kept = FeatureCache(config.cache, progress=silent()).folder
    found = [load_file(file)["features"] for file in kept.iterdir()]
    assert sum(one.shape == features.shape and worst(one, features) < 1e-4 for one in found) >= 1
    head = features @ shipped["classifier.weight"].T + shipped["classifier.bias"]
    np.testing.assert_allclose(logits, head, rtol=1e-4, atol=1e-4)
    assert read_bundle(bundle).parity and run.report.is_file() and run.evaluation.metrics["balanced_accuracy"]
    assert (tmp_path / "run" / "checkpoints").is_dir() and "only the head learns" in run.report.read_text("utf-8")
    again = train(config, out=tmp_path / "run")
    assert again.fit.best_value == run.fit.best_value
    with pytest.raises(ExciteError):
        train(small_config(data.table, **{**FROZEN, "model.weights": "none"}), out=tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
