from __future__ import annotations

from mlbench_datasets.copies import Copy, copy_notes


def test_copies_across_splits_are_named_as_such() -> None:
    images = [
        Copy("train", "a", 1, "train/a/1.jpg"),
        Copy("train", "b", 2, "train/b/2.jpg"),
        Copy("calibration", "a", 2, "val/a/2.jpg"),
        Copy("test", "a", 1, "test/a/1.jpg"),
        Copy("test", "c", 1, "test/c/9.jpg"),
        Copy("test", "c", 2, "test/c/2.jpg"),
    ]
    assert copy_notes(images) == [
        "the same image is in train and calibration: train/b/2.jpg and val/a/2.jpg",
        "the same image is in train and test: train/a/1.jpg and test/a/1.jpg (and 2 more)",
        "the same image is in calibration and test: val/a/2.jpg and test/c/2.jpg",
        "copies across classes, which no model can tell apart: test/c/9.jpg = test/a/1.jpg",
    ]


def test_copies_within_a_split() -> None:
    images = [
        Copy("train", label, 1, name) for label, name in (("a", "x"), ("a", "y"), ("b", "z"), ("b", "w"))
    ]
    assert copy_notes(images) == [
        "copies within a class, which every model matches: y = x, w = z",
        "copies across classes, which no model can tell apart: z = x",
    ]
    assert copy_notes([Copy("train", "a", number, str(number)) for number in range(5)]) == []
