"""Everything that an author of a plugin imports from mlbench.

    from mlbench.plugin import Component, NeckOptions, hookimpl

A name is imported when it is first used, so a plugin that only registers components imports nothing large.

A plugin may state which version of this contract it was written for, as `MLBENCH_CONTRACT = 1` beside its
hook. A plugin for a version that is no longer supported, or not yet, is set aside, and its components are
reported as missing with that reason. A name that is going to be removed still works for one release at least
and warns of it (ContractDeprecationWarning).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mlbench.deprecation import Deprecated, warn_deprecated

if TYPE_CHECKING:
    from mlbench.atomic_write import write_atomically as write_atomically
    from mlbench.claims.effects import effect_of as effect_of
    from mlbench.claims.evidence import Evidence as Evidence
    from mlbench.claims.evidence import Values as Values
    from mlbench.compiled import compiled as compiled
    from mlbench.contracts.catalogue import CatalogueItem as CatalogueItem
    from mlbench.contracts.claims import Cases as Cases
    from mlbench.contracts.claims import Effect as Effect
    from mlbench.contracts.claims import Finding as Finding
    from mlbench.contracts.component import CONTRACT as CONTRACT
    from mlbench.contracts.component import Component as Component
    from mlbench.contracts.data import GALLERY as GALLERY
    from mlbench.contracts.data import QUERY as QUERY
    from mlbench.contracts.data import SPLITS as SPLITS
    from mlbench.contracts.data import Augmentation as Augmentation
    from mlbench.contracts.data import DataCheck as DataCheck
    from mlbench.contracts.data import DataProgress as DataProgress
    from mlbench.contracts.data import Dataset as Dataset
    from mlbench.contracts.data import DataSource as DataSource
    from mlbench.contracts.data import DataState as DataState
    from mlbench.contracts.data import GroupedSplit as GroupedSplit
    from mlbench.contracts.data import LocatedSplit as LocatedSplit
    from mlbench.contracts.data import Mixed as Mixed
    from mlbench.contracts.data import Mixing as Mixing
    from mlbench.contracts.data import PairedDataset as PairedDataset
    from mlbench.contracts.data import PairList as PairList
    from mlbench.contracts.data import PartCount as PartCount
    from mlbench.contracts.data import Split as Split
    from mlbench.contracts.data import SplitName as SplitName
    from mlbench.contracts.evaluation import ACCEPT_NOTHING as ACCEPT_NOTHING
    from mlbench.contracts.evaluation import CurveMetric as CurveMetric
    from mlbench.contracts.evaluation import EmbeddingMetric as EmbeddingMetric
    from mlbench.contracts.evaluation import Quantity as Quantity
    from mlbench.contracts.evaluation import RankMetric as RankMetric
    from mlbench.contracts.evaluation import Target as Target
    from mlbench.contracts.evaluation import ThresholdPolicy as ThresholdPolicy
    from mlbench.contracts.learning import BatchSampler as BatchSampler
    from mlbench.contracts.learning import CentreLoss as CentreLoss
    from mlbench.contracts.learning import CentreSampler as CentreSampler
    from mlbench.contracts.learning import Distiller as Distiller
    from mlbench.contracts.learning import MixedLoss as MixedLoss
    from mlbench.contracts.learning import PairLoss as PairLoss
    from mlbench.contracts.learning import RegularisedLoss as RegularisedLoss
    from mlbench.contracts.learning import RowSampler as RowSampler
    from mlbench.contracts.network import Backbone as Backbone
    from mlbench.contracts.network import Neck as Neck
    from mlbench.contracts.options import AugmentationOptions as AugmentationOptions
    from mlbench.contracts.options import BackboneOptions as BackboneOptions
    from mlbench.contracts.options import BatchContext as BatchContext
    from mlbench.contracts.options import BatchSamplerOptions as BatchSamplerOptions
    from mlbench.contracts.options import ClaimOptions as ClaimOptions
    from mlbench.contracts.options import DatasetContext as DatasetContext
    from mlbench.contracts.options import DatasetOptions as DatasetOptions
    from mlbench.contracts.options import DistillerContext as DistillerContext
    from mlbench.contracts.options import DistillerOptions as DistillerOptions
    from mlbench.contracts.options import HeadContext as HeadContext
    from mlbench.contracts.options import LossContext as LossContext
    from mlbench.contracts.options import LossOptions as LossOptions
    from mlbench.contracts.options import MetricOptions as MetricOptions
    from mlbench.contracts.options import MixingOptions as MixingOptions
    from mlbench.contracts.options import NeckOptions as NeckOptions
    from mlbench.contracts.options import Recipe as Recipe
    from mlbench.contracts.options import SamplerContext as SamplerContext
    from mlbench.contracts.options import SamplerOptions as SamplerOptions
    from mlbench.contracts.options import SectionOptions as SectionOptions
    from mlbench.contracts.options import ThresholdOptions as ThresholdOptions
    from mlbench.contracts.options import TrackerContext as TrackerContext
    from mlbench.contracts.options import TrackerOptions as TrackerOptions
    from mlbench.contracts.section import Chart as Chart
    from mlbench.contracts.section import Part as Part
    from mlbench.contracts.section import Section as Section
    from mlbench.contracts.shapes import Advice as Advice
    from mlbench.contracts.shapes import BackboneShape as BackboneShape
    from mlbench.contracts.shapes import BatchesShape as BatchesShape
    from mlbench.contracts.shapes import CentresShape as CentresShape
    from mlbench.contracts.shapes import Choice as Choice
    from mlbench.contracts.shapes import Features as Features
    from mlbench.contracts.shapes import FeatureShape as FeatureShape
    from mlbench.contracts.shapes import LossShape as LossShape
    from mlbench.contracts.shapes import NeckShape as NeckShape
    from mlbench.contracts.shapes import Need as Need
    from mlbench.contracts.shapes import TokensShape as TokensShape
    from mlbench.contracts.tracking import FinishedRun as FinishedRun
    from mlbench.contracts.tracking import TrackedCase as TrackedCase
    from mlbench.contracts.tracking import Tracker as Tracker
    from mlbench.environment import cache_dir as cache_dir
    from mlbench.errors import ClaimError as ClaimError
    from mlbench.errors import DataError as DataError
    from mlbench.errors import MlbenchError as MlbenchError
    from mlbench.errors import OptionError as OptionError
    from mlbench.errors import StoreError as StoreError
    from mlbench.errors import ThresholdError as ThresholdError
    from mlbench.errors import TrackerError as TrackerError
    from mlbench.errors import TrainingError as TrainingError
    from mlbench.errors import WeightsError as WeightsError
    from mlbench.errors import close_match as close_match
    from mlbench.errors import first_line as first_line
    from mlbench.errors import hint as hint
    from mlbench.evaluation.curve import Curve as Curve
    from mlbench.evaluation.embeddings import Embeddings as Embeddings
    from mlbench.evaluation.engine import Engine as Engine
    from mlbench.evaluation.engine import verification_curve as verification_curve
    from mlbench.evaluation.ranks import Ranks as Ranks
    from mlbench.evaluation.similarity_grid import STEP as STEP
    from mlbench.hookspecs import hookimpl as hookimpl
    from mlbench.images.class_folders import ClassFolders as ClassFolders
    from mlbench.images.class_folders import read_class_folders as read_class_folders
    from mlbench.images.decode import Box as Box
    from mlbench.images.decode import UnreadableImageError as UnreadableImageError
    from mlbench.images.decode import decode as decode
    from mlbench.images.decode import read_image as read_image
    from mlbench.images.image_files import IMAGE_SUFFIXES as IMAGE_SUFFIXES
    from mlbench.images.image_files import SPLIT_NAMES as SPLIT_NAMES
    from mlbench.images.image_files import find_images as find_images
    from mlbench.images.image_files import kind_of as kind_of
    from mlbench.images.image_files import split_of as split_of
    from mlbench.images.manifest import MANIFEST_SUFFIXES as MANIFEST_SUFFIXES
    from mlbench.images.manifest import Manifest as Manifest
    from mlbench.images.manifest import ManifestRow as ManifestRow
    from mlbench.images.manifest import read_manifest as read_manifest
    from mlbench.names import find_path as find_path
    from mlbench.names import find_paths as find_paths
    from mlbench.names import one_form as one_form
    from mlbench.page.cases import CaseRow as CaseRow
    from mlbench.page.cases import Figure as Figure
    from mlbench.page.context import PageContext as PageContext
    from mlbench.page.findings import CaseFindings as CaseFindings
    from mlbench.provenance import code_hash as code_hash
    from mlbench.provenance import core_hash as core_hash
    from mlbench.records.record import MEASURED as MEASURED
    from mlbench.records.record import Record as Record
    from mlbench.records.report import metric_text as metric_text
    from mlbench.seeding import derive as derive
    from mlbench.seeding import matmul_precision as matmul_precision
    from mlbench.seeding import numpy_generator as numpy_generator
    from mlbench.seeding import torch_generator as torch_generator
    from mlbench.seeding import torch_seed as torch_seed

#: Names by the module that defines them.
_NAMES = {
    "mlbench.atomic_write": "write_atomically",
    "mlbench.compiled": "compiled",
    "mlbench.claims.effects": "effect_of",
    "mlbench.claims.evidence": "Evidence Values",
    "mlbench.contracts.catalogue": "CatalogueItem",
    "mlbench.contracts.claims": "Cases Effect Finding",
    "mlbench.contracts.component": "CONTRACT Component",
    "mlbench.contracts.data": (
        "GALLERY QUERY SPLITS Augmentation DataCheck DataProgress DataSource DataState Dataset "
        "GroupedSplit LocatedSplit Mixed Mixing PairList PairedDataset PartCount Split SplitName"
    ),
    "mlbench.contracts.evaluation": (
        "ACCEPT_NOTHING CurveMetric EmbeddingMetric Quantity RankMetric Target ThresholdPolicy"
    ),
    "mlbench.contracts.learning": (
        "BatchSampler CentreLoss CentreSampler Distiller MixedLoss PairLoss RegularisedLoss RowSampler"
    ),
    "mlbench.contracts.network": "Backbone Neck",
    "mlbench.contracts.options": (
        "AugmentationOptions BackboneOptions BatchContext BatchSamplerOptions ClaimOptions DatasetContext "
        "DatasetOptions DistillerContext DistillerOptions HeadContext LossContext LossOptions "
        "MetricOptions MixingOptions NeckOptions Recipe SamplerContext SamplerOptions SectionOptions "
        "ThresholdOptions TrackerContext TrackerOptions"
    ),
    "mlbench.contracts.section": "Chart Part Section",
    "mlbench.contracts.shapes": (
        "Advice BackboneShape BatchesShape CentresShape Choice FeatureShape Features LossShape "
        "NeckShape Need TokensShape"
    ),
    "mlbench.contracts.tracking": "FinishedRun TrackedCase Tracker",
    "mlbench.environment": "cache_dir",
    "mlbench.errors": (
        "ClaimError DataError MlbenchError OptionError StoreError ThresholdError TrackerError TrainingError "
        "WeightsError close_match first_line hint"
    ),
    "mlbench.evaluation.curve": "Curve",
    "mlbench.evaluation.embeddings": "Embeddings",
    "mlbench.evaluation.engine": "Engine verification_curve",
    "mlbench.evaluation.ranks": "Ranks",
    "mlbench.evaluation.similarity_grid": "STEP",
    "mlbench.hookspecs": "hookimpl",
    "mlbench.images.class_folders": "ClassFolders read_class_folders",
    "mlbench.images.decode": "Box UnreadableImageError decode read_image",
    "mlbench.images.image_files": "IMAGE_SUFFIXES SPLIT_NAMES find_images kind_of split_of",
    "mlbench.images.manifest": "MANIFEST_SUFFIXES Manifest ManifestRow read_manifest",
    "mlbench.names": "find_path find_paths one_form",
    "mlbench.page.cases": "CaseRow Figure",
    "mlbench.page.context": "PageContext",
    "mlbench.page.findings": "CaseFindings",
    "mlbench.provenance": "code_hash core_hash",
    "mlbench.records.record": "MEASURED Record",
    "mlbench.records.report": "metric_text",
    "mlbench.seeding": "derive matmul_precision numpy_generator torch_generator torch_seed",
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_HOMES)

#: Names that still work and are going to be removed: their modules, and what to use instead.
_DEPRECATED: Mapping[str, tuple[str, Deprecated]] = {}


def __getattr__(name: str) -> Any:
    if name in _DEPRECATED:
        home, deprecated = _DEPRECATED[name]
        user = sys._getframe(1).f_globals.get("__name__", "")
        warn_deprecated(f"mlbench.plugin.{name}", deprecated, user)
        return getattr(import_module(home), name)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value
