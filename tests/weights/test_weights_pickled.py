"""Pickles: what is taken, what is refused, and that nothing in them runs or is imported."""

import io
import os
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from excite.errors import EnvironmentFault, ModelError, UsageError
from excite.weights.intake import take_in
from excite.weights.load import load_weights
from excite.weights.pickled import import_pth
from excite.weights.store import folder, resolve


class Bomb:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"echo ran > {self.file}",)


def saved(value: object, path: Path, **options: object) -> Path:
    torch.save(value, path, **options)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("old_form", [False, True])
def test_tensors_come_back_bit_equal(tmp_path: Path, old_form: bool) -> None:
    state = {"a.weight": torch.randn(3, 4), "a.count": torch.tensor(7), "half": torch.randn(5).bfloat16()}
    found = import_pth(saved(state, tmp_path / "a.pth", _use_new_zipfile_serialization=not old_form))
    assert found.keys() == state.keys() and all(torch.equal(found[key], state[key]) for key in state)


def test_a_checkpoint_and_a_wrapped_network_are_unwrapped(tmp_path: Path) -> None:
    file = saved({"epoch": 3, "state_dict": {"module.a": torch.ones(2), "module.b": torch.zeros(1)}}, tmp_path / "a.pt")
    assert list(import_pth(file)) == ["a", "b"]


@pytest.mark.parametrize("form", ["torch zip", "torch old", "plain pickle"])
def test_a_pickle_bomb_is_refused_and_does_not_go_off(tmp_path: Path, form: str) -> None:
    sign, file = tmp_path / "it-ran", tmp_path / "bomb.pth"
    if form == "plain pickle":
        file.write_bytes(pickle.dumps(Bomb(sign)))
    else:
        saved({"a": Bomb(sign)}, file, _use_new_zipfile_serialization=form == "torch zip")
    with pytest.raises(ModelError) as caught:
        take_in(file, name="mobilenet_v2")
    assert not sign.exists()
    text = str(caught.value)
    assert "refused" in text and "bomb.pth" in text and (form == "plain pickle" or "system" in text)
    assert "weights_only" not in text and "add_safe_globals" not in text  # no word on how to switch safety off


def test_the_bomb_of_these_tests_does_go_off_where_nothing_guards(tmp_path: Path) -> None:
    sign = tmp_path / "it-ran"
    pickle.loads(pickle.dumps(Bomb(sign)))
    assert sign.exists()


def test_a_dotted_name_is_never_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sign = tmp_path / "imported"
    (tmp_path / "planted_module.py").write_text(f"open({str(sign)!r}, 'w').close()\nclass Thing: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    stream = b"cplanted_module\nThing\n."  # the pickle opcode GLOBAL
    file = tmp_path / "a.pth"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", stream)
        archive.writestr("a/version", "3\n")
        archive.writestr("a/byteorder", "little")
    with pytest.raises(ModelError, match="planted_module"):
        import_pth(file)
    assert not sign.exists() and "planted_module" not in sys.modules


def test_a_packed_archive_is_refused(tmp_path: Path) -> None:
    plain, packed = io.BytesIO(), tmp_path / "packed.pth"
    torch.save({"a": torch.zeros(1_000_000)}, plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert packed.stat().st_size < 20_000
    with pytest.raises(ModelError, match="compressed"):
        import_pth(packed)


@pytest.mark.parametrize(("value", "says"), [
    ([torch.ones(1)], "list"), ({}, "nothing"), ({"a": torch.ones(1), "b": "text"}, "no tensors: b"),
])
def test_other_contents_are_told(tmp_path: Path, value: object, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        import_pth(saved(value, tmp_path / "a.pth"))


@pytest.mark.parametrize("data", [b"", b"not a pickle", b"PK\x03\x04 cut"])
def test_damaged_files_are_told(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "a.pth"
    file.write_bytes(data)
    with pytest.raises(ModelError, match="cannot be read|refused"):
        import_pth(file)


@pytest.mark.parametrize("name", ["a.pkl", "a.npy", "a.bin", "a.ckpt"])
def test_other_pickles_do_not_come_in(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    if name == "a.npy":
        np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    else:
        file.write_bytes(pickle.dumps({"a": 1}))
    for act in (lambda: take_in(file, name="mobilenet_v2"), lambda: resolve(str(file), "mobilenet_v2")):
        with pytest.raises(ModelError, match="can hold code"):
            act()


def test_a_pth_is_not_loaded_directly(tmp_path: Path) -> None:
    file = saved({"a": torch.ones(1)}, tmp_path / "ours.pth")
    with pytest.raises(ModelError, match="excite weights import ours.pth"):
        load_weights(torch.nn.Linear(1, 1), file)


def test_a_stranger_needs_a_name_and_a_missing_file_is_told(tmp_path: Path) -> None:
    file = saved({"features.1.conv.0.0.weight": torch.ones(1)}, tmp_path / "ours.pth")
    with pytest.raises(UsageError, match="--name mobilenet_v2"):
        take_in(file)
    with pytest.raises(EnvironmentFault, match="no such weights file"):
        take_in(tmp_path / "none.pth")


def test_values_that_are_not_finite_do_not_come_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXCITE_WEIGHTS", str(tmp_path / "store"))
    file = saved({"features.1.conv.0.0.weight": torch.tensor([1.0, float("nan")])}, tmp_path / "a.pth")
    with pytest.raises(ModelError, match=r"not finite: features\.1\.conv\.0\.0\.weight"):
        take_in(file, name="mobilenet_v2")
    assert not folder().exists()
