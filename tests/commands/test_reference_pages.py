from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pytest
from click.testing import CliRunner
from pydantic import Field

from mlbench.cli import main
from mlbench.commands.reference import components_markdown, kinds_markdown, kinds_table
from mlbench.contracts import KINDS
from mlbench.plugin import Component, Features, NeckOptions, OptionError, Recipe, torch_generator
from mlbench.plugins import Plugin
from mlbench.registry import Registry


class Base(NeckOptions):
    """A base.

        y = a * x

    x: the input.
    """

    norm: Literal["bn", "ln"] = "ln"
    """The norm, one | of
    two."""
    size: Annotated[int, Field(ge=1)]
    """Pixels."""

    def build(self, features: Features) -> Any:
        return features


class Preset(Base):
    """A preset."""

    norm: Literal["bn", "ln"] = "bn"
    extra: float = 0.5
    """More."""


class Short(Recipe):
    """A short training."""

    epochs: int = 1
    batch_size: int = 8

    @classmethod
    def settings(cls) -> Mapping[str, Any]:
        return {"image": {"size": 32}}


@pytest.fixture
def registered() -> Registry:
    components = (
        Component("neck", "base", "test_reference_pages:Base", "a base", "arXiv:1312.4400"),
        Component(
            "neck", "preset", "test_reference_pages:Preset", "the base with batch norm", "https://a.org"
        ),
        Component("recipe", "short", "test_reference_pages:Short", "a short training for tests"),
    )
    return Registry([Plugin("toys", "test_reference", "acme", "1.2", components)])


def test_components_are_documented_by_kind(registered: Registry) -> None:
    page = components_markdown(registered)
    assert "- [neck](#neck): [base](#base), [preset](#preset)\n- [recipe](#recipe): [short](#short)\n" in page
    assert (
        "## neck\n\nFeature maps to embeddings.\n\n### base\n\nA base.\n\n    y = a * x\n\nx: the input.\n"
        in page
    )
    assert "Source: [arXiv:1312.4400](https://arxiv.org/abs/1312.4400)\n" in page
    assert (
        "| option | type | default | meaning |\n|---|---|---|---|\n"
        "| `norm` | 'bn' \\| 'ln' | `ln` | The norm, one \\| of two. |\n"
        "| `size` | int >= 1 | required | Pixels. |\n"
    ) in page


def test_a_preset_shows_what_it_changes(registered: Registry) -> None:
    page = components_markdown(registered).partition("### preset")[2].partition("## recipe")[0]
    assert page == (
        "\n\nthe base with batch norm.\n\nA preset.\n\nSource: <https://a.org>\n\nOptions as `base`, and:\n\n"
        "| option | type | default | meaning |\n|---|---|---|---|\n| `extra` | float | `0.5` | More. |\n\n"
        "Other defaults: `{norm: bn}`.\n\n"
    )


def test_options_of_every_component_of_a_kind_are_shown_once(registered: Registry) -> None:
    page = components_markdown(registered).partition("## recipe")[2]
    assert page.count("| `optimizer` |") == 1
    assert "Other defaults: `{epochs: 1, batch_size: 8}`." in page
    assert page.endswith(
        "Settings of other sections, where the suite does not set them: `image: {size: 32}`.\n"
    )


def test_the_table_of_kinds_has_names_or_classes(registered: Registry) -> None:
    rows = kinds_table(registered, names=True).splitlines()
    (row,) = [row for row in rows if row.startswith("| neck |")]
    assert row.startswith(
        "| neck | `base`, `preset` | `features: FeatureShape \\| TokensShape` | `Neck`: a torch.nn"
    )
    assert row.endswith(f"| [{len(KINDS['neck'].duties)}](docs/kinds.md#neck) |")
    rows = kinds_table(registered, names=False).splitlines()
    (row,) = [row for row in rows if row.startswith("| sampler |")]
    assert row.split(" | ")[1] == "`SamplerOptions`"
    assert "| `predict`, `advise`" in row
    assert row.endswith("](kinds.md#sampler) |")


def test_the_page_of_kinds_has_every_type_once_and_what_no_kind_mentions() -> None:
    offered = {"OptionError": OptionError, "torch_generator": torch_generator, "NeckOptions": NeckOptions}
    page = kinds_markdown(offered)
    assert page.count("### `CentreLoss`") == 1
    assert "`CentreLoss`: see [loss](#loss)." in page
    assert "| logits (N, K), finite for targets of -1 | `logits_keep_the_contract` |" in page
    helpers = page.partition("## Helpers")[2]
    assert "- `torch_generator(seed: int, *path: str | int) -> torch.Generator`: A CPU torch" in helpers
    assert "NeckOptions" not in helpers
    assert "- `OptionError`: An option of a component is unknown" in page.partition("## Errors")[2]


def test_list_prints_the_page_of_one_kind() -> None:
    shown = CliRunner().invoke(main, ["list", "neck", "--markdown"])
    assert (shown.exit_code, shown.output.count("\n## ")) == (0, 1)
    shown = CliRunner().invoke(main, ["list", "--markdown", "--json"])
    assert (shown.exit_code, "--markdown goes with neither" in shown.output) == (2, True)
