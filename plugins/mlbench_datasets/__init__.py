"""Data sets that need no download, data sets of the user's own and in common formats, and augmentations."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.contracts import Component
from mlbench.hookspecs import hookimpl


@hookimpl
def mlbench_components() -> Iterable[Component]:
    """The components of this package."""
    return [
        Component(
            kind="dataset",
            name="textimage",
            factory="mlbench_datasets.textimage:TextImage",
            summary="photographs of rendered documents, labels and signs, in families of look-alikes",
        ),
        Component(
            kind="dataset",
            name="document_pool",
            factory="mlbench_datasets.document_pool:document_pool",
            summary="photographs of flat document images, each an identity of its own",
            source="https://github.com/DocsaidLab/DocClassifier",
        ),
        Component(
            kind="dataset",
            name="image_folder",
            factory="mlbench_datasets.image_folder:image_folder",
            summary="your own images: a folder for each class, or a CSV or parquet manifest",
        ),
        Component(
            kind="dataset",
            name="lfw",
            factory="mlbench_datasets.containers.lfw:lfw",
            summary="portraits as NAME/NAME_0001.jpg with a list of pairs to be verified in folds",
            source="https://vis-www.cs.umass.edu/lfw/",
        ),
        Component(
            kind="dataset",
            name="insightface",
            factory="mlbench_datasets.containers.insightface:insightface",
            summary="faces in RecordIO files, and verification sets such as lfw.bin",
            source="https://github.com/deepinsight/insightface",
        ),
        Component(
            kind="dataset",
            name="huggingface",
            factory="mlbench_datasets.containers.huggingface:huggingface",
            summary="what the Hugging Face datasets library loads, from a folder or the hub",
            source="https://huggingface.co/docs/datasets",
        ),
        Component(
            kind="dataset",
            name="webdataset",
            factory="mlbench_datasets.containers.webdataset:webdataset",
            summary="tar shards of images with labels, read in place",
            source="https://github.com/webdataset/webdataset",
        ),
        Component(
            kind="augmentation",
            name="camera",
            factory="mlbench_datasets.augmentation:camera",
            summary="photographs a flat image: perspective, light, blur, noise, JPEG",
        ),
    ]
