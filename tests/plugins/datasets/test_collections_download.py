from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from mlbench.errors import DataError
from mlbench_datasets.collections import download as download_module
from mlbench_datasets.collections.download import download

CONTENT = bytes(range(256)) * 20
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT whole, in part, cut short or not at all, depending on the path."""

    ranges: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.ranges.append(wanted)
        if self.path == "/gone":
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.path != "/whole" else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : len(CONTENT) // 2 if self.path == "/short" else None])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    Handler.ranges = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("md5", [MD5, ""])
def test_download_writes_the_whole_file(tmp_path: Path, server: str, md5: str) -> None:
    seen: list[tuple[int, int]] = []
    download(
        f"{server}/file", tmp_path / "a", md5=md5, progress=lambda done, total: seen.append((done, total))
    )
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["a"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_download_from_a_file_address(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(CONTENT)
    download((tmp_path / "there").as_uri(), tmp_path / "a", md5=MD5)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_download_resumes_where_it_stopped(tmp_path: Path, server: str) -> None:
    with pytest.raises(DataError, match=r"downloaded \(the connection ended after 2,560 of 5,120 bytes\)"):
        download(f"{server}/short", tmp_path / "a", md5=MD5)
    assert not (tmp_path / "a").exists()
    download(f"{server}/file", tmp_path / "a", md5=MD5)
    assert Handler.ranges == [None, "bytes=2560-"]
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["a"]


def test_download_starts_again_if_the_server_cannot_resume(tmp_path: Path, server: str) -> None:
    (tmp_path / ".a.part").write_bytes(CONTENT[:100])
    download(f"{server}/whole", tmp_path / "a", md5=MD5)
    assert Handler.ranges == ["bytes=100-"]
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_download_accepts_a_complete_partial_file(tmp_path: Path, server: str) -> None:
    (tmp_path / ".a.part").write_bytes(CONTENT)
    download(f"{server}/file", tmp_path / "a", md5=MD5)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_download_without_a_digest_starts_again(tmp_path: Path, server: str) -> None:
    with pytest.raises(DataError, match="the connection ended"):
        download(f"{server}/short", tmp_path / "a")
    assert os.listdir(tmp_path) == []
    download(f"{server}/file", tmp_path / "a")
    assert Handler.ranges == [None, None]


def test_download_discards_a_file_with_another_digest(tmp_path: Path, server: str) -> None:
    (tmp_path / ".a.part").write_bytes(b"x" * 100)  # of another file
    with pytest.raises(DataError, match=f"has the MD5 digest .* expected {MD5}: damaged, or another version"):
        download(f"{server}/file", tmp_path / "a", md5=MD5)
    assert os.listdir(tmp_path) == []
    download(f"{server}/file", tmp_path / "a", md5=MD5)
    assert (tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize("place", ["/gone", "refused", "file"])
def test_download_gives_the_reason_in_one_line(tmp_path: Path, server: str, place: str) -> None:
    address = {
        "/gone": f"{server}/gone",
        "refused": "http://127.0.0.1:9/file",
        "file": (tmp_path / "nowhere").as_uri(),
    }[place]
    reason = {"/gone": "HTTP Error 404: Not Found", "refused": "refused", "file": "No such file"}[place]
    with pytest.raises(DataError) as caught:
        download(address, tmp_path / "a", md5=MD5)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{address}: cannot be downloaded (")
    assert reason in line
    assert f"save it as {tmp_path / 'a'}" in line
    assert os.listdir(tmp_path) == []


def test_download_does_not_report_a_full_disk_as_a_failed_download(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download_module, "_copy", full)
    with pytest.raises(OSError, match="No space left on device"):
        download(f"{server}/file", tmp_path / "a", md5=MD5)
    with pytest.raises(FileNotFoundError):
        download(f"{server}/file", tmp_path / "no folder" / "a", md5=MD5)
