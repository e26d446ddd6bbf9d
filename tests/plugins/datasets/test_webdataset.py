from __future__ import annotations

import gzip
import json
import os
import tarfile
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import pytest
from containers import check_dataset, images_by_class, picture, shown, write_shard

from mlbench.contracts import GALLERY, QUERY, SPLITS
from mlbench.errors import DataError, OptionError
from mlbench.plugin import DatasetContext
from mlbench_datasets.containers import copies, file_cache, tar_index
from mlbench_datasets.containers.split import ContainerSplit
from mlbench_datasets.containers.webdataset import WebDataset
from mlbench_datasets.split_set import SplitSet

OLD = 1_600_000_000


def shards(folder: Path, classes: int = 8, views: int = 3, count: int = 2) -> dict[str, list[bytes]]:
    """Write shards with all classes in turn. Returns pixels by class."""
    members: list[list[tuple[str, bytes]]] = [[] for _ in range(count)]
    truth: dict[str, list[bytes]] = {}
    for number in range(classes * views):
        label = number % classes
        data = picture(number, form="PNG" if number % 2 else "JPEG")
        truth.setdefault(str(label), []).append(shown(data))
        extension = "png" if number % 2 else "jpg"
        members[number * count // (classes * views)] += [
            (f"photos/{number:04d}.{extension}", data),
            (f"photos/{number:04d}.cls", b"%d\n" % label),
        ]
    for number, each in enumerate(members):
        file = write_shard(folder / f"train-{number:03d}.tar", each)
        os.utime(file, (OLD, OLD))
    return truth


def build(root: Path, path: str = "data", **options: object) -> SplitSet[ContainerSplit]:
    return WebDataset(path=path, **options).build(DatasetContext(root, 32))  # type: ignore[arg-type]


def problem(root: Path, path: str = "data", **options: object) -> str:
    with pytest.raises(DataError) as caught:
        build(root, path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(root), "…")


def test_shards_give_every_image_under_its_label(tmp_path: Path) -> None:
    truth = shards(tmp_path / "data")
    data = build(tmp_path)
    check_dataset(data)
    assert data.disjoint
    assert data.notes == ()
    found: dict[str, list[bytes]] = {}
    for name in SPLITS:
        found |= images_by_class(data, name)
        assert data.split(name).where(0).startswith(str(tmp_path / "data"))
    assert found == truth
    assert [data.split(name).num_classes for name in SPLITS] == [4, 2, 2]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a-{08..11}.tar", ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]),
        ("a-{0..10}.tar", [f"a-{n}.tar" for n in range(11)]),
        ("{0..1}/b{2..3}.tar", ["0/b2.tar", "0/b3.tar", "1/b2.tar", "1/b3.tar"]),
        ("a.tar", ["a.tar"]),
    ],
)
def test_pattern_names_shards_as_shells_do(tmp_path: Path, pattern: str, names: list[str]) -> None:
    from mlbench_datasets.containers.webdataset import _shards

    for name in names:
        write_shard(tmp_path / name, [])
    assert [str(file.relative_to(tmp_path)) for file in _shards(tmp_path, pattern)] == names


def test_test_shards_of_their_own_may_share_classes(tmp_path: Path) -> None:
    train = shards(tmp_path / "data")
    tested = shards(tmp_path / "test", classes=4, count=1)
    place = "data/train-{000..001}.tar"
    data = build(tmp_path, place, test_path="test", calibration=0.25, divide="classes")
    check_dataset(data)
    assert not data.disjoint
    assert images_by_class(data, "test") == tested
    assert {**images_by_class(data, "train"), **images_by_class(data, "calibration")} == train
    division, *others = data.notes
    assert division == "2 of 8 training classes become the calibration split"
    # The test shards were made of the first images of the training shards.
    assert sum(note.startswith("the same image is in ") for note in others) >= 1
    data = build(tmp_path, place, test_path="test", calibration=0.25)
    check_dataset(data)
    assert images_by_class(data, "test") == tested
    trained, held = images_by_class(data, "train"), images_by_class(data, "calibration")
    assert trained.keys() == held.keys() == train.keys()
    assert {name: sorted(trained[name] + held[name]) for name in train} == {
        name: sorted(each) for name, each in train.items()
    }
    assert data.notes[0].endswith("training images become the calibration split")


def test_copies_are_hashed_once_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards(tmp_path / "data")
    shards(tmp_path / "test", classes=4, count=1)
    for file in tmp_path.glob("*/*.tar"):  # a file that has just changed is not cached
        os.utime(file, (OLD, OLD))

    def found() -> Sequence[str]:
        return build(tmp_path, test_path="test", calibration=0.25, divide="classes").notes

    notes = found()
    assert any("train-000.tar: " in note and "the same image is in " in note for note in notes)
    monkeypatch.setattr("mlbench_datasets.containers.tar_index.read_bytes", None)
    assert found() == notes
    monkeypatch.setattr(copies, "MOST_IMAGES", 10)
    assert found()[-1].startswith("copies are not searched among ")


def test_the_images_of_each_class_are_divided(tmp_path: Path) -> None:
    truth = shards(tmp_path / "data", classes=4)
    data = build(tmp_path, divide="images")
    check_dataset(data)
    assert not data.disjoint
    parts = [images_by_class(data, name) for name in SPLITS]
    assert all(part.keys() == truth.keys() for part in parts)
    for name, images in truth.items():
        assert sorted(image for part in parts for image in part[name]) == sorted(images)
    assert build(tmp_path, divide="images").version == data.version
    assert build(tmp_path, divide="images", seed=1).version != data.version


def test_labels_come_from_json_by_key(tmp_path: Path) -> None:
    members = []
    for number in range(16):
        label = f"class {number % 8}" if number else "class 0"
        text = json.dumps({"name": label, "id": number % 8}).encode()
        members += [(f"{number}.webp", picture(number, form="WEBP")), (f"{number}.json", text)]
    write_shard(tmp_path / "data" / "a.tar", [*members, ("__index__", b""), (".hidden.jpg", b"")])
    by_name, by_number = build(tmp_path, label_key="name"), build(tmp_path, label_key="id")
    check_dataset(by_name)
    assert {name for each in SPLITS for name in by_name.split(each).names} == {f"class {n}" for n in range(8)}
    assert {name for each in SPLITS for name in by_number.split(each).names} == {str(n) for n in range(8)}


def test_shards_are_listed_once_and_again_when_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    real = tar_index._index_shard
    monkeypatch.setattr(
        tar_index, "_index_shard", lambda file, key: read.append(file.name) or real(file, key)
    )
    shards(tmp_path / "data")
    version = build(tmp_path).version
    assert build(tmp_path).version == version
    assert read == ["train-000.tar", "train-001.tar"]
    os.utime(tmp_path / "data" / "train-001.tar", (OLD + 1, OLD + 1))
    assert build(tmp_path).version != version
    assert read[2:] == ["train-001.tar"]
    monkeypatch.setattr(file_cache, "code_hash", lambda *names: "edited")  # the results of other code
    build(tmp_path)
    assert read[3:] == ["train-000.tar", "train-001.tar"]


def test_version_does_not_depend_on_where_the_shards_lie(tmp_path: Path) -> None:
    shards(tmp_path / "data")
    version = build(tmp_path).version
    (tmp_path / "data").rename(tmp_path / "moved")
    assert build(tmp_path, "moved").version == version
    assert build(tmp_path, "moved", seed=1).version != version


def test_classes_with_one_image_are_never_asked_for(tmp_path: Path) -> None:
    shards(tmp_path / "data")
    write_shard(
        tmp_path / "data" / "more.tar",
        [member for n in range(100, 110) for member in ((f"{n}.jpg", picture(n)), (f"{n}.cls", b"%d" % n))],
    )
    data = build(tmp_path)
    assert data.notes == ("10 of 18 classes with one image only: no query can be matched there",)
    test = data.split("test")
    alone = [at for at in range(len(test)) if len(test.class_name(test.label(at))) == 3]
    assert alone
    assert {test.role(at) for at in alone} == {GALLERY}
    assert {test.role(at) for at in range(len(test)) if at not in alone} == {QUERY | GALLERY}
    train = data.split("train")
    assert {train.role(at) for at in range(len(train))} == {QUERY | GALLERY}


def test_nothing_hostile_in_a_shard_does_harm(tmp_path: Path) -> None:
    """Links, devices and names outside of the folder, through which unpacking could write."""
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(picture(99))
    outside = tmp_path / "outside"
    outside.mkdir()
    hostile: list[tuple[str, bytes] | tarfile.TarInfo] = []
    for kind, target in ((tarfile.SYMTYPE, str(secret)), (tarfile.LNKTYPE, "../secret.jpg")):
        link = tarfile.TarInfo(f"link{kind.decode()}.jpg")
        link.type, link.linkname = kind, target
        hostile.append(link)
    folder = tarfile.TarInfo("way")
    folder.type, folder.linkname = tarfile.SYMTYPE, str(outside)
    device = tarfile.TarInfo("device.jpg")
    device.type = tarfile.CHRTYPE
    hostile += [folder, ("way/in.jpg", picture(1)), ("way/in.cls", b"0"), device]
    for number, name in enumerate((f"{outside}/a", "../../outside/b", "c" * 300)):
        hostile += [(f"{name}.jpg", picture(number)), (f"{name}.cls", b"%d" % number)]
    shards(tmp_path / "data")
    write_shard(tmp_path / "data" / "z.tar", hostile)
    before = sorted(tmp_path.rglob("*"))
    data = build(tmp_path)
    for name in SPLITS:
        assert shown(secret.read_bytes()) not in chain(*images_by_class(data, name).values())
    assert sum(len(data.split(name)) for name in SPLITS) == 24 + 4
    cache = tmp_path / "cache"
    assert [path for path in sorted(tmp_path.rglob("*")) if cache not in (path, *path.parents)] == before
    assert list(outside.iterdir()) == []


def test_image_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    shards(tmp_path / "data")
    broken = [
        member for n in range(50, 60) for member in ((f"x/{n}.jpg", b"nope"), (f"x/{n}.cls", b"%d" % n))
    ]
    write_shard(tmp_path / "data" / "broken.tar", [*broken, *broken[:0]])
    data = build(tmp_path)
    train = data.split("train")
    at = next(at for at in range(len(train)) if len(train.class_name(train.label(at))) == 2)
    with pytest.raises(DataError, match=r"broken\.tar: x/5\d: not an image$"):
        train.image(at)
    (tmp_path / "data" / "train-001.tar").write_bytes(b"")
    with pytest.raises(DataError, match=r"train-001\.tar: it ends within the image at byte"):
        train.image(len(train) - 1)


def test_shards_that_cannot_be_used_are_one_clear_line(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert problem(tmp_path) == (
        "…/data: no such shard; expected a file, a folder, or a pattern such as train-{000..009}.tar"
    )
    folder.mkdir()
    assert problem(tmp_path) == "…/data: no .tar files (it is empty)"
    shards(folder, classes=5)
    assert problem(tmp_path).startswith(
        "data: classes with two images or more: 5 of 5; at least 6 are needed"
    )
    assert problem(tmp_path, "data/train-{000..004}.tar").startswith(
        "…/data/train-002.tar: no such shard (3 of 5 shards are missing)"
    )
    assert "the range {9..3} is empty" in problem(tmp_path, "data/train-{9..3}.tar")
    assert problem(tmp_path, label_key="name").startswith(
        "…/data/train-000.tar: photos/0000 has no .json (it has .cls, .jpg)"
    )
    whole = (folder / "train-000.tar").read_bytes()
    (folder / "train-000.tar").write_bytes(gzip.compress(whole))
    assert problem(tmp_path).startswith("…/data/train-000.tar: compressed with gzip, so an image cannot be")
    (folder / "train-000.tar").write_bytes(b"nonsense" * 100)
    assert problem(tmp_path).startswith("…/data/train-000.tar: not a tar archive, or damaged (ReadError:")
    (folder / "train-000.tar").write_bytes(whole[:700])
    assert problem(tmp_path).startswith("…/data/train-000.tar: not a tar archive, or damaged (ReadError:")
    with pytest.raises(OptionError):
        build(tmp_path, calibration=0.5, test=0.5)
    shards(tmp_path / "train")
    write_shard(tmp_path / "alone" / "a.tar", [("x.jpg", picture(1)), ("x.cls", b"9")])
    assert problem(tmp_path, "train", test_path="alone") == (
        "alone: classes to score on with two images or more: 0 of 1; at least 2 are needed"
    )


def test_member_of_negative_size_is_refused(tmp_path: Path) -> None:
    write_shard(tmp_path / "data" / "a.tar", [("a.jpg", picture(0)), ("a.cls", b"0")])
    info = tarfile.TarInfo("b.jpg")
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    block[124:136] = (-1024).to_bytes(12, "big", signed=True)  # base 256
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    file = tmp_path / "data" / "a.tar"
    content = file.read_bytes()
    file.write_bytes(bytes(block) + content)
    assert problem(tmp_path).startswith("…/data/a.tar: ")


@pytest.mark.parametrize(
    ("members", "key", "message"),
    [
        ([("a.jpg", b"x")], "", r"a has no \.cls \(it has \.jpg\); every image needs a label, or name"),
        ([("a.jpg", b"x"), ("a.cls", b"cat")], "", r"a\.cls: 'cat' is not a class number"),
        ([("a.jpg", b"x"), ("a.cls", b"-1")], "", r"a\.cls: '-1' is not a class number"),
        ([("a.jpg", b"x"), ("a.jpg", b"x")], "", r"a\.jpg appears twice; keep one"),
        ([("a.jpg", b"x"), ("a.json", b"{")], "id", r"a\.json: not JSON"),
        ([("a.jpg", b"x"), ("a.json", b"[" * 100_000)], "id", r"a\.json: not JSON"),
        ([("a.jpg", b"x"), ("a.json", b"[1]")], "id", r"a\.json: no key 'id'; it is not a mapping"),
        ([("a.jpg", b"x"), ("a.json", b'{"idd": 1}')], "id", r"no key 'id'; did you mean 'idd'\?"),
        ([("a.jpg", b"x"), ("a.json", b'{"id": [1]}')], "id", r"id is \[1\]; expected a short name"),
        ([("a.jpg", b"x"), ("a.json", b'{"id": true}')], "id", r"id is True; expected a short name"),
        ([("a.jpg", b"x"), ("a.json", b'{"id": "\\ud800"}')], "id", r"id is '\\ud800'; expected a short"),
        (
            [("a.txt", b"x"), ("a.cls", b"1")],
            "",
            r"no images in 1 shards; expected members such as",
        ),
    ],
)
def test_wrong_labels_are_named(
    tmp_path: Path, members: list[tuple[str, bytes]], key: str, message: str
) -> None:
    write_shard(tmp_path / "data" / "a.tar", members)
    with pytest.raises(DataError, match=message):
        build(tmp_path, label_key=key)


def test_samples_without_an_image_are_counted(tmp_path: Path) -> None:
    shards(tmp_path / "data")
    write_shard(tmp_path / "data" / "text.tar", [("a.txt", b"x"), ("b.cls", b"1")])
    assert build(tmp_path).notes == ("samples without a readable image, ignored: 2 (1 of .txt, 1 of .cls)",)


def test_names_with_dots_and_second_images_are_told(tmp_path: Path) -> None:
    """The format reads dots and second images in a way that users may not expect."""
    shards(tmp_path / "data")
    dotted = [(f"v1.{number}.{each}", picture(1) if each == "png" else b"1") for number in range(2)
              for each in ("png", "cls")]  # fmt: skip
    write_shard(tmp_path / "data/train-002.tar", dotted)
    assert build(tmp_path).notes == (
        "samples without a readable image, ignored: 1 (1 of .0.cls .0.png .1.cls .1.png); the name of a "
        "sample ends at its first dot, and the rest (.0.png) is not the extension of an image: write the "
        "shards without other dots in the names",
    )
    (tmp_path / "all").mkdir()
    write_shard(tmp_path / "all/train-000.tar", dotted)
    assert "0001.cls; the name of a sample ends at its first dot" in problem(tmp_path, "all")
    double = [("a.jpg", picture(1)), ("a.mask.png", picture(2)), ("a.png", picture(3)), ("a.cls", b"1")]
    shards(tmp_path / "other")
    write_shard(tmp_path / "other/train-002.tar", double)
    assert build(tmp_path, "other").notes == (
        "further images of samples, ignored: 2 (such as a.png); each sample's first of .jpg .jpeg .png .webp "
        "is read",
    )
