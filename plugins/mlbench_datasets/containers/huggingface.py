"""The `huggingface` data set: what the Hugging Face `datasets` library loads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mlbench_datasets.partition import Divided, check_fractions

if TYPE_CHECKING:
    from mlbench_datasets.containers.split import ContainerSet

__all__ = ["huggingface"]


def huggingface(
    data_root: Path,
    image_size: int,
    *,
    path: str,
    config: str | None = None,
    revision: str | None = None,
    image: str = "image",
    label: str = "label",
    split: str = "train",
    test_split: str | None = None,
    divide: Divided | None = None,
    calibration: Annotated[float, Field(gt=0, lt=1)] = 0.2,
    test: Annotated[float, Field(gt=0, lt=1)] = 0.3,
    seed: int = 0,
) -> ContainerSet:
    """A data set of the Hugging Face library: a folder that `save_to_disk` wrote, a folder of files that the
    library knows, or a name on the hub, from its cache where that has it. Needs mlbench[hf].

    Images are read by row and decoded as they are used; one that cannot be read stops the case with its row.
    Data sets that are programs are refused by the library, and no option lets them in. Sizes and times of
    change of the Arrow files stand for their pixels in the version of the data.

    Options
    -------
    path: a folder, from the data root, or a name such as "uoft-cs/cifar100".
    config: the configuration, where there are several.
    revision: on the hub: a commit, tag or branch; name a commit to have the same data for ever.
    image: the column with the images.
    label: the column with the classes, whole numbers or names.
    split: the images to train on.
    test_split: the images to be scored on; without it, classes of `split` are set apart for it.
    divide: what is divided: classes, so that test has new ones, or the images of each class (closed set, see
        `evaluation.gallery`). Default: classes; but images where test_split has classes that are trained on.
    calibration: share of the classes, or of the images of each, that is kept from training to fit thresholds
        on.
    test: share of them that is kept from training to be scored on, where there is no test_split.
    seed: of the division into splits.

    Raises DataError when it cannot be loaded, a row has no label, or classes are too few.
    """
    from mlbench_datasets.containers.arrow import load_tables
    from mlbench_datasets.containers.division import divided, tested_whole, with_test
    from mlbench_datasets.containers.split import ContainerSet, version_of

    check_fractions(calibration, test if test_split is None else 0)
    notes: list[str] = []
    tables = load_tables(data_root, path, config, revision)
    pool, content = tables.pool(split, image, label)
    contents, disjoint = [content], divide != "images"
    if test_split is None:
        splits = divided(
            path, pool, image_size, notes, divide=divide, calibration=calibration, test=test, seed=seed
        )
    else:
        tested, content = tables.pool(test_split, image, label, "test_split")
        contents.append(content)
        disjoint = set(tested.names).isdisjoint(pool.names)
        whole = tested_whole(path, tested, image_size, pool.names)
        splits = with_test(
            path, pool, whole, image_size, notes, divide=divide, calibration=calibration, seed=seed
        )
    return ContainerSet(version_of(splits, *contents), disjoint, tuple(notes), splits)
