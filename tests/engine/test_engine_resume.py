"""However often and wherever a training is stopped, it ends with the same bits."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_toy import Net, Toy, bits, toy_fit

from excite.engine.checkpoint import load_latest
from excite.engine.signals import StopFlag
from excite.errors import Interrupted, ModelError
from stand_ins import StopAt

RECIPES: dict[str, dict[str, Any]] = {
    "adamw cosine": {},
    "sgd step, accumulated": {"optim": {"name": "sgd"}, "schedule": {"name": "step", "step_size": 2},
                              "loop": {"accumulate": 2}},
    "adam plateau, average": {"optim": {"name": "adam", "lr": 0.2}, "loop": {"ema": 0.9, "epochs": 6},
                              "schedule": {"name": "plateau", "patience": 1, "gamma": 0.5}},
    "one-cycle, frozen first": {"optim": {"trunk_lr": 0.3, "clip": 0.5}, "schedule": {"name": "onecycle"},
                                "loop": {"freeze_epochs": 2, "channels_last": False}},
    "bfloat16, early stopping": {"optim": {"lr": 0.3}, "schedule": {"name": "constant"},
                                 "loop": {"precision": "bfloat16", "early_stopping": 2, "epochs": 9}},
}


def without_times(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in record.items() if name != "seconds"} for record in history]


@pytest.mark.parametrize("recipe", RECIPES)
def test_stopped_anywhere_it_ends_with_the_same_bits(recipe: str, tmp_path: Path) -> None:
    sections = RECIPES[recipe]
    model, done = toy_fit(tmp_path / "whole", **sections)
    whole, history = bits(model), without_times(done.history)
    for seed in range(4):
        chance, stops = random.Random(f"{recipe} {seed}"), 0
        while True:
            try:
                model, done = toy_fit(tmp_path / str(seed), stop=StopAt(chance.randint(2, 25)), **sections)
                break
            except Interrupted as fault:
                stops += 1
                assert fault.exit_code == 143 and "the same command goes on after" in str(fault)
        assert stops > 1
        assert bits(model) == whole and without_times(done.history) == history


def test_a_stop_inside_an_accumulated_step_or_in_validation_is_clean(tmp_path: Path) -> None:
    where = set()
    for look in range(2, 20):
        folder = tmp_path / str(look)
        with pytest.raises(Interrupted):
            toy_fit(folder, stop=StopAt(look), loop={"accumulate": 3, "ema": 0.5})
        found = load_latest(folder / "checkpoints")
        assert found is not None
        at = found.values["position"]
        assert at["batch"] in (0, 3, 5) and at["steps"] == at["epoch"] * 2 + (at["batch"] + 2) // 3
        where.add((at["epoch"], at["batch"]))
    assert {(0, 0), (0, 3), (0, 5)} <= where


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    model, done = toy_fit(tmp_path)
    data = Toy()
    again, same = toy_fit(tmp_path, train=data)
    assert bits(again) == bits(model) and same == done and data.opened == []


def test_a_signal_in_the_middle_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    class Signalling(Toy):
        def batches(self, epoch: int, *, start: int = 0) -> Any:
            for number, batch in enumerate(super().batches(epoch, start=start)):
                if (epoch, number) == (1, 2):
                    os.kill(os.getpid(), signal.SIGINT)
                yield batch

    with StopFlag() as stop, pytest.raises(Interrupted, match="goes on after 1 epochs and 3 batches") as caught:
        toy_fit(tmp_path, train=Signalling(), stop=stop)
    assert caught.value.exit_code == 130
    data = Toy()
    toy_fit(tmp_path, train=data)
    assert data.opened == [(1, 3), (2, 0), (3, 0)]  # not one batch twice, none left out


@pytest.mark.parametrize("harm", ["flipped", "cut"])
def test_a_damaged_checkpoint_costs_some_steps_and_nothing_else(harm: str, tmp_path: Path) -> None:
    whole = bits(toy_fit(tmp_path / "whole")[0])
    with pytest.raises(Interrupted):
        toy_fit(tmp_path / "b", stop=StopAt(22))
    file = max((tmp_path / "b" / "checkpoints").glob("*.safetensors"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data if harm == "flipped" else data[:-1])
    log: list[dict[str, Any]] = []
    assert bits(toy_fit(tmp_path / "b", log=log)[0]) == whole
    assert log[0]["event"] == "resume" and f"{file.stem}.json is damaged" in log[0]["passed_over"][0]


@pytest.mark.parametrize(("change", "text"), [
    ({"seed": 4}, "seed: 3 -> 4"), ({"optim": {"name": "sgd"}}, "optimiser: 'adamw' -> 'sgd'"),
    ({"train": Toy(count=50)}, "batches: 5 -> 7"), ({"loop": {"epochs": 7}}, "epochs: 4 -> 7"),
    ({"loop": {"ema": 0.9}}, "does not fit the network: .* is missing"),
    ({"model": Net(norm=False)}, "backbone.1.weight is unknown here"),
    ({"model": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(72, 3))}, "1.weight is missing.*and 8 more")])
def test_a_checkpoint_of_another_training_is_refused(change: dict[str, Any], text: str, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        toy_fit(tmp_path, stop=StopAt(8))
    with pytest.raises(ModelError, match=text):
        toy_fit(tmp_path, **change)


def test_a_checkpoint_of_another_width_names_both_shapes(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        toy_fit(tmp_path, stop=StopAt(8))
    model = Net()
    model.classifier = torch.nn.Linear(8, 4)
    with pytest.raises(ModelError, match=r"classifier.weight is \(3, 8\) there and \(4, 8\) here"):
        toy_fit(tmp_path, model=model)


KILLED = """
import sys, time
from pathlib import Path
from engine_toy import Net, Toy, bits, toy_fit

class Slow(Toy):
    def batches(self, epoch, *, start=0):
        for batch in super().batches(epoch, start=start):
            time.sleep(0.004)
            yield batch

model, _ = toy_fit(Path(sys.argv[1]), train=Slow(), loop={"epochs": 12, "ema": 0.9, "checkpoint_seconds": 0.001},
                   optim={"lr": 0.05})
Path(sys.argv[1], "final").write_bytes(b"".join(bits(model).values()))
"""


@pytest.mark.slow
def test_killed_at_ten_random_moments_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    def start(folder: Path) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], cwd=Path(__file__).parent,
                                stderr=subprocess.PIPE)

    assert start(tmp_path / "whole").wait(120) == 0
    chance, kills = random.Random(0), 0
    folder = tmp_path / "killed"
    while kills < 10:
        work = start(folder)
        begun = time.monotonic()
        while not list(folder.glob("checkpoints/*.json")) and time.monotonic() - begun < 60:
            time.sleep(0.002)
        before = newest(folder)
        while newest(folder) == before and work.poll() is None:  # it is at work
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.06))
        assert work.poll() is None, f"finished after {kills} kills: too fast for this test"
        work.kill()
        work.wait()
        kills += 1
    work = start(folder)
    _, errors = work.communicate(timeout=120)
    assert work.returncode == 0, errors
    assert (folder / "final").read_bytes() == (tmp_path / "whole" / "final").read_bytes()
    assert not list(folder.glob("checkpoints/.tmp-*"))


def newest(folder: Path) -> str:
    return max((file.name for file in folder.glob("checkpoints/*.json")), default="")
