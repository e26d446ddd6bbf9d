"""Losses that come with mlbench."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.plugin import Component, hookimpl

# fmt: off
#: Kind, name, options class within this package, source; summary.
_COMPONENTS = (
    ("loss", "softmax", "margin:Softmax", "arXiv:1704.06369",
     "normalised softmax: cross entropy of scaled cosines, no margin"),
    ("loss", "cosface", "margin:CosFace", "arXiv:1801.09414",
     "additive cosine margin"),
    ("loss", "arcface", "margin:ArcFace", "arXiv:1801.07698",
     "additive angular margin, with its exact gradient or the authors' straight-through one"),
    ("loss", "subcenter_arcface", "margin:SubcenterArcFace", "arXiv:1801.07698",
     "ArcFace with several centres for each class, of which the nearest counts"),
    ("loss", "adaface", "margin:AdaFace", "arXiv:2204.00964",
     "margin that adapts to the quality of the image, measured by the embedding's length"),
    ("loss", "curricularface", "margin:CurricularFace", "arXiv:2004.00288",
     "ArcFace that emphasises easy negatives first and hard ones later"),
    ("loss", "magface", "margin:MagFace", "arXiv:2103.06627",
     "angular margin that grows with the embedding's length, and a term that rewards length"),
    ("loss", "cross_entropy", "classifier:LinearCrossEntropy", "arXiv:1512.00567",
     "softmax cross entropy of a linear classifier, with label smoothing"),
    ("loss", "bce", "classifier:Bce", "arXiv:2110.00476",
     "binary cross entropy of a linear classifier, for mixed targets too"),
    ("loss", "triplet_pair", "pairs:TripletPair", "arXiv:1503.03832",
     "triplet loss with a term that pulls positive pairs together"),
    ("loss", "multi_similarity", "pairs:MultiSimilarity", "arXiv:1904.06627",
     "multi-similarity loss with its pair mining"),
    ("loss", "contrastive", "pairs:Contrastive", "https://doi.org/10.1109/CVPR.2006.100",
     "contrastive loss on Euclidean distances"),
    ("loss", "supcon", "pairs:SupCon", "arXiv:2004.11362",
     "supervised contrastive loss"),
    ("loss", "proxy_anchor", "pairs:ProxyAnchor", "arXiv:2003.13911",
     "proxies as anchors, one trained proxy for each class"),
    ("loss", "pml", "pml:Pml", "https://kevinmusgrave.github.io/pytorch-metric-learning/",
     "any loss and miner of pytorch-metric-learning, by class name"),
)
# fmt: on


@hookimpl
def mlbench_components() -> Iterable[Component]:
    for kind, name, options, source, summary in _COMPONENTS:
        yield Component(kind, name, f"{__name__}.{options}", summary, source)
