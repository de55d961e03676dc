"""`excite bench cost`: counted beside measured, and both told apart."""

import json

import pytest
from typer.testing import CliRunner

from excite.cli.bench import _less, _part
from excite.cli.main import build

RUNNER = CliRunner()


@pytest.fixture(scope="module", autouse=True)
def small():
    """Measure small layers: what is counted is the paper's all the same."""
    from excite.jobs import bench_cost

    patch = pytest.MonkeyPatch()
    layers = bench_cost.Layer("2-D", 16, (6, 6), 1), bench_cost.Layer("3-D", 8, (4, 6, 6), 1)
    patch.setattr(bench_cost, "TIMED", layers)
    patch.setattr(bench_cost, "WIDTHS", (32, 64))
    yield
    patch.undo()


def excite(*arguments):
    return RUNNER.invoke(build(), ["bench", "cost", "--seconds", "0.1", "--threads", "1", *arguments],
                         env={"COLUMNS": "80", "NO_COLOR": "1"})


def test_the_paper_s_table_the_ratio_and_the_time_in_80_columns():
    done = excite()
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    rows = [line.split() for line in lines]
    assert ["convolution", "462.4", "462", "2.36", "2.36"] in rows
    assert ["depthwise", "separable", "52.3", "52.3", "0.27", "0.27"] in rows
    assert ["rho", "=", "0.714", "15.1", "15.1", "0.15", "0.15"] in rows
    ratios = {row[0]: row[1:3] for row in rows if row and row[0] in ("32", "64")}
    assert ratios == {"32": ["1/7.0", "1/7.0"], "64": ["1/7.9", "1/7.9"]}
    ways = [row[0] for row in rows if row and row[-1:] == ["x"]]
    assert ways == ["dense", "depthwise", "pointwise", "separable"] * 2
    assert max(map(len, lines)) <= 80 and "\x1b" not in done.stdout
    text = " ".join(done.stdout.split())
    assert "MACs and FLOPs are counts" in text and "FLOPS are a rate" in text and "GMAC/s" in text
    assert "measuring for about" in done.stderr and "next: excite models" in done.stderr


def test_json_has_counts_times_and_rates_that_belong_together():
    found = json.loads(excite("--json", "--channels-last").stdout)
    assert [row["counted_macs"] for row in found["table_3"]] == [462_422_016, 52_283_392, 29_578_752, 15_091_200]
    assert found["channels_last"] and found["machine"]["threads"] == 1
    for row in found["measured"]:
        rate = row["macs"] / row["milliseconds"]["median"] / 1e6
        assert row["gmacs_per_second"] == pytest.approx(rate, rel=0.2, abs=0.01)
        assert row["gflops_per_second"] == pytest.approx(2 * row["gmacs_per_second"], abs=2e-3)
    dense, separable = (next(row for row in found["measured"] if row["way"] == way) for way in ("dense", "separable"))
    assert separable["macs_ratio"] == pytest.approx(dense["macs"] / separable["macs"], rel=1e-3)


def test_what_takes_longer_is_said_to():
    assert (_less(2.0), _less(0.5)) == ("2.0 times less time", "2.0 times MORE time")
    assert (_part(0.125), _part(1.6)) == ("1/8.0", "1.6 (MORE)")


def test_a_wrong_budget_is_a_usage_error():
    assert RUNNER.invoke(build(), ["bench", "cost", "--seconds", "0"]).exit_code == 2
    assert RUNNER.invoke(build(), ["bench", "cost", "--threads", "0"]).exit_code == 2
