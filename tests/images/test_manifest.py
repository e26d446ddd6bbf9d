from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mlbench.contracts import GALLERY, QUERY
from mlbench.errors import DataError
from mlbench.images.manifest import Manifest, ManifestRow, read_manifest


def csv(folder: Path, text: str) -> Path:
    file = folder / "photos.csv"
    file.write_text(text, encoding="utf-8")
    return file


def problem(folder: Path, text: str) -> str:
    """The message about a manifest, without the folder."""
    with pytest.raises(DataError) as caught:
        read_manifest(csv(folder, text))
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{folder}/", "")


def test_manifest_reads_rows(tmp_path: Path) -> None:
    file = csv(
        tmp_path,
        "path,label,split,is_query,is_gallery,box,colour\n"
        "a.jpg,cat,train,,,,red\n"
        '"b, c.jpg",dog,test,true,0,"1, 2,30.5,40",\n'
        "\n"
        "d.jpg,dog,val,no,yes,,\n"
        "e.jpg,dog,TEST,,,,\n",
    )
    assert read_manifest(file) == Manifest(
        [
            ManifestRow(f"{file}:2", "a.jpg", "cat", "train", None, None),
            ManifestRow(f"{file}:3", "b, c.jpg", "dog", "test", QUERY, (1, 2, 30.5, 40)),
            ManifestRow(f"{file}:5", "d.jpg", "dog", "calibration", GALLERY, None),
            ManifestRow(f"{file}:6", "e.jpg", "dog", "test", None, None),
        ],
        [],
    )


def test_manifest_takes_what_spreadsheets_write(tmp_path: Path) -> None:
    file = tmp_path / "photos.csv"
    file.write_bytes("\ufeffpath , label\r\né.jpg, 7\r\n".encode())
    (row,) = read_manifest(file).rows
    assert (row.path, row.label) == ("é.jpg", "7")


def test_manifest_counts_lines_through_quoted_newlines(tmp_path: Path) -> None:
    text = 'path,label,remark\na.jpg,1,"two\nlines"\nb.jpg,,x\n'
    assert problem(tmp_path, text) == "photos.csv:4: the label is empty"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "photos.csv:1: the first line is empty; the first line must name the columns"),
        ("path,label\n", "photos.csv: no rows; a manifest has one row for each image"),
        ("path,lable\na,b\n", "photos.csv:1: no column 'label'; rename the column 'lable' to 'label'"),
        ("Path,label\na,b\n", "photos.csv:1: no column 'path'; rename the column 'Path' to 'path'"),
        (
            "file,label\na,b\n",
            "photos.csv:1: no column 'path' (found: file, label); rename the column of the image files",
        ),
        (
            "a/1.jpg,cat\n",
            "photos.csv:1: the first line is the row of an image (a/1.jpg,cat); the first",
        ),
        ("path;label\na;b\n", "photos.csv:1: the values are separated by semicolons; save"),
        ("1.jpg;cat\n", "photos.csv:1: the values are separated by semicolons; save"),
        (
            "sep=;\npath;label\n",
            "photos.csv:1: the values are separated by semicolons; save",
        ),
        ("path\tlabel\na\tb\n", "photos.csv:1: the values are separated by tabs; save the manifest with"),
        (
            "path,label\na\\b.jpg,b\n",
            "photos.csv:2: the path 'a\\\\b.jpg' has Windows separators; write 'a/b.",
        ),
        (
            "path,label\nC:\\a.jpg,b\n",
            "photos.csv:2: the path 'C:\\\\a.jpg' starts at a Windows drive;",
        ),
        ("path,label\nD:/a.jpg,b\n", "photos.csv:2: the path 'D:/a.jpg' starts at a Windows drive;"),
        (
            "path,label\ns3://a/b.jpg,b\n",
            "photos.csv:2: the path 's3://a/b.jpg' is a URL; download",
        ),
        ("path,label\n~/b.jpg,b\n", "photos.csv:2: the path '~/b.jpg' starts with ~, which is not replaced"),
        ("path,label,path\na,b,c\n", "photos.csv:1: 2 columns are called 'path'; keep one"),
        ("path,label\n,b\n", "photos.csv:2: the path is empty"),
        ("path,label\na,b\nc\n", "photos.csv:3: 1 values for 2 columns; a value with a comma"),
        ("path,label,split\na,b,tset\n", "photos.csv:2: unknown split 'tset'; did you mean 'test'?"),
        ("path,label,split\na,b,test\nc,b,\n", "photos.csv:3: no split, though other rows have one; choose"),
        ("path,label,is_query\na,b,maybe\n", "photos.csv:2: is_query is 'maybe'; write true or false"),
        ("path,label,is_query,is_gallery\na,b,0,0\n", "photos.csv:2: neither query nor gallery"),
        ('path,label,box\na,b,"1,2,3"\n', "photos.csv:2: box '1,2,3' is not x1,y1,x2,y2"),
        ('path,label,box\na,b,"1,2,one,4"\n', "photos.csv:2: box '1,2,one,4' is not x1,y1,x2,y2"),
        ('path,label,box\na,b,"9,0,3,4"\n', "photos.csv:2: box '9,0,3,4' is not x1,y1,x2,y2"),
        ('path,label,box\na,b,"-1,0,3,4"\n', "photos.csv:2: box '-1,0,3,4' is not x1,y1,x2,y2"),
        ('path,label,box\na,b,"0,0,nan,inf"\n', "photos.csv:2: box '0,0,nan,inf' is not x1,y1,x2,y2"),
        ("path,label\na,b\nc,d\na,e\n", "photos.csv:4: the same image of 'a' as in photos.csv:2; keep one"),
        ('path,label\na,"b" c\n', "photos.csv:2: ',' expected after '\"'"),
    ],
)
def test_manifest_names_the_line_that_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    assert problem(tmp_path, text).startswith(message)


def test_manifest_takes_a_file_of_that_very_name(tmp_path: Path) -> None:
    for name in ("a\\b.jpg", "~c.jpg"):
        (tmp_path / name).touch()
    rows = read_manifest(csv(tmp_path, "path,label\na\\b.jpg,x\n~c.jpg,y\n")).rows
    assert [row.path for row in rows] == ["a\\b.jpg", "~c.jpg"]


def test_manifest_that_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "photos.csv"
    file.write_bytes(b"path,label\na,b\n\xff\xfe,c\n")
    with pytest.raises(DataError, match=r"photos\.csv:3: not UTF-8"):
        read_manifest(file)
    with pytest.raises(DataError, match=r"missing\.csv: No such file or directory"):
        read_manifest(tmp_path / "missing.csv")


def test_manifest_reads_queries_galleries_and_sessions(tmp_path: Path) -> None:
    file = csv(
        tmp_path,
        "path,label,split,is_query,session\na.jpg,x,query,,7\na.jpg,x,gallery,,7\nb.jpg,x,Gallery,no,\n",
    )
    assert read_manifest(file).rows == [
        ManifestRow(f"{file}:2", "a.jpg", "x", "test", QUERY | GALLERY, None, "7"),
        ManifestRow(f"{file}:4", "b.jpg", "x", "test", GALLERY, None, ""),
    ]
    assert problem(tmp_path, "path,label,split,is_query\na,b,query,no\n").startswith(
        "photos.csv:2: split is query, but is_query and is_gallery contradict it; keep one of them"
    )


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("a,y,gallery,1", "but with another label: 'y', not 'x'"),
        ("a,x,gallery,2", "but with another group: '2', not '1'"),
    ],
)
def test_manifest_refuses_rows_of_an_image_that_do_not_agree(
    tmp_path: Path, other: str, message: str
) -> None:
    text = f"path,label,split,session\na,x,train,1\n{other}\n"
    assert problem(tmp_path, text) == f"photos.csv:3: the same image of 'a' as in photos.csv:2, {message}"


def test_manifest_allows_several_boxes_in_an_image(tmp_path: Path) -> None:
    file = csv(tmp_path, 'path,label,box\na,b,"0,0,5,5"\na,b,"5,5,9,9"\n')
    assert len(read_manifest(file).rows) == 2
    message = problem(tmp_path, 'path,label,box\na,b,"0,0,5,5"\na,c,"0,0,5,5"\n')
    assert message.startswith("photos.csv:3: the same box of 'a' as in photos.csv:2")


def test_manifest_notes_a_column_that_is_nearly_one(tmp_path: Path) -> None:
    file = csv(tmp_path, "path,label,splits,is_qurey,colour\na,b,,,\n")
    assert read_manifest(file).notes == [
        f"{file}: column 'splits' is ignored; did you mean 'split'?",
        f"{file}: column 'is_qurey' is ignored; did you mean 'is_query'?",
    ]


def parquet(folder: Path, columns: dict[str, list[object]]) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    writer = pytest.importorskip("pyarrow.parquet")
    writer.write_table(pyarrow.table(columns), folder / "photos.parquet")
    return folder / "photos.parquet"


def test_manifest_reads_parquet_as_csv(tmp_path: Path) -> None:
    columns: dict[str, list[object]] = {
        "path": ["a.jpg", "b.jpg", "c.jpg"],
        "label": [7, 8, None],
        "is_query": [True, None, False],
        "box": [[1, 2, 3, 4], None, [0.0, 0.0, 2.5, 3.0]],
        "vector": [[0.1], [0.2], [0.3]],
    }
    with pytest.raises(DataError, match=r"photos\.parquet: row 3: the label is empty"):
        read_manifest(parquet(tmp_path, columns))
    columns["label"] = [7.0, 8.0, 9.5]
    file = parquet(tmp_path, columns)
    assert read_manifest(file).rows == [
        ManifestRow(f"{file}: row 1", "a.jpg", "7", None, QUERY | GALLERY, (1, 2, 3, 4)),
        ManifestRow(f"{file}: row 2", "b.jpg", "8", None, None, None),
        ManifestRow(f"{file}: row 3", "c.jpg", "9.5", None, GALLERY, (0, 0, 2.5, 3)),
    ]


def test_manifest_reads_parquet_s_bytes_as_text_and_names_columns_of_lists(tmp_path: Path) -> None:
    file = parquet(tmp_path, {"path": [b"a.jpg", b"b.jpg"], "label": [b"caf\xc3\xa9", b"8"]})
    assert [(row.path, row.label) for row in read_manifest(file).rows] == [("a.jpg", "café"), ("b.jpg", "8")]
    for columns, name in (
        ({"path": ["a.jpg"], "label": [[7]]}, "'label' holds list<"),
        ({"path": [{"bytes": b"", "path": "a.jpg"}], "label": [7]}, "'path' holds struct<"),
    ):
        with pytest.raises(DataError, match=rf"photos\.parquet: column {name}.*; expected text or numbers"):
            read_manifest(parquet(tmp_path, columns))


def test_manifest_that_is_no_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "photos.parquet").write_bytes(b"path,label")
    with pytest.raises(DataError, match=r"photos\.parquet: not a parquet file"):
        read_manifest(tmp_path / "photos.parquet")
    with pytest.raises(DataError, match=r"gone\.parquet: No such file"):
        read_manifest(tmp_path / "gone.parquet")


def test_manifest_says_what_parquet_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"pip install 'mlbench\[parquet\]'"):
        read_manifest(tmp_path / "photos.parquet")


def test_manifest_needs_no_labels_where_none_are_wanted(tmp_path: Path) -> None:
    file = csv(tmp_path, 'path,box\na.jpg,\nb.jpg,"0,0,9,9"\n')
    found = read_manifest(file, needs_labels=False).rows
    assert [(row.path, row.label, row.box) for row in found] == [
        ("a.jpg", "", None),
        ("b.jpg", "", (0, 0, 9, 9)),
    ]
    some = csv(tmp_path, "path,label\na.jpg,cat\nb.jpg,\n")
    assert [row.label for row in read_manifest(some, needs_labels=False).rows] == ["cat", ""]
    with pytest.raises(DataError, match="the label is empty"):
        read_manifest(some)
    with pytest.raises(DataError, match="no column 'path'"):
        read_manifest(csv(tmp_path, "label\ncat\n"), needs_labels=False)
