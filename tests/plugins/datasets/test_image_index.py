from __future__ import annotations

import hashlib
import os
import stat
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlbench_datasets import image_index as index_module
from mlbench_datasets.document_pool import repeated_expansions
from mlbench_datasets.image_index import index_images

OLD = 1_600_000_000


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files decoded from now on."""
    seen: list[str] = []
    inspect = index_module._inspect

    def counting(file: str, **options: object) -> object:
        seen.append(os.path.basename(file))
        return inspect(file, **options)

    monkeypatch.setattr(index_module, "_inspect", counting)
    return seen


def make(folder: Path, *names: str, age: bool = True) -> list[str]:
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        Image.new("RGB", (20 + number, 10), (number, 0, 0)).save(folder / name)
        if age:
            os.utime(folder / name, (OLD, OLD))
    return list(names)


def test_index_says_what_is_in_each_file(tmp_path: Path) -> None:
    paths = make(tmp_path / "a", "x.png", "y.jpg")
    found = index_images(tmp_path / "a", paths)
    digests = [
        hashlib.blake2b((tmp_path / "a" / path).read_bytes(), digest_size=16).digest() for path in paths
    ]
    assert [digest.tobytes() for digest in found.digests] == digests
    assert (found.widths.tolist(), found.heights.tolist()) == ([20, 21], [10, 10])
    assert found.unreadable == {}


def test_index_names_what_cannot_be_read(tmp_path: Path) -> None:
    paths = make(tmp_path / "a", "fine.png", "zero.png", "text.png")
    (tmp_path / "a" / "zero.png").write_bytes(b"")
    (tmp_path / "a" / "text.png").write_text("no image")
    os.mkfifo(tmp_path / "a" / "pipe.png")
    (tmp_path / "a" / "link.png").symlink_to("nowhere")
    paths += ["pipe.png", "link.png", "nul\0.png"]
    expected = {
        1: "empty file",
        2: "not an image",
        3: "not a file",
        4: "No such file or directory",
        5: "not a path",
    }
    for _ in range(2):  # read, then from the cache
        assert index_images(tmp_path / "a", paths).unreadable == expected


def test_index_reads_each_file_once(tmp_path: Path, reads: list[str]) -> None:
    paths = make(tmp_path / "a", "x.png", "y.png", "z.png")
    (tmp_path / "a" / "y.png").write_bytes(b"damaged")
    os.utime(tmp_path / "a" / "y.png", (OLD, OLD))
    first = index_images(tmp_path / "a", paths)
    assert sorted(reads) == paths
    again = index_images(tmp_path / "a", paths)
    assert sorted(reads) == paths
    assert np.array_equal(first.digests, again.digests)
    assert first.unreadable == again.unreadable == {1: "not an image"}


def test_index_reads_only_what_is_new_or_changed(tmp_path: Path, reads: list[str]) -> None:
    make(tmp_path / "a", "m.png", "n.png", "o.png")
    (tmp_path / "a" / "o.png").write_bytes(b"damaged")
    os.utime(tmp_path / "a" / "o.png", (OLD, OLD))
    index_images(tmp_path / "a", ["m.png", "n.png", "o.png"])
    reads.clear()
    Image.new("RGB", (5, 5)).save(tmp_path / "a" / "a.png")
    Image.new("RGB", (7, 7)).save(tmp_path / "a" / "n.png")
    found = index_images(tmp_path / "a", ["a.png", "n.png", "o.png"])
    assert sorted(reads) == ["a.png", "n.png"]
    assert found.widths.tolist() == [5, 7, 0]
    assert found.unreadable == {2: "not an image"}


def test_index_does_not_trust_a_file_that_has_just_changed(tmp_path: Path, reads: list[str]) -> None:
    paths = make(tmp_path / "a", "x.png", age=False)
    before = index_images(tmp_path / "a", paths)
    time = (tmp_path / "a" / "x.png").stat().st_mtime_ns
    data = bytearray((tmp_path / "a" / "x.png").read_bytes())
    data[-1] ^= 1  # same size, same modification time
    (tmp_path / "a" / "x.png").write_bytes(data)
    os.utime(tmp_path / "a" / "x.png", ns=(time, time))
    assert index_images(tmp_path / "a", paths).digests[0] != before.digests[0]
    assert reads == ["x.png", "x.png"]


def test_index_makes_a_damaged_cache_again(tmp_path: Path, cache: Path, reads: list[str]) -> None:
    paths = make(tmp_path / "a", "x.png", "y.png")
    expected = index_images(tmp_path / "a", paths)
    (file,) = cache.glob("index/*.npz")
    whole = file.read_bytes()
    for damaged in (
        b"",
        b"nonsense",
        whole[:100],
        whole[: len(whole) // 2],
        whole[:80] + b"\xff" * 40 + whole[120:],
    ):
        file.write_bytes(damaged)
        reads.clear()
        assert np.array_equal(index_images(tmp_path / "a", paths).digests, expected.digests)
        assert sorted(reads) == paths
    assert file.read_bytes() == whole


def test_index_does_without_a_cache_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make(tmp_path / "a", "x.png")
    (tmp_path / "occupied").write_text("a file where the folder should be")
    monkeypatch.setenv("MLBENCH_CACHE", str(tmp_path / "occupied"))
    assert index_images(tmp_path / "a", paths).widths.tolist() == [20]


def test_index_leaves_no_half_written_cache(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    paths = make(tmp_path / "a", "x.png")
    with monkeypatch.context() as patched:
        patched.setattr(np, "savez", full)
        assert index_images(tmp_path / "a", paths).widths.tolist() == [20]
    assert list(cache.rglob("*.*")) == []


def test_index_can_be_shared_as_far_as_the_umask_allows(tmp_path: Path, cache: Path) -> None:
    before = os.umask(0o002)
    try:
        index_images(tmp_path / "a", make(tmp_path / "a", "x.png"))
    finally:
        os.umask(before)
    (file,) = cache.rglob("*.npz")
    assert stat.S_IMODE(file.stat().st_mode) == 0o664


def test_index_keeps_what_an_interrupted_pass_has_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    paths = make(tmp_path / "a", *(f"{number}.png" for number in range(6)))
    monkeypatch.setattr(index_module, "_CHUNK", 2)
    counting = index_module._inspect

    def interrupted(file: str, **options: object) -> object:
        if file.endswith("4.png"):
            raise KeyboardInterrupt
        return counting(file, **options)

    with monkeypatch.context() as patched:
        patched.setattr(index_module, "_inspect", interrupted)
        with pytest.raises(KeyboardInterrupt):
            index_images(tmp_path / "a", paths)
    reads.clear()
    assert index_images(tmp_path / "a", paths).widths.tolist() == [20, 21, 22, 23, 24, 25]
    assert set(reads) == {"4.png", "5.png"}


def test_index_keeps_probes_and_sources_apart(tmp_path: Path, reads: list[str]) -> None:
    def width(image: Image.Image) -> int:
        return image.width

    def red(image: Image.Image) -> int:
        return int(np.asarray(image)[0, 0, 0])

    paths = make(tmp_path / "a", "x.png", "y.png")
    for _ in range(2):
        assert index_images(tmp_path / "a", paths, probe=width).probes.tolist() == [20, 21]
        assert index_images(tmp_path / "a", paths, probe=red).probes.tolist() == [0, 1]
        index_images(tmp_path / "a", paths[:1], source=tmp_path / "table.csv")
        index_images(tmp_path / "a", paths)
    assert len(reads) == 7


def test_index_keeps_pillows_warnings_to_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = make(tmp_path / "a", "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 150)  # 200 pixels: between a warning and an error
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert index_images(tmp_path / "a", paths).unreadable == {}


def test_index_takes_names_that_are_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    name = os.fsdecode(b"caf\xe9.png")
    try:
        Image.new("RGB", (9, 9)).save(tmp_path / "a" / name)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    for _ in range(2):
        assert index_images(tmp_path / "a", [name]).widths.tolist() == [9]


@pytest.mark.parametrize("changed", ["pillow_version", "core_hash", "code_hash"])
def test_what_other_code_has_learnt_is_not_believed(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    """A newer Pillow may read more files, and a corrected probe returns other values."""
    paths = make(tmp_path / "a", "x.png")

    def index() -> None:
        index_images(tmp_path / "a", paths, probe=repeated_expansions)

    index()
    index()
    assert reads == ["x.png"]
    edited = "99" if changed == "pillow_version" else lambda *names: "edited"
    monkeypatch.setattr(index_module, changed, edited)
    index()
    index()
    assert reads == ["x.png"] * 2
