"""Kinds of components: what their components are given and must have, read off the contract itself."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from importlib import import_module
from typing import Any, NamedTuple, get_args

from mlbench import contracts
from mlbench.commands.prose import filled
from mlbench.contracts import EVERY_KIND, KINDS, Duty
from mlbench.contracts import options as options_module
from mlbench.contracts.options import BASES, Options

__all__ = [
    "Given",
    "KindContract",
    "Member",
    "TypeContract",
    "common_members",
    "duty_lines",
    "given_lines",
    "kind_text",
    "member",
    "type_contract",
]


#: Below the first lines of a text.
_INDENT = 10 * " "


class Given(NamedTuple):
    """One argument of a kind's `build` (of `judge` for a claim): its name and type; for a context, the names
    of its fields and what they mean."""

    name: str
    type: str
    fields: tuple[str, ...] = ()
    meaning: str = ""

    def __str__(self) -> str:
        return f"{self.type}({', '.join(self.fields)})" if self.fields else f"{self.name}: {self.type}"


class Member(NamedTuple):
    """A method, property or attribute: as it is written, and what it is."""

    name: str
    signature: str
    meaning: str


class TypeContract(NamedTuple):
    """A class that passes between mlbench and a component: its name, that with its fields, what it is, its
    members."""

    name: str
    signature: str
    meaning: str
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class KindContract:
    """Everything that the contract says of one kind, read off its options class and its entry in `KINDS`.

    base: name of the options class; about: its docstring. method: what mlbench calls for the result. given:
    its arguments. returns: its type; result: what it says of it. duties: what the result must have, beside
    `EVERY_KIND`. options: those that every component of the kind has. members: what its class may have
    besides. types: what `method` returns, and what else passes between mlbench and the component."""

    kind: str
    summary: str
    base: str
    about: str
    method: str
    given: tuple[Given, ...]
    returns: str
    result: str
    duties: tuple[Duty, ...]
    options: tuple[str, ...]
    members: tuple[Member, ...]
    types: tuple[TypeContract, ...]

    @classmethod
    def of(cls, kind: str) -> KindContract:
        """The contract of a kind of `KINDS`."""
        found, base = KINDS[kind], BASES[kind]
        signature = inspect.signature(getattr(base, found.method))
        returns = str(signature.return_annotation)
        results = [getattr(contracts, name, None) for name in returns.split(" | ")]
        others = [_load(each) for each in found.types]
        types = [each for each in dict.fromkeys((*results, *others)) if each not in (None, base)]
        return cls(
            kind,
            found.summary,
            base.__name__,
            _about(base),
            found.method,
            tuple(_given(each) for each in list(signature.parameters.values())[1:]),
            returns,
            _documentation(getattr(base, found.method)),
            found.duties,
            tuple(base.model_fields),
            tuple(each for each in _class_members(base) if each.name != found.method),
            tuple(map(type_contract, types)),
        )

    @property
    def takes(self) -> str:
        """What `method` is given, in one line."""
        return ", ".join(map(str, self.given)) or "nothing"

    @property
    def own_members(self) -> list[Member]:
        """Those of `members` that other kinds do not have."""
        common = {each.name for each in common_members()}
        return [each for each in self.members if each.name not in common]

    def plain(self) -> dict[str, Any]:
        """As plain data for JSON, with the duties of every kind."""
        duties = (*self.duties, *EVERY_KIND)
        return {
            **asdict(self),
            "given": [each._asdict() for each in self.given],
            "duties": [each._asdict() for each in duties],
            "members": [each._asdict() for each in self.members],
            "types": [
                {**each._asdict(), "members": [member._asdict() for member in each.members]}
                for each in self.types
            ],
        }


def kind_text(found: KindContract, names: Sequence[str], width: int) -> str:
    """The contract of a kind, for authors of its components. names: of its components."""
    lines = [
        f"{found.kind}: {found.summary}",
        f"class:    a subclass of {found.base}, of mlbench.plugin",
        *filled(found.about, width, _INDENT),
        *given_lines(found, width),
        f"returns:  {found.returns}",
        *filled(found.result, width, _INDENT),
        "",
        *duty_lines(found, width),
        "",
        "Every component must have:",
        *_duties(EVERY_KIND, width),
        "",
        f"A subclass of {found.base} may have:",
        *_members_lines(found.members, width),
    ]
    if found.options:
        lines += ["", *filled(f"Its options, besides your own: {', '.join(found.options)}", width)]
    for each in found.types:
        lines += ["", *filled(f"{each.signature}:", width), *filled(each.meaning, width, "  ")]
        lines += _members_lines(each.members, width)
    if names:
        lines += ["", *filled(f"Components: {', '.join(names)}", width)]
    return "\n".join(lines)


def given_lines(found: KindContract, width: int) -> list[str]:
    """What building is given, as lines of text."""
    given = filled(f"{found.method} is given {found.takes}", width, _INDENT)
    lines = [f"given:    {given[0].lstrip()}", *given[1:]]
    for each in found.given:
        lines += filled(each.meaning, width, _INDENT)
    return lines


def duty_lines(found: KindContract, width: int) -> list[str]:
    """What the result must have, as lines of text."""
    return ["Must have, and the check of mlbench.testing for it:", *_duties(found.duties, width)]


def _duties(duties: Sequence[Duty], width: int) -> list[str]:
    return [line for each in duties for line in (*filled(each.text, width, "  "), f"      {each.check}")]


def _members_lines(members: Sequence[Member], width: int) -> list[str]:
    lines = []
    for each in members:
        lines += filled(each.signature, width, "  ") + filled(each.meaning, width, 6 * " ")
    return lines


def member(name: str, function: Any) -> Member:
    """A function as a member: its arguments and what it returns as they are written, and its docstring."""
    returns = _annotation(inspect.signature(function).return_annotation)
    return Member(name, f"{name}{_arguments(function)} -> {returns}", _documentation(function))


def _given(parameter: inspect.Parameter) -> Given:
    kind = getattr(options_module, parameter.annotation, None)
    if not (isinstance(kind, type) and is_dataclass(kind)):
        union = " | ".join(each.__name__ for each in get_args(kind))
        return Given(parameter.name, union or parameter.annotation)
    names = tuple(each.name for each in fields(kind))
    return Given(parameter.name, parameter.annotation, names, _documentation(kind))


def type_contract(cls: type) -> TypeContract:
    """A class with its fields, what it is and its members."""
    record = is_dataclass(cls) or hasattr(cls, "_fields")
    arguments = _arguments(cls) if record else ""
    annotations = {} if record else vars(cls).get("__annotations__", {})
    members = [Member(name, f"{name}: {annotation}", "") for name, annotation in annotations.items()]
    for name, value in vars(cls).items():
        if name[0] == "_" and name not in ("__call__", "__len__"):
            continue
        function = getattr(value, "__func__", value)
        if isinstance(value, property):
            members.append(_property(name, value))
        elif inspect.isfunction(function):
            members.append(member(name, function))
    return TypeContract(cls.__name__, cls.__name__ + arguments, _documentation(cls), tuple(members))


def common_members() -> tuple[Member, ...]:
    """What a component of any kind may have besides options."""
    return tuple(_class_members(Options))


def _class_members(base: type[Options]) -> Iterator[Member]:
    """What a subclass of an options class may have besides options."""
    classes = [each for each in base.__mro__ if issubclass(each, Options)]
    documentation = " ".join("\n".join(map(_documentation, classes)).split())
    for name in dict.fromkeys(name for each in classes for name in vars(each)):
        if name[0] == "_" or name in base.model_fields or name.startswith("model_"):
            continue
        value = getattr(base, name)
        if callable(value):
            yield member(name, value)
        elif isinstance(value, property):
            yield _property(name, value)
        else:
            written = next(each.__annotations__[name] for each in classes if name in each.__annotations__)
            about = re.search(rf"\b{name}: (.*?\.)(?: |$)", documentation)
            meaning = about[1][0].upper() + about[1][1:] if about else ""
            yield Member(name, f"{name}: {_annotation(written)}", meaning)


def _property(name: str, value: property) -> Member:
    returns = inspect.signature(value.fget).return_annotation if value.fget else ""
    return Member(name, f"{name}: {_annotation(returns)}", _documentation(value))


def _arguments(function: Any) -> str:
    """Its parameters as written, without self."""
    found = [
        each for each in inspect.signature(function).parameters.values() if each.name not in ("self", "cls")
    ]
    shown = [
        f"{'*' if each.kind is each.VAR_POSITIONAL else ''}{each.name}: {_annotation(each.annotation)}"
        + ("" if each.default is each.empty else f" = {each.default!r}")
        for each in found
    ]
    return f"({', '.join(shown)})"


def _about(base: type[Options]) -> str:
    """What the docstring of a kind's class says besides its name and its attributes."""
    said = re.sub(r"^Options of an? [\w ]+\.\s*", "", _documentation(base))
    return "\n\n".join(each for each in said.split("\n\n") if each.partition(":")[0] not in vars(base))


def _annotation(written: Any) -> str:
    """An annotation as its author wrote it, without ClassVar; a NamedTuple keeps it in a ForwardRef."""
    text = getattr(written, "__forward_arg__", None) or getattr(written, "__name__", None) or str(written)
    return text.removeprefix("ClassVar[").removesuffix("]") if text.startswith("ClassVar[") else text


def _documentation(thing: Any) -> str:
    return inspect.cleandoc(thing.__doc__ or "")


def _load(target: str) -> type:
    module, _, name = target.rpartition(":")
    found: type = getattr(import_module(module or contracts.__name__), name)
    return found
