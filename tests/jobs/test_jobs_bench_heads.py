"""The table of head networks: published counts, times of what was run, the public package only where it is."""

import json

import pytest
import torch
from typer.testing import CliRunner

from excite.cli.main import build
from excite.jobs import bench_heads as module
from excite.jobs.bench_heads import NETWORKS, Bench, bench_heads, freeze
from excite.jobs.bench_heads import build as built
from excite.jobs.kinds import OF_UNET
from excite.models.cost import count


@pytest.fixture(scope="module")
def found() -> Bench:
    patch = pytest.MonkeyPatch()
    patch.setattr(module, "peers", lambda: (None, "not installed"))
    yield bench_heads(size=(32, 64), batches=(1, 2), seconds=0.1, threads=1, step_batch=1)
    patch.undo()


def test_the_counts_are_the_published_ones_and_of_this_size(found: Bench) -> None:
    rows = {row.network.label: row for row in found.rows}
    assert rows["efficient, published"].cost.parameters == 25_253_893
    assert rows["accurate"].cost.parameters == 38_378_805
    for row in found.rows:
        assert row.cost.macs == count(built(row.network, None), (1, 32, 64)).macs


def test_ours_is_the_network_that_train_makes_of_outlines() -> None:
    ours = next(one for one in NETWORKS if one.label.endswith("ours"))
    same = {key: value for key, value in OF_UNET.items() if key not in ("grey_stem", "normalisation")}  # of weights
    assert dict(ours.options) == same


def test_every_network_is_timed_in_every_work_and_peers_only_where_they_are(found: Bench) -> None:
    assert not found.compared and not any(row.network.peer for row in found.rows)
    for row in found.rows:
        assert set(row.passes) == {1, 2} and row.step is not None
        for times in (*row.passes.values(), row.step):
            assert times.repeats >= 3 and 0 < times.p50 <= times.p95
        assert row.fps(2) == pytest.approx(2e3 / row.passes[2].p50)


def test_a_frozen_encoder_gets_no_gradient() -> None:
    model = built(NETWORKS[0], None)
    freeze(model)
    model(torch.rand(1, 1, 32, 64)).mean().backward()
    assert all(value.grad is None for value in model.encoder.parameters())
    assert any(value.grad is not None for value in model.blocks.parameters())


def test_the_command_gives_numbers_as_json(monkeypatch: pytest.MonkeyPatch, found: Bench) -> None:
    monkeypatch.setattr(module, "bench_heads", lambda **options: found)
    done = CliRunner().invoke(build(), ["bench", "heads", "--size", "32x64", "--json"])
    assert done.exit_code == 0, done.output
    assert "25253893" in json.dumps(json.loads(done.stdout))
