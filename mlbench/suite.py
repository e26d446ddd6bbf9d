"""A suite: the YAML file that states which cases are run, read and checked from top to bottom."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlbench.contracts import KINDS, Quantity
from mlbench.document import Document, load_document, parse_value
from mlbench.errors import ComponentError, OptionError, SuiteError, hint
from mlbench.options import first_problem
from mlbench.registry import Entry, Registry
from mlbench.seeding import MAX_SEED
from mlbench.settings import SECTIONS, Changes, Settings
from mlbench.variants import Variant, expand

__all__ = [
    "PRECISIONS",
    "EvaluationSettings",
    "Image",
    "Part",
    "Spec",
    "Suite",
    "evaluation_parts",
    "load_suite",
]

M = TypeVar("M", bound=BaseModel)

#: Kinds without which a case cannot run; the others may be left out or null.
REQUIRED = ("dataset", "backbone", "neck", "loss", "batch_sampler", "recipe", "threshold")

#: Precisions by name, with Lightning Fabric's name for each.
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


class Image(BaseModel):
    """Size of the square model input in pixels, and how an image of another shape becomes square:
    squash it, cut its middle out (crop), or fill it up with grey (pad)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    size: Annotated[int, Field(ge=16, le=2048)] = 128
    resize: Literal["squash", "crop", "pad"] = "squash"


class EvaluationSettings(BaseModel):
    """How embeddings are compared. resamples: of the bootstrap over classes that gives every metric its
    interval, 0 for none; level: of the intervals; memory_mib: what evaluation may take above the embeddings;
    products: similarities in float32, or from vectors rounded to tf32 or bf16, faster on a GPU."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    resamples: Annotated[int, Field(ge=0, le=100_000)] = 1000
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    memory_mib: Annotated[int, Field(ge=128)] = 512
    products: Literal["float32", "tf32", "bf16"] = "float32"


class _File(BaseModel):
    """The keys of a suite file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    suite: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    title: str = ""
    question: str = ""
    source: str = ""
    base: dict[str, Any]
    matrix: dict[str, Any] = {}
    include: list[dict[str, Any]] = []
    exclude: list[dict[str, Any]] = []
    cases: dict[str, dict[str, Any]] = {}
    seeds: Annotated[list[Annotated[int, Field(ge=0, le=MAX_SEED)]], Field(min_length=1)] = [0]
    tolerances: dict[str, Annotated[float, Field(ge=0)]] = {}


@dataclass(frozen=True)
class Part:
    """One component of a case: its registration, all its options, and where they were written."""

    entry: Entry
    options: Mapping[str, Any]
    places: Callable[[str], str]

    def build(self, **provided: Any) -> Any:
        """The component, made with what it asks for out of `provided`."""
        return self.entry.build(self.options, **provided)

    def predict(self, **provided: Any) -> Any:
        """What `build` would make (see `Component.predict`), or None."""
        return self.entry.predict(self.options, **provided)

    def where(self, option: str = "") -> str:
        """Place of an option in the suite file, else of the component."""
        return self.places(option)


@dataclass(frozen=True)
class Spec:
    """A variant with every component found and every option checked and spelt out.

    metrics: by name; each has announced what it measures (`quantities`).
    """

    name: str
    axes: Mapping[str, str]
    parts: Mapping[str, Part]
    metrics: Mapping[str, Part]
    image: Image
    evaluation: EvaluationSettings
    precision: str

    def provenance(self) -> dict[str, dict[str, str]]:
        """Where each component's code comes from, by kind; for metrics by "metric NAME"."""
        found = {kind: part.entry.provenance for kind, part in self.parts.items()}
        return found | {f"metric {name}": part.entry.provenance for name, part in self.metrics.items()}

    def quantities(self) -> dict[str, Quantity]:
        """Everything that will be measured, by name. Raises SuiteError when two metrics share a name."""
        found: dict[str, Quantity] = {}
        for part in self.metrics.values():
            announced: Mapping[str, Quantity] = part.predict()
            for name in announced.keys() & found.keys():
                raise SuiteError(f"{part.where()}: {name!r} is measured by another metric too")
            found |= announced
        return found

    def plain(self) -> dict[str, Any]:
        """Everything as plain data, in a fixed order: what is hashed and stored."""
        data: dict[str, Any] = {
            kind: {"name": part.entry.component.name, **part.options} for kind, part in self.parts.items()
        }
        metrics = {name: dict(part.options) for name, part in self.metrics.items()}
        return {
            **data,
            "metrics": metrics,
            "image": self.image.model_dump(),
            "evaluation": self.evaluation.model_dump(),
            "precision": self.precision,
        }


@dataclass(frozen=True)
class Suite:
    """A suite file that can be run."""

    name: str
    title: str
    question: str
    source: str
    path: Path
    specs: tuple[Spec, ...]
    seeds: tuple[int, ...]
    tolerances: Mapping[str, float]


def load_suite(path: Path, registry: Registry, *, overrides: Sequence[str] = ()) -> Suite:
    """Read and check a suite file; `overrides` are "key=value" texts that win over the file.

    Raises SuiteError for the first mistake, with file, line and key.
    """
    document = load_document(path)
    file = _check_file(document)
    variants = expand(file.base, file.matrix, file.include, file.exclude, file.cases, document.where)
    for override in overrides:
        variants = [_overridden(variant, override) for variant in variants]
    specs = tuple(_spec(variant, registry) for variant in variants)
    _check_distinct(variants, specs, overrides)
    measured = {name for spec in specs for name in spec.quantities()}
    for name in file.tolerances:
        if name not in measured:
            where = document.where(("tolerances", name))
            raise SuiteError(f"{where}: no case measures {name!r} ({hint(name, measured)})")
    if len(set(file.seeds)) != len(file.seeds):
        raise SuiteError(f"{document.where(('seeds',))}: a seed stands twice")
    return Suite(
        name=file.suite,
        title=file.title,
        question=file.question,
        source=file.source,
        path=path,
        specs=specs,
        seeds=tuple(file.seeds),
        tolerances=file.tolerances,
    )


def _check_file(document: Document) -> _File:
    data = document.data
    if not isinstance(data, dict):
        state = "the file is empty" if data is None else "this is no suite"
        keys = ", ".join(_File.model_fields)
        raise SuiteError(f"{document.where(())}: {state}; expected a mapping with the keys {keys}")
    for key in data:
        if key in SECTIONS:
            raise SuiteError(f"{document.where((key,))}: {key!r} belongs under 'base'")
    try:
        return _File.model_validate(data)
    except ValidationError as error:
        where = document.where(error.errors(include_url=False)[0]["loc"])
        raise SuiteError(f"{where}: {first_problem(error, data, _types(_File))[1]}") from None


def _types(model: type[BaseModel]) -> dict[str, Any]:
    return get_type_hints(model, include_extras=True)


def _overridden(variant: Variant, override: str) -> Variant:
    key, equals, text = override.partition("=")
    origin = f"--set {override}"
    if not equals or not key:
        raise SuiteError(f"{origin}: expected key=value, such as recipe.epochs=2")
    value = parse_value(text, origin)
    changes = Changes.read({key.removeprefix("base."): value}, lambda _: origin)
    return replace(variant, settings=variant.settings.updated(changes))


def _spec(variant: Variant, registry: Registry) -> Spec:
    settings = variant.settings
    parts = {}
    for kind in KINDS:
        if kind == "metric":
            continue
        section = settings.section(kind)
        if section is None:
            if kind in REQUIRED:
                known = hint("", registry.names(kind))
                raise SuiteError(f"{variant.where}: case {variant.name!r} has no {kind}; {known}")
            continue
        parts[kind] = _part(kind, section, settings, registry)
    precision = settings.value("precision") or "fp32"
    if precision not in PRECISIONS:
        known = hint(precision, PRECISIONS)
        raise SuiteError(f"{settings.where('precision')}: unknown precision {precision!r} ({known})")
    return Spec(
        name=variant.name,
        axes=variant.axes,
        parts=parts,
        metrics=_metrics(variant, settings, registry),
        image=_plain(Image, "image", settings),
        evaluation=_plain(EvaluationSettings, "evaluation", settings),
        precision=precision,
    )


def _plain(model: type[M], section: str, settings: Settings) -> M:
    """A section that is no component."""
    given = settings.section(section) or {}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        option, message = first_problem(error, given, _types(model), of=f" of {section}")
        raise SuiteError(f"{settings.where(section, option)}: {message}") from None


def evaluation_parts(
    base: Mapping[str, Any], overrides: Sequence[str], registry: Registry
) -> tuple[Part, dict[str, Part], EvaluationSettings]:
    """Threshold policy, metrics and settings of an evaluation without a suite file; `overrides` as in
    `load_suite`. Raises SuiteError."""
    settings = Settings().updated(Changes.read(base, lambda key: ".".join(map(str, key))))
    variant = Variant("evaluation", {}, settings, "evaluation")
    for override in overrides:
        variant = _overridden(variant, override)
    for (given, *_), leaf in variant.settings:
        if given not in (*base, "evaluation"):
            raise SuiteError(f"{leaf.where}: {given!r} has no part in an evaluation of embeddings")
    section = variant.settings.section("threshold")
    if section is None:
        raise SuiteError(f"--set threshold: name a policy; {hint('', registry.names('threshold'))}")
    return (
        _part("threshold", section, variant.settings, registry),
        _metrics(variant, variant.settings, registry),
        _plain(EvaluationSettings, "evaluation", variant.settings),
    )


def _always(where: str) -> Callable[[str], str]:
    return lambda option: where


def _metrics(variant: Variant, settings: Settings, registry: Registry) -> dict[str, Part]:
    chosen = {
        name: options for name, options in (settings.section("metrics") or {}).items() if options is not None
    }
    if not chosen:
        known = hint("", registry.names("metric"))
        raise SuiteError(f"{variant.where}: case {variant.name!r} has no metrics; {known}")
    parts = {}
    for name, options in chosen.items():
        where = settings.where("metrics", name)
        if not isinstance(options, dict):
            raise SuiteError(f"{where}: expected a mapping of options of metric {name!r}, not {options!r}")
        try:
            entry = registry.get("metric", name)
            part = Part(entry, entry.check(options), _always(where))
            if part.predict() is None:
                raise ComponentError(f"{entry} does not announce what it measures: it has no predict")
        except (OptionError, ComponentError) as error:
            raise SuiteError(f"{where}: {error}") from None
        parts[name] = part
    return parts


def _part(kind: str, section: dict[str, Any], settings: Settings, registry: Registry) -> Part:
    options = dict(section)
    name = options.pop("name", None)
    if not isinstance(name, str):
        state = "it has options but no name" if name is None else f"its name is {name!r}"
        known = hint("", registry.names(kind))
        raise SuiteError(f"{settings.where(kind)}: which {kind}? {state}; {known}")
    try:
        entry = registry.get(kind, name)
        return Part(entry, entry.check(options), lambda option: settings.where(kind, option))
    except OptionError as error:
        raise SuiteError(f"{settings.where(kind, error.option)}: {error}") from None
    except ComponentError as error:
        raise SuiteError(f"{settings.where(kind)}: {error}") from None


def _check_distinct(variants: Sequence[Variant], specs: Sequence[Spec], overrides: Sequence[str]) -> None:
    known: dict[str, str] = {}
    for variant, spec in zip(variants, specs, strict=True):
        other = known.setdefault(json.dumps(spec.plain(), sort_keys=True), spec.name)
        if other != spec.name:
            after = f" after --set {' --set '.join(overrides)}" if overrides else ""
            both = f"the cases {other!r} and {spec.name!r}"
            raise SuiteError(f"{variant.where}: {both} are the same experiment{after}; drop one")
