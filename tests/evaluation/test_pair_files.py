from __future__ import annotations

from pathlib import Path

import pytest

from mlbench.errors import DataError
from mlbench.evaluation.pair_files import read_pairs


def test_pairs_have_folds_in_file_order_by_default(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("left,right,same\n0,1,1\n0,2,0\n2,3,true\n1,3,False\n")
    pairs = read_pairs(path, 4, folds=2)
    assert pairs.left.tolist() == [0, 0, 2, 1]
    assert pairs.right.tolist() == [1, 2, 3, 3]
    assert pairs.same.tolist() == [True, False, True, False]
    assert pairs.folds.tolist() == [0, 0, 1, 1]
    path.write_text("left,right,same,fold\n0,1,1,7\n0,2,0,3\n")
    assert read_pairs(path, 4, folds=2).folds.tolist() == [7, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "p.csv: expected a CSV file with the columns left, right, same"),
        ("left,right\n0,1\n", "p.csv: expected a CSV file with the columns"),
        ("left,right,same\n0,1,1\n0,x,1\n", "p.csv:3: expected row numbers and 1 or 0, found"),
        ("left,right,same\n0,4,1\n", "p.csv:2: rows run from 0 to 3, found"),
        ("left,right,same\n0,1\n", "p.csv:2: expected row numbers"),
        ("left,right,same\n0,1,2\n", "p.csv:2: expected row numbers and 1 or 0"),
        (f"left,right,same\n0,{10**30},1\n", "p.csv:2: expected row numbers and 1 or 0"),
        ("left,right,same\n0,1,1\n2,2,1\n", "p.csv:3: a pair of image 2 with itself"),
        (
            "left,right,same\n0,1,1\n2,1,0\n1,0,0\n",
            "p.csv:4: .* 1 and 0 are different here, but not in line 2",
        ),
    ],
)
def test_an_invalid_pair_is_an_error_that_names_the_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_pairs(path, 4, folds=2)
