"""The `huggingface` data set: what the Hugging Face `datasets` library loads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlbench_datasets.division_options import DivideOptions, Share

if TYPE_CHECKING:
    from mlbench.plugin import DatasetContext
    from mlbench_datasets.containers.split import ContainerSplit
    from mlbench_datasets.split_set import SplitSet

__all__ = ["HuggingFace"]


class HuggingFace(DivideOptions):
    """A data set of the Hugging Face library: a folder that `save_to_disk` wrote, a folder of files that the
    library can load, or a name on the hub, from the library's cache where it is there. Needs mlbench[hf].

    Images are read by row and decoded when they are used; an image that cannot be read stops the case, with
    its row. The library refuses data sets with a loading script, and no option allows them. The sizes and
    modification times of the Arrow files stand for their pixels in the version of the data.

    Raises DataError when the data set cannot be loaded, a row has no label, or there are too few classes.
    """

    path: str
    """A folder, relative to the data root, or a name such as "uoft-cs/cifar100"."""
    test: Share = 0.3
    """Share of the classes, or of the images of each class, in test; not used with test_split."""
    config: str | None = None
    """The configuration, where there are several."""
    revision: str | None = None
    """A commit, tag or branch on the hub; name a commit to always have the same data."""
    image: str = "image"
    """Column of the images."""
    label: str = "label"
    """Column of the classes, integers or names."""
    split: str = "train"
    """Split to train on."""
    test_split: str | None = None
    """Split to score on; null to divide the test split off `split`."""

    @property
    def uses_test_share(self) -> bool:
        return self.test_split is None

    def build(self, context: DatasetContext) -> SplitSet[ContainerSplit]:
        from mlbench_datasets.containers.arrow import load_tables
        from mlbench_datasets.containers.division import Tested, divided_set

        tables = load_tables(context.root, self.path, self.config, self.revision)
        pool, content = tables.pool(self.split, self.image, self.label)
        contents, tested = [content], None
        if self.test_split is not None:
            test_pool, content = tables.pool(self.test_split, self.image, self.label, "test_split")
            contents.append(content)
            tested = Tested(self.path, test_pool)
        used = (self.split,) if self.test_split is None else (self.split, self.test_split)
        files = [file for split in used for file in tables.files(split)]
        return divided_set(self.path, pool, tested, self, context.image_size, [], contents, files)
