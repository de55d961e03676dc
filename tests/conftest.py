"""What all tests share: where the real data are, and a torchvision that imports beside a CPU torch."""

import os
import sys
from pathlib import Path

import pytest


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Make torchvision importable before a test that compares with it."""
    if item.get_closest_marker("peers"):
        import peers  # noqa: F401


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real data sets, or skip with the reason."""
    folder = os.environ.get("EXCITE_REAL_DATA")
    if not folder:
        pytest.skip("EXCITE_REAL_DATA is unset: no real data at hand")
    path = Path(folder)
    assert path.is_dir(), f"EXCITE_REAL_DATA names {folder}, which is no folder"
    return path


@pytest.fixture(autouse=True)
def same_chance() -> None:
    """Begin every test from the same random state, whatever ran before."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep caches and weights of the tests out of the user's folders."""
    home = tmp_path_factory.getbasetemp() / "home"
    monkeypatch.setenv("EXCITE_CACHE", str(home / "cache"))
    monkeypatch.setenv("EXCITE_WEIGHTS", str(home / "weights"))
