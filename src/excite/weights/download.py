"""Fetching one file over https: verified TLS, no redirect to plain http, checked by sha256 before it is used."""

import hashlib
import shutil
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from excite.errors import EnvironmentFault, ModelError, UsageError
from excite.progress import Progress, silent

CHUNK, TIMEOUT, LARGEST = 1 << 18, 30.0, 2_000_000_000  # bytes, seconds without a byte, bytes


def download(url: str, target: Path, *, sha256: str, local_http: bool = False,
             progress: Progress | None = None) -> None:
    """Write what `url` holds to `target`, or raise and leave nothing there.

    Args:
        sha256: What the file must have, whole or its first digits.
        local_http: Allow plain http, and only from 127.0.0.1.

    Raises:
        EnvironmentFault: it cannot be reached, ends early, or does not fit on the disk.
        ModelError: it is not the file that it should be.
        UsageError: the address is not https.
    """
    _allowed(url, local_http)
    opener = build_opener(_SameSafety(local_http))
    try:
        with opener.open(Request(url, headers={"User-Agent": "excite"}), timeout=TIMEOUT) as response:
            found = _write(response, url, target, progress or silent())
    except HTTPError as fault:
        raise _failed(url, f"the server says {fault.code} {fault.reason}") from None
    except (URLError, HTTPException, OSError) as fault:
        target.unlink(missing_ok=True)
        raise _failed(url, str(getattr(fault, "reason", None) or fault) or type(fault).__name__) from None
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    if not found.startswith(sha256):
        target.unlink(missing_ok=True)
        raise ModelError("what was downloaded is not the published file", where=url,
                         why=f"its sha256 begins with {found[:16]}, expected {sha256[:16]}",
                         fix="try again later; if it stays so the file was changed at its source: use --weights FILE")


def _write(response: HTTPResponse, url: str, target: Path, progress: Progress) -> str:
    """Write the body and return its sha256; a body that is cut or too large raises."""
    announced = response.headers.get("Content-Length")
    total = int(announced) if announced and announced.isdigit() else None
    free = shutil.disk_usage(target.parent).free
    if total is not None and 2 * total > free:
        raise EnvironmentFault(f"disk full: need {2 * total / 1e6:.0f} MB, have {free / 1e6:.0f} MB",
                               where=target.parent, fix="free some space, or set EXCITE_WEIGHTS to another folder")
    summed, done = hashlib.sha256(), 0
    with target.open("wb") as stream:
        while block := response.read(CHUNK):
            done += len(block)
            if done > LARGEST:
                raise _failed(url, f"it is larger than {LARGEST / 1e9:.0f} GB")
            summed.update(block)
            stream.write(block)
            progress.step("downloading, KB", done // 1000, (total or done + 1) // 1000)
    if total is not None and done != total:
        raise _failed(url, f"the connection ended after {done} of {total} bytes")
    return summed.hexdigest()


class _SameSafety(HTTPRedirectHandler):
    """Follow a redirect only to an address that would have been allowed at first."""

    def __init__(self, local_http: bool) -> None:
        self.local_http = local_http

    def redirect_request(self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Message,
                         newurl: str) -> Request | None:
        _allowed(newurl, self.local_http)
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _allowed(url: str, local_http: bool) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" or (local_http and parts.scheme == "http" and parts.hostname == "127.0.0.1"):
        return
    raise UsageError(f"weights are fetched over https only, got {parts.scheme or 'no'} address", where=url,
                     fix="download it yourself and run `excite weights import FILE`")


def _failed(url: str, why: str) -> EnvironmentFault:
    return EnvironmentFault("the weights could not be downloaded", where=url, why=why,
                            fix="check the connection and try again, or download it elsewhere and run "
                                "`excite weights import FILE`")
