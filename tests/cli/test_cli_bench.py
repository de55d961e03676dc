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


@pytest.fixture
def few(monkeypatch):
    """Bench no network: the public packages may not be there, and the small ones take seconds, too."""
    from excite.jobs import bench_networks
    from excite.jobs.bench_networks import Bench, Row
    from excite.models.cost import Cost
    from excite.models.measure import Timing

    cost, asked = Cost(parameters=3_504_872, trainable=3_504_872, macs=300_774_272, by_part={}), {}
    rows = [Row(network="mobilenet_v3_large", peer="torchvision mobilenet_v3_large", work=work,
                shape=(batch, 3, 224, 224), cost=cost, chosen=("bfloat16", "measured"),
                times={way: Timing(ms, ms, ms, 3) for way, ms in times.items()})
            for batch in (1, 16) for work, times in (
                ("forward", {"peer": 20.0, "same": 16.0, "float32": 8.0, "default": 5.0}),
                ("step", {"peer": 1234.0, "same": 1233.0, "default": 612.0}))]

    def bench(**options):
        asked.update(options)
        options["tell"]("mobilenet_v2: passes")
        found = Bench(rows=rows, packages={"torchvision": "torchvision 0.28.0"}, apart={"mobilenet_v3_large": 0.0},
                      notes=["monai DenseNet121 is left out of 1 x 16 x 112 x 112: too small"],
                      machine={"cpu": "a processor", "threads": 1, "torch": "2.13.0"})
        found.limits.taken = {"float32 mm": [30.0], "bfloat16 mm": [15.0], "copy": [20.0]}
        return found

    monkeypatch.setattr(bench_networks, "bench_networks", bench)
    return asked


def networks(*arguments):
    return RUNNER.invoke(build(), ["bench", "networks", *arguments], env={"COLUMNS": "80", "NO_COLOR": "1"})


def test_networks_stand_in_80_columns_with_ratios_and_what_the_words_mean(few):
    done = networks("--only", "mobilenet_v2", "--batch", "1", "--batch", "16", "--no-train", "--threads", "1")
    assert done.exit_code == 0, done.output
    assert few["only"] == ["mobilenet_v2"] and few["batches"] == [1, 16] and not few["train"] and few["threads"] == 1
    lines = done.stdout.splitlines()
    rows = [line.split() for line in lines]
    assert ["mobilenet_v3_large", "20.0", "16.0", "1.25", "8.00", "2.50", "5.00", "4.00", "25%", "bf16"] in rows
    assert max(map(len, lines)) <= 80 and "\x1b" not in done.stdout
    text = " ".join(done.stdout.split())
    assert "x: times as fast as the public network of that line" in text and "DenseNet121 is left out" in text
    assert "Outputs of the same networks: 0e+00 of the largest apart at most, in float64." in lines
    assert "mobilenet_v2: passes" in done.stderr and "next: excite models NAME" in done.stderr


def test_networks_as_json_a_page_and_a_picture(few, tmp_path):
    done = networks("--json", "--out", str(tmp_path / "a.md"), "--picture", str(tmp_path / "a.png"))
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    first = found["rows"][0]
    assert first["same_as"] == "torchvision mobilenet_v3_large" and first["milliseconds"]["peer"]["median"] == 20
    assert first["ratios"] == {"same": 1.25, "float32": 2.5, "default": 4.0}
    assert first["precision"] == {"default": "bfloat16", "reason": "measured"}
    assert found["accuracy"]["resnet50"] == {"top1": 76.13, "source": "torchvision ResNet50_Weights.IMAGENET1K_V1"}
    assert found["limits"]["bfloat16_gflops"] == pytest.approx(2 * found["limits"]["float32_gflops"], abs=0.2)
    assert few["batches"] == (1, 16) and few["train"]
    assert "| mobilenet_v3_large | 20.0 | 16.0 | 1.25 |" in (tmp_path / "a.md").read_text(encoding="utf-8")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("arguments", "message"), [
    (("--only", "mobilenet_v9"), "--only must be a network of this comparison, got 'mobilenet_v9'"),
    (("--dims", "4"), "--dims must be 2 (images) or 3 (volumes), got 4"),
    (("--out", "a.txt"), "--out must be a file that ends in .md, got 'a.txt'"),
    (("--picture", "a.pdf"), "--picture must be a file that ends in .png, got 'a.pdf'"),
    (("--dims", "3", "--picture", "a.png"), "--picture needs a network with a published accuracy")])
def test_wrong_options_are_told_before_anything_is_measured(few, arguments, message):
    from excite.errors import UsageError

    done = networks(*arguments)
    assert isinstance(done.exception, UsageError) and message in str(done.exception) and not few
