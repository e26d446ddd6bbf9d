from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import full_disk

from mlbench.atomic_write import remove_leftovers, write_atomically
from mlbench.errors import StoreError


def test_write_atomically_keeps_the_old_file_when_the_disk_is_full(tmp_path: Path) -> None:
    """A real failing write: a limit on the file size stands in for the full disk."""
    path = tmp_path / "x"
    path.write_bytes(b"old")
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from mlbench.atomic_write import write_atomically; from mlbench.errors import StoreError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (1000, {resource.RLIM_INFINITY}))\n"
        "try: write_atomically(Path(sys.argv[1]), b'n' * 5000)\n"
        "except StoreError as error: print(error)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert process.stdout.strip().endswith(
        "x: cannot be written (File too large); free space or choose another folder"
    )
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomically_names_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        write_atomically(tmp_path / "file" / "x", b"")


def test_write_atomically_names_the_full_disk_if_the_writer_raises_another_error(tmp_path: Path) -> None:
    def write(file) -> None:
        try:
            file.write(b"n" * 50_000)
        except OSError as error:
            raise RuntimeError("unexpected pos 704 vs 598") from error

    with (
        full_disk(1000),
        pytest.raises(StoreError, match=r"x: cannot be written \(File too large\); free space"),
    ):
        write_atomically(tmp_path / "x", write)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_writer_is_raised_unchanged(tmp_path: Path) -> None:
    def write(file) -> None:
        file.write(b"half")
        raise OSError(12, "Cannot allocate memory")

    with pytest.raises(OSError, match="Cannot allocate memory"):
        write_atomically(tmp_path / "x", write)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o077, 0o600)])
def test_permissions_follow_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "x", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == mode


def test_a_device_is_not_replaced_by_a_file() -> None:
    with pytest.raises(StoreError, match="/dev/full: is no regular file; choose another folder"):
        write_atomically(Path("/dev/full"), b"x")
    assert Path("/dev/full").is_char_device()


def leftover(folder: Path, name: str, age: float) -> Path:
    path = folder / name
    path.touch()
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_write_atomically_removes_old_leftovers_of_any_file_in_the_folder(tmp_path: Path) -> None:
    day = 24 * 3600
    leftover(tmp_path, ".x.012345.mlbench.tmp", 2 * day)
    leftover(tmp_path, ".y.012345.mlbench.tmp", 2 * day)
    fresh = leftover(tmp_path, ".x.abcdef.mlbench.tmp", day / 2)
    foreign = leftover(tmp_path, ".z.012345.tmp", 2 * day)
    write_atomically(tmp_path / "x", b"")
    assert sorted(tmp_path.iterdir()) == sorted([fresh, foreign, tmp_path / "x"])


def test_remove_leftovers_of_any_age(tmp_path: Path) -> None:
    leftover(tmp_path, ".x.012345.mlbench.tmp", 0)
    remove_leftovers(tmp_path, older_than=0)
    assert list(tmp_path.iterdir()) == []
