"""Networks beside public ones: what is proved equal is compared, what is not stands alone, what is missing is said."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from excite.errors import UsageError
from excite.jobs import (
    bench_networks,
    bench_networks_limits,
    bench_networks_page,
    bench_networks_picture,
    bench_networks_tables,
    bench_networks_works,
)
from excite.jobs.bench_networks import Bench, Row
from excite.jobs.bench_networks_limits import Limits
from excite.jobs.bench_networks_pairs import MATCHES, Match, Peer, build
from excite.jobs.bench_networks_peers import imported
from excite.models.classifier import create_model
from excite.models.cost import Cost, count
from excite.models.measure import Timing

TOY = "excite.toy"  # a module that stands for a public package


class Shifted(nn.Module):
    """A network of the same weights and another output."""

    def __init__(self):
        super().__init__()
        self.network = create_model("shufflenet_v2", width=0.5)

    def state_dict(self, *arguments, **options):
        return self.network.state_dict(*arguments, **options)

    def forward(self, images):
        return self.network(images) * (1 + 1e-6)


def match(name, *peers, **more):
    return Match(f"{name} test", name, peers, **more)


def of_toy(**options):
    return Peer(TOY, "build", {"name": "mobilenet_v2", **options})


THIN = {"width": 0.25}
TOYS = (
    Match("mobilenet_v2", "mobilenet_v2", (of_toy(**THIN),), THIN, tag="imagenet-torchvision-v1"),
    match("shufflenet_v2", Peer(TOY, "Shifted"), options={"width": 0.5}),
    match("mobilenet_v2", Peer("not_there.models", "resnet18"), options=THIN, same=False, dims=3),
    match("mobilenet_v1", of_toy(dims=3, in_channels=1, **THIN), Peer(TOY, "deep"), options=THIN, same=False, dims=3),
)


@pytest.fixture(scope="module")
def small():
    patch, toy = pytest.MonkeyPatch(), ModuleType(TOY)
    toy.build, toy.Shifted, toy.deep = create_model, Shifted, lambda: nn.Conv3d(1, 4, 17)
    patch.setitem(sys.modules, TOY, toy)
    patch.setattr(bench_networks, "MATCHES", TOYS)
    patch.setattr(bench_networks, "SIDE", 64)
    patch.setattr(bench_networks, "VOLUMES", ((2, 1, 16, 32, 32),))
    patch.setattr(bench_networks, "keep_freed_memory", lambda: True)
    patch.setattr(bench_networks_limits, "SIDE", 128)
    patch.setattr(bench_networks_limits, "COPIED", 10_000)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def found(small) -> Bench:
    return bench_networks.bench_networks(batches=(2,), seconds=0.1, threads=1)


def rows(found, network):
    return [row for row in found.rows if row.network == network]


@pytest.fixture
def made() -> Bench:
    """Return what could have been measured."""
    cost = Cost(parameters=1_500_000, trainable=1_500_000, macs=40_000_000, by_part={})
    table = [("mobilenet_v2", "torchvision mobilenet_v2", {"peer": 20.0, "same": 16.0, "float32": 8.0, "default": 5.0}),
             ("alone", "", {"same": 30.0, "float32": 20.0, "default": 20.0}), ("monai other", "", {"peer": 12.0})]
    kinds = [("forward", (1, 3, 64, 64)), ("forward", (4, 3, 64, 64)), ("step", (1, 3, 64, 64)),
             ("forward", (2, 1, 16, 32, 32))]
    found = [Row(network=name, peer=peer, shape=shape, work=work, cost=cost,
                 chosen=None if name == "monai other" else ("bfloat16" if peer else "float32", "measured"),
                 times={way: Timing(ms * shape[0], ms, ms, 3) for way, ms in times.items()
                        if way != "float32" or work == "forward"})
             for name, peer, times in table for work, shape in kinds]
    known = limits(float32_mm=[1e-3 * bench_networks_limits.SIDE**3 / 1e6], copy=[10.0],
                   bfloat16_mm=[5e-4 * bench_networks_limits.SIDE**3 / 1e6])  # 2 and 4 TFLOP/s
    return Bench(rows=found, limits=known, packages={"torchvision": "torchvision 1.0"}, notes=["a note"],
                 apart={"mobilenet_v2": 2e-15, "alone": 1.0}, asked="--dims 2",
                 machine={"cpu": "a processor", "threads": 1, "torch": "2"})


def limits(**milliseconds):
    return Limits(taken={name.replace("_", " "): times for name, times in milliseconds.items()})


@pytest.mark.slow
def test_a_network_that_is_proved_the_same_has_ratios_in_every_work(found):
    one = rows(found, "mobilenet_v2")
    assert [(row.work, row.shape[0]) for row in one] == [("forward", 2), ("step", 2)]
    assert found.apart["mobilenet_v2"] == 0.0
    macs = count(create_model("mobilenet_v2", **THIN), (3, 64, 64)).macs
    for row in one:
        assert row.peer == "excite build" and row.cost.macs == macs
        ways = {"peer", "same", "default", *(["float32"] if row.work == "forward" else [])}
        assert set(row.times) == ways and row.chosen[0] in ("float32", "bfloat16") and row.chosen[1]
        assert all(time.repeats >= 3 for time in row.times.values())
        assert row.ratio("same") == row.times["peer"].median / row.times["same"].median


@pytest.mark.slow
def test_outputs_that_differ_are_said_and_give_no_ratio(found):
    for row in rows(found, "shufflenet_v2 test"):
        assert not row.peer and row.ratio("same") is None
    assert 5e-7 < found.apart["shufflenet_v2 test"] < 2e-6
    assert any("shufflenet_v2 test: its outputs are 1.0e-06 apart from those of excite Shifted" in note
               for note in found.notes)
    assert {row.peer for row in found.rows} == {"excite build", ""}


@pytest.mark.slow
def test_a_package_that_is_missing_is_said_and_ours_is_timed_alone(found):
    assert found.packages["not_there"] == "not_there cannot be imported (No module named 'not_there')"
    assert [row.work for row in rows(found, "mobilenet_v2 test")] == ["forward", "step"]


@pytest.mark.slow
def test_another_network_stands_beside_and_one_that_cannot_take_the_input_is_left_out(found):
    assert [row.network for row in found.rows if len(row.shape) == 5 and row.work == "step"] == [
        "mobilenet_v2 test", "mobilenet_v1 test", "excite build"]
    assert sum(note.startswith("excite deep is left out of 1 x 16 x 32 x 32: Calculated padded input size per channel: "
                               "(16 x 32 x 32). Kernel size: (17") for note in found.notes) == 1


def test_names_and_dimensions_that_are_not_there_are_usage_errors(monkeypatch):
    monkeypatch.setattr(bench_networks, "MATCHES", MATCHES)
    assert [one.label for one in bench_networks.chosen(3, ["resnet50"])] == ["resnet50 3-D"]
    with pytest.raises(UsageError, match="--only must be a network of this comparison, got 'resnet5'.*resnet50"):
        bench_networks.chosen(None, ["resnet5"])
    with pytest.raises(UsageError, match="got 'resnext50_32x4d'"):
        bench_networks.chosen(3, ["resnext50_32x4d"])
    with pytest.raises(UsageError, match=r"--dims must be 2 \(images\) or 3 \(volumes\), got 4"):
        bench_networks.chosen(4, [])


def test_limits_are_rates_of_the_fastest_product_and_a_share_is_of_the_precision_that_was_taken(monkeypatch):
    monkeypatch.setattr(bench_networks_limits, "SIDE", 1000)
    monkeypatch.setattr(bench_networks_limits, "COPIED", 10**6)
    known = limits(float32_mm=[20.0, 20.0, 90.0], float32_linear=[10.0, 10.0, 1.0], bfloat16_mm=[4.0], copy=[2.0])
    assert known.facts() == {"float32_gflops": 200.0, "bfloat16_gflops": 500.0, "copy_gbytes": 4.0}
    assert limits(float32_mm=[20.0], copy=[2.0]).flops("bfloat16") is None
    cost = count(nn.Linear(1000, 1000), (1000,))
    time = {way: Timing(ms, ms, ms, 3) for way, ms in {"same": 1.0, "default": 0.5}.items()}
    row = Row(network="a", shape=(10, 1000), work="forward", cost=cost, times=time, chosen=("bfloat16", ""))
    assert row.share("same", known) == pytest.approx(2 * 10 * 1e6 / 1e-3 / 200e9)
    assert row.share("default", known) == pytest.approx(2 * 10 * 1e6 / 0.5e-3 / 500e9)
    step = Row(network="a", shape=(10, 1000), work="step", cost=cost, times=time, chosen=("bfloat16", ""))
    assert step.share("same", known) == pytest.approx(3 * row.share("same", known)) and row.share("peer", known) is None


def test_limits_are_measured(small):
    measured = Limits()
    measured.measure()
    assert measured.flops("float32") > 0 and measured.bandwidth > 0
    assert all(len(times) >= 3 for times in measured.taken.values())


@pytest.mark.slow
def test_the_library_s_step_is_that_of_its_loop(monkeypatch):
    seen = []
    monkeypatch.setattr(bench_networks_works, "take_step", lambda setup, state, batches: seen.append((setup, state)))
    model = create_model("mobilenet_v2", num_classes=3)
    work, (precision, reason) = bench_networks_works.own_step(model, torch.rand(2, 3, 64, 64))
    work()
    (setup, state), = seen
    assert setup.loop.channels_last is getattr(model, "channels_last", True) and state.model is model
    assert state.at.precision == precision and reason and model.training
    assert state.optimiser.defaults["fused"] and state.ema is not None
    monkeypatch.undo()
    work, _ = bench_networks_works.own_step(model, torch.rand(2, 3, 64, 64))
    before = model.backbone.stem.norm.running_mean.clone()
    work()
    assert not torch.equal(model.backbone.stem.norm.running_mean, before)


def test_the_plain_step_is_what_a_script_writes():
    torch.manual_seed(0)
    images = torch.rand(3, 5)
    model, again = nn.Linear(5, 2), nn.Linear(5, 2)
    again.load_state_dict(model.state_dict())
    loss = bench_networks_works.plain_step(model, images)()
    optimiser = torch.optim.AdamW(again.parameters())
    expected = nn.functional.cross_entropy(again(images), torch.tensor([0, 1, 0]))
    expected.backward()
    optimiser.step()
    assert loss == float(expected.detach()) and torch.equal(model.weight, again.weight)


def test_tables_hold_the_numbers(made):
    shown = bench_networks_tables.tables(made)
    assert [one.title for one in shown] == [
        "Networks, 2-D", "A pass, 1 x 3 x 64 x 64", "A pass, 4 x 3 x 64 x 64", "A training step, 1 x 3 x 64 x 64",
        "Networks, 3-D", "A pass, 2 x 1 x 16 x 32 x 32"]
    assert shown[0].rows[0] == ("mobilenet_v2", "3x64x64", "1,500,000", "0.04", "torchvision mobilenet_v2")
    assert [row[4] for row in shown[4].rows] == ["torchvision mobilenet_v2", "-", "-"]
    assert shown[1].head == ("", "peer", "same", "x", "float32", "x", "default", "x", "GEMM", "")
    assert shown[1].rows == [("mobilenet_v2", "20.0", "16.0", "1.25", "8.00", "2.50", "5.00", "4.00", "0%", "bf16"),
                             ("alone", "-", "30.0", "-", "20.0", "-", "20.0", "-", "0%", "fp32"),
                             ("monai other", "12.0", "-", "-", "-", "-", "-", "-", "0%", "fp32")]
    assert shown[3].rows[0] == ("mobilenet_v2", "20.0", "16.0", "1.25", "5.00", "4.00", "1%", "bf16")
    assert bench_networks_tables.limits(made).startswith(
        "Limits: matrix product 2000 GFLOP/s in float32, 4000 in bfloat16; copy ")
    assert bench_networks_tables.proof(made) == (
        "Outputs of the same networks: 2e-15 of the largest apart at most, in float64.")
    assert bench_networks_tables.proof(Bench()) == "No network stands beside the same one."


def test_the_page_keeps_what_stands_around_the_tables(tmp_path, made):
    file = tmp_path / "deep" / "page.md"
    bench_networks_page.write(file, made)
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# Networks beside public ones\n\n<!-- excite bench networks: begin -->\n`excite bench "
                           "networks --dims 2 --threads 1`, ")
    assert "a processor, torch 2, torchvision 1.0; weights at random.\n" in text and "\n- a note\n" in text
    file.write_text("# Mine\n\nbefore\n\n" + text.partition("\n\n")[2] + "after\n", encoding="utf-8")
    bench_networks_page.write(file, made)
    again = file.read_text(encoding="utf-8")
    assert again.startswith("# Mine\n\nbefore\n") and again.endswith("after\n")
    assert again.count("**Networks, 2-D**") == 1 and "| mobilenet_v2 | 3x64x64 | 1,500,000 | 0.04 |" in again
    with pytest.raises(UsageError, match="--out must be a file that ends in .md, got 'a.txt'"):
        bench_networks_page.begun(Path("a.txt"))


def test_the_front_is_what_nothing_beats_in_both():
    dice = np.random.default_rng(0)
    places = [(float(time), float(time + more)) for time, more in dice.integers(1, 12, (40, 2))]
    best = sorted({one for one in places if not any(
        other[0] <= one[0] and other[1] >= one[1] and other != one for other in places)})
    assert bench_networks_picture.front(places) == best and 1 < len(best) < 20


def test_the_picture_shows_published_accuracy_against_time_an_image(tmp_path, made):
    assert bench_networks_picture.points([row for row in made.rows if row.shape[0] == 4]) == [
        ("mobilenet_v2", 71.878, 5.0, 20.0)]
    bench_networks_picture.draw(tmp_path / "a" / "b.png", made)
    drawn = np.asarray(Image.open(tmp_path / "a" / "b.png").convert("RGB"))
    assert drawn.shape == (870, 1875, 3)
    for color in (bench_networks_picture.OURS, bench_networks_picture.PEER):
        shown = (drawn == np.array([int(color[place:place + 2], 16) for place in (1, 3, 5)], np.uint8)).all(-1)
        assert 200 < shown.sum() < 20_000
    with pytest.raises(UsageError, match="--picture must be a file that ends in .png, got 'a.svg'"):
        bench_networks_picture.check(Path("a.svg"), MATCHES)
    with pytest.raises(UsageError, match="--picture needs a network with a published accuracy; these have one: mobile"):
        bench_networks_picture.check(Path("a.png"), TOYS[2:])


def test_every_tag_is_a_row_of_the_catalog_with_an_accuracy_at_224():
    tagged = [one for one in MATCHES if one.tag]
    assert len(tagged) == 7
    for one in tagged:
        row = one.published
        assert row.top1 > 69 and dict(row.options) == dict(one.options) and row.preprocessing["size"] == 224
        assert row.preprocessing["resize"] == 256, "the classic training's crop"


@pytest.mark.peers
@pytest.mark.slow
@pytest.mark.parametrize("one", MATCHES, ids=lambda one: one.label)
def test_every_public_network_can_be_built_and_the_same_ones_are_equal(one):
    built = build(one)
    assert len(built.peers) == len(one.peers), built.words
    assert built.equal is one.same and (built.apart is None) is not one.same


@pytest.mark.peers
def test_the_accuracies_are_those_that_torchvision_states():
    models, _ = imported("torchvision.models")
    for one in MATCHES:
        row = one.published
        if row is not None and row.source.startswith("torchvision"):
            name, _, kind = row.source.split()[1].partition(".")
            stated = getattr(models, name)[kind].meta["_metrics"]["ImageNet-1K"]["acc@1"]
            assert row.top1 == stated, one.label
