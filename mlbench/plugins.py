"""Plugins: entry points are loaded one by one, and what is broken is set aside with its error."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from importlib import import_module
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points
from typing import Any, Protocol

from mlbench.contracts import CONTRACT, Component
from mlbench.errors import first_line, hint
from mlbench.hookspecs import ENTRY_POINT_GROUP
from mlbench.imports import guarded_import
from mlbench.local_modules import file_of
from mlbench.places import place_in_package
from mlbench.registration import Fault, RegistrationError, checked_contract, registered

__all__ = [
    "SLOW",
    "ModuleSource",
    "Plugin",
    "Source",
    "environment_choice",
    "idle_patterns",
    "left_out",
    "load_plugins",
]

#: Seconds above which the import of a plugin is noted.
SLOW = 0.5

#: Distribution of the built-in plugins.
_BUILT_IN = "mlbench"


class Source(Protocol):
    """Where a plugin is loaded from: an entry point, or what has the same members."""

    @property
    def name(self) -> str: ...
    @property
    def value(self) -> str: ...
    @property
    def dist(self) -> Distribution | None: ...

    def load(self) -> Any: ...


class ModuleSource:
    """A module that is a plugin without an entry point. target: its dotted name."""

    dist = None

    def __init__(self, name: str, target: str) -> None:
        self.name = name
        self.value = target

    def load(self) -> Any:
        return import_module(self.value)


@dataclass(frozen=True, slots=True)
class Plugin:
    """One entry point with its origin, and its components or its error.

    name: of the entry point. target: the module or object that it points at. package, version: its
    distribution. error: why the whole plugin is set aside, and fix: what to do. faults: of single components
    that are set aside. contract: the version that the plugin states, None where it states none. seconds:
    duration of its import. printed: what it wrote to stdout then."""

    name: str
    target: str
    package: str
    version: str
    components: tuple[Component, ...] = ()
    error: str = ""
    fix: str = ""
    faults: tuple[Fault, ...] = ()
    contract: int | None = None
    seconds: float = field(default=0.0, compare=False)
    printed: str = ""

    def __str__(self) -> str:
        return f"plugin {self.name!r} ({self.origin})"

    @property
    def origin(self) -> str:
        """Package and version, for parentheses: what stands in place of a package, such as "(file)", has its
        own."""
        return f"{self.package.strip('()')} {self.version}"

    def blamed(self, problem: str) -> str:
        """A problem of its code, for messages."""
        return f"{problem}; this is a mistake in {self}"

    @property
    def built_in(self) -> bool:
        """Whether it is a part of mlbench."""
        return self.package == _BUILT_IN

    def problems(self) -> list[Fault]:
        """Its error, the faults of its components, and what its import does wrong."""
        own = [Fault(self.error, self.fix)] if self.error else []
        return [*own, *self.faults, *self._manners()]

    def notes(self) -> Iterator[str]:
        """The problems as lines that name the plugin."""
        if self.error:
            yield f"{self} is set aside: {Fault(self.error, self.fix).text}"
        for fault in self.faults:
            yield f"{fault} of {self} is set aside: {fault.text}"
        for fault in self._manners():
            yield f"{self}: {fault.text}"

    def _manners(self) -> Iterator[Fault]:
        if self.printed.strip():
            line = self.printed.strip().splitlines()[0]
            place = file_of(self.target) or self.target
            yield Fault(f"its import prints {line!r}", f"remove the print from {place}")
        if self.seconds > SLOW and not self.built_in:
            yield Fault(f"its import took {self.seconds:.1f} s", "import large packages inside build")


def load_plugins(
    *,
    block: Sequence[str] = (),
    only: Sequence[str] | None = None,
    sources: Iterable[Source] | None = None,
) -> tuple[Plugin, ...]:
    """Every installed plugin, sorted by package and name, independent of the order of installation.

    block: glob patterns of plugins to leave out. only: glob patterns of the third-party plugins that load
    besides the built-in ones; None for all. A pattern is that of an entry point's name or, for third parties,
    of a package's. sources: instead of the installed entry points.
    """
    points = [point for point in _sources(sources) if _chosen(point, block, only)]
    return tuple(sorted(map(_load, points), key=lambda plugin: (plugin.package, plugin.name)))


def environment_choice() -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """`block` and `only` of `load_plugins` by MLBENCH_BLOCK and MLBENCH_PLUGINS, in which commas or blanks
    separate the patterns."""
    block, only = (
        tuple(os.environ.get(name, "").replace(",", " ").split())
        for name in ("MLBENCH_BLOCK", "MLBENCH_PLUGINS")
    )
    return block, only or None


def left_out(
    *,
    block: Sequence[str] = (),
    only: Sequence[str] | None = None,
    sources: Iterable[Source] | None = None,
) -> list[str]:
    """Names of the plugins that `load_plugins` leaves out with these arguments, sorted."""
    return sorted({point.name for point in _sources(sources) if not _chosen(point, block, only)})


def idle_patterns(
    patterns: Sequence[str], *, sources: Iterable[Source] | None = None, then: str = "none is blocked"
) -> list[str]:
    """A line on each of the glob patterns that fits no plugin. then: what follows from that."""
    names = {name for point in _sources(sources) for name in _names(point)}
    idle = [glob for glob in patterns if not any(fnmatch(name, glob) for name in names)]
    return [f"no plugin has a name like {glob!r}, so {then} ({hint(glob, names)})" for glob in idle]


def _chosen(point: Source, block: Sequence[str], only: Sequence[str] | None) -> bool:
    def fits(patterns: Sequence[str]) -> bool:
        return any(fnmatch(name, glob) for name in _names(point) for glob in patterns)

    return not fits(block) and (only is None or _origin(point)[0] == _BUILT_IN or fits(only))


def _names(point: Source) -> list[str]:
    """The names by which a plugin is blocked or chosen."""
    package, _ = _origin(point)
    return [point.name] if package == _BUILT_IN else [point.name, package]


def _origin(point: Source) -> tuple[str, str]:
    """Package and version. Metadata may lack either."""
    try:
        name, version = (point.dist.name, point.dist.version) if point.dist else (None, None)
    except Exception:  # metadata that cannot be read
        name = version = None
    return name or "(no package)", version or "0"


def _sources(given: Iterable[Source] | None) -> Iterable[Source]:
    """The given sources, or the installed entry points."""
    if given is not None:
        return given
    try:
        return entry_points(group=ENTRY_POINT_GROUP)
    except Exception:  # the entry points of one distribution cannot be read, which hides all others
        return list(_readable_points())


def _readable_points() -> Iterator[Source]:
    seen = set()
    for each in distributions():
        name = each.metadata["Name"] or str(getattr(each, "_path", ""))
        if name in seen:
            continue
        seen.add(name)
        try:
            yield from each.entry_points.select(group=ENTRY_POINT_GROUP)
        except Exception as error:
            yield _Unreadable(name, each, error)


@dataclass(frozen=True)
class _Unreadable:
    """A distribution whose entry points cannot be read."""

    name: str
    dist: Distribution
    error: Exception
    value: str = "entry_points.txt"

    def load(self) -> Any:
        reason = f"the entry points of {self.name} cannot be read: {first_line(self.error)}"
        raise RegistrationError(reason, f"install {self.name} again, or uninstall it")


def _load(point: Source) -> Plugin:
    plugin = Plugin(point.name, point.value, *_origin(point))
    found: dict[str, Any] = {}
    try:
        with guarded_import(str(plugin)) as run:
            loaded = _import(point)
            stated = getattr(loaded, "MLBENCH_CONTRACT", None)
            found["contract"] = stated if isinstance(stated, int) else None
            checked_contract(loaded, plugin.package)
            found["components"], found["faults"] = registered(loaded, point.name)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"{error}; leave it out with --block {plugin.name}") from None
    # Foreign code may raise anything; the other plugins must still load.
    except BaseException as error:
        found.update(error=_text(error), fix=_fix(error, plugin))
    return replace(plugin, **found, seconds=run.seconds, printed=run.printed)


def _import(point: Source) -> Any:
    # By its name: a library may have imported importlib_metadata, whose class replaces Python's.
    if type(point).__name__ == "EntryPoint" and not EntryPoint.pattern.match(point.value):
        raise RegistrationError(
            f"its entry point is {point.value!r}; expected 'module' or 'module:object'",
            "correct the entry point in its pyproject.toml and install it again",
        )
    try:
        return point.load()
    except ImportError as error:
        if error.name != "mlbench.plugin":
            raise
        raise RegistrationError(
            f"{_text(error)}; this mlbench has contract {CONTRACT}",
            "upgrade mlbench or the plugin, whichever is older",
        ) from None


def _text(error: BaseException) -> str:
    return str(error) if isinstance(error, RegistrationError) else first_line(error)


def _fix(error: BaseException, plugin: Plugin) -> str:
    if isinstance(error, RegistrationError):
        return error.fix
    module = plugin.target.partition(":")[0]
    if isinstance(error, ModuleNotFoundError) and error.name:
        if f"{module}.".startswith(f"{error.name}."):
            return f"correct the entry point {plugin.target!r}, then install {plugin.package} again"
        return f"install what provides the module {error.name!r}"
    place = place_in_package(error, module) or plugin.target
    return f"correct {place}, or leave the plugin out with --block {plugin.name}"
