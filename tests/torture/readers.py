"""The readers of mlbench's files, each with mutated files for it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import mutations
import numpy as np
from mlbench_datasets.manifest import read_manifest
from PIL import Image

from mlbench.errors import MlbenchError
from mlbench.evaluation.file_evaluation import EvaluationRequest, evaluate_file
from mlbench.evaluation.pair_files import read_pairs
from mlbench.images.decode import UnreadableImageError, decode
from mlbench.planning.request import PlanRequest
from mlbench.plugins import load_plugins
from mlbench.records import report
from mlbench.records.store import Store
from mlbench.registry import Registry
from mlbench.regression.baseline import baseline_text, read_baseline
from mlbench.regression.ranking import ranking_sentences
from mlbench.training.saved_state import SavedState

__all__ = ["READERS", "Reader"]

ROOT = Path(__file__).resolve().parents[2]

#: Makes a mutated file; reads it; the errors that say what is wrong with it.
Reader = tuple[Callable[[random.Random], Path], Callable[[Path], Any], tuple[type[BaseException], ...]]

_REFUSALS = (MlbenchError,)


def _suites(scratch: Path) -> Reader:
    registry = Registry([each for each in load_plugins() if each.package == "mlbench"])
    texts = [(ROOT / "suites" / name).read_text() for name in ("smoke.yaml", "textimage.yaml")]
    file = scratch / "suite.yaml"

    def mutated(draw: random.Random) -> Path:
        file.write_bytes(mutations.suite_text(draw.choice(texts), draw))
        return file

    return mutated, lambda path: PlanRequest(device="cpu").plan(path, registry), _REFUSALS


def _manifests(scratch: Path) -> Reader:
    for name in "abcdefgh":
        Image.new("RGB", (8, 8), (ord(name), 0, 0)).save(scratch / f"{name}.png")
    rows = [f"{name}.png,{name < 'e'},train,1,,0,0,8,8" for name in "abcdefgh"]
    text = "\n".join(["path,label,split,is_query,group,x_1,y_1,x_2,y_2", *rows])
    plain = "\n".join(["path,label", *(f"{name}.png,{name < 'e'}" for name in "abcdefgh")])
    file = scratch / "images.csv"

    def mutated(draw: random.Random) -> Path:
        file.write_bytes(mutations.rows_text(draw.choice((text, plain)), draw))
        return file

    return mutated, read_manifest, _REFUSALS


def _stored() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((ROOT / "tests/records").glob("v*.json"))]


def _records(scratch: Path) -> Reader:
    stored = _stored()
    good, file = scratch / "s" / "good.json", scratch / "s" / "bad.json"
    good.parent.mkdir()
    good.write_text(json.dumps(stored[-1]))

    def mutated(draw: random.Random) -> Path:
        file.write_bytes(mutations.record_text(draw.choice(stored), draw))
        return file

    def read(path: Path) -> None:
        store = Store(scratch, "s")
        for records in (store.read()[0], store.latest()[0]):
            report.results_table(records, "title")
            report.results_markdown(records, "title")
            report.results_json(records)
            report.notes_of(records)
            ranking_sentences(records, report.headline_metrics(records), {})

    return mutated, read, _REFUSALS


def _baselines(scratch: Path) -> Reader:
    from mlbench.records.record import Record
    from mlbench.regression.baseline import save_baselines

    records = [Record.from_plain(each, "stored") for each in _stored()[-1:]]
    (made,) = save_baselines(records, {}, scratch / "baselines")
    data = json.loads(made.read_text())
    file = scratch / "baseline.json"

    def mutated(draw: random.Random) -> Path:
        file.write_bytes(mutations.record_text(data, draw))
        return file

    return mutated, lambda path: baseline_text(read_baseline(path.read_bytes(), str(path))), _REFUSALS


def _embeddings(scratch: Path) -> Reader:
    draw = np.random.default_rng(0)
    vectors, labels = draw.normal(size=(24, 8)).astype(np.float32), np.repeat(np.arange(6), 4)
    whole, plain = BytesIO(), BytesIO()
    np.savez(whole, embeddings=vectors, labels=labels)
    np.savez(plain, embeddings=vectors, labels=labels.astype(str), paths=np.array([f"{at}" for at in labels]))
    tables = {".npz": [whole.getvalue(), plain.getvalue()], ".parquet": _parquets(vectors, labels)}
    registry = Registry([each for each in load_plugins() if each.package == "mlbench"])

    def mutated(draw: random.Random) -> Path:
        suffix = draw.choice(list(tables))
        file = scratch / f"vectors{suffix}"
        if suffix == ".npz" and draw.random() < 0.4:  # well-formed, with odd contents
            shapes = draw.choice(((24, 8), (24,), (0, 8), (24, 0), (3, 8, 2), (), (1, 8)))
            kind = draw.choice(("f4", "f8", "f2", "i8", "u1", "c8", "U3", "S3", "?", "M8[D]"))
            values = np.zeros(shapes).astype(kind)
            if kind in ("f4", "f8") and values.size and draw.random() < 0.5:
                values.flat[0] = draw.choice((np.nan, np.inf, 1e300))
            names = draw.sample(["embeddings", "labels", "x", "is_query", "path"], 2)
            np.savez(file, **{names[0]: values, names[1]: labels})
        else:
            file.write_bytes(mutations.mutate_bytes(draw.choice(tables[suffix]), draw))
        return file

    def read(path: Path) -> None:
        request = EvaluationRequest(file=path, overrides=("evaluation.resamples=0",), share=0.5, threads=1)
        evaluate_file(request, registry, lambda done, total: None)

    return mutated, read, _REFUSALS


def _parquets(vectors: np.ndarray, labels: np.ndarray) -> list[bytes]:
    import pyarrow
    import pyarrow.parquet

    stream = BytesIO()
    columns = {
        "embedding": list(vectors),
        "label": labels,
        "path": [f"{at}.png" for at in range(len(labels))],
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), stream)
    return [stream.getvalue()]


def _pairs(scratch: Path) -> Reader:
    text = "\n".join(["left,right,same,fold", *(f"{at},{at + 1},{at % 2},{at // 6}" for at in range(23))])
    file = scratch / "pairs.csv"

    def mutated(draw: random.Random) -> Path:
        file.write_bytes(mutations.rows_text(text, draw))
        return file

    return mutated, lambda path: read_pairs(path, 24, 4), _REFUSALS


def _images(scratch: Path) -> Reader:
    files = mutations.images(scratch)

    def mutated(draw: random.Random) -> Path:
        file = scratch / "image"
        file.write_bytes(mutations.mutate_bytes(draw.choice(files), draw))
        return file

    return mutated, lambda path: decode(path.read_bytes(), short_side=16), (UnreadableImageError,)


def _states(scratch: Path) -> Reader:
    SavedState(scratch, "abc", 1).write({"tensor": __import__("torch").zeros(3), "list": [1, "a"]})
    (written,) = scratch.iterdir()
    data = written.read_bytes()

    def mutated(draw: random.Random) -> Path:
        written.write_bytes(mutations.mutate_bytes(data, draw))
        return written

    return mutated, lambda path: SavedState(scratch, "abc", 1).read(), ()


READERS: Mapping[str, Callable[[Path], Reader]] = {
    "suites": _suites,
    "manifests": _manifests,
    "records": _records,
    "baselines": _baselines,
    "embeddings": _embeddings,
    "pair lists": _pairs,
    "images": _images,
    "states of training": _states,
}
