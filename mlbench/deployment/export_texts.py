"""The texts beside exported model files: the model card and embed.py."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import torch

from mlbench.deployment.card_text import card_text
from mlbench.deployment.embed_script import embed_script
from mlbench.deployment.export_folder import EMBED, README, ExportFolder
from mlbench.deployment.formats import FORMATS
from mlbench.deployment.model_card import Exported
from mlbench.deployment.trial import Score
from mlbench.environment import data_root, environment, find_device
from mlbench.errors import first_few
from mlbench.planning.heading import read_heading
from mlbench.planning.request import PlanRequest
from mlbench.training.assembly import Assembly

__all__ = ["write_texts"]


def write_texts(
    folder: ExportFolder,
    assembly: Assembly,
    own: Score,
    files: Sequence[Score],
    suite: str,
    plan: PlanRequest,
) -> tuple[list[Path], list[str]]:
    """Write the model card and, for an ONNX or .pt2 file, embed.py. Returns the files, and notes.

    own, files: scores of the PyTorch model and of each model file. suite: its name or file; plan: the
    choices from a file.
    """
    heading = read_heading(suite, plan.size)
    dataset = assembly.case.spec.parts["dataset"].entry
    source = dataset.options_class.source(data_root(heading.path or Path()))
    exported = Exported(
        record=folder.record,
        stem=folder.stem,
        title=heading.title,
        suite_file=str(heading.path or f"{suite}.yaml"),
        options=_options(plan),
        own=own,
        files=files,
        weights_licence=str(getattr(assembly.model.backbone, "weights_licence", "")),
        data_home=source.home if source else "",
        data_licence=source.licence if source else "",
        machine=environment(find_device("cpu"), torch.get_num_threads()),
    )
    texts = [(README, card_text(exported))]
    if exported.file("onnx") or exported.file("pt2"):
        texts.append((EMBED, embed_script()))
    written = [folder.write_text(*each) for each in texts]
    notes = [note for _, note in written if note]
    mine = {each.file.name for each in files if each.file}
    models = sorted(each.name for each in folder.path.iterdir() if each.suffix in FORMATS.values())
    if others := [name for name in models if name not in mine]:
        notes.append(
            f"{written[0][0]} is about the files of this export, not about {first_few(others, 3)}; --output "
            "names a folder of its own"
        )
    return [file for file, _ in written], notes


def _options(plan: PlanRequest) -> str:
    """Options of the command line for the choices that change a case."""
    words = ["--size", plan.size] if plan.size else []
    for each in plan.overrides:
        words += ["--set", each]
    if plan.precision:
        words += ["--precision", plan.precision]
    return shlex.join(words)
