from __future__ import annotations

import unicodedata
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from mlbench.errors import DataError
from mlbench.evaluation.labels import clean_labels, read_labels, sort_labels


def lines(path: Path, *labels: str, end: str = "\n", encoding: str = "utf-8", last: str = "") -> Path:
    path.write_bytes((end.join(labels) + last).encode(encoding))
    return path


@pytest.mark.parametrize("last", ["", "\n", "\r\n", "\n\n \n"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("name", ["l.txt", "l.csv"])
def test_text_has_one_label_a_line_in_every_encoding_and_line_ending(
    tmp_path: Path, name: str, encoding: str, end: str, last: str
) -> None:
    path = lines(tmp_path / name, "cat", " dog", "cat ", end=end, encoding=encoding, last=last)
    assert read_labels(path).tolist() == ["cat", "dog", "cat"]


def test_names_are_compared_in_one_unicode_form(tmp_path: Path) -> None:
    forms = [unicodedata.normalize(form, "Müller") for form in ("NFC", "NFD")]
    assert len(set(read_labels(lines(tmp_path / "l.txt", *forms, "Mu\u2028ller")).tolist())) == 2


@pytest.mark.parametrize("head", ["label", "file,Label", "label,file", "classes"])
def test_a_csv_has_a_column_of_labels(tmp_path: Path, head: str) -> None:
    places = [name.lower() for name in head.split(",")]
    rows = [
        ",".join(label if place != "file" else f"{at}.jpg" for place in places)
        for at, label in enumerate("aab")
    ]
    assert read_labels(lines(tmp_path / "l.csv", head, *rows)).tolist() == ["a", "a", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n\nb\n", r"l\.csv:2: no label; expected one in each line"),
        ("file,label\n1.jpg,a\n2.jpg\n", r"l\.csv:3: no label"),
        ("label,file\na,1.jpg\n,2.jpg\nb,3.jpg\n", r"l\.csv:3: no label"),
        (
            "file,kind\n1.jpg,a\n",
            r"l\.csv: expected one column, or a column 'label'; found file, kind",
        ),
        ("a\0\n", r"l\.csv: not UTF-8 text"),
    ],
)
def test_a_csv_without_a_label_is_an_error_that_names_the_line(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_labels(lines(tmp_path / "l.csv", text))


def test_files_that_are_not_text_are_an_error_of_one_line(tmp_path: Path) -> None:
    path = lines(tmp_path / "l.txt", "a", "b", encoding="utf-16")
    for each in (path, tmp_path, tmp_path / "missing.txt"):
        with pytest.raises(DataError, match=r"^\S+: labels cannot be read \([^\n]+\)$"):
            read_labels(each)
    with pytest.raises(DataError, match=r"l\.txt:2: no label"):
        read_labels(lines(path, "a", "  ", "b"))


def test_npy_holds_numbers_or_text_and_no_objects(tmp_path: Path) -> None:
    path = tmp_path / "l.npy"
    for values in (np.arange(3), np.array(["a", "b"])):
        np.save(path, values)
        assert read_labels(path).tolist() == values.tolist()
    np.save(path, np.array(["a", None], object))
    with pytest.raises(DataError, match=r"labels cannot be read .*; save text as np\.array\(labels, str\)"):
        read_labels(path)
    path.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"l\.npy: labels cannot be read"):
        read_labels(path)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 0, 2**40], [1, 0, 2**40]),
        (np.array([1, 2], np.uint8), [1, 2]),
        ([1.0, -2.0], [1, -2]),
        ([True, False], [True, False]),
        (["a", " b "], ["a", "b"]),
        ([b"a", "é".encode()], ["a", "é"]),
        (np.array(["a", "b"], object), ["a", "b"]),
        (np.array([1, np.int32(2)], object), [1, 2]),
        (np.array([], object), []),
    ],
    ids=repr,
)
def test_labels_are_text_or_whole_numbers(values, expected) -> None:
    found = clean_labels(np.asarray(values), "here")
    assert found.tolist() == expected
    assert found.dtype.kind in "biuU" or not expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, np.nan, np.nan], "row 1 has no label: nan (and 1 others)"),
        ([1.0, np.inf], "row 1 has an invalid label: inf"),
        ([1.0, 0.25], "row 1 has an invalid label: 0.25"),
        ([2.0**60, 1.0], "row 0 has an invalid label"),
        (["a", ""], "row 1 has no label: ''"),
        (["a", " "], "row 1 has no label: ''"),
        (np.array(["a", None, "b"], object), "row 1 has no label: null"),
        (np.array([np.nan, "b"], object), "row 0 has no label: nan"),
        (np.array(["a", Decimal(1)], object), "row 1 has an invalid label: Decimal('1')"),
        (np.array([1, 2**70], object), "row 1 has an invalid label"),
        (np.array(["a", 1], object), "row 1 is 1, row 0 'a'"),
        ([1 + 0j], "labels are complex128"),
        (np.array(["2024-01-01"], "datetime64[D]"), "labels are datetime64[D]"),
        ([b"\xff"], "labels are bytes but not UTF-8 text"),
    ],
    ids=repr,
)
def test_invalid_labels_are_an_error_that_names_the_row(values, message: str) -> None:
    with pytest.raises(DataError) as raised:
        clean_labels(np.asarray(values), "here")
    assert str(raised.value).startswith(f"here: {message}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([10, 2, -1], [-1, 2, 10]),
        (["10", "2", "-1"], ["-1", "2", "10"]),
        (["10", "2", "01"], ["01", "10", "2"]),
        (["b", "a"], ["a", "b"]),
    ],
)
def test_classes_have_one_order_as_numbers_and_as_text(labels: list[object], expected: list[object]) -> None:
    assert sort_labels(np.array(labels)).tolist() == expected
