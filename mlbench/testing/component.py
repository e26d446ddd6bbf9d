"""Checks of components of every kind."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

from mlbench.contracts.options import BASES
from mlbench.errors import hint
from mlbench.planning.settings import Changes
from mlbench.testing.check import Subject, expect
from mlbench.testing.copying import copies
from mlbench.testing.importing import module_imports_lightly
from mlbench.testing.offered import catalogue_has_valid_options

__all__ = ["CHECKS"]


def summary_is_one_line(subject: Subject) -> None:
    summary = subject.component.summary
    fits = isinstance(summary, str) and re.fullmatch(r"[^\n]{10,100}[^.\n]", summary)
    expect(
        fits,
        f"the summary of Component is {summary!r}; write one line of 11 to 101 characters without a final "
        "full stop",
    )


def source_is_a_paper_or_an_address(subject: Subject) -> None:
    source = subject.component.source
    fits = isinstance(source, str) and re.fullmatch(r"(arXiv:\d{4}\.\d{4,5}|https://\S+)?", source)
    expect(
        fits,
        f'the source of Component is {source!r}; write it as "arXiv:1801.09414" or as an https address, or '
        "leave it empty",
    )


def every_option_is_documented(subject: Subject) -> None:
    missing = [option.name for option in subject.entry.options if not option.description.strip()]
    expect(
        not missing,
        f"options without a docstring: {', '.join(missing)}; write one below each field, which "
        "`mlbench show` prints",
    )
    options_class = subject.entry.options_class
    expect(
        inspect.getdoc(options_class) != inspect.getdoc(BASES[subject.component.kind]),
        f"{options_class.__name__} has no docstring; write what it does, with the paper",
    )


def defaults_are_valid(subject: Subject) -> None:
    subject.made_options()
    options = subject.entry.check(subject.options)
    again = subject.entry.check(options)
    changed = [name for name in options if again[name] != options[name]]
    expect(
        not changed,
        f"options written out in full, as in a record, are read as others: {', '.join(changed)}; change "
        "the type of the field or its validator so that they stay the same",
    )


def settings_are_a_mapping_of_sections(subject: Subject) -> None:
    settings = subject.entry.options_class.settings()
    Changes.read(settings, lambda key: f"settings of {subject}: {'.'.join(map(str, key))}")


def speeds_depend_on_known_options(subject: Subject) -> None:
    options = subject.entry.options_class
    named = {*options.speed_neutral, *getattr(options, "training_only", ())}
    known = [option.name for option in subject.entry.options]
    for name in sorted(named - set(known)):
        raise AssertionError(
            f"speed_neutral or training_only names {name!r}, which is no option; remove it or correct it "
            f"({hint(name, known)})"
        )


def options_can_be_pickled(subject: Subject) -> None:
    """Worker processes get the options, or what is built from them, as a pickled copy."""
    options = subject.made_options()
    for how, other in copies(options, "the options").items():
        expect(
            type(other) is type(options) and other == options,
            f"{how} of the options differs from them; keep all state in fields, which pydantic copies",
        )


CHECKS: tuple[Callable[[Subject], object], ...] = (
    summary_is_one_line,
    source_is_a_paper_or_an_address,
    every_option_is_documented,
    defaults_are_valid,
    settings_are_a_mapping_of_sections,
    speeds_depend_on_known_options,
    module_imports_lightly,
    options_can_be_pickled,
    catalogue_has_valid_options,
)
