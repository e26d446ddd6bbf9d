"""The check of what a component offers by name."""

from __future__ import annotations

from mlbench.contracts import CatalogueItem
from mlbench.errors import OptionError
from mlbench.testing.check import Subject, expect

__all__ = ["catalogue_has_valid_options"]

#: Items of a catalogue that are tried.
_TRIED = 20


def catalogue_has_valid_options(subject: Subject) -> None:
    items = list(subject.entry.options_class.catalogue())
    odd = [item for item in items if not isinstance(item, CatalogueItem)]
    expect(not odd, f"catalogue() gives {odd[:1]!r}; return CatalogueItems")
    for item in items[:: max(1, len(items) // _TRIED)]:
        try:
            subject.entry.make(item.options)
        except OptionError as error:
            raise AssertionError(
                f"catalogue() offers {item.name} with options that a suite cannot set: {error}; correct "
                "them, or leave the item out"
            ) from None
