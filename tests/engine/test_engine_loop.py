"""The loop computes what a plain torch loop computes, and what it promises beyond that."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_toy import Net, Toy, ToyTask, bits, toy_fit
from torch import nn
from torch.nn import functional

from excite.engine import loop as loop_module
from excite.engine import state as state_module
from excite.engine.checkpoint import load_latest
from excite.engine.precision import Choice
from excite.engine.sections import LoopSection, OptimSection, ScheduleSection
from excite.engine.step import step_seed
from excite.errors import DataError, Interrupted, ModelError, UsageError
from excite.machine import usable_cores
from excite.progress import Progress
from stand_ins import StopAt

EVEN = {"count": 40, "batch_size": 8}  # 5 batches of 8: dividing by 8 is exact, so sums and means have the same bits


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Let the plain loops compute with the threads of ours: sums depend on them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Plain(ToyTask):
    """Cross-entropy without weights."""

    weights = torch.ones(3)


def plain_loop(epochs: int, *, lr: float = 0.05) -> tuple[nn.Module, list[float]]:
    """Train the toy with nothing but torch: SGD, StepLR each epoch, norms without weight decay."""
    model, data, losses = Net(), Toy(**EVEN), []
    vectors = [one for one in model.parameters() if one.ndim == 1]
    optimiser = torch.optim.SGD([{"params": [one for one in model.parameters() if one.ndim > 1]},
                                 {"params": vectors, "weight_decay": 0}], lr, momentum=0.9, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, 2, 0.5)
    for epoch in range(epochs):
        model.train()
        for number, batch in enumerate(data.batches(epoch)):
            torch.manual_seed(step_seed(3, epoch, number))
            loss = functional.cross_entropy(model(batch.images), batch.labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        schedule.step()
    return model, losses


def our_loop(folder: Path) -> tuple[dict[str, bytes], list[float]]:
    """Train the toy with the loop, 4 epochs of 5 steps; the weights are those of the last step."""
    held: dict[str, dict[str, bytes]] = {}
    patch = pytest.MonkeyPatch()
    patch.setattr(loop_module, "copy_into", lambda model, best: held.update(last=bits(model)))
    try:
        model, done = toy_fit(folder, train=Toy(**EVEN), task=Plain(), optim={"name": "sgd", "lr": 0.05,
                              "weight_decay": 0.01}, schedule={"name": "step", "step_size": 2, "gamma": 0.5},
                              loop={"channels_last": False})
    finally:
        patch.undo()
    return held["last"], [record["train"]["loss"] for record in done.history]


def test_20_steps_have_the_bits_of_a_plain_torch_loop(tmp_path: Path) -> None:
    theirs, losses = plain_loop(4)
    ours, means = our_loop(tmp_path)
    assert ours == bits(theirs)
    assert means == pytest.approx(np.reshape(losses, (4, 5)).mean(1), rel=1e-6)
    assert means[-1] < 0.7 * means[0]  # and it learns


@pytest.mark.parametrize("fault", ["gradients are kept", "the schedule starts a step late", "evaluation mode",
                                   "another random state", "decay of norms"])
def test_the_comparison_would_catch(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = bits(plain_loop(4)[0])
    if fault == "gradients are kept":
        monkeypatch.setattr(torch.optim.Optimizer, "zero_grad", lambda *a, **k: None)
    elif fault == "the schedule starts a step late":
        old = state_module.rate
        monkeypatch.setattr(state_module, "rate", lambda *a, epoch, **k: old(*a, epoch=max(0, epoch - 1), **k))
    elif fault == "evaluation mode":
        monkeypatch.setattr("excite.engine.freeze.Trunk.train", lambda self, **how: self.model.eval())
    elif fault == "another random state":
        monkeypatch.setattr("excite.engine.step.step_seed", lambda *a: 1)
    else:
        monkeypatch.setattr("excite.engine.optim.decays", lambda *a: True)
    assert our_loop(tmp_path)[0] != sound


def after_one_step(folder: Path, batch_size: int, accumulate: int) -> dict[str, torch.Tensor]:
    data = Toy(count=32, batch_size=batch_size)
    model, _ = toy_fit(folder, model=Net(norm=False, dropout=0), train=data, optim={"name": "sgd", "lr": 0.5},
                       schedule={"name": "constant"}, loop={"epochs": 1, "accumulate": accumulate})
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize(("batch_size", "accumulate"), [(8, 4), (4, 8), (12, 3)])
def test_accumulated_batches_are_one_big_batch(batch_size: int, accumulate: int, tmp_path: Path) -> None:
    big = after_one_step(tmp_path / "big", 32, 1)
    small = after_one_step(tmp_path / "small", batch_size, accumulate)
    for name, value in big.items():
        torch.testing.assert_close(small[name], value, rtol=1e-5, atol=1e-6)
    model, data, task = Net(norm=False, dropout=0), Toy(count=32, batch_size=batch_size), ToyTask()
    for batch in data.batches(0):  # planted: the mean of the batches' means, the usual way
        loss, weight = task.loss(model(batch.images), batch.labels)
        (loss / weight / accumulate).backward()
    naive = model.classifier.weight.detach() - 0.5 * model.classifier.weight.grad
    assert (naive - big["classifier.weight"]).abs().max() > 1e-4


def test_clipping_is_torchs(tmp_path: Path) -> None:
    model, _ = toy_fit(tmp_path, train=Toy(count=8), task=Plain(), optim={"name": "sgd", "lr": 0.5, "clip": 0.01,
                       "weight_decay": 0}, schedule={"name": "constant"}, loop={"epochs": 1, "channels_last": False})
    plain = Net().train()
    batch = next(Toy(count=8).batches(0))
    torch.manual_seed(step_seed(3, 0, 0))
    functional.cross_entropy(plain(batch.images), batch.labels).backward()
    norm = nn.utils.clip_grad_norm_(plain.parameters(), 0.01)
    assert norm > 0.1
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs - 0.5 * theirs.grad, rtol=1e-6, atol=1e-8)


def test_a_frozen_trunk_stays_bit_equal_and_then_moves(tmp_path: Path) -> None:
    first = bits(Net())
    shared: dict[str, Any] = {"optim": {"trunk_lr": 0.1}, "schedule": {"name": "onecycle", "warmup": 0.3}}
    frozen, _ = toy_fit(tmp_path / "a", loop={"freeze_epochs": 4}, **shared)
    after = bits(frozen)
    assert {name for name in first if first[name] != after[name]} == {"classifier.weight", "classifier.bias"}
    thawed, _ = toy_fit(tmp_path / "b", loop={"freeze_epochs": 2}, **shared)
    after = bits(thawed)
    assert all(first[name] != after[name] for name in first)
    assert all(one.requires_grad for one in frozen.parameters()) and not frozen.training


def test_validation_loss_is_per_sample_not_per_batch(tmp_path: Path) -> None:
    val = Toy(count=21, batch_size=20, seed=9, shuffle=False)
    model, done = toy_fit(tmp_path, val=val, loop={"epochs": 1})
    with torch.no_grad():
        weights = ToyTask.weights
        expected = functional.cross_entropy(model(val.images), val.labels, weights)
        batches = [functional.cross_entropy(model(b.images), b.labels, weights) for b in val.batches(0)]
    assert done.history[0]["val"]["loss"] == pytest.approx(float(expected), rel=1e-5)
    assert abs(float(sum(batches)) / 2 - float(expected)) > 1e-3  # planted: the mean of the batches' means


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_the_network_ends_with_the_weights_that_were_judged_best(ema: float, tmp_path: Path) -> None:
    val = Toy(count=20, seed=6, shuffle=False)
    model, done = toy_fit(tmp_path, val=val, optim={"lr": 0.15}, schedule={"name": "constant"},
                          loop={"epochs": 9, "ema": ema})
    losses = [record["val"]["loss"] for record in done.history]
    assert done.best_epoch == int(np.argmin(losses)) + 1 < 9 and done.best_value == min(losses)
    with torch.no_grad():
        again = functional.cross_entropy(model(val.images), val.labels, ToyTask.weights)
    assert float(again) == pytest.approx(min(losses), rel=1e-5)
    assert [record["best"] for record in done.history] == [
        value == min(losses[:place + 1]) for place, value in enumerate(losses)]


def test_stops_early_and_says_so(tmp_path: Path) -> None:
    log: list[dict[str, Any]] = []
    _, done = toy_fit(tmp_path, optim={"lr": 0.3}, schedule={"name": "constant"},
                      loop={"epochs": 60, "early_stopping": 3, "monitor": "balanced_accuracy"}, log=log)
    values = [record["val"]["balanced_accuracy"] for record in done.history]
    assert done.stopped_early and done.epochs_done == len(values) == done.best_epoch + 3 < 60
    assert max(values) == done.best_value == values[done.best_epoch - 1]
    assert log[-1] == {"event": "done", "best_epoch": done.best_epoch, "best_value": done.best_value,
                       "epochs": done.epochs_done, "stopped_early": True}


def test_a_watched_value_that_is_not_defined_is_an_error_and_not_the_best_epoch(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"loop.monitor: macro_auroc is not defined .*set loop.monitor=loss"):
        toy_fit(tmp_path, loop={"monitor": "macro_auroc", "early_stopping": 1})


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_loss_that_is_nan_names_its_batch_and_keeps_the_good_checkpoint(accumulate: int, tmp_path: Path) -> None:
    data = Toy(poison=17)
    place = next(number for number, batch in enumerate(data.batches(0)) if 17 in batch.index)
    rows = ", ".join(map(str, list(Toy().batches(0))[place].index))
    with pytest.raises(ModelError, match=rf"epoch 1, step {place // accumulate + 1}: the training loss is nan .*table "
                                         rf"rows {rows}, .*optim.lr .now 0.01.*clip.*excite check.*checkpoint is kept"):
        toy_fit(tmp_path, train=data, loop={"checkpoint_seconds": 1e-9, "accumulate": accumulate})
    found = load_latest(tmp_path / "checkpoints")
    assert found is not None and found.values["position"]["steps"] == place // accumulate
    assert all(torch.isfinite(value).all() for value in found.tensors.values())


def test_a_gradient_or_validation_loss_that_is_not_finite_is_named(tmp_path: Path) -> None:
    class Steep(ToyTask):
        def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            value, weight = super().loss(logits, labels)
            return value + (logits - logits.detach()).abs().sqrt().sum(), weight  # 0, with an infinite slope

    with pytest.raises(ModelError, match="epoch 1, step 1: the gradient's norm is (nan|inf)"):
        toy_fit(tmp_path / "a", task=Steep())
    with pytest.raises(ModelError, match="the validation loss is nan .*rows 100, "):
        toy_fit(tmp_path / "b", val=Toy(count=20, shuffle=False, start=100, poison=3))


def test_the_log_has_one_event_an_epoch_in_the_schema(tmp_path: Path) -> None:
    log: list[dict[str, Any]] = []
    _, done = toy_fit(tmp_path, log=log, schedule={"name": "step", "step_size": 1, "gamma": 0.5})
    assert [event["event"] for event in log] == ["start", *["epoch"] * 4, "done"]
    assert log[1:-1] == done.history
    assert list(log[1]) == ["event", "epoch", "lr", "train", "val", "seconds", "best"]
    assert [event["epoch"] for event in done.history] == [1, 2, 3, 4]
    assert [event["lr"] for event in done.history] == pytest.approx([0.01, 0.005, 0.0025, 0.00125])
    assert set(log[1]["val"]) == {"loss", "accuracy", "balanced_accuracy", "macro_auroc"}
    assert (log[0]["threads"], log[0]["precision"]) == (1, "float32")


def test_progress_counts_all_batches_and_tells_each_epoch(tmp_path: Path) -> None:
    class Heard(Progress):
        def __init__(self) -> None:
            super().__init__(None)
            self.heard: list[object] = []

        def step(self, what: str, done: int, total: int) -> None:
            self.heard.append((what, done, total))

        def say(self, text: str) -> None:
            self.heard.append(text)

    heard = Heard()
    model = Net()
    loop_module.fit(model, ToyTask(), Toy(), Toy(count=20, shuffle=False), optim=OptimSection(),
                    schedule=ScheduleSection(), seed=0,
                    loop=LoopSection(epochs=2, precision="float32", threads=1, ema=0.0),
                    folder=tmp_path, log=lambda event: None, progress=heard)
    assert [one for one in heard.heard if isinstance(one, tuple)] == [("training", done, 10) for done in range(1, 11)]
    assert "precision: float32 (as configured), 1 threads" in heard.heard
    assert any(str(one).startswith("epoch 2/2: training loss") and "macro auroc not defined" in str(one)
               for one in heard.heard)


def test_the_measured_precision_is_the_runs_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["bfloat16"])
    monkeypatch.setattr(loop_module, "choose", lambda *a, **k: Choice(
        name=next(answers), reason="measured", milliseconds={"float32": 2.0, "bfloat16": 1.0}))
    log: list[dict[str, Any]] = []
    with pytest.raises(Interrupted):
        toy_fit(tmp_path, loop={"precision": "auto"}, stop=StopAt(3), log=log)
    toy_fit(tmp_path, loop={"precision": "auto"}, log=log)  # asked a second time, it would fail
    assert [(event["event"], event["precision"]) for event in log if "precision" in event] == [
        ("start", "bfloat16"), ("resume", "bfloat16")]
    assert log[0]["milliseconds"] == {"float32": 2.0, "bfloat16": 1.0}


def test_threads_are_those_asked_for_or_the_cores_of_the_process() -> None:
    assert loop_module.machine_threads(LoopSection()) == torch.get_num_threads() == usable_cores()
    assert loop_module.machine_threads(LoopSection(threads=1)) == torch.get_num_threads() == 1


def test_freezing_a_network_without_a_trunk_is_refused(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(72, 3))
    with pytest.raises(UsageError, match="loop.freeze_epochs"):
        toy_fit(tmp_path, model=model, loop={"freeze_epochs": 1})
