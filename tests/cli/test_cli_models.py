"""`excite models` as a user sees it: a line a network, all of one network, the table."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from excite.cli.main import build
from excite.models.classifier import list_models

RUNNER = CliRunner()


def excite(*arguments, **environment):
    return RUNNER.invoke(build(), ["models", *arguments], env={"COLUMNS": "80", "NO_COLOR": "1", **environment})


def test_a_pattern_lists_a_line_a_network_with_its_own_usual_input():
    done = excite("*resnet20")
    assert done.exit_code == 0
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["name", "dims", "input", "parameters", "MACs"],
        ["resnet20", "2", "3", "x", "32", "x", "32", "334,072", "40,614,400"],
        ["se_resnet20", "2", "3", "x", "32", "x", "32", "336,445", "40,616,416"]]
    assert "next: excite models NAME" in done.stderr and "next:" not in done.stdout


@pytest.mark.slow
def test_nothing_lists_every_network_in_80_columns_and_no_weight_is_made():
    done = excite()
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list_models()
    assert max(map(len, lines)) <= 80 and "\x1b" not in done.stdout


def test_json_is_one_object_a_line():
    rows = [json.loads(line) for line in excite("mobilenet_v[12]", "--size", "64", "--classes", "6", "--channels", "1",
                                                "--json").stdout.splitlines()]
    assert [row["name"] for row in rows] == ["mobilenet_v1", "mobilenet_v2"]
    assert rows[1] == {"name": "mobilenet_v2", "dims": 2, "input": [1, 64, 64], "parameters": 2_230_982,
                       "macs": rows[1]["macs"]}


def test_one_network_with_its_parts_sizes_and_memory():
    done = excite("resnet50", "--no-time")
    lines = done.stdout.splitlines()
    rows = {line.split()[0]: line.split() for line in lines if line}
    assert rows["stages.3"] == ["stages.3", "14,964,736", "809,238,528", "19.8", "2048", "x", "7", "x", "7"]
    assert rows["all"][1:] == ["25,557,032", "4,089,184,256", "100.0"]
    assert rows["FLOPs"][1] == "8.178" and rows["maps"][1:3] == ["9.2", "MiB:"]
    assert "published   25,557,032 parameters, 4.089 G MACs: torchvision 0.28, model card" in lines
    assert "time" not in rows and max(map(len, lines)) <= 80 and "\x1b" not in done.stdout


def test_one_network_is_timed_and_the_machine_said():
    done = excite("mobilenet_v3_small", "--size", "32", "--threads", "1", "--batch", "2")
    text = " ".join(done.stdout.split())
    assert " contiguous, " in text and " channels last, " in text and "GMAC/s" in text
    assert "median [p10, p90] of" in text and "batch 2, evaluation mode" in text and "threads: 1" in text
    assert "measuring the time" in done.stderr and "next: excite train TABLE --model mobilenet_v3_small" in done.stderr


@pytest.mark.parametrize(("more", "command"), [
    ((), "--window 25 --set reduction.components=30"),
    (("--channels", "15", "--option", "window=11", "--option", "dropout=0.2", "--attention", "se"),
     "--window 11 --set reduction.components=15 --attention se --set model.options.dropout=0.2")])
def test_the_network_for_scenes_is_counted_as_published_and_trained_on_a_cube(more, command):
    done = excite("hybridsn", "--no-time", *more)
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.strip()}
    if not more:
        assert rows["all"][1:] == ["5,122,176", "247,683,392", "100.0"] and "arXiv:1902.06701, table I" in done.stdout
    assert done.stderr.strip() == f"next: excite train CUBE --model hybridsn {command}"


def test_one_network_as_json_has_attention_options_and_three_dimensions():
    done = excite("mobilenet_v2", "--size", "4x32x32", "--attention", "se@2,3:position=pre", "--option", "width=0.5",
                  "--no-time", "--json")
    found = json.loads(done.stdout)
    assert (found["dims"], found["input"], found["options"]) == (3, [3, 4, 32, 32], {"width": 0.5})
    assert found["attention"] == "se@2,3:position=pre" and found["parts"]["attention"]["parameters"] > 0
    assert found["parts"]["head"]["output"] == [1280, 1, 1, 1] and found["milliseconds"] == {}
    assert sum(part["macs"] for part in found["parts"].values()) == found["macs"]
    assert done.stderr == "" or "next" not in done.stderr


def test_json_has_the_milliseconds():
    found = json.loads(excite("resnet20", "--json", "--threads", "1").stdout)
    assert set(found["milliseconds"]) == {"contiguous", "channels_last"} and found["machine"]["threads"] == 1
    one = found["milliseconds"]["contiguous"]
    assert 0 < one["low"] <= one["median"] <= one["high"] and one["repeats"] >= 5


def test_blocks_that_cannot_have_the_attention_are_named_on_stdout_not_as_a_warning():
    done = excite("mobilenet_v2", "--attention", "se:position=identity", "--no-time", "--size", "32")
    assert "note" in done.stdout and "10 of 17" in done.stdout and "Warning" not in done.stderr


def test_a_network_that_cannot_take_the_order_says_so_and_the_rest_goes_on():
    done = excite("*resnet20", "--option", "reduction=4")
    assert done.exit_code == 0 and "se_resnet20" in done.stdout.splitlines()[1]
    assert "resnet20: network 'resnet20' has no option 'reduction'" in done.stderr
    rows = [json.loads(line) for line in excite("*resnet20", "--option", "reduction=4", "--json").stdout.splitlines()]
    assert "has no option" in rows[0]["error"] and rows[1]["parameters"] > 0


@pytest.mark.parametrize(("arguments", "message"), [
    (("mobilnet_v2",), "did you mean 'mobilenet_v2'"), (("resnet50", "--size", "3x"), "--size must be N, HxW or DxHxW"),
    (("resnet50", "--option", "widht=1"), "has no option 'widht'"),
    (("resnet50", "--attention", "see"), "did you mean 'se'"),
    (("resnet50", "--size", "4x4", "--dims", "3"), "--size 4x4 has 2 sides"),
    (("*resnet20", "--option", "a=1"), "has no option 'a'"), (("resnet50", "--table"), "a file that ends in .md"),
    (("se_resnet50", "--size", "1", "--no-time"), "at least 2 x 2")])
def test_faults_are_messages(arguments, message):
    done = subprocess.run([sys.executable, "-m", "excite", "models", *arguments], capture_output=True, text=True)
    assert done.returncode in (2, 3) and message in done.stderr and "Traceback" not in done.stderr


def test_the_table_goes_to_its_file_and_its_name_to_stdout(tmp_path, monkeypatch):
    from excite.jobs import model_table

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_table, "list_models", lambda pattern="*": ["resnet20"])
    assert excite("--table", "--no-time").stdout == "table: docs/models.md\n"
    assert "| `resnet20` |" in (tmp_path / "docs" / "models.md").read_text()
    found = json.loads(excite("--table", "own.md", "--no-time", "--json").stdout)
    assert found == {"file": "own.md", "networks": 2, "left_out": {}} and (tmp_path / "own.md").exists()
