"""Losses that come with mlbench."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.plugin import Component, hookimpl


@hookimpl
def mlbench_components() -> Iterable[Component]:
    return [
        Component(
            "loss",
            "softmax",
            "mlbench_losses.margin:Softmax",
            "normalised softmax: cross entropy of scaled cosines, no margin",
            "arXiv:1704.06369",
        ),
        Component(
            "loss", "cosface", "mlbench_losses.margin:CosFace", "additive cosine margin", "arXiv:1801.09414"
        ),
        Component(
            "loss",
            "arcface",
            "mlbench_losses.margin:ArcFace",
            "additive angular margin, with its exact gradient or the authors' straight-through one",
            "arXiv:1801.07698",
        ),
        Component(
            "loss",
            "subcenter_arcface",
            "mlbench_losses.margin:SubcenterArcFace",
            "ArcFace with several centres for each class, of which the nearest counts",
            "arXiv:1801.07698",
        ),
        Component(
            "loss",
            "adaface",
            "mlbench_losses.margin:AdaFace",
            "margin that adapts to the quality of the image, measured by the embedding's length",
            "arXiv:2204.00964",
        ),
        Component(
            "loss",
            "curricularface",
            "mlbench_losses.margin:CurricularFace",
            "ArcFace that emphasises easy negatives first and hard ones later",
            "arXiv:2004.00288",
        ),
        Component(
            "loss",
            "cross_entropy",
            "mlbench_losses.classifier:LinearCrossEntropy",
            "softmax cross entropy of a linear classifier, with label smoothing",
            "arXiv:1512.00567",
        ),
        Component(
            "loss",
            "bce",
            "mlbench_losses.classifier:Bce",
            "binary cross entropy of a linear classifier, for mixed targets too",
            "arXiv:2110.00476",
        ),
        Component(
            "loss",
            "triplet_pair",
            "mlbench_losses.pairs:TripletPair",
            "triplet loss with a term that pulls positive pairs together",
            "arXiv:1503.03832",
        ),
        Component(
            "loss",
            "multi_similarity",
            "mlbench_losses.pairs:MultiSimilarity",
            "multi-similarity loss with its pair mining",
            "arXiv:1904.06627",
        ),
        Component(
            "loss",
            "contrastive",
            "mlbench_losses.pairs:Contrastive",
            "contrastive loss on Euclidean distances",
            "https://doi.org/10.1109/CVPR.2006.100",
        ),
        Component(
            "loss", "supcon", "mlbench_losses.pairs:SupCon", "supervised contrastive loss", "arXiv:2004.11362"
        ),
        Component(
            "loss",
            "proxy_anchor",
            "mlbench_losses.pairs:ProxyAnchor",
            "proxies as anchors, one trained proxy for each class",
            "arXiv:2003.13911",
        ),
        Component(
            "loss",
            "pml",
            "mlbench_losses.pml:Pml",
            "any loss and miner of pytorch-metric-learning, by class name",
            "https://kevinmusgrave.github.io/pytorch-metric-learning/",
        ),
    ]
