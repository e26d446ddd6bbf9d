from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_page import Made

from mlbench.evaluation.details import DETAILS, Details, read_details, write_details
from mlbench.records.record import Record
from mlbench.records.store import Store


@pytest.fixture(scope="module")
def sides(made: Made, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The results of a run, and a copy in which case 8 has lost recall and two queries have changed sides."""
    before = made.folder / "results" / "toy"
    after = tmp_path_factory.mktemp("after") / "toy"
    shutil.copytree(before, after)
    store = Store(after.parent, "toy")
    for record in store.read()[0]:
        if record.case == "8":
            found = record.metrics["recall_at_1"]
            assert found.value is not None
            worse = replace(found, value=found.value - 0.2 - 0.001 * record.seed)
            settings = {**record.settings, "recipe": {**record.settings["recipe"], "lr": 0.5}}
            store.put(replace(record, metrics={**record.metrics, "recall_at_1": worse}, settings=settings))
            swap(store.checkpoints(record.key) / DETAILS)
    return before, after


def swap(path: Path) -> None:
    """Turn the first right query wrong, and the first wrong one right."""
    details = read_details(path)
    assert details is not None
    rank = details.rank.copy()
    rank[changed(details)[0]], rank[changed(details)[1]] = 3, 1
    write_details(path, replace(details, rank=rank))


def changed(details: Details) -> tuple[int, int]:
    """Positions of the first right query and the first wrong one."""
    return int(np.argmax(details.rank == 1)), int(np.argmax(details.rank > 1))


def test_the_page_says_what_got_worse_and_which_queries(
    made: Made, sides: tuple[Path, Path], tmp_path: Path
) -> None:
    path = tmp_path / "c.html"
    result = made.invoke("report", "--compare", *sides, "-o", path)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{path} written\n"
    text = path.read_text(encoding="utf-8")
    details = read_details(sides[0] / key(sides[0], "8", 0) / DETAILS)
    assert details is not None
    rows = re.findall(
        r'<tr><th scope="row">(\w+)</th><td class="n">(\d)</td><td class="n">(\d+)</td>'
        r'<td class="n">(\d+)</td><td class="n">(\d+)</td></tr>',
        text,
    )
    compared = str(int((details.rank > 0).sum()))
    assert ("8", "0", "1", "1", compared) in rows
    assert ("4", "0", "0", "0", compared) in rows
    assert "setting recipe.lr</dt><dd>" in text
    assert "Settings: they differ by case; see What differs" in text
    assert "data:image/webp" in text
    assert '<option value="8">8</option>' in text
    lost = next(
        json.loads(line)
        for line in re.findall(r'id="chart-\d+">(.*?)</script>', text, re.DOTALL)
        if "Recall@1" in line
    )
    differences = {row["case"]: row["d"] for row in lost["data"]["values"]}
    assert differences["8"] == pytest.approx(-0.2005)
    assert differences["4"] == 0


def test_without_images_and_details_the_rest_is_there(
    made: Made, sides: tuple[Path, Path], tmp_path: Path
) -> None:
    bare = tmp_path / "bare" / "toy"
    bare.mkdir(parents=True)
    for file in sides[1].glob("*.json"):
        shutil.copy(file, bare)
    result = made.invoke("report", "--compare", sides[0], bare)
    assert result.exit_code == 0, result.output
    text = (bare / "comparison.html").read_text(encoding="utf-8")
    assert f"no details of single images in {bare}" in text
    assert "data:image" not in text
    path = tmp_path / "plain.html"
    made.invoke("report", "--compare", *sides, "--no-images", "--case", "8", "-o", path)
    text = path.read_text(encoding="utf-8")
    assert "data:image" not in text
    assert "1 wrong now" in text


def test_mistakes_of_use_are_one_line(made: Made, sides: tuple[Path, Path]) -> None:
    for arguments, code, message in (
        ([], 2, "give either a SUITE or --compare BEFORE AFTER"),
        (["toy", "--compare", *sides], 2, "give either a SUITE or --compare"),
        (["--compare", *sides, "--seeds", "1"], 2, "takes neither --section nor options of a run"),
        (["--compare", *sides, "--case", "nine"], 1, "--case nine: no case matches"),
        (["--compare", sides[0], "nowhere"], 1, "nowhere: not found"),
    ):
        result = made.invoke("report", *arguments)
        assert result.exit_code == code, result.output
        assert message in result.output
        assert "Traceback" not in result.output


def key(folder: Path, case: str, seed: int) -> str:
    records: list[Record] = Store(folder.parent, folder.name).read()[0]
    (found,) = [record.key for record in records if (record.case, record.seed) == (case, seed)]
    return found
