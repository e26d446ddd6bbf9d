"""TRANSITION: components of the old contract."""

from __future__ import annotations

from dataclasses import asdict
from importlib import import_module
from typing import Any

from mlbench.contracts.options import BatchContext, DatasetContext
from mlbench.old_options import Schema

_PROVIDES = {
    "dataset": ("data_root", "image_size"),
    "augmentation": ("image_size",),
    "mixing": (),
    "backbone": ("image_size",),
    "neck": ("feature_shape",),
    "loss": ("num_classes", "dim"),
    "sampler": ("num_classes", "dim", "centres_per_class", "batch_size", "batch_labels", "seed"),
    "distiller": ("dim", "teacher_dim"),
    "batch_sampler": ("labels", "batch_size", "embed"),
    "recipe": (),
    "metric": (),
    "threshold": (),
}


class OldSchema:
    def __init__(self, entry: Any) -> None:
        self.entry = entry
        self._known: dict[str, Schema] = {}
        self.owner = str(entry)

    def schema(self, target: str) -> Schema:
        if target not in self._known:
            module, _, attribute = target.partition(":")
            kind = self.entry.component.kind
            factory = getattr(import_module(module), attribute)
            self._known[target] = Schema(factory, owner=self.owner, provides=_PROVIDES[kind])
        return self._known[target]

    @property
    def options_class(self) -> Any:
        return OldClass(self)

    @property
    def options(self) -> Any:
        return self.schema(self.entry.component.factory).options

    def check(self, given: Any) -> Any:
        return self.schema(self.entry.component.factory).check(given)

    def make(self, given: Any) -> Any:
        self.check(given)
        return OldOptions(self, given)


class OldClass:
    takes_tokens = True

    def __init__(self, schema: OldSchema) -> None:
        self._schema = schema
        self.factory = schema.schema(schema.entry.component.factory).factory
        self.__doc__ = self.factory.__doc__

    def settings(self) -> Any:
        return self._schema.entry.component.preset

    def source(self, root: Any) -> Any:
        target = self._schema.entry.component.data
        return self._schema.schema(target).build({}, {"data_root": root}) if target else None


class OldOptions:
    def __init__(self, schema: OldSchema, given: Any) -> None:
        self._schema, self._given = schema, given
        self._component = schema.entry.component

    def _call(self, target: str, args: Any) -> Any:
        given: dict[str, Any] = {}
        names = _PROVIDES[self._component.kind]
        for arg in args:
            if isinstance(arg, DatasetContext):
                given = {"data_root": arg.root, "image_size": arg.image_size}
            elif isinstance(arg, BatchContext):
                given = {"labels": arg.labels, "batch_size": arg.batch_size, "embed": arg.embed}
            elif hasattr(arg, "__dataclass_fields__"):
                given = asdict(arg)
            else:
                given = {names[0]: arg}
        return self._schema.schema(target).build(self._given, given)

    def build(self, *args: Any) -> Any:
        return self._call(self._component.factory, args)

    def predict(self, *args: Any) -> Any:
        return self._call(self._component.predict, args) if self._component.predict else None

    def quantities(self) -> Any:
        return self._call(self._component.predict, ())

    def advise(self, context: Any) -> Any:
        if not self._component.advise:
            return None
        rate = {key: value for key, value in self._given.items() if key == "rate"}
        return self._schema.schema(self._component.advise).build(rate, asdict(context))
