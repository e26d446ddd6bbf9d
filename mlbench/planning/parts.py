"""The parts of a case: its components found in the registry, with all options checked."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, get_type_hints

from pydantic import BaseModel, ValidationError

from mlbench.errors import ComponentError, OptionError, SuiteError, hint
from mlbench.options import first_problem
from mlbench.planning.document import flow_text
from mlbench.planning.settings import COLLECTIONS, COMPONENTS, Changes, Leaf, Settings
from mlbench.planning.spec import (
    PRECISIONS,
    ComputeSettings,
    EvaluationSettings,
    ImageSettings,
    MeasureSettings,
    Part,
    Spec,
    WeightedLoss,
    located,
)
from mlbench.planning.variants import Variant
from mlbench.planning.widths import Widths, read_widths
from mlbench.registry import Registry

__all__ = ["SharedParts", "always", "component_part", "metric_parts", "spell_out", "types_of", "validated"]

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

#: Sections that every case needs; the others may be absent or null.
_REQUIRED = ("dataset", "backbone", "neck", "batch_sampler", "recipe", "threshold")


class SharedParts:
    """Parts that cases of a suite share, made once: thousands of cases may differ in one option.

    Cases share a part where it is made from the same `Leaf` objects, which include the place in the file.
    """

    def __init__(self, variants: Sequence[Variant]) -> None:
        self._variants = variants
        self._known: dict[Any, tuple[Any, tuple[Leaf, ...]]] = {}

    def get(self, what: Hashable, leaves: tuple[Leaf, ...], make: Callable[[], T]) -> T:
        key = (what, *map(id, leaves))
        if key not in self._known:
            self._known[key] = make(), leaves  # kept alive, so that no other object gets the same id
        found: T = self._known[key][0]
        return found

    def names(self, section: str) -> list[str]:
        """Names of the components in this section of all cases."""
        leaves = (leaf for variant in self._variants for leaf in variant.settings.leaves(section, "name"))
        return list(dict.fromkeys(str(leaf.value) for leaf in leaves))


def spell_out(variant: Variant, registry: Registry, shared: SharedParts) -> Spec:
    """The spec of a variant, with every option. Raises SuiteError, with the place of the first mistake."""
    names = tuple(leaf for section in COMPONENTS for leaf in variant.settings.leaves(section, "name"))
    presets = shared.get("presets", names, lambda: _presets(variant.settings, registry))
    settings = variant.settings.over(presets)

    def part(section: str, given: dict[str, Any]) -> Part:
        brought = frozenset(presets.section(section) or ())
        advise = partial(_own_options, section, variant, settings, shared, registry)
        make = partial(component_part, section, given, settings, registry, brought, advise)
        return shared.get((section, brought), settings.leaves(section), make)

    def plain(model: type[M], section: str) -> M:
        return shared.get(section, settings.leaves(section), lambda: validated(model, section, settings))

    parts = {}
    for section in COMPONENTS:
        given = settings.section(section)
        if given is not None:
            parts[section] = part(section, given)
        elif section in _REQUIRED:
            known = hint("", registry.names(section))
            raise SuiteError(f"{variant.where}: case {variant.name!r} has no {section}; {known}")
    if "distiller" in parts and "teacher" not in parts:
        where = parts["distiller"].where()
        raise SuiteError(f"{where}: a distiller needs a teacher, which is any backbone; set teacher")
    if "distiller" not in parts:
        parts.pop("teacher", None)  # it belongs to the cases with a distiller
    precision = settings.value("precision") or "fp32"
    if precision not in PRECISIONS:
        known = hint(precision, PRECISIONS)
        raise SuiteError(f"{settings.where('precision')}: unknown precision {precision!r} ({known})")
    losses = _losses(variant, parts, settings, registry)
    return Spec(
        name=variant.name,
        axes=variant.axes,
        parts=parts,
        losses=losses,
        metrics=shared.get(
            "metrics", settings.leaves("metrics"), lambda: metric_parts(variant, settings, registry)
        ),
        image=plain(ImageSettings, "image"),
        compute=plain(ComputeSettings, "compute"),
        evaluation=plain(EvaluationSettings, "evaluation"),
        measure=plain(MeasureSettings, "measure"),
        precision=precision,
        widths=_widths(settings, losses),
    )


def _presets(settings: Settings, registry: Registry) -> Settings:
    """Settings of other sections by the components of a case (see `Options.settings`)."""
    presets = Settings()
    for section, kind in COMPONENTS.items():
        name = (settings.section(section) or {}).get("name")
        if name in registry.names(kind):
            with located(always(settings.where(section))):
                brought = registry.get(kind, name).options_class.settings()
            where = f"{settings.where(section)}: settings of {kind} {name}"
            presets = presets.updated(Changes.read(brought, always(where)))
    return presets


def _losses(
    variant: Variant, parts: Mapping[str, Part], settings: Settings, registry: Registry
) -> dict[str, WeightedLoss]:
    given = _collection("losses", settings)
    if "loss" in parts:
        if given:
            raise SuiteError(f"{settings.where('losses')}: give loss or losses, not both (loss: null)")
        return {parts["loss"].entry.component.name: WeightedLoss(parts["loss"])}
    if not given:
        known = hint("", registry.names("loss"))
        raise SuiteError(f"{variant.where}: case {variant.name!r} has no loss; {known}")
    losses = {}
    for name, options in given.items():
        where = settings.where("losses", name)
        rest = {"name": name, **options}
        weight = rest.pop("weight", 1.0)
        if isinstance(weight, bool) or not isinstance(weight, int | float) or weight < 0:
            raise SuiteError(f"{where}: the weight of loss {name!r} is {weight!r}; expected a number >= 0")
        losses[name] = WeightedLoss(_member("loss", rest, where, registry), float(weight))
    return losses


def _widths(settings: Settings, losses: Mapping[str, WeightedLoss]) -> Widths:
    widths = read_widths(settings.value("widths"), settings.where("widths"))
    for name in losses if widths.values else ():
        if "@" in name:  # as the losses of nested widths are called
            raise SuiteError(f"{settings.where('losses', name)}: with widths, no loss may have @ in its name")
    return widths


def validated(model: type[M], section: str, settings: Settings) -> M:
    """A section without a component."""
    given = settings.section(section) or {}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        option, message = first_problem(error, given, types_of(model), of=f" of {section}")
        raise SuiteError(f"{settings.where(section, option)}: {message}") from None


def types_of(model: type[BaseModel]) -> dict[str, Any]:
    """Type hint of each key of a model."""
    return get_type_hints(model, include_extras=True)


def always(where: str) -> Callable[[Any], str]:
    """A function that gives one place for every key."""
    return partial(_always, where)


def _always(where: str, key: Any) -> str:
    return where


def _collection(section: str, settings: Settings) -> dict[str, dict[str, Any]]:
    """Options of each member of a section with several components, without those set to null."""
    given = settings.section(section) or {}
    for name, options in given.items():
        if options is not None and not isinstance(options, dict):
            kind, where = COLLECTIONS[section], settings.where(section, name)
            component, dot, option = name.partition(".")
            advice = f"; write {section}.{component}={{{option}: {flow_text(options)}}}" if dot else ""
            raise SuiteError(
                f"{where}: expected a mapping of options of {kind} {name!r}, not {options!r}{advice}"
            )
    return {name: options for name, options in given.items() if options is not None}


def metric_parts(variant: Variant, settings: Settings, registry: Registry) -> dict[str, Part]:
    """The metrics of a variant, by name. Raises SuiteError."""
    chosen = _collection("metrics", settings)
    if not chosen:
        known = hint("", registry.names("metric"))
        raise SuiteError(f"{variant.where}: case {variant.name!r} has no metrics; {known}")
    parts = {}
    for name, options in chosen.items():
        where = settings.where("metrics", name)
        parts[name] = _member("metric", {**options, "name": name}, where, registry)
    return parts


def _member(kind: str, section: dict[str, Any], where: str, registry: Registry) -> Part:
    """One of several components of a section; its options share one place in the file."""
    options = dict(section)
    with located(always(where)):
        entry = registry.get(kind, str(options.pop("name")))
        return Part(entry, entry.check(options), always(where))


def component_part(
    section: str,
    given: dict[str, Any],
    settings: Settings,
    registry: Registry,
    brought: frozenset[str],
    advise: Callable[[str], str] = lambda option: "",
) -> Part:
    """The component of a section. brought: options for it from another component's settings; where this
    component has no such option, null in the suite leaves it out. advise: advice on a wrong option, or ""."""
    kind = COMPONENTS[section]
    options = dict(given)
    name = options.pop("name", None)
    if not isinstance(name, str):
        state = "it has options but no name" if name is None else f"its name is {name!r}"
        known = hint("", registry.names(kind))
        raise SuiteError(f"{settings.where(section)}: which {section}? {state}; {known}")
    try:
        entry = registry.get(kind, name)
        foreign = brought - entry.options_class.model_fields.keys()
        unused = [key for key in foreign if options.get(key, name) is None]
        options = {key: value for key, value in options.items() if key not in unused}
        return Part(entry, entry.check(options), partial(settings.where, section))
    except OptionError as error:
        advice = advise(error.option)
        if error.option in foreign:
            advice = f"; {section}.{error.option}: null leaves it out"
        raise SuiteError(f"{settings.where(section, error.option)}: {error}{advice}") from None
    except ComponentError as error:
        raise SuiteError(f"{settings.where(section)}: {error}") from None


def _own_options(
    section: str, variant: Variant, settings: Settings, shared: SharedParts, registry: Registry, option: str
) -> str:
    """Advice where base has an option that the components of other cases have and this case's component
    lacks."""
    kind = COMPONENTS[section]
    given = settings.section(section) or {}
    name = given.pop("name")
    names = [each for each in shared.names(section) if each in registry.names(kind)]
    options = {each: registry.get(kind, each).options_class.model_fields.keys() for each in names}
    others = [each for each in names if option in options[each]]
    if not others or option in options.get(name, ()):
        return ""

    def whole(name: str) -> dict[str, Any]:
        return {"name": name, **{key: value for key, value in given.items() if key in options[name]}}

    if f"{section}.name" in variant.axes:
        what = f"give each its own options in the matrix, in place of {section}.name and of base.{section}"
        text = flow_text({each: whole(each) for each in names})
    else:
        what = f"write all of its {section} in place of {section}.name"
        text = flow_text(whole(name))
    return f"; {others[0]} has it: {what}: {section}: {text}"
