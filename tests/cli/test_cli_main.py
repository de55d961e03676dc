"""The command line as a whole: help with examples, near misses, streams, exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from excite.cli.main import VERBS, build

RUNNER = CliRunner()
GROUPS = {"bench": ("cost",), "weights": ("list", "get", "import", "verify"), "cache": ("info", "clear"),
          "simulate": ("planes", "heads", "scene", "tissue")}
COMMANDS = [(verb,) for verb in VERBS if verb not in GROUPS] + [(verb, sub) for verb, subs in GROUPS.items()
                                                                for sub in subs]


def excite(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "excite", *arguments], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_help_has_three_examples(command: tuple[str, ...]) -> None:
    text = RUNNER.invoke(build(), [*command, "--help"]).output
    assert text.count(f"excite {' '.join(command)}") >= 3, text


def test_a_wrong_verb_names_the_nearest() -> None:
    done = excite("trian")
    assert done.returncode == 2 and "did you mean 'train'" in done.stderr and not done.stdout


def test_a_wrong_option_names_the_nearest() -> None:
    done = excite("train", "--epoch", "3")
    assert done.returncode == 2 and "--epochs" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(("arguments", "code", "message"), [
    (("train",), 2, "no table of images is given"),
    (("train", "gone.csv"), 3, "gone.csv"),
    (("train", "gone.csv", "--budget", "soon"), 2, "--budget must be a time such as 30m"),
    (("train", "gone.csv", "--budget", "30"), 2, "--budget must be a time such as 30m"),
    (("train", "gone.csv", "--size", "256*384"), 2, "--size must be a number of pixels, or HEIGHTxWIDTH"),
    (("train", "gone.csv", "--size", "0x384"), 2, "--size must be a number of pixels"),
    (("train", "gone.csv", "--model", "mobilenetv2"), 2, "did you mean 'mobilenet_v2'"),
    (("train", "gone.csv", "--attention", "see"), 2, "did you mean 'se'"),
    (("train", "gone.csv", "--set", "optim.lrr=1"), 2, "did you mean 'optim.lr'"),
    (("train", "gone.csv", "--config", "gone.yaml"), 2, "config file does not exist"),
    (("predict", "gone", "a.png"), 4, "the bundle does not exist"),
    (("evaluate", "gone"), 4, "the bundle does not exist"),
    (("models", "x*y"), 2, "no network"),
])
def test_a_fault_is_one_message_and_its_exit_code(arguments: tuple[str, ...], code: int, message: str,
                                                  tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = excite(*arguments)
    assert done.returncode == code, done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr and not done.stdout
    assert not list(tmp_path.iterdir()), "nothing may be left behind"


def test_debug_shows_the_traceback() -> None:
    assert "Traceback" in excite("--debug", "predict", "gone", "a.png").stderr


def test_info_is_json_on_stdout() -> None:
    facts = json.loads(excite("info", "--json").stdout)
    assert facts["versions"]["python"] and set(facts["extras"]) >= {"train", "serve", "tables"}
    assert facts["cpu"]["cores"] >= 1


def test_help_imports_nothing_heavy() -> None:
    code = ("import sys; from excite.cli.main import build; build()\n"
            "heavy = {'torch', 'numpy', 'scipy', 'cv2', 'onnxruntime', 'matplotlib', 'pydantic'} & set(sys.modules)\n"
            "sys.exit(str(heavy) if heavy else 0)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
