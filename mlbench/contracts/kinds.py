"""The kinds of components: what each is for, and what the contract asks of what a component builds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["EVERY_KIND", "KINDS", "Duty", "Kind"]


class Duty(NamedTuple):
    """One requirement of the contract, and the name of the check in `mlbench.testing` that tests it."""

    text: str
    check: str


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of component.

    summary: what it is for. duties: what the result of `method` must have and do, beside `EVERY_KIND`.
    method: the method of its options class that mlbench calls for the result. types: what else passes between
    mlbench and its components, as "module:Class"."""

    summary: str
    duties: tuple[Duty, ...]
    method: str = "build"
    types: tuple[str, ...] = ()


#: What the contract asks of a component of any kind.
EVERY_KIND: tuple[Duty, ...] = (
    Duty("a summary of one line, 11 to 101 characters, without a full stop", "summary_is_one_line"),
    Duty("a source such as arXiv:1801.09414, an https address, or none", "source_is_a_paper_or_an_address"),
    Duty("a docstring of the class and one below each option", "every_option_is_documented"),
    Duty("defaults that keep their own types and bounds", "defaults_are_valid"),
    Duty("settings() that a suite could state", "settings_are_a_mapping_of_sections"),
    Duty("speed_neutral and training_only that name options", "speeds_depend_on_known_options"),
    Duty("catalogue() with options that a suite can set", "catalogue_has_valid_options"),
)

#: Every kind of component.
KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "dataset": Kind(
            "labelled images in train, calibration and test splits",
            (
                Duty(
                    "version (changes with the data), disjoint, notes, and three splits with images",
                    "dataset_has_three_splits",
                ),
                Duty(
                    "labels 0 .. num_classes - 1 in every split, each with an image", "labels_are_contiguous"
                ),
                Duty(
                    "class names, unique; where disjoint, none of test in another split", "classes_have_names"
                ),
                Duty("queries and a gallery in calibration and test", "roles_allow_a_test"),
                Duty(
                    "RGB images with the same bits every time, also from a pickled split",
                    "images_are_always_the_same",
                ),
                Duty("pairs() that agree with the labels, if it has pairs", "pairs_are_right"),
            ),
            types=(
                "mlbench.contracts.data:Split",
                "mlbench.contracts.data:GroupedSplit",
                "mlbench.contracts.data:PairedDataset",
                "mlbench.contracts.data:PairList",
                "mlbench.contracts.data:DataSource",
                "mlbench.contracts.data:DataCheck",
                "mlbench.contracts.data:PartCount",
            ),
        ),
        "augmentation": Kind(
            "random changes to a training image",
            (
                Duty(
                    "a new RGB image from an RGB image of any size; the input unchanged",
                    "augmentation_gives_rgb_images",
                ),
                Duty(
                    "the same bits for the same generator, also when pickled",
                    "augmentation_draws_from_its_generator_alone",
                ),
            ),
        ),
        "mixing": Kind(
            "random mixes of the images of a training batch",
            (
                Duty(
                    "images float32 in [0, 255] and partners on the CPU, or None for no mixing",
                    "mixes_have_their_shapes",
                ),
                Duty("share of the image itself, 1 - share of its partner", "share_is_true"),
                Duty("the same mix for the same generator", "mixing_draws_from_its_generator_alone"),
            ),
            types=("mlbench.contracts.data:Mixed",),
        ),
        "backbone": Kind(
            "images to feature maps",
            (
                Duty(
                    "a torch.nn.Module whose parameters are in `frozen` or `trained`",
                    "has_a_frozen_and_a_trained_part",
                ),
                Duty("forward(x) == trained(frozen(x)), finite", "forward_is_trained_after_frozen"),
                Duty("features of the shape `feature_shape`", "feature_shape_matches_features"),
                Duty(
                    "mean, std of three channels, and `weights` in words",
                    "has_normalisation_and_weights_origin",
                ),
                Duty(
                    "gradients in `trained` alone; `frozen` keeps its state",
                    "only_the_trained_part_is_trained",
                ),
                Duty("parameters and shape as predict() says, if it does", "predict_is_what_is_built"),
                Duty("random weights from torch's generator", "same_seed_gives_the_same_weights"),
                Duty("the same vectors every time in evaluation mode", "works_as_a_teacher"),
                Duty("finite features under bfloat16 autocast", "backbone_runs_in_bfloat16"),
            ),
            types=(
                "mlbench.contracts.shapes:BackboneShape",
                "mlbench.contracts.shapes:FeatureShape",
                "mlbench.contracts.shapes:TokensShape",
            ),
        ),
        "neck": Kind(
            "feature maps to embeddings",
            (
                Duty(
                    "a torch.nn.Module with `dim`: finite (N, dim), each row from its own image alone in "
                    "evaluation mode",
                    "embeddings_have_its_dim",
                ),
                Duty("finite gradients of input and parameters", "neck_has_finite_gradients"),
                Duty("parameters and dim as predict() says, if it does", "neck_predict_is_what_is_built"),
                Duty("finite embeddings under bfloat16 autocast", "neck_runs_in_bfloat16"),
            ),
            types=(
                "mlbench.contracts.shapes:FeatureShape",
                "mlbench.contracts.shapes:TokensShape",
                "mlbench.contracts.shapes:NeckShape",
            ),
        ),
        "loss": Kind(
            "what training minimises",
            (
                Duty(
                    "centres_per_class and logits(), or a call with embeddings and labels; a finite scalar "
                    "with finite gradients",
                    "loss_has_a_finite_gradient",
                ),
                Duty(
                    "finite where a batch has no positive or no negative pair",
                    "batches_without_pairs_are_finite",
                ),
                Duty("finite for equal and opposite embeddings", "extreme_embeddings_are_finite"),
                Duty("logits (N, K), finite for targets of -1", "logits_keep_the_contract"),
                Duty("parameters and centres as predict() says, if it does", "loss_predict_is_what_is_built"),
                Duty(
                    "needs in predict() for the pairs without which it learns nothing",
                    "loss_states_its_needs",
                ),
                Duty("all its state in state_dict()", "loss_can_be_stored"),
                Duty(
                    "mixed() that is the loss at a share of 1, if it has one",
                    "mixed_with_a_share_of_one_is_the_loss",
                ),
                Duty("a finite gradient under bfloat16 autocast", "loss_runs_in_bfloat16"),
            ),
            types=(
                "mlbench.contracts.learning:MixedLoss",
                "mlbench.contracts.shapes:LossShape",
            ),
        ),
        "sampler": Kind(
            "the class centres, and which of them take part in a step",
            (
                Duty("a torch.nn.Module with the centres: a step changes them", "centres_learn"),
                Duty("parameters as predict() says, if it does", "centres_predict_is_what_is_built"),
                Duty("all its state in state_dict()", "centres_can_be_stored"),
                Duty("the same steps for the same seed", "same_seed_gives_the_same_steps"),
                Duty("a finite loss under bfloat16 autocast", "centres_run_in_bfloat16"),
            ),
            types=(
                "mlbench.contracts.learning:CentreLoss",
                "mlbench.contracts.learning:RowSampler",
                "mlbench.contracts.shapes:CentresShape",
                "mlbench.contracts.options:HeadContext",
                "mlbench.contracts.shapes:Advice",
                "mlbench.contracts.shapes:Choice",
            ),
        ),
        "distiller": Kind(
            "distance between embeddings and those of a teacher",
            (
                Duty(
                    'a torch.nn.Module with images ("clean" or "augmented") and weight >= 0; a finite scalar '
                    "with finite gradients, for one image too",
                    "distance_has_finite_gradients",
                ),
                Duty("0 for equal vectors", "equal_vectors_are_nearest"),
                Duty("finite under bfloat16 autocast", "distance_runs_in_bfloat16"),
            ),
        ),
        "batch_sampler": Kind(
            "which training images make up a batch",
            (
                Duty(
                    "len() batches in every epoch, each a list of 1 to batch_size indices",
                    "batches_are_as_many_as_len",
                ),
                Duty("batches and pairs as predict() says, if it does", "batches_predict_is_what_is_built"),
                Duty("the same batches for the same generator", "same_generator_gives_the_same_batches"),
            ),
            types=("mlbench.contracts.shapes:BatchesShape",),
        ),
        "recipe": Kind(
            "optimiser, schedule and length of training",
            (Duty("options that fit together", "recipe_is_valid"),),
        ),
        "metric": Kind(
            "what is evaluated on the embeddings",
            (
                Duty(
                    "per_query(), of_curve() or of_embeddings(), with exactly the values of quantities()",
                    "metric_gives_the_values_of_quantities",
                ),
                Duty(
                    "one value for each query, whatever the others are (per_query)",
                    "rank_metric_takes_queries_separately",
                ),
                Duty("values for many resamples at once (of_curve)", "curve_metric_takes_resamples"),
            ),
            types=(
                "mlbench.contracts.evaluation:Quantity",
                "mlbench.evaluation.ranks:Ranks",
                "mlbench.evaluation.curve:Curve",
                "mlbench.evaluation.embeddings:Embeddings",
            ),
        ),
        "threshold": Kind(
            "which threshold to deploy, fitted on the calibration split",
            (
                Duty(
                    "a cosine similarity in [-1, 1] for a curve, always the same, or ThresholdError",
                    "threshold_is_a_similarity",
                ),
            ),
            types=(
                "mlbench.contracts.evaluation:Target",
                "mlbench.evaluation.curve:Curve",
            ),
        ),
        "claim": Kind(
            "a statement about several cases that their records support or refute",
            (
                Duty(
                    "an effect, and p-values of the claim and of its opposite", "claim_is_judged_by_evidence"
                ),
                Duty("compared() with groups of cases", "claim_names_its_cases"),
                Duty("quantities() with names of metrics, speeds or sizes", "claim_names_its_quantities"),
                Duty("the same for the same evidence", "claim_is_judged_alike_by_equal_evidence"),
                Duty("ClaimError where a case has no records", "claim_without_a_case_is_a_claim_error"),
            ),
            method="judge",
            types=(
                "mlbench.claims.evidence:Evidence",
                "mlbench.claims.evidence:Values",
                "mlbench.contracts.claims:Finding",
                "mlbench.contracts.claims:Effect",
            ),
        ),
    }
)
