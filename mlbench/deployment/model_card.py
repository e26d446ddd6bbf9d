"""The model card of an export: README.md in the format of the Hugging Face Hub.

Its front matter is YAML (https://huggingface.co/docs/hub/model-cards). Its numbers are those of the record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from mlbench import __version__
from mlbench.deployment.export_folder import README
from mlbench.deployment.trial import Score
from mlbench.records.record import Record

__all__ = ["Exported", "front_matter", "shown_metrics"]


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What a model card is about.

    record: at the exported width. stem: start of the names of the files. title: of the suite. suite_file,
    options: to run the case again. files: score of each model file. own: of the PyTorch model.
    weights_licence: of the initial weights, as the Hub writes it, "" where it is not known. data_home,
    data_licence: of a published data set, else "". machine: on which the files were timed
    (see `mlbench.environment.environment`).
    """

    record: Record
    stem: str
    title: str
    suite_file: str
    options: str
    own: Score
    files: Sequence[Score]
    weights_licence: str
    data_home: str
    data_licence: str
    machine: Mapping[str, Any]

    @property
    def level(self) -> str:
        """Level of the intervals: "95 %", "" without them."""
        level = self.record.evaluation.get("intervals", {}).get("level")
        return f"{100 * level:g} %" if level else ""

    @property
    def licence(self) -> str:
        """For the head of the card: that of the initial weights, where the data set states none."""
        return "" if self.data_licence else self.weights_licence

    @property
    def scored(self) -> str:
        """The split that the metrics are of."""
        return self.option("evaluation", "split") or "test"

    @property
    def data_name(self) -> str:
        return self.option("dataset", "name")

    def option(self, section: str, name: str) -> str:
        """An option of a component, as text; "" where the case has none."""
        given = self.record.settings.get(section)
        return str(given.get(name, "")) if isinstance(given, Mapping) else ""

    def file(self, name: str) -> Score | None:
        """The score of the file called `name` (see `Draft.name`)."""
        return next((each for each in self.files if each.name == name), None)


def shown_metrics(record: Record) -> list[str]:
    """Names of the metrics of the card: those that have a column in tables."""
    named = [name for name, each in record.metrics.items() if each.heading or each.headline]
    return named or list(record.metrics)


def front_matter(exported: Exported) -> str:
    """The YAML at the head of the card, between its marks."""
    record = exported.record
    scored = [
        (name, record.metrics[name])
        for name in shown_metrics(record)
        if record.metrics[name].value is not None and record.metrics[name].higher_is_better is not None
    ]
    metrics = [
        {
            "type": name,
            "value": each.value,
            "name": each.heading or name,
            **(
                {"args": {"interval": [each.low, each.high], "level": exported.level}}
                if each.low is not None and each.high is not None
                else {}
            ),
        }
        for name, each in scored
    ]
    result = {
        "task": {"type": "image-feature-extraction", "name": "Image retrieval and verification"},
        "dataset": {
            "type": exported.data_name,
            "name": exported.data_name,
            "split": record.evaluation.get("protocol", {}).get("queries", "test"),
            "revision": str(record.data.get("version", "")),
        },
        "metrics": metrics,
    }
    data: dict[str, Any] = {
        **({"license": exported.licence} if exported.licence else {}),
        "library_name": "mlbench",
        "pipeline_tag": "image-feature-extraction",
        "tags": list(dict.fromkeys(_tags(exported))),
        "datasets": [exported.data_name],
        "metrics": [each["type"] for each in metrics],
        "model-index": [{"name": exported.stem, "results": [result]}],
    }
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{text}---\n{README.mark} (mlbench {__version__}). Another export writes it anew. -->\n"


def _tags(exported: Exported) -> list[str]:
    formats = {"onnx": "onnx", "int8": "onnx", "pt2": "pytorch", "safetensors": "safetensors"}
    found = ["metric-learning", "image-embeddings", "image-retrieval"]
    found += [formats[each.name] for each in exported.files]
    losses = exported.record.settings.get("losses") or {}
    model = exported.option("backbone", "model") or exported.option("backbone", "name")
    found += [
        model,
        exported.option("loss", "name"),
        *(str(each.get("name", "")) for each in losses.values()),
    ]
    return [each for each in found if each]
