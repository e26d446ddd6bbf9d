from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import toys
from made_records import planned_record
from made_records import record as made_record
from PIL import Image

from mlbench.errors import DataError, SuiteError
from mlbench.planning.heading import Heading
from mlbench.planning.plan import Case, Plan
from mlbench.planning.recorded import RecordedImages, SuiteImages
from mlbench.records.record import Record
from mlbench.registry import Registry

Planned = Callable[..., Plan]


def record_of(case: Case) -> Record:
    return planned_record(case, data={"version": str(case.dataset.version)})


def images(record: Record, registry: Registry, path: Path | None = None) -> RecordedImages:
    return SuiteImages(Heading(record.suite, "", path), registry).of(record)


def assert_same(one: Image.Image, other: Image.Image) -> None:
    assert (one.size, one.tobytes()) == (other.size, other.tobytes())


@pytest.mark.parametrize("limit", [None, 8])
def test_images_are_those_of_the_scored_split(
    planned: Planned, registry: Registry, limit: int | None
) -> None:
    (case,) = planned(limit=limit).cases
    found, split = images(record_of(case), registry), case.dataset.split("test")
    assert len(found) == len(split)
    for index in range(len(split)):
        assert_same(found.image(index), split.image(index))
    assert found.where(0) == ""


def test_images_of_another_gallery_follow(planned: Planned, registry: Registry) -> None:
    (case,) = planned(overrides=("dataset.closed=true", "evaluation.gallery=train")).cases
    found, (test, train) = images(record_of(case), registry), map(case.dataset.split, ("test", "train"))
    assert len(found) == len(test) + len(train)
    assert_same(found.image(len(test) - 1), test.image(len(test) - 1))
    assert_same(found.image(len(test)), train.image(0))


def test_images_of_other_data_are_refused(planned: Planned, registry: Registry) -> None:
    record = replace(record_of(planned().cases[0]), data={"version": "older"})
    with pytest.raises(DataError, match=r"not the one that case .* was scored on \(version .*, then older\)"):
        images(record, registry)


def test_a_data_set_that_is_gone_is_named(planned: Planned, registry: Registry) -> None:
    record = record_of(planned().cases[0])
    gone = {**record.settings, "dataset": {"name": "gone"}}
    with pytest.raises(SuiteError, match=rf"record {record.key}: .*'gone'"):
        images(replace(record, settings=gone), registry)
    with pytest.raises(SuiteError, match="a component of a Python file: give the suite's file, or --plugin"):
        images(replace(record, settings=gone, components={"dataset": {"package": "(file)"}}), registry)


def test_records_share_a_data_set(
    planned: Planned, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, built = record_of(planned().cases[0]), []
    build = toys.ToyOptions.build
    monkeypatch.setattr(
        toys.ToyOptions, "build", lambda self, context: built.append(context) or build(self, context)
    )
    suite = SuiteImages(Heading(record.suite, ""), registry)
    for seed in range(3):
        suite.of(replace(record, seed=seed))
    assert len(built) == 1


def test_files_of_a_folder_are_named(write: Callable[..., Path], registry: Registry, tmp_path: Path) -> None:
    for name in "abcdefgh":
        for view in range(3):
            file = tmp_path / "photos" / name / f"{view}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 20), (view * 80, ord(name), 0)).save(file)
    settings = {
        "dataset": {"name": "image_folder", "path": "photos"},
        "image": {"size": 16},
        "evaluation": {"gallery": "test", "split": "test"},
    }
    record = made_record(settings=settings)
    path = write()
    with pytest.raises(DataError, match=r"then None\); run the case again") as caught:
        images(record, registry, path)
    version = str(caught.value).partition("(version ")[2].partition(",")[0]
    found = images(replace(record, data={"version": version}), registry, path)
    for index in range(len(found)):
        label = found.scored.class_name(found.scored.label(index))
        assert found.where(index) == f"{label}/{index % 3}.png"
        assert_same(found.image(index), Image.open(tmp_path / "photos" / found.where(index)))
