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

    summary: what it is for. built: what the result of `method` is. duties: what it must have and do, beside
    `EVERY_KIND`. method: the method of its options class that mlbench calls for the result. types: what else
    passes between mlbench and its components: a name of `mlbench.contracts`, or "module:Class". in_case:
    whether a case has a section of this name, with one component. inner: whether it may be an option of
    another component."""

    summary: str
    built: str
    duties: tuple[Duty, ...]
    method: str = "build"
    types: tuple[str, ...] = ()
    in_case: bool = True
    inner: bool = True


def _duties(**texts: str) -> tuple[Duty, ...]:
    """Duties by the names of their checks."""
    return tuple(Duty(text, check) for check, text in texts.items())


#: What the contract asks of a component of any kind.
EVERY_KIND: tuple[Duty, ...] = _duties(
    summary_is_one_line="a summary of one line, 11 to 101 characters, without a full stop",
    source_is_a_paper_or_an_address="a source such as arXiv:1801.09414, an https address, or none",
    every_option_is_documented="a docstring of the class and one below each option",
    defaults_are_valid="defaults that keep their own types and bounds",
    settings_are_a_mapping_of_sections="settings() that a suite could state",
    speeds_depend_on_known_options="speed_neutral and training_only that name options",
    module_imports_lightly="an import without torch and print, of at most 1 s of CPU time",
    options_can_be_pickled="options equal to their pickled and deep copies",
    catalogue_has_valid_options="catalogue() with options that a suite can set",
)

#: Of what is called with tensors.
_CALLED = {
    "runs_in_bfloat16": "finite float32 or bfloat16, and gradients, under bfloat16 autocast",
    "keeps_global_generators": "no seeding; draws in build() and, from torch's, in training alone",
    "lr_factors_match_parameters": "lr_factors() that name its parameters, if any",
}
_NETWORK = {
    "takes_any_batch_size": "batches of 1, 3 and 7; in evaluation, rows that depend on their image alone",
    **_CALLED,
    "state_dict_is_complete": "all its state in state_dict()",
    "can_be_compiled": "the same output and gradients with torch.compile",
}
_OBJECTIVE = {"takes_any_batch_size": "finite for batches of 1, 3 and 7", **_CALLED}

#: Every kind of component.
KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "dataset": Kind(
            "labelled images in train, calibration and test splits",
            "an object with version, disjoint, notes and split()",
            _duties(
                dataset_has_three_splits="three splits with images; version, disjoint, notes",
                labels_are_contiguous="labels 0 .. num_classes - 1 in every split, each with an image",
                classes_have_names="class names, unique; where disjoint, none of test in another split",
                roles_allow_a_test="queries and a gallery in calibration and test",
                images_are_always_the_same="RGB images, always with the same bits; a split can be pickled",
                pairs_are_right="pairs() that agree with the labels, if it has pairs",
            ),
            types=(
                "Split",
                "GroupedSplit",
                "LocatedSplit",
                "PairedDataset",
                "PairList",
                "DataSource",
                "DataCheck",
                "PartCount",
            ),
        ),
        "augmentation": Kind(
            "random changes to a training image",
            "a callable that takes a PIL image and a generator",
            _duties(
                augmentation_gives_rgb_images="a new RGB image from one of any size, which stays as it is",
                augmentation_draws_from_its_generator_alone="the same bits for the same generator; picklable",
            ),
        ),
        "mixing": Kind(
            "random mixes of the images of a training batch",
            "a callable that takes images and a generator",
            _duties(
                mixes_have_their_shapes="images float32 in [0, 255] and partners on the CPU, or None",
                share_is_true="share of the image itself, 1 - share of its partner",
                mixing_draws_from_its_generator_alone="the same mix for the same generator",
            ),
            types=("Mixed",),
        ),
        "backbone": Kind(
            "images to feature maps",
            "a torch.nn.Module with the parts `frozen` and `trained`",
            _duties(
                has_a_frozen_and_a_trained_part="a torch.nn.Module with the parts `frozen` and `trained`",
                forward_is_trained_after_frozen="forward(x) == trained(frozen(x)), finite",
                feature_shape_matches_features="features of the shape `feature_shape`",
                has_normalisation_and_weights_origin="mean, std of three channels, and `weights` in words",
                only_the_trained_part_is_trained="gradients in `trained` alone; `frozen` keeps its state",
                predict_is_what_is_built="parameters and shape as predict() says, if it does",
                same_seed_gives_the_same_weights="random weights from torch's generator",
                works_as_a_teacher="the same vectors every time in evaluation mode",
                **_NETWORK,
            ),
            types=("BackboneShape", "FeatureShape", "TokensShape"),
        ),
        "neck": Kind(
            "feature maps to embeddings",
            "a torch.nn.Module with the attribute `dim`",
            _duties(
                embeddings_have_its_dim="a torch.nn.Module with `dim`; rows that depend on their image alone",
                neck_has_finite_gradients="finite gradients of input and parameters",
                neck_predict_is_what_is_built="parameters and dim as predict() says, if it does",
                **_NETWORK,
            ),
            types=("FeatureShape", "TokensShape", "NeckShape"),
        ),
        "loss": Kind(
            "what training minimises",
            "a loss with centres_per_class and logits(), or one that is called with embeddings and labels",
            _duties(
                loss_has_a_finite_gradient="centres_per_class and logits(), or a call that gives a scalar",
                batches_without_pairs_are_finite="finite where a batch has no positive or no negative pair",
                extreme_embeddings_are_finite="finite for equal and opposite embeddings",
                logits_keep_the_contract="logits (N, K), finite for targets of -1",
                loss_predict_is_what_is_built="parameters and centres as predict() says, if it does",
                loss_states_its_needs="needs in predict() for the pairs without which it learns nothing",
                mixed_with_a_share_of_one_is_the_loss="mixed(), if any, that is the loss at a share of 1",
                regularisers_are_finite_scalars="regularisers(), if any, that gives finite scalars",
                **_OBJECTIVE,
                state_dict_is_complete="all its state in state_dict()",
                gathered_batch_has_the_same_loss="the same on a batch gathered from two processes",
            ),
            types=("MixedLoss", "LossShape"),
        ),
        "sampler": Kind(
            "the class centres, and which of them take part in a step",
            "a torch.nn.Module that is called with embeddings, labels and a loss",
            _duties(
                centres_learn="a torch.nn.Module with the centres: a step changes them",
                centres_predict_is_what_is_built="parameters as predict() says, if it does",
                centres_can_be_stored="all its state in state_dict()",
                same_seed_gives_the_same_steps="the same steps for the same seed",
                **_OBJECTIVE,
            ),
            types=(
                "CentreLoss",
                "RowSampler",
                "CentresShape",
                "mlbench.contracts.options:HeadContext",
                "Advice",
                "Choice",
            ),
        ),
        "distiller": Kind(
            "distance between embeddings and those of a teacher",
            "a torch.nn.Module with `images` and `weight`",
            _duties(
                distance_has_finite_gradients="a torch.nn.Module with images, weight; a finite scalar",
                equal_vectors_are_nearest="0 for equal vectors",
                **_OBJECTIVE,
                state_dict_is_complete="all its state in state_dict()",
            ),
        ),
        "batch_sampler": Kind(
            "which training images make up a batch",
            "an object with batches() and __len__()",
            _duties(
                batches_are_as_many_as_len="len() batches an epoch, each of 1 to batch_size indices",
                batches_of_odd_sizes="any batch size, or OptionError by build() and predict() alike",
                batches_are_built_without_embeddings="embed() called in batches() alone, not before",
                batches_predict_is_what_is_built="batches and pairs as predict() says, if it does",
                same_generator_gives_the_same_batches="the same batches for the same generator",
                interrupted_sampler_goes_on="state_dict() and load_state_dict(), if epochs depend on others",
                batches_keep_global_generators="draws from its generator alone",
                batch_sampler_can_be_pickled="the same batches by pickled and deep copies",
            ),
            types=("BatchesShape",),
        ),
        "recipe": Kind(
            "optimiser, schedule and length of training",
            "a Recipe",
            inner=False,
            duties=_duties(
                recipe_is_valid="options that fit together",
            ),
        ),
        "metric": Kind(
            "what is evaluated on the embeddings",
            "an object with per_query(), of_curve() or of_embeddings()",
            in_case=False,
            duties=_duties(
                metric_gives_the_values_of_quantities="per_query(), of_curve() or of_embeddings()",
                rank_metric_takes_queries_separately="per_query() that takes any part of the queries",
                curve_metric_takes_resamples="of_curve() that takes many resamples at once",
                embedding_metric_takes_resamples="resampled(), if any, that takes many resamples at once",
            ),
            types=(
                "Quantity",
                "mlbench.evaluation.ranks:Ranks",
                "mlbench.evaluation.curve:Curve",
                "mlbench.evaluation.embeddings:Embeddings",
            ),
        ),
        "threshold": Kind(
            "which threshold to deploy, fitted on the calibration split",
            "a callable that takes a curve",
            _duties(
                threshold_is_a_similarity="a cosine similarity, ACCEPT_NOTHING, or ThresholdError",
            ),
            types=("Target", "mlbench.evaluation.curve:Curve"),
        ),
        "claim": Kind(
            "a statement about several cases that their records support or refute",
            "a claim with judge()",
            in_case=False,
            inner=False,
            duties=_duties(
                claim_is_judged_by_evidence="an effect, and p-values of the claim and of its opposite",
                claim_names_its_cases="compared() with groups of cases",
                claim_names_its_quantities="quantities() with names of metrics, speeds or sizes",
                claim_is_judged_alike_by_equal_evidence="the same for the same evidence",
                claim_without_a_case_is_a_claim_error="ClaimError where a case has no records",
            ),
            method="judge",
            types=("mlbench.claims.evidence:Evidence", "mlbench.claims.evidence:Values", "Finding", "Effect"),
        ),
        "tracker": Kind(
            "where the events of a run go, such as a curve of every epoch",
            "an object with methods for the events, such as epoch()",
            in_case=False,
            inner=False,
            duties=_duties(
                tracker_has_an_event="case_started(), epoch(), case_finished() or run_finished()",
                tracker_takes_every_event="all events of a run with a finished and a failed case",
                tracker_takes_a_run_that_stops="run_finished() after any event, also as the only one",
                tracker_leaves_the_process_alone="no print, no seeding, no change of variables or folder",
            ),
            types=("TrackedCase", "FinishedRun"),
        ),
        "section": Kind(
            "a section of the report page",
            "a Section, or None",
            in_case=False,
            inner=False,
            duties=_duties(
                section_is_built_of_records="a Section with a title and parts, or None, for any records",
                section_renders="templates that need no other values; charts with a description and own data",
                section_is_always_the_same="the same for the same records",
                section_escapes_names="names of cases escaped, whatever characters they have",
            ),
            types=("Part", "Chart", "mlbench.page.cases:CaseRow", "mlbench.page.cases:Figure"),
        ),
    }
)
