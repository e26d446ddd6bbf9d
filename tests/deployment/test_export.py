"""Cases that were really run, exported and checked."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from conftest import TESTS, TOY_SUITE, install_plugin, mlbench
from huggingface_hub import ModelCard
from stub_measuring import stub_measuring
from test_runner import Ears
from torch import nn

from mlbench import runner
from mlbench.cli import main
from mlbench.commands.export_commands import _exported_table
from mlbench.deployment import choice as choice_module
from mlbench.deployment import export as export_module
from mlbench.deployment import onnx_model
from mlbench.deployment.export import Request, export
from mlbench.deployment.formats import FORMATS, find_format, open_model
from mlbench.deployment.match import load_image
from mlbench.deployment.model_file import Draft, Format
from mlbench.deployment.onnx_model import to_onnx
from mlbench.deployment.onnx_session import OnnxSession
from mlbench.deployment.trial import Score
from mlbench.environment import find_device
from mlbench.errors import DataError, ExportError, MlbenchError, StoreError, SuiteError
from mlbench.measurement.result import Measurement
from mlbench.planning.plan import Case, make_plan
from mlbench.planning.suite import load_suite
from mlbench.records.record import Estimate, Record
from mlbench.records.report import metric_text, results_markdown
from mlbench.records.store import Store
from mlbench.registry import Registry

CASES = """
seeds: [3]
cases:
  plain: {}
  prefix: {backbone: {name: toy, frozen: true}, image: {size: 24, resize: pad, crop_ratio: 0.9}}
  pairs: {dataset: toy_pairs, loss: pair, sampler: null, recipe: {name: preset}, mixing: null}
  closed: {dataset: {name: toy, closed: true}, evaluation: {gallery: train}}
  nested: {widths: [4, 8]}
  nothing: {threshold: nothing}
  failing: {loss: nan, sampler: null}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Path:
    """The suite, records and checkpoints of a run; nothing is timed."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "toy.yaml").write_text(TOY_SUITE + CASES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLBENCH_CACHE", str(folder / "cache"))
        stub_measuring(patch, Measurement())
        plan = make_plan(load_suite(folder / "toy.yaml", registry), find_device("cpu"))
        records = runner.run(plan, Store(folder / "results", "toy"), Ears())
    assert {each.case: each.status for each in records} == {
        "plain": "done",
        "prefix": "done",
        "pairs": "done",
        "closed": "done",
        "nested": "done",
        "nothing": "done",
        "failing": "failed",
    }
    return folder


@pytest.fixture
def write(
    finished: Path, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[Score]]:
    """Export a case; nothing is timed."""
    monkeypatch.setattr(
        "mlbench.deployment.trial.file_rounds", lambda files, size, **_: [[50.0, 70.0, 60.0]] * len(files)
    )

    def write(case: str, **options: Any) -> list[Score]:
        request = Request(suite="toy", case=case, results=finished / "results", output=tmp_path / "export")
        found = export(replace(request, **options), registry, lambda what, done, total: None)
        return [found.own, *found.files]

    return write


def record_of(finished: Path, case: str, seed: int) -> Record:
    records, _ = Store(finished / "results", "toy").latest()
    return next(record for record in records if (record.case, record.seed) == (case, seed))


def values(metrics: Mapping[str, Estimate]) -> dict[str, float | None]:
    return {name: each.value for name, each in metrics.items()}


@pytest.mark.parametrize(("case", "seed"), [("plain", 3), ("prefix", 3), ("pairs", 3), ("closed", 3)])
def test_export_computes_what_was_scored(write, finished: Path, tmp_path: Path, case: str, seed: int) -> None:
    own, score = write(case, seed=seed)
    record = record_of(finished, case, seed)
    assert score.file == tmp_path / "export" / f"toy-{case}-s{seed}.onnx"
    names = sorted(file.name for file in score.file.parent.iterdir())
    assert names == ["README.md", "embed.py", score.file.name]
    assert 0 < score.difference < 1e-5
    assert score.images_per_second == 60
    assert score.answers_differ == 0
    assert own.answers_differ is None
    assert score.bytes == score.file.stat().st_size
    known = {name: each.value for name, each in record.metrics.items() if each.value is not None}
    assert values(own.metrics) == pytest.approx(known, abs=1e-5)
    # A pair at a boundary of the grid may change sides.
    assert values(score.metrics) == pytest.approx(known, abs=1e-4)
    session = OnnxSession(score.file, threads=1)
    card, image = session.card, record.settings["image"]
    assert (card.suite, card.case, card.seed, card.fingerprint) == ("toy", case, seed, record.fingerprint)
    assert (card.size, card.resize, card.crop_ratio) == (image["size"], image["resize"], image["crop_ratio"])
    assert card.white is None  # the toys have no files
    assert card.distance == record.evaluation["threshold"]["distance"]
    assert (card.weights, card.precision) == ("random", "float32")
    found = session.embed(np.zeros((3, 3, card.size, card.size), np.uint8))
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(3), abs=1e-6)


def test_export_cuts_the_embeddings_to_a_width(write, finished: Path, tmp_path: Path) -> None:
    first, whole = write("nested", width=8)
    own, score = write("nested", width=4)
    assert whole.file.name == "toy-nested-s3.onnx"
    assert first.notes[0] == "the case has the widths 4, 8; --width cuts the embeddings to one of them"
    assert score.file == tmp_path / "export" / "toy-nested-s3-w4.onnx"
    assert "embeddings are cut to the first 4 of 8 numbers; widths of the case: 4, 8" in own.notes
    assert (own.width, score.width, score.answers_differ) == (4, 4, 0)
    record = record_of(finished, "nested", 3)
    assert record.size["centres"] == 6 * (4 + 8)
    known = {
        name.removesuffix("@4"): each.value
        for name, each in record.metrics.items()
        if name.endswith("@4") and each.value is not None
    }
    assert values(own.metrics) == pytest.approx(known, abs=1e-5)
    sessions = [OnnxSession(each.file, threads=1) for each in (whole, score)]
    assert [(each.card.width, each.card.widths) for each in sessions] == [(8, (4,)), (4, ())]
    assert sessions[1].card.distance == record.evaluation["widths"]["4"]["threshold"]["distance"]
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 16, 16), dtype=np.uint8)
    prefix, found = sessions[0].embed(images)[:, :4], sessions[1].embed(images)
    np.testing.assert_allclose(found, prefix / np.linalg.norm(prefix, axis=1, keepdims=True), atol=1e-6)


def test_export_cut_to_a_width_is_checked_against_the_record_at_that_width(write, monkeypatch) -> None:
    from mlbench.records import widths

    def changed(record: Record, width: int) -> Record:
        found = widths.cut_record(record, width)
        return replace(found, metrics={**found.metrics, "f1": replace(found.metrics["f1"], value=0.01)})

    monkeypatch.setattr(choice_module, "cut_record", changed)
    with pytest.raises(ExportError, match=r"scores f1 0\.\d+ here and 0\.0100 in its record"):
        write("nested", width=4)


def test_export_takes_the_first_seed_and_the_suite_by_its_file(write, finished: Path) -> None:
    _, score = write("plain", suite=str(finished / "toy.yaml"))
    assert score.file.name == "toy-plain-s3.onnx"


def test_export_finds_the_checkpoint_of_a_case_that_was_renamed(
    write, finished: Path, tmp_path: Path
) -> None:
    suite = tmp_path / "toy.yaml"
    suite.write_text((finished / "toy.yaml").read_text().replace("  plain: {}", "  simple: {}"))
    _, score = write("simple", suite=str(suite))
    assert score.file.name == "toy-simple-s3.onnx"


def test_export_again_gives_the_same_file(write, tmp_path: Path) -> None:
    first, second = (write("plain", output=tmp_path / name)[1].file for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_export_int8_is_smaller_and_has_a_threshold_of_its_own(write, finished: Path) -> None:
    own, score, small = write("prefix", int8=True)
    assert small.file == score.file.with_name("toy-prefix-s3-int8.onnx")
    types = {each.data_type for each in onnx.load(small.file).graph.initializer}
    assert {onnx.TensorProto.INT8, onnx.TensorProto.UINT8} & types
    assert score.difference < small.difference < 1
    assert small.metrics.keys() == small.refitted.keys() == own.metrics.keys()
    card = OnnxSession(small.file, threads=1).card
    assert (card.precision, card.similarity) == ("int8", small.threshold.similarity)
    assert small.refitted["threshold"].value == small.threshold.distance
    assert small.metrics["threshold"].value == own.threshold.distance
    assert 0 <= small.refitted_answers_differ < 0.5
    assert 0 <= small.answers_differ < 0.5


def test_export_is_checked_against_the_model(write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Shifted(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.model(images) + 0.1

    monkeypatch.setattr(onnx_model, "to_onnx", lambda model, size: to_onnx(Shifted(model).eval(), size))
    with pytest.raises(ExportError, match=r"does not compute the same.*nothing was written"):
        write("plain")
    assert not (tmp_path / "export").exists()


def test_export_tries_images_one_at_a_time(write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Squeezed(nn.Module):
        """Right for every batch but one of one image."""

        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.model(images).squeeze()

    monkeypatch.setattr(onnx_model, "to_onnx", lambda model, size: to_onnx(Squeezed(model).eval(), size))
    with pytest.raises(ExportError, match=r"fails on images .*cannot embed images \(1, 3, 16, 16\)"):
        write("plain")
    assert not (tmp_path / "export").exists()


def test_export_is_kept_where_its_speed_cannot_be_measured(write, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*arguments: object, **options: object) -> list[list[float]]:
        raise ExportError("exit code -9")

    monkeypatch.setattr("mlbench.deployment.trial.file_rounds", killed)
    _, score = write("plain")
    assert score.file.is_file()
    assert (score.images_per_second, score.notes) == (None, ("exit code -9",))


def test_export_says_where_there_is_no_room(write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlbench.deployment.export_folder.tempfile.tempdir", "/dev/null/nowhere")
    with pytest.raises(StoreError, match=r"^/dev/null/nowhere: cannot be written .*; set TMPDIR"):
        write("plain")


@pytest.mark.parametrize("name", ["pt2", "safetensors"])  # for ONNX see the test below
def test_export_refuses_a_file_of_every_format_with_other_weights(
    write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    class Tampered:
        def __init__(self, format: Format) -> None:
            self._format = format

        def draft(self, model: nn.Module, case: Case) -> Draft:
            other = copy.deepcopy(model)
            with torch.no_grad():
                next(other.parameters()).mul_(1.5)
            return self._format.draft(other, case)

    monkeypatch.setattr(export_module, "find_format", lambda *given: Tampered(find_format(*given)))
    with pytest.raises(ExportError, match=r"does not compute the same: .*; nothing was written"):
        write("prefix", formats=(name,))
    assert not (tmp_path / "export").exists()


def test_export_writes_every_format_and_a_model_card_with_the_numbers_of_the_record(
    write, finished: Path, tmp_path: Path, registry: Registry
) -> None:
    own, *files = write("prefix", formats=tuple(FORMATS), int8=True)
    assert [each.name for each in files] == ["onnx", "int8", "pt2", "safetensors"]
    assert {each.file.name for each in files} == {
        f"toy-prefix-s3{end}" for end in (".onnx", "-int8.onnx", ".pt2", ".safetensors")
    }
    record = record_of(finished, "prefix", 3)
    for each in files:
        session = open_model(each.file, registry=registry)
        assert (session.card.fingerprint, session.card.width) == (record.fingerprint, own.width)
        assert each.bytes == each.file.stat().st_size
    text = (tmp_path / "export" / "README.md").read_text()
    found = ModelCard(text).data
    assert (found.library_name, found.pipeline_tag) == ("mlbench", "image-feature-extraction")
    results = {each.metric_type: each for each in found.eval_results}
    assert {"recall_at_1", "f1", "map_at_r"} <= results.keys()
    for name, each in results.items():
        known = record.metrics[name]
        assert (each.metric_value, each.dataset_name) == (known.value, "toy")
        if known.low is not None:
            assert each.metric_args == {"interval": [known.low, known.high], "level": "95 %"}
        cells = [metric_text(value, 4, known.value) for value in (known.low, known.high)]
        row = next(line for line in text.splitlines() if f"(`{name}`)" in line)
        assert f"| {metric_text(known.value, 4)} | {' – '.join(cells)} |" in row
    assert record.evaluation["protocol"]["text"] in text
    assert f"**{metric_text(record.evaluation['threshold']['distance'], 4)}**" in text
    for split, each in record.data["splits"].items():
        assert f"| {split} | {each['classes']} | {each['images']} |" in text
    for each in files:
        assert f"| `{each.file.name}` | {each.bytes / 1e6:.2f} | 60 | {each.difference:.2g} |" in text
    for known in (record.fingerprint, record.training["model"], f"{record.size['parameters']:,}"):
        assert known in text
    assert "--format onnx --format pt2 --format safetensors --int8" in text


@pytest.mark.slow
def test_export_leaves_files_of_other_authors(
    write, finished: Path, tmp_path: Path, registry: Registry
) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    for name in ("README.md", "embed.py"):
        (folder / name).write_text("mine")
    _, score = write("plain")
    assert [(folder / name).read_text() for name in ("README.md", "embed.py")] == ["mine", "mine"]
    assert "# toy: plain" in (folder / "MODEL_CARD.md").read_text()
    assert "def embed(" in (folder / "embed_onnx.py").read_text()
    request = Request(
        suite="toy", case="plain", results=finished / "results", output=folder, formats=("pt2",)
    )
    again = export(request, registry, lambda what, done, total: None)  # over its own
    card, script = folder / "MODEL_CARD.md", folder / "embed_onnx.py"
    assert again.beside == [card, script]
    assert list(again.notes) == [
        f"README.md there is not by mlbench and stays; see {card}",
        f"embed.py there is not by mlbench and stays; see {script}",
        f"{card} is about the files of this export, not about toy-plain-s3.onnx; --output names a folder of "
        "its own",
    ]
    before = score.file.read_bytes()
    (folder / "MODEL_CARD.md").write_text("mine too")
    with pytest.raises(StoreError, match=r"README\.md and MODEL_CARD\.md are not by mlbench and stay"):
        write("pairs")
    assert score.file.read_bytes() == before


@pytest.fixture
def changed(finished: Path, tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """A copy of the run with the record of case plain, seed 3, changed; its folder of results."""

    def changed(**changes: Any) -> Path:
        results = tmp_path / "results"
        shutil.copytree(finished / "results", results)
        path = results / "toy" / f"{record_of(finished, 'plain', 3).key}.json"
        data = json.loads(path.read_text())
        for key, value in changes.items():
            data[key] = {**data[key], **value}
        path.write_text(json.dumps(data))
        return results

    return changed


def test_export_refuses_a_model_that_scores_otherwise(write, changed) -> None:
    results = changed(metrics={"f1": {"value": 0.01, "headline": True}})
    with pytest.raises(
        ExportError, match=r"scores f1 0\.\d+ here and 0\.0100 in its record: weights or code"
    ):
        write("plain", seed=3, results=results)


def test_export_refuses_first_weights_and_models_that_are_other_ones_now(
    write, changed, finished: Path
) -> None:
    results = changed(training={"weights": "w.pth, sha256 1234"})
    with pytest.raises(
        ExportError, match=r"began with the weights w\.pth, sha256 1234, which are random now"
    ):
        write("plain", seed=3, results=results)
    shutil.rmtree(results)
    results = changed()
    (checkpoint,) = (results / "toy" / record_of(finished, "plain", 3).key).glob("best.pt")
    state = torch.load(checkpoint, weights_only=True)
    name = next(name for name, value in state["model"].items() if value.is_floating_point())
    state["model"][name] = state["model"][name] * 1.0001  # far less than any metric would show
    torch.save(state, checkpoint)
    with pytest.raises(StoreError, match=r"best\.pt: is not the model that the record of case 'plain'"):
        write("plain", seed=3, results=results)


def test_export_refuses_other_data(write, changed) -> None:
    with pytest.raises(DataError, match=r"the data set is not the one .*toy-6-4--1, then older"):
        write("plain", seed=3, results=changed(data={"version": "older"}))


def test_export_names_the_record_whose_parts_are_gone(write, changed) -> None:
    results = changed(settings={"neck": {"name": "gapp"}})
    with pytest.raises(SuiteError, match=r"plain-s3-\w+\.json: unknown neck 'gapp' \(did you mean 'gap'\?\)"):
        write("plain", seed=3, results=results)


def test_export_refuses_a_checkpoint_that_is_gone_damaged_or_of_another_model(
    write, changed, finished: Path
) -> None:
    results = changed()
    folder = results / "toy" / record_of(finished, "plain", 3).key
    (checkpoint,) = folder.glob("best.pt")
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[:1000])
    with pytest.raises(StoreError, match=r"best\.pt: cannot be read \(.*\); run the case again: .* --force"):
        write("plain", seed=3, results=results)
    checkpoint.unlink()
    with pytest.raises(StoreError, match=r"best\.pt: no such checkpoint; run the case again"):
        write("plain", seed=3, results=results)
    checkpoint.write_bytes(whole)
    state = torch.load(checkpoint, weights_only=True)
    state["model"] = dict(list(state["model"].items())[1:])
    torch.save(state, checkpoint)
    with pytest.raises(StoreError, match=r"best\.pt: holds another model"):
        write("plain", seed=3, results=results)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"case": "plian"}, r"no case 'plian' \(did you mean 'plain'\?\)"),
        ({"case": "plain", "seed": 0}, r"case 'plain' has no seed 0 \(there are: 3\)"),
        ({"case": "nested", "width": 5}, r"case 'nested' has no width 5 \(there are: 4, 8\)"),
        ({"case": "plain", "width": 4}, r"case 'plain' has no nested widths; leave --width 4 out"),
        ({"case": "failing"}, r"case 'failing' failed and left no model: loss 'nan' of"),
        (
            {"case": "plain", "suite": "toi"},
            r"no records of the suite 'toi' in .*; make some with",
        ),
        ({"case": "plain", "suite": "toi.yaml"}, r"toi\.yaml: no such suite file"),
        ({"case": "plain", "output": Path(__file__)}, r"test_export\.py: is a file; --output needs a folder"),
    ],
)
def test_export_refuses_what_is_not_there(write, tmp_path: Path, options, message: str) -> None:
    with pytest.raises(MlbenchError, match=message):
        write(**options)
    assert not (tmp_path / "export").exists()


def test_export_says_before_any_work_that_it_could_not_write(
    write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlbench.deployment.export_folder.os.access", lambda path, mode: path != tmp_path)
    with pytest.raises(StoreError, match=rf"^{tmp_path}: cannot be written; choose another --output"):
        write("plain")


def test_export_names_the_extra_where_it_is_not_installed(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "mlbench.deployment.onnx_packages.find_spec", lambda name: None if "onnx" in name else name
    )
    told = CliRunner().invoke(main, ["export", "toy", "plain", "--results", str(finished / "results")])
    assert told.exit_code == 1
    assert told.stderr == (
        "mlbench: an export needs onnx, onnxscript, onnxruntime; "
        "install with: pip install 'mlbench[export]'\n"
    )


def test_export_tells_what_is_wrong_with_the_threshold(write, changed) -> None:
    threshold = {
        "distance": 0.25,
        "note": "",
        "remarks": {"misses target": "precision .87 misses the target .95"},
    }
    metrics = {"f1": {"value": None}}  # at another threshold it is another one
    own, file = write("plain", seed=3, results=changed(evaluation={"threshold": threshold}, metrics=metrics))
    assert "precision .87 misses the target .95" in own.notes
    assert file.threshold.distance == 0.25


def thresholds(*distances: float | None, failed: int | None = None) -> dict[int, Record]:
    return {
        seed: Record(
            suite="s",
            case="c",
            seed=seed,
            fingerprint="0",
            status="failed" if seed == failed else "done",
            evaluation={"threshold": {"distance": distance, "note": ""}},
        )
        for seed, distance in enumerate(distances)
    }


@pytest.mark.parametrize(
    ("records", "seed", "note"),
    [
        (thresholds(0.291, 0.077, 0.1), 2, "seed 2 is exported: its threshold 0.1000 is the median of"),
        (thresholds(0.291, 0.077), 1, "seed 1 is exported: its threshold 0.0770"),
        (thresholds(0.291, None, 0.1, 0.3), 0, "seed 0 is exported: its threshold 0.2910"),
        (thresholds(None, None), 0, "seed 0 is exported, the first of 0, 1"),
        (thresholds(0.1, 0.2, failed=0), 1, ""),
        (thresholds(0.1), 0, ""),
        (thresholds(0.1, failed=0), 0, ""),
    ],
)  # fmt: skip
def test_export_takes_the_seed_with_the_median_threshold(
    records: dict[int, Record], seed: int, note: str
) -> None:
    found, notes = choice_module._median_seed(records, "exported")
    assert found == seed
    assert [text.startswith(note) for text in notes] == [True] * bool(note)


def test_a_model_that_accepts_nothing_is_exported_and_says_so(
    write, finished: Path, tmp_path: Path, registry: Registry
) -> None:
    record = record_of(finished, "nothing", 3)
    threshold, precision = (record.metrics[name] for name in ("threshold", "precision"))
    assert (threshold.value, threshold.note) == (None, "the policy accepts no pair")
    assert (precision.value, precision.note) == (None, "no pair is accepted")
    assert [record.metrics[name].value for name in ("recall", "f1")] == [0, 0]
    assert "accepts nothing" in results_markdown([record], "toy").partition("| nothing")[2].splitlines()[0]
    own, score, small = write("nothing", int8=True)
    assert [each.answers_differ for each in (score, small)] == [0, 0]
    assert small.threshold.accepts_nothing
    assert "accepts nothing" in str(_exported_table([own, score, small]).rows)
    image = tmp_path / "a.png"
    registry.get("dataset", "toy").make({}).build(None).split("test").image(0).save(image)
    answer = CliRunner().invoke(main, ["match", str(image), str(image), "--model", str(score.file)])
    assert answer.stdout.startswith(
        "different: distance 0.0000, the model accepts no pair, similarity 1.0000"
    )
    several = CliRunner().invoke(main, ["match", *[str(image)] * 3, "--model", str(score.file)])
    assert "(the model accepts no pair)" in several.stdout


def test_export_and_match_from_the_command_line(finished: Path, tmp_path: Path, registry: Registry) -> None:
    from toys import ToySplit

    env = install_plugin(tmp_path / "site", "toys", TESTS)
    env["PYTHONPATH"] += os.pathsep + os.environ.get("PYTHONPATH", "")
    export_to = tmp_path / "export"
    options = ("--results", finished / "results", "--output", export_to, "--int8")
    ran = mlbench("export", "toy", "plain", *options, env=env)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[0].split() == [
        *("model", "MB", "images/s", "Recall@1", "F1", "at", "distance", "answers", "differ")
    ]
    file, small = export_to / "toy-plain-s3.onnx", export_to / "toy-plain-s3-int8.onnx"
    assert [line.split()[0] for line in lines[2:5]] == ["PyTorch", str(file), str(small)]
    assert lines[5].startswith("  its own threshold")
    assert lines[6].startswith("onnx against PyTorch: embeddings differ by at most ")
    assert f"mlbench match a.jpg b.jpg --model {file}" in ran.stderr

    session = OnnxSession(file, threads=1)
    split = ToySplit("test", 6, 4, -1)
    images = [tmp_path / f"{at}.png" for at in (0, 1, 4)]
    for path, at in zip(images, (0, 1, 4), strict=True):
        split.image(at).save(path)
    vectors = session.embed(np.stack([load_image(path, session.card) for path in images]))
    asked = mlbench("match", *images, "--model", export_to, "--json", env=env)
    assert asked.returncode == 0, asked.stderr
    answer = json.loads(asked.stdout)
    assert (answer["model"], answer["threshold"]) == (str(file), session.card.distance)
    assert [each["image"] for each in answer["matches"]] == [str(path) for path in images[1:]]
    for each, vector in zip(answer["matches"], vectors[1:], strict=True):
        assert each["similarity"] == pytest.approx(float(vector @ vectors[0]), abs=1e-6)
        assert each["same"] == (each["distance"] <= answer["threshold"])
