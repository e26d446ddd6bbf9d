"""Data sets: rendered ones, published ones, those of the user's own, and augmentations."""

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
            kind="dataset",
            name="cars196",
            factory="mlbench_datasets.collections.cars196:cars196",
            summary="Stanford Cars: 196 models of cars, the first 98 to learn from",
            source="https://doi.org/10.1109/ICCVW.2013.77",
            data="mlbench_datasets.collections.cars196:cars196_source",
        ),
        Component(
            kind="dataset",
            name="cifar100",
            factory="mlbench_datasets.collections.cifar100:cifar100",
            summary="CIFAR-100: small images of 100 classes, closed set or disjoint",
            source="https://www.cs.toronto.edu/~kriz/cifar.html",
            data="mlbench_datasets.collections.cifar100:cifar100_source",
        ),
        Component(
            kind="dataset",
            name="cub200",
            factory="mlbench_datasets.collections.cub200:cub200",
            summary="CUB-200-2011: 200 species of birds, the first 100 to learn from",
            source="https://www.vision.caltech.edu/datasets/cub_200_2011/",
            data="mlbench_datasets.collections.cub200:cub200_source",
        ),
        Component(
            kind="dataset",
            name="emoji",
            factory="mlbench_datasets.collections.emoji:emoji",
            summary="the same emoji drawn by four vendors: retrieval across styles",
            source="https://github.com/iamcal/emoji-data",
            data="mlbench_datasets.collections.emoji:emoji_source",
        ),
        Component(
            kind="dataset",
            name="inshop",
            factory="mlbench_datasets.collections.inshop:inshop",
            summary="DeepFashion In-Shop: 7,982 pieces of clothing, with queries and gallery",
            source="https://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html",
            data="mlbench_datasets.collections.inshop:inshop_source",
        ),
        Component(
            kind="dataset",
            name="sop",
            factory="mlbench_datasets.collections.sop:sop",
            summary="Stanford Online Products: 22,634 things on sale",
            source="arXiv:1511.06452",
            data="mlbench_datasets.collections.sop:sop_source",
        ),
        Component(
            kind="augmentation",
            name="camera",
            factory="mlbench_datasets.augmentation:camera",
            summary="photographs a flat image: perspective, light, blur, noise, JPEG",
        ),
    ]
