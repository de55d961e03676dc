"""What a training on volumes would do, told before it: the decisions are those of the training, and nothing is kept."""

import re

import pytest

from excite.engine.contracts import inputs_of
from excite.errors import DataError
from excite.jobs.estimate import measured_epoch
from excite.jobs.volumes.estimate import dry_run_volumes
from excite.jobs.volumes.prepare import prepare_volumes
from small_scans import scan_config, small_scans
from small_volumes import read_rows, small_table, volume_config, write_rows

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return small_table(tmp_path_factory.mktemp("volumes"), patients=24, missing=(3, 8))


def test_it_tells_what_the_training_decides_and_how_long(table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = volume_config(table, **{"loop.epochs": 7})
    plan, prepared = dry_run_volumes(config), prepare_volumes(config)
    assert {name: plan[name] for name in ("table", "maps", "grid", "split", "doubts")} == {
        name: prepared.reasons[name] for name in ("table", "maps", "grid", "split", "doubts")}
    count = sum(one.numel() for one in prepared.model.parameters())
    assert f"; {count:,} parameters, input 2 x 4 x 16 x 16 (maps, depth, height, width)" in plan["network"]
    assert "batch 4, 7 epochs of 4 steps, augmentation on: as given" in plan["recipe"]
    told = re.match(r"([\d.]+) s an epoch, .* about ([\d.]+) minutes for 7", plan["time"])
    seconds, minutes = map(float, told.groups())
    assert minutes == pytest.approx(seconds * 7 / 60, abs=0.1) and seconds < 60
    assert plan["leaks"] == "none between the parts" and not list(tmp_path.iterdir())


def test_of_a_cross_validation_all_folds_are_counted(table):
    plan = dry_run_volumes(volume_config(table, **{"split.folds": 3, "loop.epochs": 600}))
    told = re.search(r"about ([\d.]+) minutes for 600 epochs for each of 3 folds, ([\d.]+) together", plan["time"])
    one, together = map(float, told.groups())
    assert together == pytest.approx(3 * one, abs=0.2)
    assert "fold 1 of 3" in plan["split"]


def test_the_network_is_left_as_it_was_and_every_step_counts(table):
    prepared = prepare_volumes(volume_config(table))
    before = {name: value.clone() for name, value in prepared.model.state_dict().items()}
    calls = []

    class Slow:
        steps = 50

        def __init__(self, part):
            self.part = part

        def batches(self, epoch):
            for batch in prepared.batches(self.part).batches(epoch):
                calls.append(inputs_of(batch)[0].shape)
                yield batch

    one = measured_epoch(prepared.model, prepared.task, prepared.batches("train"), prepared.batches("val"),
                         optim=prepared.config.optim, loop=prepared.config.loop)
    many = measured_epoch(prepared.model, prepared.task, Slow("train"), Slow("val"), optim=prepared.config.optim,
                          loop=prepared.config.loop)
    assert many > 3 * one and len(calls) > 2
    assert all(bool((value == before[name]).all()) for name, value in prepared.model.state_dict().items())


def test_what_would_stop_the_training_stops_it(table):
    rows = read_rows(table)
    rows[0] |= {"t1": "gone.nii.gz"}
    with pytest.raises(DataError, match="line 2: the t1 does not exist"):
        dry_run_volumes(volume_config(write_rows(table.with_name("bad.csv"), rows)))


def test_label_volumes_likewise(tmp_path):
    plan = dry_run_volumes(scan_config(small_scans(tmp_path, scans=10), **{"loop.epochs": 3}))
    assert "parameters, input 1 x 8 x 16 x 16" in plan["network"] and "minutes for 3 epochs" in plan["time"]
    assert {"labels", "patches", "grid", "split"} <= plan.keys()
    assert not (tmp_path / "runs").exists()
