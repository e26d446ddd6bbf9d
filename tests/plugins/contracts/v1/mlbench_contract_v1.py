"""A plugin written for contract 1, with components of most kinds. Frozen: it must load and work as it is."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mlbench.plugin import (
    AugmentationOptions,
    BackboneOptions,
    BackboneShape,
    BatchContext,
    BatchesShape,
    BatchSamplerOptions,
    Cases,
    CentresShape,
    ClaimOptions,
    Component,
    DistillerContext,
    DistillerOptions,
    FeatureShape,
    Finding,
    LossContext,
    LossOptions,
    LossShape,
    MetricOptions,
    NeckOptions,
    NeckShape,
    OptionError,
    Quantity,
    Recipe,
    SamplerContext,
    SamplerOptions,
    ThresholdError,
    ThresholdOptions,
    hookimpl,
    numpy_generator,
    torch_generator,
)

MLBENCH_CONTRACT = 1


class Mirror(AugmentationOptions):
    """Mirrors half of the images."""

    def build(self, image_size):
        return self

    def __call__(self, image, generator):
        from PIL import ImageOps

        return ImageOps.mirror(image) if generator.random() < 0.5 else image


class Patches(BackboneOptions):
    """One convolution of patches."""

    width: Annotated[int, Field(ge=1)] = 4
    """Channels."""

    def predict(self, image_size):
        side = image_size // 4
        return BackboneShape(3 * self.width * 16 + self.width, FeatureShape(self.width, side, side))

    def build(self, image_size):
        import torch

        width = self.width

        class Network(torch.nn.Module):
            mean = std = (0.5, 0.5, 0.5)
            weights = "random"
            feature_shape = FeatureShape(width, image_size // 4, image_size // 4)

            def __init__(self):
                super().__init__()
                self.frozen = torch.nn.Sequential()
                self.trained = torch.nn.Sequential(torch.nn.Conv2d(3, width, 4, 4), torch.nn.ReLU())

            def forward(self, images):
                return self.trained(self.frozen(images))

        return Network()


class Linear(NeckOptions):
    """Mean over the map, then a linear layer."""

    dim: Annotated[int, Field(ge=1)] = 8
    """Width of the embeddings."""

    def predict(self, features):
        return NeckShape(parameters=(features.channels + 1) * self.dim, dim=self.dim)

    def build(self, features):
        import torch

        network = torch.nn.Sequential(
            torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(features.channels, self.dim)
        )
        network.dim = self.dim
        return network


class Contrast(LossOptions):
    """Negative pairs minus positive pairs, in cosine."""

    near: float = 0.9
    """Cosine above which a positive pair has no loss."""
    far: float = 0.1
    """Cosine below which a negative pair has no loss; below near."""

    @model_validator(mode="after")
    def _far_is_below_near(self) -> Self:
        if self.far >= self.near:
            raise OptionError(f"far ({self.far:g}) must be below near ({self.near:g})", "far")
        return self

    def predict(self, context: LossContext) -> LossShape:
        return LossShape(needs=("positives", "negatives"))

    def build(self, context: LossContext):
        return self

    def __call__(self, embeddings, labels):
        from torch.nn.functional import normalize

        unit = normalize(embeddings)
        cosines = unit @ unit.T
        same = labels[:, None] == labels
        return (self.near - cosines).clamp(min=0)[same].mean() + (cosines - self.far).clamp(min=0)[
            ~same
        ].mean()


class Scaled(LossOptions):
    """Softmax of scaled cosines to the class centres."""

    scale: Annotated[float, Field(gt=0)] = 8.0
    """Factor of the cosines."""

    def build(self, context: LossContext):
        return Logits(self.scale)


class Logits:
    centres_per_class = 1

    def __init__(self, scale):
        self.scale = scale

    def logits(self, cosines, targets, norms):
        return self.scale * cosines[..., 0]


class Every(SamplerOptions):
    """Every class centre, in every step."""

    def predict(self, context: SamplerContext) -> CentresShape:
        return CentresShape(context.num_classes * context.centres_per_class * context.dim)

    def build(self, context: SamplerContext):
        import torch

        class Centres(torch.nn.Module):
            def __init__(self):
                super().__init__()
                generator = torch_generator(context.seed, "centres")
                shape = (context.num_classes, context.centres_per_class, context.dim)
                self.centres = torch.nn.Parameter(torch.randn(shape, generator=generator))

            def forward(self, embeddings, labels, loss):
                normalize = torch.nn.functional.normalize
                cosines = torch.einsum("nd,kcd->nkc", normalize(embeddings), normalize(self.centres, dim=-1))
                logits = loss.logits(cosines, labels, embeddings.norm(dim=1))
                return torch.nn.functional.cross_entropy(logits, labels)

        return Centres()


class Squared(DistillerOptions):
    """Squared distance to the teacher, through a projection."""

    images: Literal["clean", "augmented"] = "clean"
    """Which embeddings are compared."""
    weight: float = 0.5
    """Factor of the distance."""

    def build(self, context: DistillerContext):
        import torch

        class Distance(torch.nn.Module):
            def __init__(self, images, weight):
                super().__init__()
                self.images, self.weight = images, weight
                self.projection = torch.nn.Linear(context.dim, context.teacher_dim, bias=False)

            def forward(self, embeddings, targets):
                return (self.projection(embeddings) - targets).square().mean()

        return Distance(self.images, self.weight)


class Pairs(BatchSamplerOptions):
    """All images by class, so that every batch has positive pairs."""

    def predict(self, context: BatchContext) -> BatchesShape:
        size = context.batch_size
        return BatchesShape(batches=len(context.labels) // size, labels=size)

    def build(self, context: BatchContext):
        return ByClass([int(label) for label in context.labels], context.batch_size)


class ByClass:
    def __init__(self, labels, size):
        self.labels, self.size = labels, size

    def __len__(self):
        return len(self.labels) // self.size

    def batches(self, generator):
        order = generator.permutation(max(self.labels) + 1)
        images = sorted(range(len(self.labels)), key=lambda index: order[self.labels[index]])
        for start in range(len(self)):
            yield images[start * self.size : (start + 1) * self.size]


class Short(Recipe):
    """One epoch."""

    epochs: int = 1
    batch_size: int = 8

    @classmethod
    def settings(cls):
        return {"image": {"crop_ratio": 1.0}}


class FirstRank(MetricOptions):
    """Mean rank of the first positive."""

    def quantities(self):
        return {
            "v1_rank": Quantity(
                "mean rank of the first positive", "rank", higher_is_better=False, heading="Rank"
            )
        }

    def per_query(self, ranks):
        return {"v1_rank": ranks.best.astype(float)}


class Spread(MetricOptions):
    """Mean distance of the embeddings from their mean, over a sample."""

    sample: Annotated[int, Field(ge=1)] = 8
    """Embeddings in the sample."""

    def quantities(self):
        return {"v1_spread": Quantity("mean squared distance from the mean embedding")}

    def of_embeddings(self, embeddings):
        import numpy as np

        vectors = np.asarray(embeddings.vectors)
        chosen = vectors[numpy_generator(0, "v1_spread").permutation(len(vectors))[: self.sample]]
        return {"v1_spread": float(np.square(chosen - chosen.mean(0)).sum(1).mean())}


class Middle(ThresholdOptions):
    """A given cosine."""

    cosine: Annotated[float, Field(ge=-1, le=1)] = 0.5
    """Where pairs are accepted."""

    def __call__(self, curve):
        if curve is None:
            raise ThresholdError("no calibration split")
        return self.cosine


class NotWorse(ClaimOptions):
    """A case is not worse than another."""

    case: Cases
    """The case."""
    other: Cases
    """The other."""
    metric: str
    """The metric."""

    def compared(self):
        return [[self.case, self.other]]

    def quantities(self):
        return [self.metric]

    def judge(self, evidence):
        values = evidence.values([self.case, self.other], self.metric)
        return Finding.of_all([values.effect((1.0, -1.0), label="difference")])


@hookimpl
def mlbench_components():
    return [
        Component("augmentation", "v1", "mlbench_contract_v1:Mirror", "mirrors half of the images"),
        Component("backbone", "v1", "mlbench_contract_v1:Patches", "one convolution of patches"),
        Component("neck", "v1", "mlbench_contract_v1:Linear", "mean over the map, then a linear layer"),
        Component("loss", "v1_pairs", "mlbench_contract_v1:Contrast", "hinge on the cosines of pairs"),
        Component("loss", "v1_centres", "mlbench_contract_v1:Scaled", "softmax of scaled cosines"),
        Component("sampler", "v1", "mlbench_contract_v1:Every", "every class centre in every step"),
        Component("distiller", "v1", "mlbench_contract_v1:Squared", "squared distance to the teacher"),
        Component("batch_sampler", "v1", "mlbench_contract_v1:Pairs", "batches of whole classes"),
        Component("recipe", "v1", "mlbench_contract_v1:Short", "one epoch of AdamW"),
        Component("metric", "v1_rank", "mlbench_contract_v1:FirstRank", "mean rank of the first positive"),
        Component("metric", "v1_spread", "mlbench_contract_v1:Spread", "spread of the embeddings"),
        Component("threshold", "v1", "mlbench_contract_v1:Middle", "a given cosine"),
        Component("claim", "v1", "mlbench_contract_v1:NotWorse", "a case is not worse than another"),
    ]
