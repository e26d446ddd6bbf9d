"""The neck without parameters: mean, dropout, unit length."""

import pytest
import torch
from torch.nn.functional import normalize

from mlbench.contracts import FeatureShape, NeckShape, TokensShape
from mlbench_necks.pooled import Pooled

SHAPES = [FeatureShape(8, 3, 2), FeatureShape(8, 1, 1), TokensShape(8, 3, 2, 2)]


def features_of(shape):
    if isinstance(shape, FeatureShape):
        return torch.rand(4, *shape)
    return torch.rand(4, shape.tokens + shape.height * shape.width, shape.channels)


@pytest.mark.parametrize("shape", SHAPES)
def test_pooled_gives_means_of_unit_length(shape):
    neck = Pooled(dropout=0.5).build(shape).eval()
    features = features_of(shape)
    embeddings = neck(features)
    places = features.flatten(2) if isinstance(shape, FeatureShape) else features[:, 2:].mT
    means = torch.stack([place.sum(1) / place.shape[1] for place in places])
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(embeddings * means.norm(dim=1, keepdim=True), means)
    assert Pooled().predict(shape) == NeckShape(0, neck.dim) == NeckShape(0, 8)
    assert not list(neck.parameters())


@pytest.mark.parametrize("shape", SHAPES)
def test_pooled_gives_plain_means_where_told(shape):
    features = features_of(shape)
    plain = Pooled(dropout=0.0, normalise=False).build(shape)(features)
    places = features.flatten(2) if isinstance(shape, FeatureShape) else features[:, 2:].mT
    torch.testing.assert_close(plain, places.mean(2))
    torch.testing.assert_close(normalize(plain), Pooled(dropout=0.0).build(shape)(features))


def test_pooled_drops_out_while_training_and_still_has_unit_length():
    torch.manual_seed(0)
    neck = Pooled(dropout=0.25).build(FeatureShape(2000, 1, 1))
    embeddings = neck(torch.ones(2, 2000, 1, 1))
    assert (embeddings == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(2))
    assert not torch.equal(embeddings, neck(torch.ones(2, 2000, 1, 1)))
    whole = Pooled(dropout=0.0).build(FeatureShape(2000, 1, 1))(torch.ones(2, 2000, 1, 1))
    assert (whole > 0).all()


def test_pooled_is_float32_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embeddings = Pooled().build(FeatureShape(8, 3, 2))(torch.rand(4, 8, 3, 2, dtype=torch.bfloat16))
    assert embeddings.dtype == torch.float32
