from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlbench.errors import MlbenchError
from mlbench.training.array_cache import ArrayCache


def silent(done: int) -> None:
    pass


def test_get_makes_an_array_once_and_tells_its_progress(tmp_path: Path) -> None:
    store, heard, made = ArrayCache(tmp_path), [], []

    def make():
        made.append(1)
        yield np.arange(6, dtype=np.float32).reshape(2, 3)
        yield np.arange(6, 9, dtype=np.float32).reshape(1, 3)

    path = store.path("numbers", ["a", 1])
    for _ in range(2):
        assert store.get(path, 3, make, heard.append).tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert (heard, made) == ([2, 3], [1])


def test_path_depends_on_the_key_alone() -> None:
    store = ArrayCache(Path("x"))
    assert store.path("f", {"a": 1, "b": 2}) == store.path("f", {"b": 2, "a": 1})
    assert store.path("f", {"a": 1}) != store.path("f", {"a": 2})


def test_an_error_while_making_leaves_no_file_and_stays_what_it_is(tmp_path: Path) -> None:
    def make():
        yield np.zeros((1, 2))
        raise OSError(12, "Cannot allocate memory")

    store = ArrayCache(tmp_path)
    with pytest.raises(OSError, match="Cannot allocate memory"):
        store.get(store.path("f", 1), 4, make, silent)
    assert list((tmp_path / "f").iterdir()) == []


def test_a_full_disk_is_one_line_and_leaves_no_file(tmp_path: Path) -> None:
    """A real write that the operating system ends: a limit on file size stands for the full disk."""
    code = (
        "import resource, signal, sys; from pathlib import Path; import numpy as np\n"
        "from mlbench.training.array_cache import ArrayCache; from mlbench.errors import StoreError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, {resource.RLIM_INFINITY}))\n"
        "store = ArrayCache(Path(sys.argv[1]))\n"
        "chunks = lambda: iter([np.zeros((1, 30_000), np.uint8)] * 3)\n"
        "try: store.get(store.path('f', 1), 3, chunks, lambda done: None)\n"
        "except StoreError as error: print(error)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ".npy: cannot be written (File too large); free space or set MLBENCH_CACHE to" in process.stdout
    assert list((tmp_path / "f").iterdir()) == []


@pytest.mark.parametrize(
    ("text", "size"), [("20G", 20 * 10**9), ("1.5M", 1_500_000), ("512", 512), ("3TB", 3 * 10**12)]
)
def test_limit_reads_sizes(monkeypatch, tmp_path: Path, text: str, size: int) -> None:
    monkeypatch.setenv("MLBENCH_CACHE_LIMIT", text)
    assert ArrayCache(tmp_path).limit() == size


@pytest.mark.parametrize("text", ["plenty", "inf"])
def test_limit_refuses_nonsense(monkeypatch, tmp_path: Path, text: str) -> None:
    monkeypatch.setenv("MLBENCH_CACHE_LIMIT", text)
    with pytest.raises(MlbenchError, match=f"'{text}' is not a size; expected such as 20G"):
        ArrayCache(tmp_path).limit()


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o022, 0o644), (0o077, 0o600)])
def test_a_cache_can_be_shared_as_far_as_the_umask_allows(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        store = ArrayCache(tmp_path)
        path = store.path("f", 1)
        store.get(path, 1, lambda: iter([np.zeros((1, 1))]), silent)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"nonsense"])
def test_a_damaged_file_is_made_again(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "f.npy"
    path.write_bytes(content)
    assert ArrayCache(tmp_path).get(path, 1, lambda: iter([np.ones((1, 1))]), silent).tolist() == [[1]]
