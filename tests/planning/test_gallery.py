from __future__ import annotations

import numpy as np
import pytest
from made_splits import BOTH, CATALOGUE, CLOSED, OPEN, Data, Paired, Split

from mlbench.contracts import GALLERY, PairedDataset
from mlbench.errors import DataError, SuiteError
from mlbench.planning.gallery import check_protocol, gallery_split


def problem(data: Data, gallery: str) -> str:
    with pytest.raises(DataError) as caught:
        check_protocol(data, gallery)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_protocols_that_fit_the_data_set_pass() -> None:
    for data, gallery in ((OPEN, "test"), (CLOSED, "train"), (CATALOGUE, "gallery"), (CATALOGUE, "test")):
        check_protocol(data, gallery)


def test_protocols_that_do_not_fit_are_an_error_of_one_line() -> None:
    assert problem(OPEN, "train").startswith(
        "evaluation.gallery is train, but calibration and train share no class; choose a data set, or an"
    )
    far = Data(Split("aabb"), Split("aabb"), Split("eeff"))
    assert "but test and train share no class" in problem(far, "train")
    assert problem(OPEN, "gallery").startswith(
        "evaluation.gallery is gallery, but no test image is only a query or only in the gallery; state roles"
    )
    # The only image of a class is in the gallery only by default.
    alone = Data(Split("aabb"), Split("ccdd"), Split("eeffg", (BOTH, BOTH, BOTH, BOTH, GALLERY)))
    assert "state roles in the data set" in problem(alone, "gallery")
    assert problem(CLOSED, "test") == (
        "evaluation.gallery is test, but 0 of the calibration classes have a query and another image of the "
        "class in the same split; at least 2 are needed; give them more images (of other groups, where "
        "there are groups), or set evaluation.gallery: train"
    )


def test_scored_training_images_must_have_positives() -> None:
    data = Data(Split("abcd"), Split("ccdd"), Split("ef"))
    check_protocol(Data(Split("aabb"), data.calibration, data.test), "test", "train")
    with pytest.raises(DataError, match="0 of the train classes have a query and another image of the class"):
        check_protocol(data, "test", "train")


def test_groups_can_leave_no_positive() -> None:
    for groups, fine in (([1, 1, 2, 2], False), ([1, 2, 2, 1], True), ([-1, -1, 2, 5], True)):
        data = Data(Split("aabb"), Split("ccdd"), Split("eeff", groups=np.array(groups)))
        if fine:
            check_protocol(data, "test")
        else:
            assert "0 of the test classes have a query" in problem(data, "test")
    same = np.array([1, 1, 2, 2])
    data = Data(Split("aabb", groups=same), Split("ab"), Split("aabb", groups=same))
    assert "0 of the test classes have a query and another image of the class in the train split" in problem(
        data, "train"
    )


def test_lists_of_pairs_need_no_positives() -> None:
    data = Paired(Split("aabb"), Split("ccdd"), Split("efgh", (0, 0, 0, 0)))
    assert isinstance(data, PairedDataset)
    check_protocol(data, "test")
    assert "share no class" in problem(data, "train")


@pytest.mark.parametrize(
    ("data", "gallery", "calibration", "test"),
    [
        (OPEN, "test", "calibration", "test"),
        (CLOSED, "train", "train", "train"),
        (CATALOGUE, "gallery", "test", "test"),
        (CATALOGUE, "test", "calibration", "test"),
        (Data(OPEN.train, Split("ddgg"), CATALOGUE.test), "gallery", "calibration", "test"),
        (Data(OPEN.train, CATALOGUE.test, CATALOGUE.test), "gallery", "calibration", "test"),
    ],
)
def test_calibration_follows_the_protocol_of_test(
    data: Data, gallery: str, calibration: str, test: str
) -> None:
    assert gallery_split(data, "calibration", gallery) == calibration
    assert gallery_split(data, "test", gallery) == test


def test_a_protocol_that_does_not_fit_fails_before_any_work(planned) -> None:
    with pytest.raises(
        SuiteError, match=r"^\S+toy\.yaml:4: base\.dataset: evaluation\.gallery is train, but"
    ):
        planned(overrides=("evaluation.gallery=train",))
    with pytest.raises(SuiteError, match=r"expected 'test' \| 'train' \| 'gallery' \(did you mean 'test'"):
        planned(overrides=("evaluation.gallery=tset",))
    assert planned(overrides=("dataset={name: toy, closed: true}", "evaluation.gallery=train")).cases
