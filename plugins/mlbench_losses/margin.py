"""Margin losses: logits from the cosines between embeddings and class centres.

Losses without state are their own options; the others build a module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from mlbench.plugin import LossContext, LossOptions, LossShape, OptionError

if TYPE_CHECKING:
    import torch

    from mlbench_losses.adaface import AdaFaceLoss
    from mlbench_losses.curricularface import CurricularFaceLoss

__all__ = ["AdaFace", "ArcFace", "CosFace", "CurricularFace", "MagFace", "Softmax", "SubcenterArcFace"]

_Angle = Annotated[float, Field(ge=0, le=1.57)]
_Momentum = Annotated[float, Field(gt=0, le=1)]


class _Scaled(LossOptions):
    """Options of a loss with one centre for each class."""

    speed_neutral: ClassVar[frozenset[str]] = frozenset({"scale"})

    scale: Annotated[float, Field(gt=0)] = 64.0
    """Factor of the cosines."""

    def predict(self, context: LossContext) -> LossShape:
        return LossShape(centres_per_class=1)


class _Stateless(_Scaled):
    """A loss that is its own options."""

    centres_per_class: ClassVar[int] = 1
    per_example: ClassVar[bool] = True

    def build(self, context: LossContext) -> Any:
        return self


class Softmax(_Stateless):
    """The normalised softmax loss (Wang et al., arXiv:1704.06369): CosFace without its margin.

        logit of class j = scale * cos(t_j)

    t_j: angle between the embedding and the centre of class j. The loss is the cross entropy of the logits,
    a mean over the batch.
    """

    def logits(self, cosines: torch.Tensor, targets: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        """cosines: (N, K, 1) float in [-1, 1]; targets and norms: not used. Returns logits (N, K)."""
        return cosines.squeeze(2) * self.scale

    def target_logits(self, cosines: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        return cosines * self.scale


class CosFace(_Stateless):
    """The additive cosine margin loss (Wang et al., arXiv:1801.09414).

        logit of the label's class = scale * (cos(t_j) - margin)
        logit of another class     = scale * cos(t_j)

    t_j: angle between the embedding and the centre of class j. The loss is the cross entropy of the logits,
    a mean over the batch.
    """

    speed_neutral: ClassVar[frozenset[str]] = frozenset({"scale", "margin"})

    margin: Annotated[float, Field(ge=0, lt=2)] = 0.4
    """Margin subtracted from the target's cosine."""

    def logits(self, cosines: torch.Tensor, targets: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        """cosines: (N, K, 1) float in [-1, 1]; targets: (N,) int64 in [0, K), or -1 where the target is
        not among the K; norms: (N,) float, not used. Returns logits (N, K)."""
        targets = targets.unsqueeze(1)
        # Subtracts at N positions: no mask of N x K, and no wait for the GPU to count the targets.
        margins = (targets >= 0).to(cosines.dtype) * -self.margin
        return cosines.squeeze(2).scatter_add(1, targets.clamp(min=0), margins) * self.scale

    def target_logits(self, cosines: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        return (cosines - self.margin) * self.scale


class _Angular(_Scaled):
    """Options that `ArcFace` and `SubcenterArcFace` share."""

    per_example: ClassVar[bool] = True
    speed_neutral: ClassVar[frozenset[str]] = frozenset({"scale", "margin"})

    margin: _Angle = 0.5
    """Margin added to the target's angle, in radians."""
    gradient: Literal["exact", "straight_through"] = "exact"
    """exact: gradient of the formula, guarded beyond pi; straight_through: gradient that ignores the
    margin."""

    def build(self, context: LossContext) -> Any:
        return self

    def logits(self, cosines: torch.Tensor, targets: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        """cosines: (N, K, centres_per_class) float in [-1, 1]; targets: (N,) int64 in [0, K), or -1 where
        the target is not among the K; norms: (N,) float, not used. Returns logits (N, K)."""
        from mlbench_losses.arcface import margin_logits

        # One centre: without the copy that amax makes.
        nearest = cosines.squeeze(2) if cosines.shape[2] == 1 else cosines.amax(2)
        straight_through = self.gradient == "straight_through"
        return margin_logits(nearest, targets, self.margin, straight_through=straight_through) * self.scale


class ArcFace(_Angular):
    """The additive angular margin loss (Deng et al., arXiv:1801.07698).

        logit of the label's class = scale * cos(t_j + margin)
        logit of another class     = scale * cos(t_j)

    t_j: angle between the embedding and the centre of class j. The loss is the cross entropy of the logits,
    a mean over the batch.

    The two gradients make two different losses. `exact` is the formula: its gradient has the factor
    sin(t + margin) / sin(t). Where t + margin is above pi, the target's cosine is replaced by
    cos(t) - margin * sin(margin), which keeps falling with t. `straight_through` is the authors' code: the
    margin changes the value but not the gradient, whose factor is 1, and angles beyond pi are not guarded."""

    centres_per_class: ClassVar[int] = 1

    def target_logits(self, cosines: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        from mlbench_losses.arcface import add_margin

        return (
            add_margin(cosines, self.margin, straight_through=self.gradient == "straight_through")
            * self.scale
        )


class SubcenterArcFace(_Angular):
    """ArcFace with several centres for each class, of which the nearest counts, so that atypical images do
    not pull on the centre of the others (arXiv:1801.07698, section 3.3).

        logit of the label's class = scale * cos(t_j + margin)
        logit of another class     = scale * cos(t_j)

    t_j: smallest angle between the embedding and a centre of class j. The loss is the cross entropy of the
    logits, a mean over the batch.
    """

    centres_per_class: Annotated[int, Field(ge=1)] = 3
    """Centres of each class."""

    def predict(self, context: LossContext) -> LossShape:
        return LossShape(centres_per_class=self.centres_per_class)


class AdaFace(_Scaled):
    """A margin that adapts to the quality of the image, measured by the length of its embedding
    (Kim et al., arXiv:2204.00964). It needs a neck that does not normalise the length to 1.

        q = clip(h * (length - mean) / (std + 0.001), -1, 1)
        m = cos(t_j - margin * q) - margin * (1 + q)
        logit of the label's class = scale * m
        logit of another class     = scale * cos(t_j)

    t_j: angle between the embedding and the centre of class j; t_j - margin * q is clipped to [0, pi]. mean,
    std: running statistics of the lengths, which are clipped to [0.001, 100]. q has no gradient. The loss is
    the cross entropy of the logits, a mean over the batch.
    """

    speed_neutral: ClassVar[frozenset[str]] = frozenset({"scale", "margin", "h", "momentum"})

    margin: _Angle = 0.4
    """Largest margin, both in radians and in units of the cosine."""
    h: Annotated[float, Field(ge=0)] = 0.333
    """Change of the margin, as a share of it, for a length one standard deviation from the mean."""
    momentum: _Momentum = 0.01
    """Weight of a batch in the running mean and standard deviation of the lengths."""

    def build(self, context: LossContext) -> AdaFaceLoss:
        from mlbench_losses.adaface import AdaFaceLoss

        return AdaFaceLoss(**self.model_dump())


class CurricularFace(_Scaled):
    """ArcFace that emphasises easy negatives first and hard ones later (Huang et al., arXiv:2004.00288).

        logit of the label's class y = scale * cos(t_y + margin)
        logit of an easy class j     = scale * cos(t_j)
        logit of a hard class j      = scale * cos(t_j) * (r + cos(t_j))

    t_j: angle between the embedding and the centre of class j, which is hard where cos(t_j) is above
    cos(t_y + margin). r: running mean of cos(t_y), 0 at the start. Beyond pi, cos(t_y + margin) is replaced
    as in `arcface`. The loss is the cross entropy of the logits, a mean over the batch.
    """

    speed_neutral: ClassVar[frozenset[str]] = frozenset({"scale", "margin", "momentum"})

    margin: _Angle = 0.5
    """Margin added to the target's angle, in radians."""
    momentum: _Momentum = 0.01
    """Weight of a batch in the running mean of the target's cosine."""

    def build(self, context: LossContext) -> CurricularFaceLoss:
        from mlbench_losses.curricularface import CurricularFaceLoss

        return CurricularFaceLoss(**self.model_dump())


class MagFace(_Stateless):
    """ArcFace with a margin that grows with the length of the embedding, and a term that rewards length, so
    that easy images get long embeddings (Meng et al., arXiv:2103.06627).

        logit of the label's class = scale * cos(t_j + m(a))
        logit of another class     = scale * cos(t_j)
        m(a) = l_m + (u_m - l_m) * (a - l_a) / (u_a - l_a)
        loss = cross entropy of the logits + lambda_g * mean of g(a)
        g(a) = a / u_a^2 + 1 / a

    t_j: angle between the embedding and the centre of class j. a: length of the embedding, which counts as
    l_a below it and as u_a above it. g is lowest at u_a; lambda_g times its mean is recorded as "magnitude".

    It needs a neck with lengths of its own between l_a and u_a: outside, a length has no gradient, and a neck
    that makes all lengths equal (layer norm: the root of dim) leaves ArcFace.

    As in the authors' code, the gradient flows through m(a) too. Their code gives angles above pi/2 no
    margin, unlike the formula: that is easy_margin. Without it, angles beyond pi are replaced as in
    `arcface`.

    Raises OptionError where l_a is not below u_a, or l_m above u_m."""

    speed_neutral: ClassVar[frozenset[str]] = frozenset({"scale", "l_a", "u_a", "l_m", "u_m", "lambda_g"})

    l_a: Annotated[float, Field(gt=0)] = 10.0
    """Length at which the margin is l_m, and below which nothing changes."""
    u_a: Annotated[float, Field(gt=0)] = 110.0
    """Length at which the margin is u_m, and above which nothing changes."""
    l_m: _Angle = 0.45
    """Margin of the shortest embeddings, in radians."""
    u_m: _Angle = 0.8
    """Margin of the longest embeddings, in radians."""
    lambda_g: Annotated[float, Field(ge=0)] = 35.0
    """Factor of g(a)."""
    easy_margin: bool = False
    """Whether angles above pi/2 have no margin, as in the authors' code."""

    @model_validator(mode="after")
    def _lower_ends_are_lower(self) -> Self:
        if self.l_a >= self.u_a:
            raise OptionError(f"l_a ({self.l_a:g}) must be below u_a ({self.u_a:g})", "l_a")
        if self.l_m > self.u_m:
            raise OptionError(f"l_m ({self.l_m:g}) must be at most u_m ({self.u_m:g})", "l_m")
        return self

    def logits(self, cosines: torch.Tensor, targets: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        """cosines: (N, K, 1) float in [-1, 1]; targets: (N,) int64 in [0, K), or -1 where the target is
        not among the K; norms: (N,) float. Returns logits (N, K)."""
        from mlbench_losses.target import put_target, take_target

        cosines = cosines.squeeze(2)
        moved = self._moved(take_target(cosines, targets).squeeze(1), norms)
        return put_target(cosines, targets, moved.unsqueeze(1)) * self.scale

    def target_logits(self, cosines: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        return self._moved(cosines, norms) * self.scale

    def regularisers(self, embeddings: torch.Tensor) -> dict[str, torch.Tensor]:
        """embeddings: (N, D) float, any length. Returns lambda_g times the mean of g(a)."""
        from mlbench_losses.magface import lengths_term

        lengths = embeddings.norm(dim=1).clamp(self.l_a, self.u_a)
        return {"magnitude": self.lambda_g * lengths_term(lengths, self.u_a)}

    def _moved(self, cosines: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        """The targets' cosines (N,) with their margins."""
        from mlbench_losses.magface import add_margins

        share = (norms.clamp(self.l_a, self.u_a) - self.l_a) / (self.u_a - self.l_a)
        return add_margins(cosines, self.l_m + (self.u_m - self.l_m) * share, easy=self.easy_margin)
