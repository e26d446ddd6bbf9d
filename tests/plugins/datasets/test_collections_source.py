"""`mlbench data fetch`, from files instead of the network."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from published_files import (
    load,
    make_cars_folders,
    make_cifar,
    make_cub,
    make_inshop,
    make_sop,
    quiet,
    sizes,
    source,
)

from mlbench.errors import DataError
from mlbench_datasets.collections.source import Archive, Source


def archive_of(kind: str, folder: Path, file: Path) -> bytes:
    """Pack the folder into a .zip or .tar.gz and remove it. Returns the content of the archive."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as zipped:
            for path in paths:
                zipped.write(path, path.relative_to(folder))
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for path in paths:
                tar.add(path, path.relative_to(folder))
    shutil.rmtree(folder)
    file.write_bytes(buffer.getvalue())
    return buffer.getvalue()


def with_archive(found: Source, file: Path, *, md5: str) -> Source:
    """The source, with `file` as the address of its downloads."""
    archives = tuple(
        Archive(each.file, each.gives, file.as_uri(), md5) if each.address else each
        for each in found.archives
    )
    return replace(found, archives=archives, size=1000)


@pytest.mark.parametrize(
    ("name", "kind", "make"),
    [
        ("cub200", "tar", make_cub),
        ("sop", "zip", make_sop),
        ("cifar100", "tar", make_cifar),
        ("cars196", "zip", make_cars_folders),
    ],
)
def test_fetch_downloads_unpacks_and_removes_the_archive(
    tmp_path: Path, name: str, kind: str, make: Callable[[Path], None]
) -> None:
    make(tmp_path / name)
    before = load(name, tmp_path).version
    content = archive_of(kind, tmp_path / name, tmp_path / "there")
    found = with_archive(source(name, tmp_path), tmp_path / "there", md5=hashlib.md5(content).hexdigest())
    said: list[str] = []
    found.fetch(lambda what, done, total: said.append(what))
    assert found.state() == "ready"
    assert load(name, tmp_path).version == before
    assert [path.name for path in (tmp_path / name).iterdir() if path.suffix in (".tgz", ".zip", ".gz")] == []
    assert not [path for path in (tmp_path / name).iterdir() if path.name.startswith(".")]
    assert [each.partition(" ")[0] for each in dict.fromkeys(said)] == ["downloading", "unpacking"]


def test_fetch_leaves_nothing_of_an_archive_with_another_digest(tmp_path: Path) -> None:
    make_cub(tmp_path / "cub200")
    archive_of("tar", tmp_path / "cub200", tmp_path / "there")
    found = with_archive(source("cub200", tmp_path), tmp_path / "there", md5="0" * 32)
    with pytest.raises(DataError, match=f"has the MD5 digest .* expected {'0' * 32}"):
        found.fetch(quiet)
    assert list((tmp_path / "cub200").iterdir()) == []


def test_fetch_unpacks_an_archive_that_a_person_has_put_there(tmp_path: Path) -> None:
    folder = tmp_path / "inshop"
    make_inshop(folder)
    listing = (folder / "list_eval_partition.txt").read_text()
    (folder / "list_eval_partition.txt").unlink()
    archive_of("zip", folder, tmp_path / "there")
    found = source("inshop", tmp_path)
    folder.mkdir()
    (tmp_path / "there").rename(folder / "img.zip")
    with pytest.raises(DataError, match=r"files of inshop are missing \(Eval/list_eval_partition.txt"):
        found.fetch(quiet)
    assert found.state() == "incomplete"
    (folder / "list_eval_partition.txt").write_text(listing)
    found.fetch(quiet)
    assert found.state() == "ready"
    assert (folder / "img.zip").exists()
    assert sizes(load("inshop", tmp_path))[2] == (3, 12)


def test_fetch_verifies_an_archive_that_a_person_has_put_there(tmp_path: Path) -> None:
    (tmp_path / "cars196").mkdir()
    (tmp_path / "cars196/car_ims.tgz").write_bytes(b"half of it")
    with pytest.raises(DataError, match=r"car_ims\.tgz has the MD5 digest .* get it again"):
        source("cars196", tmp_path).fetch(quiet)
    assert (tmp_path / "cars196/car_ims.tgz").exists()


def test_fetch_says_to_move_an_incomplete_data_set_away(tmp_path: Path) -> None:
    make_cub(tmp_path / "cub200")
    (tmp_path / "cub200/CUB_200_2011/images.txt").unlink()
    with pytest.raises(DataError, match=r"move the incomplete .*CUB_200_2011 away and run: mlbench"):
        source("cub200", tmp_path).fetch(quiet)


def test_fetch_needs_free_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 9, 1_000_000_000))
    message = r"Stanford_Online_Products.zip and its content need about 6\.2 GB, 1\.0 GB are free"
    with pytest.raises(DataError, match=message):
        source("sop", tmp_path).fetch(quiet)


def fake_npm(folder: Path, body: str) -> None:
    folder.mkdir(exist_ok=True)
    script = folder / "npm"
    script.write_text(f"#!{sys.executable}\nimport sys\n{body}\n")
    script.chmod(0o755)


def test_fetch_has_npm_install_the_emoji(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_npm(tmp_path / "bin", f"open({str(tmp_path / 'asked')!r}, 'w').write(' '.join(sys.argv[1:]))")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    found, said = source("emoji", tmp_path), []
    with pytest.raises(DataError, match="files of emoji are missing"):  # this npm installs nothing
        found.fetch(lambda what, done, total: said.append(what))
    asked = (tmp_path / "asked").read_text()
    assert said == [f"running npm {asked}"]
    assert asked.startswith(f"install --ignore-scripts --no-save --prefix {tmp_path / 'emoji'} ")
    assert re.findall(r"emoji-datasource-(\w+)@16\.0\.0", asked) == ["apple", "google", "twitter", "facebook"]


def test_fetch_shows_the_message_of_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_npm(tmp_path / "bin", "sys.exit('npm error code ENOTFOUND\\nnpm error network no')")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(DataError) as caught:
        source("emoji", tmp_path).fetch(quiet)
    start = "npm failed (npm error code ENOTFOUND; npm error network no); try it yourself: npm install "
    assert str(caught.value).startswith(start)
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"^npm is not installed; install Node.js, then run: npm install "):
        source("emoji", tmp_path).fetch(quiet)
