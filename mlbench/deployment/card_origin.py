"""The sections of a model card on where the model is from: data, training, limits, licence, reproduction."""

from __future__ import annotations

import yaml

from mlbench.deployment.card_markdown import bare, table_lines, without_folders
from mlbench.deployment.model_card import Exported

__all__ = ["data_section", "licence_section", "limits_section", "reproduction_section", "training_section"]


def data_section(exported: Exported) -> str:
    data = exported.record.data
    home = f" ({exported.data_home})" if exported.data_home else ""
    rows = [
        (split, f"{each.get('classes', 0):,}", f"{each.get('images', 0):,}")
        for split, each in data.get("splits", {}).items()
    ]
    disjoint = {
        "True": "No class is in two splits: the metrics are of classes that the model has never seen.",
        "False": "The splits share classes: the metrics are of new images of classes that the model knows.",
    }.get(str(data.get("disjoint")), "")
    lines = [f"Data set `{exported.data_name}`{home}, version {bare(str(data.get('version', '')))}.", ""]
    lines += table_lines(("split", "classes", "images"), rows)
    lines += ["", disjoint] if disjoint else []
    return "\n".join(lines)


def training_section(exported: Exported) -> str:
    record = exported.record
    left_out = ("dataset", "metrics", "measure", "evaluation", "threshold")
    settings = {name: each for name, each in record.settings.items() if name not in left_out}
    text = yaml.safe_dump(without_folders(settings), sort_keys=False, allow_unicode=True, width=100)
    training, seconds = record.training, record.seconds.get("train")
    facts = [f"initial weights: {bare(str(training.get('weights', '')))}"]
    facts += [f"{training['steps']:,} steps"] if training.get("steps") else []
    facts += [f"{seconds:,.0f} s on {record.environment.get('device_product')}"] if seconds else []
    return f"{'; '.join(facts)}.\n\n```yaml\n{text}```"


def limits_section(exported: Exported) -> str:
    record = exported.record
    lines = [
        f"Measured on the {exported.scored} images of `{exported.data_name}` alone. For other images, measure"
        " it first: `mlbench evaluate` takes embeddings with labels.",
        "The threshold holds for images like those of the calibration split; where the share of pairs that "
        "are the same is another, precision is another too.",
        f"An image becomes a square of {record.settings.get('image', {}).get('size')} pixels "
        f"(`{record.settings.get('image', {}).get('resize')}`): what is smaller than a pixel of it is lost.",
    ]
    if exported.file("int8") is not None:
        lines.append(f"The file with 8-bit weights: {_INT8}.")
    lines += [*exported.own.notes, *record.notes]
    return "\n".join(f"- {bare(each)}" for each in dict.fromkeys(lines))


_INT8 = "give it one image at a time, as those of a batch are quantised together"


def licence_section(exported: Exported) -> str:
    record = exported.record
    origin = bare(str(record.training.get("weights", "")))
    if origin == "random":
        weights = "The initial weights were random, so no licence of others applies to them."
    elif exported.weights_licence:
        weights = f"The initial weights ({origin}) are under `{exported.weights_licence}`."
    else:
        weights = f"The licence of the initial weights ({origin}) is not known to mlbench; see their authors."
    data = f": {exported.data_licence}" if exported.data_licence else " is not known to mlbench"
    others = sorted({each["package"] for each in record.components.values()} - {"mlbench"})
    lines = [weights, f"The licence of the training data (`{exported.data_name}`){data}."]
    if exported.licence:
        lines.append("`license` at the head of this card is that of the initial weights.")
    if others:
        lines.append(f"Components of other packages have licences of their own: {', '.join(others)}.")
    lines.append("Check that these permit your use before you publish or sell the model.")
    return "\n".join(f"- {each}" for each in lines)


def reproduction_section(exported: Exported) -> str:
    record = exported.record
    formats = "".join(f" --format {each.name}" for each in exported.files if each.name != "int8")
    int8 = " --int8" if exported.file("int8") else ""
    width = f" --width {exported.own.width}" if exported.stem.endswith(f"-w{exported.own.width}") else ""
    options = exported.options and f" {exported.options}"
    case = f"{exported.suite_file} {record.case} --seed {record.seed}{options}"
    commands = [
        f"$ mlbench run {exported.suite_file} --cases {record.case} --seeds {record.seed}{options}",
        f"$ mlbench export {case}{formats}{int8}{width}",
    ]
    conditions = record.conditions
    facts = {
        "fingerprint of the case": record.fingerprint,
        "SHA-256 of the model's values": record.training.get("model"),
        "code": conditions.get("code"),
        "finished": record.finished,
        "platform": record.environment.get("platform"),
        "Python": record.environment.get("python"),
        "libraries": ", ".join(
            f"{name} {version}"
            for name, version in {
                **conditions.get("libraries", {}),
                **conditions.get("component_libraries", {}),
            }.items()
        ),
    }
    rows = [(name, f"`{value}`") for name, value in facts.items() if value]
    return "\n".join(["```console", *commands, "```", "", *table_lines(("", ""), rows)])
