"""How hard is textimage for features that have seen no text image?

Embeds the test split with an ImageNet classifier as it comes (EfficientNet-Lite0, pooled final features,
1280-d, cosine distance) and prints, for each seed of the data, the best F1 over all ordered pairs and
thresholds with its threshold, precision and recall, and the leave-one-out Recall@1. The defaults of the
data set are set so that F1 lies near .5: far from hopeless, and far from solved.

    python benchmarks/difficulty.py --seeds 0 1 2
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from mlbench.plugin import DatasetContext, Split
from mlbench_backbones.bundled import bundled_classifier
from mlbench_datasets.textimage import TextImage

IMAGE_SIZE = 128


class Score(NamedTuple):
    """Of telling pairs of one class from pairs of two: `same` is what lies within the threshold."""

    f1: float
    threshold: float
    precision: float
    recall: float
    recall_at_1: float


@torch.inference_mode()
def embed(classifier: nn.Module, split: Split, batch_size: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Pooled features, (N, 1280) float32 of length 1, and labels, (N,) int64."""
    features = []
    for start in range(0, len(split), batch_size):
        indices = range(start, min(len(split), start + batch_size))
        pixels = torch.from_numpy(np.stack([np.asarray(split.image(index)) for index in indices]))
        images = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
        features.append(classifier.forward_features(images).mean((2, 3)))
    labels = torch.tensor([split.label(index) for index in range(len(split))])
    return F.normalize(torch.cat(features)), labels


def score(embeddings: torch.Tensor, labels: torch.Tensor) -> Score:
    """Over all ordered pairs of different images."""
    different = ~torch.eye(len(labels), dtype=torch.bool)
    cosines = embeddings @ embeddings.T
    nearest = cosines.masked_fill(~different, -2.0).argmax(dim=1)
    order = cosines[different].argsort(descending=True)
    same = torch.eq(labels[:, None], labels)[different][order]
    hits, called = same.cumsum(0), torch.arange(1, len(same) + 1)
    f1 = 2 * hits / (called + same.sum())
    best = int(f1.argmax())
    return Score(
        f1=float(f1[best]),
        threshold=1 - float(cosines[different][order[best]]),
        precision=float(hits[best] / called[best]),
        recall=float(hits[best] / same.sum()),
        recall_at_1=float(torch.eq(labels[nearest], labels).float().mean()),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--strength", type=float, nargs="*", help="of the camera, instead of the default")
    arguments = parser.parse_args()
    classifier = bundled_classifier("tf_efficientnet_lite0")
    print(f"{'strength':>8} {'seed':>4} " + " ".join(f"{name:>11}" for name in Score._fields))
    for strength in arguments.strength or [None]:
        chosen = {} if strength is None else {"strength": strength}
        for seed in arguments.seeds:
            data = TextImage(seed=seed, **chosen).build(DatasetContext(Path(), IMAGE_SIZE))
            scores = score(*embed(classifier, data.split("test")))
            shown = "default" if strength is None else strength
            print(f"{shown:>8} {seed:>4} " + " ".join(f"{value:>11.3f}" for value in scores), flush=True)


if __name__ == "__main__":
    main()
