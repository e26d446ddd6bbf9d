"""Data sets (rendered, published and the user's own) and the camera augmentation."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.plugin import Component, hookimpl


@hookimpl
def mlbench_components() -> Iterable[Component]:
    return [
        Component(
            "dataset",
            "textimage",
            "mlbench_datasets.textimage:TextImage",
            "photographs of rendered documents, labels and signs, in families of look-alikes",
        ),
        Component(
            "dataset",
            "document_pool",
            "mlbench_datasets.document_pool:DocumentPool",
            "photographs of flat document images; each image is an identity",
            "https://github.com/DocsaidLab/DocClassifier",
        ),
        Component(
            "dataset",
            "image_folder",
            "mlbench_datasets.image_folder:ImageFolder",
            "your own images: a folder for each class, or a CSV or parquet manifest",
        ),
        Component(
            "dataset",
            "lfw",
            "mlbench_datasets.containers.lfw:Lfw",
            "portraits as NAME/NAME_0001.jpg, with a list of verification pairs in folds",
            "https://vis-www.cs.umass.edu/lfw/",
        ),
        Component(
            "dataset",
            "insightface",
            "mlbench_datasets.containers.insightface:InsightFace",
            "faces in RecordIO files, and verification sets such as lfw.bin",
            "https://github.com/deepinsight/insightface",
        ),
        Component(
            "dataset",
            "huggingface",
            "mlbench_datasets.containers.huggingface:HuggingFace",
            "data sets of the Hugging Face datasets library, from a folder or the hub",
            "https://huggingface.co/docs/datasets",
        ),
        Component(
            "dataset",
            "webdataset",
            "mlbench_datasets.containers.webdataset:WebDataset",
            "tar shards of images with labels, read in place",
            "https://github.com/webdataset/webdataset",
        ),
        Component(
            "dataset",
            "cars196",
            "mlbench_datasets.collections.cars196:Cars196",
            "Stanford Cars: 196 models of cars, the first 98 for training",
            "https://doi.org/10.1109/ICCVW.2013.77",
        ),
        Component(
            "dataset",
            "cifar100",
            "mlbench_datasets.collections.cifar100:Cifar100",
            "CIFAR-100: small images of 100 classes, closed set or disjoint",
            "https://www.cs.toronto.edu/~kriz/cifar.html",
        ),
        Component(
            "dataset",
            "cub200",
            "mlbench_datasets.collections.cub200:Cub200",
            "CUB-200-2011: 200 species of birds, the first 100 for training",
            "https://www.vision.caltech.edu/datasets/cub_200_2011/",
        ),
        Component(
            "dataset",
            "emoji",
            "mlbench_datasets.collections.emoji:Emoji",
            "the same emoji drawn by four vendors: retrieval across styles",
            "https://github.com/iamcal/emoji-data",
        ),
        Component(
            "dataset",
            "inshop",
            "mlbench_datasets.collections.inshop:InShop",
            "DeepFashion In-Shop: 7,982 pieces of clothing, with queries and gallery",
            "https://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html",
        ),
        Component(
            "dataset",
            "sop",
            "mlbench_datasets.collections.sop:Sop",
            "Stanford Online Products: 22,634 products",
            "arXiv:1511.06452",
        ),
        Component(
            "augmentation",
            "camera",
            "mlbench_datasets.augmentation:Camera",
            "photographs a flat image: perspective, light, blur, noise, JPEG",
        ),
    ]
