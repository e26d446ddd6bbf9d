"""Parameters that several commands share, and a type of parameter that click lacks."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from mlbench.seeding import MAX_SEED

__all__ = [
    "PLUGIN_FILES",
    "FiniteRange",
    "case_options",
    "json_option",
    "plan_options",
    "plugin_option",
    "results_option",
    "size_option",
]

#: Key of `click.Context.meta` under which the files of --plugin are kept.
PLUGIN_FILES = "mlbench.plugin_files"

F = TypeVar("F", bound=Callable[..., Any])


class FiniteRange(click.FloatRange):
    """Numbers between two bounds; refuses "nan", which click accepts."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


def _seeds(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...]:
    if value is None:
        return ()
    seeds = [int(part) for part in value.split(",")] if re.fullmatch(r"\d{1,10}(,\d{1,10})*", value) else []
    if not seeds or len(set(seeds)) != len(seeds) or max(seeds) > MAX_SEED:
        raise click.BadParameter(f"expected different whole numbers from 0 to {MAX_SEED}, such as 0,1,2")
    return tuple(seeds)


def _globs(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> str:
    return ",".join(values) or "*"


def _keep_files(context: click.Context, parameter: click.Parameter, value: tuple[Path, ...]) -> None:
    context.meta.setdefault(PLUGIN_FILES, []).extend(value)


#: Before or after the name of a command; `installed_plugins` loads the files.
plugin_option = click.option(
    "--plugin",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    expose_value=False,
    callback=_keep_files,
    help="Load the components of a Python file too.",
)

size_option = click.option("--size", metavar="NAME", help="Size of the suite; default its first.")


def plan_options(function: F) -> F:
    """Options for how the cases of a suite are run: fields of a `PlanRequest`."""
    return _all(
        function,
        plugin_option,
        size_option,
        click.option(
            "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a key of every case."
        ),
        click.option(
            "--device",
            default="auto",
            metavar="NAME",
            help="auto (cuda, else cpu), cpu, cuda, cuda:1 or mps (untested).",
        ),
        click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), help="For every case."),
    )


def case_options(function: F) -> F:
    """Options that select cases of a suite, and `plan_options`: fields of a `PlanRequest`."""
    return _all(
        plan_options(function),
        click.option(
            "--cases",
            multiple=True,
            callback=_globs,
            metavar="GLOB,...",
            help="Only cases whose names match.",
        ),
        click.option(
            "--limit",
            type=click.IntRange(min=8),
            metavar="N",
            help="About N images of each split, for a first look; records of their own.",
        ),
        click.option("--seeds", callback=_seeds, metavar="0,1,2", help="These seeds, not the suite's."),
    )


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

results_option = click.option(
    "--results", type=click.Path(path_type=Path, file_okay=False), default=Path("results"), show_default=True,
    help="Folder of the records.",
)  # fmt: skip


def _all(function: F, *options: Callable[[F], F]) -> F:
    for option in reversed(options):
        function = option(function)
    return function
