import re
import time
from pathlib import Path

import pytest
import torch

from excite.errors import UsageError
from excite.jobs import model_table
from excite.jobs.bench_cost import (
    TABLE_3,
    Layer,
    Measured,
    count_table,
    measure,
    measure_ratios,
    ways,
)
from excite.jobs.model_cost import Order, counted, passes, published, read_options, read_sizes
from excite.jobs.model_page import page
from excite.jobs.model_table import count_all, write_table
from excite.models.classifier import list_models
from excite.models.measure import Timing, interleaved, short, summary, using_threads
from excite.progress import silent

DOCS = Path(__file__).parents[2] / "docs" / "models.md"


def cells(text):
    """{first cell: cells} of the Markdown tables, the last of equal ones."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {row[0].strip("`"): row for row in rows}


def test_the_table_has_a_line_a_network_and_is_the_same_each_time(tmp_path):
    texts = []
    for name in ("a.md", "deep/b.md"):
        lines = write_table(tmp_path / name, pattern="*resnet20", time=False)
        texts.append((tmp_path / name).read_text(encoding="utf-8"))
    assert texts[0] == texts[1] and [(line.name, line.dims) for line in lines] == [
        ("resnet20", 2), ("se_resnet20", 2), ("resnet20", 3), ("se_resnet20", 3)]
    images, volumes = texts[0].split("## Volumes")
    assert cells(images)["resnet20"][1:5] == ["3 x 32 x 32", "334,072", "-", "40.6 M"]
    assert cells(volumes.split("## Beside")[0])["se_resnet20"][1:3] == ["3 x 16 x 32 x 32", "871,837"]
    assert cells(volumes)["resnet20"][2:6] == ["3 x 32 x 32", "10", "0.27 M", "269,722"]
    assert "Times:" not in texts[0] and "adds 9.9 % to the parameters of ResNet-50 and 0.06 %" in texts[0]


@pytest.mark.slow
def test_times_are_all_that_a_measured_table_has_more(tmp_path):
    write_table(tmp_path / "plain.md", pattern="resnet20", time=False)
    write_table(tmp_path / "timed.md", pattern="resnet20", threads=1)
    plain, timed = ((tmp_path / name).read_text() for name in ("plain.md", "timed.md"))
    assert re.search(r"\nTimes: \d{4}-\d\d-\d\d, .+, threads: 1, torch .+\n", timed)
    bare = re.sub(r"\nTimes: .+\n", "", timed)
    assert re.sub(r"[\d.]+ \[[\d.]+, [\d.]+\]", "-", bare) == plain != bare


def test_a_network_that_cannot_be_built_is_left_out_by_name_and_the_rest_goes_on(tmp_path, monkeypatch):
    def refuse(order):
        if order.dims == 3:
            raise UsageError("it knows images only")
        return counted(order)

    monkeypatch.setattr(model_table, "counted", refuse)
    lines = write_table(tmp_path / "t.md", pattern="resnet20", time=False)
    assert [line.why for line in lines] == ["", "it knows images only"]
    text = (tmp_path / "t.md").read_text()
    assert "`resnet20` is left out: it knows images only." in text and "40.6 M" in text


@pytest.mark.parametrize(("file", "pattern", "message"), [
    ("resnet50", "*", "a file that ends in .md, got 'resnet50'"), ("t.md", "x*y", "no network matches 'x[*]y'")])
def test_a_wrong_table_is_an_error_and_writes_nothing(tmp_path, monkeypatch, file, pattern, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        write_table(Path(file), pattern=pattern, time=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_committed_table_is_what_the_command_writes():
    text = DOCS.read_text(encoding="utf-8")
    lines = count_all(list_models(), progress=silent())
    images, rest = text.split("## Volumes")
    for dims, part in ((2, images), (3, rest.split("## Beside")[0])):
        rows = {name: row for name, row in cells(part).items() if name not in ("network", "---")}
        found = {line.name: line.counted.cost for line in lines if line.dims == dims and line.counted}
        assert list(rows) == list(found)
        for name, row in rows.items():
            assert (row[2], row[4]) == (f"{found[name].parameters:,}", f"{found[name].macs / 1e6:,.1f} M"), name
        left = {line.name: line.why for line in lines if line.dims == dims and not line.counted}
        assert all(f"\n`{name}` is left out: {why}.\n" in part for name, why in left.items())
        assert part.count("is left out") == len(left)
    plain = re.sub(r"\nTimes: .+\n", "", re.sub(r"[\d.]+ \[[\d.]+, [\d.]+\]", "-", text))
    assert plain == page(lines, None)


def test_hybridsn_has_its_published_count_and_no_form_for_volumes():
    two, three = count_all(["hybridsn"], progress=silent())
    assert (two.counted.size, two.counted.cost.parameters) == ((30, 25, 25), 5_122_176)
    assert three.counted is None and three.why.startswith("dims must be 2 for hybridsn, got 3")
    text = page([two, three], None)
    assert "| `hybridsn` | 30 x 25 x 25 | 5,122,176 | 5,122,176 | 247.7 M |" in text
    assert "5,122,176 | 5,122,176 | - |  | arXiv:1902.06701, table I |" in text


def test_published_figures_of_another_input_or_form_are_not_shown_for_this_one():
    assert [row.macs for row in published(counted(Order(name="mobilenet_v1", sizes=(192, 192))))] == [
        None, 418e6, None, None]
    assert published(counted(Order(name="mobilenet_v1", options={"width": 0.3}))) == []
    assert published(counted(Order(name="resnet50", attention="se"))) == []
    assert published(counted(Order(name="resnet50", classes=6))) == []


@pytest.mark.parametrize(("text", "dims", "found"), [
    (None, None, (None, 2)), (None, 3, (None, 3)), ("64", None, ((64, 64), 2)), ("64", 3, ((64, 64, 64), 3)),
    ("224X160", None, ((224, 160), 2)), ("16x112x112", None, ((16, 112, 112), 3))])
def test_sizes(text, dims, found):
    assert read_sizes(text, dims) == found


@pytest.mark.parametrize(("text", "dims", "message"), [
    ("3x", None, "--size must be N, HxW or DxHxW of 1 to 65536 a side, got '3x'"), ("0", None, "--size must be"),
    ("-3", 2, "--size must be"), ("1x2x3x4", None, "--size must be"),
    ("16x8", 3, "--size 16x8 has 2 sides, --dims is 3"), (None, 4, "--dims must be 2 .* got 4")])
def test_wrong_sizes(text, dims, message):
    with pytest.raises(UsageError, match=message):
        read_sizes(text, dims)


def test_options():
    assert read_options(["width=0.5", "groups=3", "dilated=true", "reduction=32,16,16,8", "head=scaled", "a=none"]) == {
        "width": 0.5, "groups": 3, "dilated": True, "reduction": (32, 16, 16, 8), "head": "scaled", "a": None}
    for wrong in (["width"], ["=3"], ["width="], ["width=1", "width=2"]):
        with pytest.raises(UsageError, match="--option must be NAME=VALUE"):
            read_options(wrong)


def test_works_are_timed_in_turns_that_begin_one_later_each_round():
    order = []
    found = interleaved({name: lambda name=name: order.append(name) for name in "abc"}, seconds=1e-9, least=4)
    assert "".join(order) == "abcabc" + "abc" + "bca" + "cab" + "abc" and found["a"].repeats == 4


def test_a_longer_work_is_found_to_be_longer_and_percentiles_are_in_order():
    found = interleaved({"short": lambda: time.sleep(0.002), "long": lambda: time.sleep(0.02)}, seconds=0.2)
    assert found["long"].low <= found["long"].median <= found["long"].high and found["long"].median >= 20
    assert found["short"].median < found["long"].median / 3
    assert summary([1.0, 2.0, 3.0, 4.0, 5.0]) == Timing(3.0, 1.4, 4.6, 5)
    assert [short(one) for one in (0.1234, 1.234, 12.34, 123.4)] == ["0.123", "1.23", "12.3", "123"]
    with pytest.raises(UsageError, match="seconds must be above 0"):
        interleaved({}, seconds=0)


def test_threads_are_set_inside_and_given_back():
    before = torch.get_num_threads()
    with using_threads(before + 1) as used:
        assert torch.get_num_threads() == used == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(UsageError, match="threads must be"), using_threads(0):
        pass


def test_both_layouts_of_a_timed_network_compute_the_same_and_stay_in_their_layout():
    with torch.inference_mode():
        made = {name: work() for name, work in passes(Order(name="mobilenet_v3_small", classes=4), (3, 64, 64)).items()}
    assert made["contiguous"].shape == (1, 4) and torch.allclose(made["contiguous"], made["channels_last"], atol=1e-5)


def test_table_3_of_mobilenets_is_counted_on_real_layers():
    rows = count_table()
    assert [(round(row.macs / 1e6, 1), round(row.parameters / 1e6, 2)) for row in rows] == [
        (462.4, 2.36), (52.3, 0.27), (29.6, 0.15), (15.1, 0.15)]
    for row, step in zip(rows, TABLE_3, strict=True):
        assert row.macs / 1e6 == pytest.approx(step.macs, rel=1e-3 if step.macs > 100 else 2e-3)
        assert round(row.parameters / 1e6, 2) == step.parameters


def test_the_ratio_is_one_over_n_and_one_over_k_squared_not_one_ninth():
    rows = measure_ratios((32, 64, 1024), seconds=1e-9)
    assert all(row.macs == pytest.approx(row.formula) and row.time > 0 for row in rows)
    assert [round(1 / row.macs, 1) for row in rows] == [7.0, 7.9, 8.9]


def test_the_separable_layer_is_its_two_parts_and_rates_are_of_the_measured_time():
    rows = {row.way: row for row in measure([Layer("3-D", 6, (4, 5, 6), 2)], seconds=1e-9)}
    assert rows["depthwise"].macs + rows["pointwise"].macs == rows["separable"].macs == 2 * 120 * 6 * (27 + 6)
    assert rows["dense"].macs_ratio == rows["dense"].time_ratio == 1
    assert rows["separable"].macs_ratio == pytest.approx(6 * 27 / (27 + 6))
    row = Measured(layer=Layer("2-D", 1, (1, 1), 1), way="dense", parameters=1, macs=3_000_000,
                   time=Timing(2.0, 1.0, 3.0, 5), macs_ratio=1, time_ratio=1)
    assert row.rate == pytest.approx(1.5)  # 3 M in 2 ms
    layers = ways(8, 2)
    assert layers["separable"][0].groups == 8 and layers["dense"].groups == 1
