"""Downloading against a server on this machine: right, wrong, cut, missing, sent elsewhere."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import torch

from excite.errors import EnvironmentFault, ModelError, UsageError
from excite.weights.catalog import CATALOG, Row
from excite.weights.download import download
from excite.weights.store import at_hand, folder, get, path_of, verify

BODY = bytes(range(256)) * 4000
GOOD = hashlib.sha256(BODY).hexdigest()


class Answers(BaseHTTPRequestHandler):
    files: dict[str, bytes] = {"/ok.pth": BODY, "/cut.pth": BODY}

    def do_GET(self) -> None:
        if self.path == "/elsewhere.pth":
            self.send_response(302)
            self.send_header("Location", "http://example.invalid/ok.pth")
            self.end_headers()
            return
        body = self.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.path == "/cut.pth" else body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answers) as one:
        thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{one.server_port}"
        one.shutdown()
        thread.join(timeout=5)


def test_a_right_file_arrives_whole(server: str, tmp_path: Path) -> None:
    download(f"{server}/ok.pth", tmp_path / "a.pth", sha256=GOOD, local_http=True)
    assert (tmp_path / "a.pth").read_bytes() == BODY
    download(f"{server}/ok.pth", tmp_path / "b.pth", sha256=GOOD[:8], local_http=True)  # a published prefix


@pytest.mark.parametrize(("name", "sha256", "kind", "says"), [
    ("ok.pth", "0" * 64, ModelError, "not the published file"),
    ("cut.pth", GOOD, EnvironmentFault, "ended after 512000 of 1024000 bytes"),
    ("missing.pth", GOOD, EnvironmentFault, "404"),
    ("elsewhere.pth", GOOD, UsageError, "https only"),
])
def test_what_goes_wrong_is_told_and_leaves_nothing(server: str, tmp_path: Path, name: str, sha256: str,
                                                    kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        download(f"{server}/{name}", tmp_path / "a.pth", sha256=sha256, local_http=True)
    assert not list(tmp_path.iterdir())


def test_plain_http_is_refused_unless_it_is_this_machine_and_asked_for(server: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="https only"):
        download(f"{server}/ok.pth", tmp_path / "a", sha256=GOOD)
    with pytest.raises(UsageError, match="https only"):
        download("http://example.invalid/ok.pth", tmp_path / "a", sha256=GOOD, local_http=True)


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="excite weights import FILE"):
        download("http://127.0.0.1:9/ok.pth", tmp_path / "a", sha256=GOOD, local_http=True)


@pytest.fixture
def row(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Row:
    """Return a row whose file is on the local server: a .pth in torchvision's key names."""
    monkeypatch.setenv("EXCITE_WEIGHTS", str(tmp_path / "store"))
    file = tmp_path / "small.pth"
    torch.save({"features.1.conv.0.0.weight": torch.randn(32, 1, 3, 3)}, file)
    Answers.files["/small.pth"] = file.read_bytes()
    known = replace(CATALOG[0], url=f"{server}/small.pth", sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
                    also=(), layout="torchvision")
    monkeypatch.setattr("excite.weights.catalog.CATALOG", (known,))
    return known


def test_get_leaves_verified_safetensors_and_nothing_else(row: Row) -> None:
    path = get(row, local_http=True)
    assert path == at_hand(row) == path_of(row) and path.suffix == ".safetensors"
    assert verify(path, row).ok
    assert sorted(file.name for file in folder().iterdir()) == [path.name, path.name + ".sha256"]
    before = path.stat().st_mtime_ns
    assert get(row, local_http=True) == path and path.stat().st_mtime_ns == before  # at hand: not fetched again


def test_get_says_so_where_the_stored_file_is_damaged(row: Row) -> None:
    path = get(row, local_http=True)
    data = bytearray(path.read_bytes())
    data[-3] ^= 0x40
    path.write_bytes(data)
    with pytest.raises(ModelError, match="damaged"):
        get(row, local_http=True)


def test_get_of_what_nobody_offers() -> None:
    with pytest.raises(EnvironmentFault, match="excite weights import FILE"):
        get(replace(CATALOG[0], url=None))
