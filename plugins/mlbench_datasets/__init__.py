"""Data sets (rendered, published and the user's own) and the camera augmentation."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.plugin import Component, hookimpl

# fmt: off
#: Kind, name, options class within this package, source; summary.
_COMPONENTS = (
    ("dataset", "textimage", "textimage:TextImage", "",
     "photographs of rendered documents, labels and signs, in families of look-alikes"),
    ("dataset", "document_pool", "document_pool:DocumentPool", "https://github.com/DocsaidLab/DocClassifier",
     "photographs of flat document images; each image is an identity"),
    ("dataset", "image_folder", "image_folder:ImageFolder", "",
     "your own images: a folder for each class, or a CSV or parquet manifest"),
    ("dataset", "lfw", "containers.lfw:Lfw", "https://vis-www.cs.umass.edu/lfw/",
     "portraits as NAME/NAME_0001.jpg, with a list of verification pairs in folds"),
    ("dataset", "insightface", "containers.insightface:InsightFace", "https://github.com/deepinsight/insightface",
     "faces in RecordIO files, and verification sets such as lfw.bin"),
    ("dataset", "huggingface", "containers.huggingface:HuggingFace", "https://huggingface.co/docs/datasets",
     "data sets of the Hugging Face datasets library, from a folder or the hub"),
    ("dataset", "webdataset", "containers.webdataset:WebDataset", "https://github.com/webdataset/webdataset",
     "tar shards of images with labels, read in place"),
    ("dataset", "cars196", "collections.cars196:Cars196", "https://doi.org/10.1109/ICCVW.2013.77",
     "Stanford Cars: 196 models of cars, the first 98 for training"),
    ("dataset", "cifar100", "collections.cifar100:Cifar100", "https://www.cs.toronto.edu/~kriz/cifar.html",
     "CIFAR-100: small images of 100 classes, closed set or disjoint"),
    ("dataset", "cub200", "collections.cub200:Cub200", "https://www.vision.caltech.edu/datasets/cub_200_2011/",
     "CUB-200-2011: 200 species of birds, the first 100 for training"),
    ("dataset", "emoji", "collections.emoji:Emoji", "https://github.com/iamcal/emoji-data",
     "the same emoji drawn by four vendors: retrieval across styles"),
    ("dataset", "inshop", "collections.inshop:InShop", "https://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html",
     "DeepFashion In-Shop: 7,982 pieces of clothing, with queries and gallery"),
    ("dataset", "sop", "collections.sop:Sop", "arXiv:1511.06452",
     "Stanford Online Products: 22,634 products"),
    ("augmentation", "camera", "augmentation:Camera", "",
     "photographs a flat image: perspective, light, blur, noise, JPEG"),
)
# fmt: on


@hookimpl
def mlbench_components() -> Iterable[Component]:
    for kind, name, options, source, summary in _COMPONENTS:
        yield Component(kind, name, f"{__name__}.{options}", summary, source)
