from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from containers import picture

from mlbench.errors import DataError
from mlbench_datasets.containers.face_pack import read_face_pack

IMAGES = [picture(seed) for seed in range(8)]
SAME = [True, False, False, True]


def write(file: Path, data: object, protocol: int = 4) -> Path:
    file.write_bytes(pickle.dumps(data, protocol))
    return file


def python2(images: list[bytes], same: list[bool]) -> bytes:
    """The format of Python 2 with protocol 2: byte strings, a tuple of two lists."""

    def string(data: bytes) -> bytes:
        return b"T" + len(data).to_bytes(4, "little") + data

    truths = b"".join(b"\x88" if each else b"\x89" for each in same)
    return b"\x80\x02](" + b"".join(map(string, images)) + b"e](" + truths + b"e\x86."


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", [tuple, list])
def test_pack_gives_images_and_pairs_of_neighbours(tmp_path: Path, protocol: int, kind: type) -> None:
    pack = read_face_pack(write(tmp_path / "lfw.bin", kind((IMAGES, SAME)), protocol), folds=2)
    assert [pack.source.read(item) for item in range(8)] == IMAGES
    assert pack.pairs.left.tolist() == [0, 2, 4, 6]
    assert pack.pairs.right.tolist() == [1, 3, 5, 7]
    assert pack.pairs.same.tolist() == SAME
    assert pack.pairs.folds.tolist() == [0, 0, 1, 1]


def test_pack_of_python_2_is_read(tmp_path: Path) -> None:
    (tmp_path / "lfw.bin").write_bytes(python2(IMAGES, SAME))
    pack = read_face_pack(tmp_path / "lfw.bin", folds=2)
    assert list(pack.source.images) == IMAGES
    assert pack.pairs.same.tolist() == SAME


def test_folds_are_cut_as_scikit_learn_cuts_them(tmp_path: Path) -> None:
    from sklearn.model_selection import KFold

    same = [bool(at % 2) for at in range(47)]
    pack = read_face_pack(write(tmp_path / "a.bin", ([b"x"] * 94, same)))
    for fold, (_, inside) in enumerate(KFold(10).split(np.zeros(47))):
        assert np.flatnonzero(pack.pairs.folds == fold).tolist() == inside.tolist()


class Hostile:
    """Unpickling it creates a folder."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.what = function, arguments

    def __reduce__(self) -> tuple:
        return self.what


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_hostile_pack_runs_nothing(tmp_path: Path, protocol: int) -> None:
    flag = tmp_path / "harm"
    for hostile in (
        Hostile(os.mkdir, str(flag)),
        Hostile(eval, f"__import__('os').mkdir({str(flag)!r})"),
        Hostile(getattr, "", "join"),
        Hostile(bytes, 10),
    ):
        for data in ((IMAGES, [hostile]), hostile, ([hostile, *IMAGES[1:]], SAME)):
            file = write(tmp_path / "lfw.bin", data, protocol)
            with pytest.raises(DataError, match=r"names .*, which is never loaded; expected two lists"):
                read_face_pack(file)
    assert not flag.exists()
    pickle.loads(pickle.dumps(Hostile(os.mkdir, str(flag)), protocol))  # it would have run
    assert flag.exists()


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(S'touch harm'\ntR.",  # a call
        b"\x80\x02c_codecs\nencode\n}X\x08\x00\x00\x00__name__X\x01\x00\x00\x00xsb.",  # an attribute
        b"\x80\x02c_codecs\nencode\nN}X\x07\x00\x00\x00__doc__X\x01\x00\x00\x00xs\x86b.",
        b"\x80\x04\x8c\x08_codecs\x8c\x0elookup.encode\x93.",
        b"\x80\x02\x82\x01.",  # the registry of extensions
        b"Pmodule\n.",  # a persistent name
        b"(S'touch harm'\nios\nsystem\n.",  # an instance
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.",  # a codec of text
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # more bytes than there are
        b"\x80\x05\x97.",
        b"]" * 100,
        b"",
        b"not a pickle",
    ],
)
def test_programs_are_refused_in_one_line(tmp_path: Path, program: bytes) -> None:
    (tmp_path / "lfw.bin").write_bytes(program)
    with pytest.raises(DataError) as caught:
        read_face_pack(tmp_path / "lfw.bin")
    assert "\n" not in str(caught.value)
    assert "expected two lists" in str(caught.value)
    assert str.encode.__name__ == "encode"


def test_arrays_are_refused_with_advice(tmp_path: Path) -> None:
    for data in (
        ([np.frombuffer(image, np.uint8) for image in IMAGES], SAME),
        (IMAGES, np.array(SAME)),
        (IMAGES, [np.bool_(each) for each in SAME]),
    ):
        with pytest.raises(DataError, match=r"names numpy\S+, which is never loaded; write each image as"):
            read_face_pack(write(tmp_path / "lfw.bin", data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((IMAGES, SAME[:3]), "8 images for 3 pairs"),
        ((IMAGES, [*SAME[:3], "yes"]), "pair 3 is neither true nor false"),
        ((IMAGES, [*SAME[:3], 2]), "pair 3 is neither true nor false"),
        ((["text", *IMAGES[1:]], SAME), "image 0 is of type str"),
        ((IMAGES, SAME, SAME), "not a verification set"),
        ({"images": IMAGES}, "not a verification set"),
        (([], []), "0 pairs are too few for 2 folds"),
        ((IMAGES, [True, True, False, True]), "fold 0 of 2 has pairs of one kind only"),
    ],
)
def test_what_is_no_verification_set_is_refused(tmp_path: Path, data: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_face_pack(write(tmp_path / "lfw.bin", data), folds=2)


def test_missing_pack_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lfw\.bin: No such file"):
        read_face_pack(tmp_path / "lfw.bin")
