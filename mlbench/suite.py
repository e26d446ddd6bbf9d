"""A suite: the YAML file that states which cases are run, read and checked from top to bottom."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlbench.contracts import KINDS
from mlbench.document import Document, load_document, parse_value
from mlbench.errors import ComponentError, OptionError, SuiteError, hint
from mlbench.options import first_problem
from mlbench.record import METRICS
from mlbench.registry import Entry, Registry
from mlbench.seeding import MAX_SEED
from mlbench.settings import SECTIONS, Changes, Settings
from mlbench.variants import Variant, expand

__all__ = ["PRECISIONS", "Image", "Part", "Spec", "Suite", "load_suite"]

#: Kinds without which a case cannot run; the others may be left out or null.
REQUIRED = ("dataset", "backbone", "neck", "loss", "batch_sampler", "recipe")

#: Precisions by name, with Lightning Fabric's name for each.
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


class Image(BaseModel):
    """Size of the square model input in pixels, and how an image of another shape becomes square:
    squash it, cut its middle out (crop), or fill it up with grey (pad)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    size: Annotated[int, Field(ge=16, le=2048)] = 128
    resize: Literal["squash", "crop", "pad"] = "squash"


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
    """A variant with every component found and every option checked and spelt out."""

    name: str
    axes: Mapping[str, str]
    parts: Mapping[str, Part]
    image: Image
    precision: str

    def plain(self) -> dict[str, Any]:
        """Everything as plain data, in a fixed order: what is hashed and stored."""
        data: dict[str, Any] = {
            kind: {"name": part.entry.component.name, **part.options} for kind, part in self.parts.items()
        }
        return {**data, "image": self.image.model_dump(), "precision": self.precision}


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
    for name in file.tolerances:
        if name not in METRICS:
            where = document.where(("tolerances", name))
            raise SuiteError(f"{where}: unknown metric {name!r} ({hint(name, METRICS)})")
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
    return Spec(variant.name, variant.axes, parts, _image(settings), precision)


def _image(settings: Settings) -> Image:
    given = settings.section("image") or {}
    try:
        return Image.model_validate(given)
    except ValidationError as error:
        option, message = first_problem(error, given, _types(Image), of=" of image")
        raise SuiteError(f"{settings.where('image', option)}: {message}") from None


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
