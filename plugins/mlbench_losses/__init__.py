"""Losses that come with mlbench."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.contracts import Component
from mlbench.hookspecs import hookimpl


@hookimpl
def mlbench_components() -> Iterable[Component]:
    return [
        Component(
            kind="loss",
            name="softmax",
            factory="mlbench_losses.margin:softmax",
            summary="normalised softmax: cross entropy of scaled cosines, no margin",
            source="arXiv:1704.06369",
            predict="mlbench_losses.margin:predict_softmax",
        ),
        Component(
            kind="loss",
            name="cosface",
            factory="mlbench_losses.margin:cosface",
            summary="additive cosine margin",
            source="arXiv:1801.09414",
            predict="mlbench_losses.margin:predict_cosface",
        ),
        Component(
            kind="loss",
            name="arcface",
            factory="mlbench_losses.margin:arcface",
            summary="additive angular margin, with its exact gradient or the authors' straight-through one",
            source="arXiv:1801.07698",
            predict="mlbench_losses.margin:predict_arcface",
        ),
        Component(
            kind="loss",
            name="subcenter_arcface",
            factory="mlbench_losses.margin:subcenter_arcface",
            summary="ArcFace with several centres for each class, of which the nearest counts",
            source="arXiv:1801.07698",
            predict="mlbench_losses.margin:predict_subcenter_arcface",
        ),
        Component(
            kind="loss",
            name="adaface",
            factory="mlbench_losses.margin:adaface",
            summary="margin that adapts to the quality of the image, told by the embedding's length",
            source="arXiv:2204.00964",
            predict="mlbench_losses.margin:predict_adaface",
        ),
        Component(
            kind="loss",
            name="curricularface",
            factory="mlbench_losses.margin:curricularface",
            summary="ArcFace that stresses easy negatives first and hard ones later",
            source="arXiv:2004.00288",
            predict="mlbench_losses.margin:predict_curricularface",
        ),
        Component(
            kind="loss",
            name="cross_entropy",
            factory="mlbench_losses.classifier:cross_entropy",
            summary="softmax cross entropy of a linear classifier, with label smoothing",
            source="arXiv:1512.00567",
            predict="mlbench_losses.classifier:predict_cross_entropy",
        ),
        Component(
            kind="loss",
            name="bce",
            factory="mlbench_losses.classifier:bce",
            summary="binary cross entropy of a linear classifier, for mixed targets too",
            source="arXiv:2110.00476",
            predict="mlbench_losses.classifier:predict_bce",
        ),
        Component(
            kind="loss",
            name="triplet_pair",
            factory="mlbench_losses.pairs:triplet_pair",
            summary="triplet loss with a term that draws positive pairs together",
            source="arXiv:1503.03832",
            predict="mlbench_losses.pairs:predict_triplet_pair",
        ),
        Component(
            kind="loss",
            name="multi_similarity",
            factory="mlbench_losses.pairs:multi_similarity",
            summary="multi-similarity loss with its pair mining",
            source="arXiv:1904.06627",
            predict="mlbench_losses.pairs:predict_multi_similarity",
        ),
        Component(
            kind="loss",
            name="contrastive",
            factory="mlbench_losses.pairs:contrastive",
            summary="contrastive loss on Euclidean distances",
            source="https://doi.org/10.1109/CVPR.2006.100",
            predict="mlbench_losses.pairs:predict_contrastive",
        ),
        Component(
            kind="loss",
            name="supcon",
            factory="mlbench_losses.pairs:supcon",
            summary="supervised contrastive loss",
            source="arXiv:2004.11362",
            predict="mlbench_losses.pairs:predict_supcon",
        ),
        Component(
            kind="loss",
            name="proxy_anchor",
            factory="mlbench_losses.pairs:proxy_anchor",
            summary="proxies of its own as anchors, one for each class",
            source="arXiv:2003.13911",
            predict="mlbench_losses.pairs:predict_proxy_anchor",
        ),
        Component(
            kind="loss",
            name="pml",
            factory="mlbench_losses.pml:pml",
            summary="any loss and miner of pytorch-metric-learning, by class name",
            source="https://kevinmusgrave.github.io/pytorch-metric-learning/",
            predict="mlbench_losses.pml:predict_pml",
        ),
    ]
