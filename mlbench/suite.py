"""A suite: the YAML file that states which cases are run, read and checked from top to bottom."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlbench.contracts import KINDS
from mlbench.document import Document, load_document, parse_value
from mlbench.errors import ComponentError, OptionError, SuiteError, hint
from mlbench.options import problem
from mlbench.record import METRICS
from mlbench.registry import Entry, Registry
from mlbench.settings import Settings
from mlbench.variants import Variant, expand

__all__ = ["Image", "Part", "Spec", "Suite", "load_suite"]

#: Kinds without which a case cannot run; the others may be left out or null.
REQUIRED = ("dataset", "backbone", "neck", "loss", "batch_sampler", "recipe")


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
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [0]
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
    specs = tuple(_spec(variant, registry, document) for variant in variants)
    _check_distinct(specs, document)
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
    if not isinstance(document.data, dict):
        raise SuiteError(f"{document.path}:1: expected a mapping with the keys {', '.join(_File.model_fields)}")
    try:
        return _File.model_validate(document.data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        message = problem(first, list(_File.model_fields))
        raise SuiteError(f"{document.where(first['loc'])}: {message}") from None


def _overridden(variant: Variant, override: str) -> Variant:
    key, equals, text = override.partition("=")
    origin = f"--set {override}"
    if not equals or not key:
        raise SuiteError(f"{origin}: expected key=value, such as recipe.epochs=2")
    value = parse_value(text, origin)
    settings = variant.settings.updated({key.removeprefix("base."): value}, lambda _: origin)
    return Variant(variant.name, variant.axes, settings)


def _spec(variant: Variant, registry: Registry, document: Document) -> Spec:
    settings = variant.settings
    parts = {}
    for kind in KINDS:
        section = settings.section(kind)
        if section is None:
            if kind in REQUIRED:
                raise SuiteError(
                    f"{document.where(('base',))}: case {variant.name!r} has no {kind}; "
                    f"{hint('', registry.names(kind))}"
                )
            continue
        parts[kind] = _part(kind, section, settings, registry)
    image = settings.section("image") or {}
    try:
        checked = Image.model_validate(image)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = settings.where("image", str(first["loc"][0]))
        raise SuiteError(f"{where}: {problem(first, list(Image.model_fields))}") from None
    precision = settings.value("precision") or "fp32"
    if precision not in PRECISIONS:
        raise SuiteError(
            f"{settings.where('precision')}: unknown precision {precision!r} ({hint(str(precision), PRECISIONS)})"
        )
    return Spec(variant.name, variant.axes, parts, checked, precision)


#: Name to Lightning Fabric's name.
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def _part(kind: str, section: dict[str, Any], settings: Settings, registry: Registry) -> Part:
    options = dict(section)
    name = options.pop("name", None)
    if not isinstance(name, str):
        known = hint("", registry.names(kind))
        raise SuiteError(f"{settings.where(kind)}: which {kind}? it has options but no name; {known}")
    try:
        entry = registry.get(kind, name)
        return Part(entry, entry.check(options), lambda option: settings.where(kind, option))
    except OptionError as error:
        option = error.option.partition(".")[0]
        raise SuiteError(f"{settings.where(kind, option)}: {error}") from None
    except ComponentError as error:
        raise SuiteError(f"{settings.where(kind)}: {error}") from None


def _check_distinct(specs: Sequence[Spec], document: Document) -> None:
    names: dict[str, Spec] = {}
    for spec in specs:
        if spec.name in names:
            raise SuiteError(f"{document.path}: two cases are called {spec.name!r}; rename one")
        for other in names.values():
            if other.plain() == spec.plain():
                raise SuiteError(
                    f"{document.path}: the cases {other.name!r} and {spec.name!r} are the same experiment; "
                    "drop one (or the --set that made them equal, and choose cases with --cases)"
                )
        names[spec.name] = spec
