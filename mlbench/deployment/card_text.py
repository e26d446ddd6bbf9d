"""The text of a model card, section by section, in Markdown."""

from __future__ import annotations

from mlbench.deployment.card_markdown import interval_of, interval_text, table_lines, threads_text, value_text
from mlbench.deployment.card_origin import (
    data_section,
    licence_section,
    limits_section,
    reproduction_section,
    training_section,
)
from mlbench.deployment.card_usage import usage
from mlbench.deployment.model_card import Exported, front_matter, shown_metrics
from mlbench.records.report import metric_text, remarks_of

__all__ = ["card_text"]


def card_text(exported: Exported) -> str:
    """README.md of an export."""
    record = exported.record
    title = f"# {record.suite}: {record.case}"
    sections = {
        "": _introduction(exported),
        "How to use it": usage(exported),
        "Threshold": _threshold(exported),
        "Metrics": _metrics(exported),
        "Files": _files(exported),
        "Data": data_section(exported),
        "Size and speed": _speed(exported),
        "Training": training_section(exported),
        "Limits": limits_section(exported),
        "Licence": licence_section(exported),
        "Reproduce": reproduction_section(exported),
    }
    text = "\n\n".join(
        f"## {heading}\n\n{body}" if heading else body for heading, body in sections.items() if body
    )
    return f"{front_matter(exported)}\n{title}\n\n{text}\n"


def _introduction(exported: Exported) -> str:
    record = exported.record
    network = [exported.option("backbone", "model") or exported.option("backbone", "name")]
    network += [f"neck {exported.option('neck', 'name')}"]
    what = f" of the suite “{exported.title}”" if exported.title else f" of the suite `{record.suite}`"
    return (
        f"Turns an image into an embedding: {exported.own.width} numbers of unit length. Images of one class "
        "have embeddings that are near each other. The network is "
        f"{', '.join(network)}; it was trained and measured by mlbench, as case `{record.case}`, seed "
        f"{record.seed},{what}."
    )


def _threshold(exported: Exported) -> str:
    record = exported.record
    fitted = record.evaluation.get("threshold", {})
    distance, policy = fitted.get("distance"), exported.option("threshold", "name")
    if distance is None:
        reason = fitted.get("note") or "none was fitted"
        return (
            f"There is none ({reason}): rank images by distance, or choose a distance on images of your own."
        )
    if distance < 0:
        return "The policy accepts no pair: no two images are the same to this model."
    interval = interval_text(fitted.get("low"), fitted.get("high"), distance)
    calibration = fitted.get("calibration", {})
    text = (
        "Two images are the same where the cosine distance of their embeddings, 1 − their dot product, is "
        f"at most **{metric_text(distance, 4)}**"
        + (f" ({exported.level} interval {interval})" if interval else "")
        + f". The exact value is in every file (`threshold_distance`). The policy `{policy}` fitted it on "
        "the calibration images"
    )
    if calibration:
        text += (
            f" ({calibration.get('classes', 0):,} classes, {calibration.get('positive_pairs', 0):,} pairs "
            f"that are the same and {calibration.get('negative_pairs', 0):,} that are not)"
        )
    text += f", not on the {exported.scored} images."
    meaning = [
        f"{name} {value_text(record.metrics[name])}: {what}"
        for name, what in (
            ("precision", f"the share of the {exported.scored} pairs it calls the same that are"),
            ("recall", f"the share of the {exported.scored} pairs that are the same that it calls so"),
        )
        if name in record.metrics
    ]
    lines = [text, *(f"- {each}" for each in meaning)]
    if meaning:
        lines.insert(1, "")
    int8 = exported.file("int8")
    if int8 is not None and int8.threshold.distance is not None:
        own = metric_text(int8.threshold.distance, 4)
        lines += ["", f"The file with 8-bit weights has a threshold of its own, {own}, fitted likewise."]
    remarks = remarks_of(record.evaluation).values()
    return "\n".join([*lines, *(f"\n**{each}**" for each in remarks)])


def _metrics(exported: Exported) -> str:
    record = exported.record
    rows = [
        (f"{each.heading} (`{name}`)" if each.heading else f"`{name}`", value_text(each), interval_of(each))
        for name in shown_metrics(record)
        for each in [record.metrics[name]]
    ]
    protocol = record.evaluation.get("protocol", {}).get("text", "")
    method = record.evaluation.get("intervals", {}).get("method", "")
    lines = [f"Protocol: {protocol}.", ""] if protocol else []
    lines += table_lines(("metric", "value", f"{exported.level} interval".strip()), rows)
    if method:
        lines += ["", f"Intervals: {method}. They are of this one model; another seed gives another model."]
    return "\n".join(lines)


def _files(exported: Exported) -> str:
    headlines = {name: each.heading or name for name, each in exported.own.metrics.items() if each.headline}
    headings = ["file", "MB", "images/s", "largest difference", *headlines.values(), "at distance"]
    rows = []
    for each in exported.files:
        # A file with its own threshold is used at that.
        metrics = each.refitted or each.metrics
        speed = f"{each.images_per_second:,.0f}" if each.images_per_second else "–"
        values = [value_text(metrics[name]) if name in metrics else "–" for name in headlines]
        at = each.threshold.distance
        rows.append(
            (
                f"`{each.file.name if each.file else each.name}`",
                f"{(each.bytes or 0) / 1e6:.2f}",
                speed,
                f"{each.difference:.2g}",
                *values,
                "–" if at is None or at < 0 else metric_text(at, 4),
            )
        )
    machine = exported.machine
    batch = exported.record.settings.get("measure", {}).get("batch_size", "")
    return "\n".join(
        [
            f"Each file embedded all {exported.scored} images before it was written. Largest difference: of "
            "a number of an embedding from PyTorch's.",
            "",
            *table_lines(headings, rows),
            "",
            f"images/s: batches of {batch} on {machine.get('cpu')}, {threads_text(machine)}, each "
            "file in the runtime of its format.",
        ]
    )


def _speed(exported: Exported) -> str:
    record = exported.record
    sizes = [("parameters", "parameters", 1.0, ",.0f"), ("bytes", "MB in float32", 1e6, ".2f")]
    sizes += [("flops", "GFLOP for an image", 1e9, ".3f")]
    rows = [
        (heading, f"{value / unit:{form}}")
        for name, heading, unit, form in sizes
        if (value := record.size.get(name)) is not None
    ]
    rows += [
        (f"`{name}` in PyTorch, {each.unit}", metric_text(each.value, 1))
        for name, each in record.speed.items()
        if each.value is not None
    ]
    where = record.environment
    measured = record.measured.get("batch_size")
    text = (
        f"Speeds of the run: on {where.get('device_product')} ({threads_text(where)}), "
        f"{record.measured.get('precision', '')}"
        + (f", batches of {measured}; latencies are of one image." if measured else ".")
    )
    return "\n".join([*table_lines(("quantity", "value"), rows), *(["", text] if record.speed else [])])
