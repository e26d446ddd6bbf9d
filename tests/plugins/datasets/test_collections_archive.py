from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mlbench.errors import DataError
from mlbench_datasets.collections.archive import unpack

FILES = {"birds/images/one.jpg": b"one", "birds/list.txt": b"1 one\n", "notes.txt": b"n"}


def make_tar(file: Path, members: list[tarfile.TarInfo | tuple[str, bytes]], mode: str = "w:gz") -> Path:
    with tarfile.open(file, mode) as tar:  # type: ignore[call-overload]
        for member in members:
            info, data = (member, b"") if isinstance(member, tarfile.TarInfo) else (None, member[1])
            if info is None:
                info = tarfile.TarInfo(member[0])  # type: ignore[index]
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


def make_zip(file: Path, members: list[tuple[zipfile.ZipInfo | str, bytes]]) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, data in members:
            zipped.writestr(name, data)
    return file


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("mode", ["w:gz", "w", "w:xz", "w:bz2"])
def test_unpack_a_tar(tmp_path: Path, mode: str) -> None:
    folder = special("./birds", tarfile.DIRTYPE)
    archive = make_tar(tmp_path / "a", [folder, *((f"./{name}", data) for name, data in FILES.items())], mode)
    seen: list[tuple[int, int]] = []
    unpack(archive, tmp_path / "new" / "data", lambda done, total: seen.append((done, total)))
    assert contents(tmp_path / "new" / "data") == FILES
    assert {total for _, total in seen} == {archive.stat().st_size}


def test_unpack_a_zip_beside_existing_files(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", [("birds/", b""), *FILES.items()])
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "other").write_text("mine")
    unpack(archive, tmp_path / "data")
    assert contents(tmp_path / "data") == {**FILES, "other": b"mine"}


LEADS_OUT = ["../evil", "birds/../../evil", "/evil", "..", "birds\\..\\..\\evil", "C:\\evil", "\\evil"]
Make = Callable[[Path], Path]


def zip_info(name: str, kind: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (kind | 0o777) << 16
    return info


HOSTILE: list[tuple[str, Make, str]] = [
    *(
        (f"tar {n}", lambda file, n=n: make_tar(file, [("ok", b"1"), (n, b"2")]), "leads out")
        for n in LEADS_OUT
    ),
    *(
        (f"zip {n}", lambda file, n=n: make_zip(file, [("ok", b"1"), (n, b"2")]), "leads out")
        for n in LEADS_OUT
    ),
    (
        "symlink",
        lambda file: make_tar(file, [special("in", tarfile.SYMTYPE, "/etc"), ("in/passwd", b"x")]),
        "'in' is a link",
    ),
    (
        "hardlink",
        lambda file: make_tar(file, [special("h", tarfile.LNKTYPE, "/etc/passwd")]),
        "'h' is a link",
    ),
    ("device", lambda file: make_tar(file, [special("d", tarfile.CHRTYPE)]), "'d' is not a regular file"),
    ("fifo", lambda file: make_tar(file, [special("f", tarfile.FIFOTYPE)]), "'f' is not a regular file"),
    ("zip symlink", lambda file: make_zip(file, [(zip_info("in", stat.S_IFLNK), b"/etc")]), "'in' is a link"),
    (
        "zip device",
        lambda file: make_zip(file, [(zip_info("d", stat.S_IFCHR), b"")]),
        "'d' is not a regular file",
    ),
    ("twice", lambda file: make_tar(file, [("a", b"1"), ("a", b"2")]), "two members are named 'a'"),
    ("file and folder", lambda file: make_tar(file, [("a", b"1"), ("a/b", b"2")]), "are named 'a'"),
    (
        "in a file",
        lambda file: make_tar(file, [("a", b"1"), ("a/b/c", b"2")]),
        "is inside a file",
    ),
    ("tar bomb", lambda file: make_tar(file, [("a", bytes(1 << 20))]), "grows to more than 8 times"),
    ("zip bomb", lambda file: make_zip(file, [("a", bytes(1 << 20))]), "grows to more than 8 times"),
]


@pytest.mark.parametrize(
    ("make", "reason"), [each[1:] for each in HOSTILE], ids=[each[0] for each in HOSTILE]
)
def test_unpack_refuses_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Make, reason: str
) -> None:
    monkeypatch.setattr("mlbench_datasets.collections.archive._SMALL", 1000)
    archive = make(tmp_path / "hostile")
    folder = tmp_path / "deep" / "data"
    with pytest.raises(DataError, match="refused, nothing is unpacked") as caught:
        unpack(archive, folder)
    assert reason in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert os.listdir(folder) == []
    assert sorted(os.listdir(tmp_path)) == ["deep", "hostile"]
    assert os.listdir(tmp_path / "deep") == ["data"]


def test_unpack_stops_at_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlbench_datasets.collections.archive._MOST_MEMBERS", 2)
    archive = make_tar(tmp_path / "many", [(str(number), b"") for number in range(3)])
    with pytest.raises(DataError, match="more than 2 members"):
        unpack(archive, tmp_path / "data")


def test_unpack_does_not_touch_existing_files(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", list(FILES.items()))
    mine = tmp_path / "data" / "birds"
    mine.mkdir(parents=True)
    (mine / "mine").write_text("x")
    with pytest.raises(DataError, match=r"birds exists, and a\.zip contains it too; move it away"):
        unpack(archive, tmp_path / "data")
    assert contents(tmp_path / "data") == {"birds/mine": b"x"}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"<html>quota exceeded</html>",
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data[:40] + bytes([data[40] ^ 255]) + data[41:],
    ],
)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_unpack_names_a_damaged_archive(tmp_path: Path, kind: str, spoil: Callable[[bytes], bytes]) -> None:
    noise = np.random.default_rng(0).bytes(5000)
    archive = tmp_path / "damaged"
    if kind == "tar":
        make_tar(archive, [("a", noise)])
    else:
        make_zip(archive, [("a", noise)])
    archive.write_bytes(spoil(archive.read_bytes()))
    with pytest.raises(DataError) as caught:
        unpack(archive, tmp_path / "data")
    assert str(caught.value).startswith(f"{archive}: damaged, or not an archive (")
    assert len(str(caught.value).splitlines()) == 1
    assert os.listdir(tmp_path / "data") == []


def test_unpack_refuses_encrypted_archives(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", [("a", b"1")])
    data = bytearray(archive.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + flags] |= 1
    archive.write_bytes(data)
    with pytest.raises(DataError, match="'a' is encrypted; unpack it yourself, with its password, into"):
        unpack(archive, tmp_path / "data")
