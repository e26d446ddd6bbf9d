from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlbench.errors import DataError
from mlbench.evaluation.embedding_files import read_embeddings

VECTORS = np.arange(12, dtype=np.float32).reshape(4, 3) + 1
LABELS = np.array(["cat", "cat", "dog", "dog"])


def test_npz_holds_vectors_labels_and_roles(tmp_path: Path) -> None:
    path = tmp_path / "e.npz"
    queries = np.array([True, False, True, False])
    np.savez(path, embeddings=VECTORS, labels=LABELS, queries=queries)
    found = read_embeddings(path)
    assert np.array_equal(found.vectors, VECTORS)
    assert list(found.labels) == list(LABELS)
    assert np.array_equal(found.queries, queries)
    assert found.gallery.all()
    assert found.name == "e.npz"


@pytest.mark.parametrize(
    ("groups", "same"),
    [
        (["a", "", "a", ""], [0, 2]),
        ([7, -1, 7, -5], [0, 2]),
        ([7.0, np.nan, 7.0, np.nan], [0, 2]),
        ([True, False, True, True], None),
    ],
)
def test_groups_are_numbers_or_texts(tmp_path: Path, groups: list[object], same: list[int] | None) -> None:
    path = tmp_path / "e.npz"
    np.savez(path, embeddings=VECTORS, labels=LABELS, groups=np.array(groups))
    found = read_embeddings(path).groups
    assert found.dtype == np.int64
    if same is not None:
        assert (found < 0).tolist() == [at not in same for at in range(4)]
        assert len(set(found[same].tolist())) == 1
    np.savez(tmp_path / "other.npz", embeddings=VECTORS, labels=LABELS, group=np.array(groups)[::-1])
    assert read_embeddings(tmp_path / "other.npz").groups.tolist() == found[::-1].tolist()
    np.savez(path, embeddings=VECTORS, labels=LABELS)
    assert read_embeddings(path).groups is None


def test_npy_is_mapped_and_takes_its_labels_from_another_file(tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", VECTORS)
    (tmp_path / "l.txt").write_text("cat\ncat\ndog\ndog\n")
    np.save(tmp_path / "l.npy", LABELS)
    for labels in ("l.txt", "l.npy"):
        found = read_embeddings(tmp_path / "e.npy", tmp_path / labels)
        assert isinstance(found.vectors, np.memmap)
        assert list(found.labels) == list(LABELS)
    with pytest.raises(
        DataError, match=r"e\.npy: an \.npy file has no labels; name their file with --labels"
    ):
        read_embeddings(tmp_path / "e.npy")


def test_roles_are_true_or_false(tmp_path: Path) -> None:
    path = tmp_path / "e.npz"
    for roles in (np.array([1, 0, 1, 1]), np.array([True, False, True, True])):
        np.savez(path, embeddings=VECTORS, labels=LABELS, query=roles)
        assert read_embeddings(path).queries.tolist() == [True, False, True, True]
    for roles in (np.array([0, 2, 1, 3]), np.array([-1, 0, 1, 1]), np.array([0.0, 1, 1, 1])):
        np.savez(path, embeddings=VECTORS, labels=LABELS, query=roles)
        with pytest.raises(DataError, match="'queries' must be true or false for each of 4 embeddings"):
            read_embeddings(path)


def test_a_scalar_as_embeddings_is_an_error_without_labels_too(tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", embeddings=np.float32(3))
    with pytest.raises(DataError, match=r"embeddings are float32 of shape \(\)"):
        read_embeddings(tmp_path / "e.npz", needs_labels=False)


def write_parquet(path: Path, **columns: object) -> Path:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    vectors = pa.array(VECTORS.tolist(), pa.list_(pa.float32()))
    pq.write_table(pa.table({"embedding": vectors, **columns}), path)
    return path


@pytest.mark.parametrize("kind", ["string", "large_string", "int64", "float64", "bool", "dictionary"])
def test_a_parquet_label_that_is_null_is_an_error_that_names_the_row(tmp_path: Path, kind: str) -> None:
    pa = pytest.importorskip("pyarrow")
    value = {"int64": 3, "float64": 3.0, "bool": True}.get(kind, "a")
    types = {"bool": pa.bool_(), "dictionary": pa.dictionary(pa.int32(), pa.string())}
    labels = pa.array([value, None, value, None], types.get(kind) or getattr(pa, kind)())
    path = write_parquet(tmp_path / "e.parquet", label=labels)
    with pytest.raises(
        DataError, match=rf"^{path}: row 1 has no label: null \(and 1 others\); expected text"
    ):
        read_embeddings(path)


def test_other_parquet_columns_may_hold_anything(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    coded = pa.array(["a", "a", "b", "b"]).dictionary_encode()
    path = write_parquet(tmp_path / "e.parquet", label=coded, other=pa.array([None, 1, None, 2]))
    assert read_embeddings(path).labels.tolist() == ["a", "a", "b", "b"]
    with pytest.raises(DataError, match="no 'labels'; found embedding, other"):
        read_embeddings(write_parquet(tmp_path / "e.parquet", other=pa.array([None, 1, None, 2])))
    nobody = write_parquet(tmp_path / "e.parquet", label=coded, query=pa.array([True, None, True, True]))
    with pytest.raises(DataError, match="'queries' must be true or false"):
        read_embeddings(nobody)


@pytest.mark.parametrize("fixed", [True, False])
def test_parquet_holds_lists(tmp_path: Path, fixed: bool) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    kind = pa.list_(pa.float32(), 3 if fixed else -1)
    table = pa.table({"embedding": pa.array(VECTORS.tolist(), kind), "label": LABELS.tolist()})
    pq.write_table(table, tmp_path / "e.parquet")
    found = read_embeddings(tmp_path / "e.parquet")
    assert np.array_equal(found.vectors, VECTORS)
    assert list(found.labels) == list(LABELS)


def test_parquet_lists_of_different_length_are_refused(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    cases = (
        [[1.0], [1.0, 2.0, 3.0]],
        [[1.0, 2.0], None],
        [[1.0], [1.0, 2.0, 3.0], [4.0, 5.0]],
        [[1.0, 2.0], [1.0], [1.0, 2.0, 3.0], [4.0, 5.0]],
    )
    for lists in cases:
        table = pa.table(
            {"embedding": pa.array(lists, pa.list_(pa.float32())), "label": list(range(len(lists)))}
        )
        pq.write_table(table, tmp_path / "e.parquet")
        with pytest.raises(DataError, match="the lists of column 'embedding' differ in length"):
            read_embeddings(tmp_path / "e.parquet")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": LABELS}, r"no 'embeddings'; found labels$"),
        ({"embeddings": VECTORS}, r"no 'labels'; found embeddings$"),
        (
            {"embeddings": VECTORS, "labels": LABELS[:3]},
            r"labels of shape \(3,\) for 4 embeddings; expected one",
        ),
        (
            {"embeddings": VECTORS[0], "labels": LABELS},
            r"embeddings are float32 of shape \(3,\); expected numbers",
        ),
        (
            {"embeddings": LABELS[:, None], "labels": LABELS},
            r"embeddings are <U3 of shape \(4, 1\); expected numb",
        ),
        (
            {"embeddings": VECTORS, "labels": LABELS, "gallery": [0.5] * 4},
            r"'gallery' must be true or false for each of 4 embeddings",
        ),
        (
            {"embeddings": VECTORS, "labels": LABELS, "groups": LABELS[:3]},
            r"groups of shape \(3,\) for 4 embeddings; expected one each",
        ),
        (
            {"embeddings": VECTORS, "labels": LABELS, "groups": [0.5] * 4},
            r"groups are fractions; expected whole numbers or texts",
        ),
    ],
)
def test_missing_or_misshapen_arrays_are_an_error_that_names_them(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    path = tmp_path / "e.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=rf"^{path}: {message}"):
        read_embeddings(path)


def test_unreadable_files_are_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.npz: no such file; expected embeddings as \.npz, \.npy or"):
        read_embeddings(tmp_path / "x.npz")
    for suffix in ("npz", "npy", "parquet"):
        path = tmp_path / f"bad.{suffix}"
        path.write_bytes(b"not really")
        with pytest.raises(DataError, match=r"^\S+: cannot be read \([^\n]+\)$"):
            read_embeddings(path, tmp_path)
    (tmp_path / "e.txt").write_text("1 2 3")
    with pytest.raises(DataError, match=r"e\.txt: unknown format \.txt; expected \.npz"):
        read_embeddings(tmp_path / "e.txt")


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    path = tmp_path / "e.npz"
    np.savez(path, embeddings=VECTORS, labels=np.array([{}, {}, {}, {}], object))
    with pytest.raises(DataError, match="cannot be read"):
        read_embeddings(path)
