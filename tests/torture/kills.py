"""Commands that are killed at random moments and started again, and must end as undisturbed ones do."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["KILLS", "Kill"]

TOYS = Path(__file__).resolve().parents[1] / "toys.py"

#: Draws for `seconds`; faults are kept in the folder. Returns what came of it.
Kill = Callable[[random.Random, float, Path], Counter[str]]

SUITE = """\
suite: killed
base:
  image: {size: 16}
  dataset: toy
  backbone: toy
  neck: {name: gap, dim: 8}
  loss: {name: cosface, scale: 16, margin: 0.1}
  sampler: {name: partial_fc, rate: 1}
  batch_sampler: shuffle
  mixing: null
  recipe: {name: standard, epochs: 6, batch_size: 8, ema: 0.9}
  metrics: [retrieval, verification]
  threshold: best_f1
  compute: {save_every: 1e-9}
  evaluation: {resamples: 50}
matrix:
  neck.dim: {eight: 8, four: 4}
seeds: [0, 1]
"""
TUNE = """\
tune:
  case: eight
  objective: f1
  repeats: 0
  pruning: false
  space:
    loss.margin: {low: 0.0, high: 0.4}
"""

#: What two runs of the same may differ in.
_TIMES = ("seconds", "finished", "speed", "memory", "measured", "environment")


def _command(folder: Path, words: Sequence[str]) -> int:
    """Run a command in a process of its own, which starts with everything imported. Returns its id."""
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(folder)
        from mlbench.cli import main

        main(["--plugin", str(TOYS), *words], standalone_mode=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code or 0)


def _ends(process: int, seconds: float) -> int | None:
    """The exit code of a process that ends within some seconds; None, killed, otherwise."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return None


def _until_done(folder: Path, words: Sequence[str], draw: random.Random, longest: float) -> int:
    """Start a command again and again, and kill it after up to `longest` seconds, until it ends by itself.
    Returns the number of kills. Raises AssertionError for an exit code other than 0."""
    kills = 0
    while True:
        code = _ends(_command(folder, words), draw.uniform(0, longest) if kills < 40 else 600)
        if code is None:
            kills += 1
            _check_whole(folder)
            continue
        log = (folder / "log.txt").read_text(errors="replace")
        assert code == 0, f"{' '.join(words)} ended with exit code {code}: {log[-2000:]}"
        assert "Traceback" not in log, log[-3000:]
        return kills


def _check_whole(folder: Path) -> None:
    """No file with its final name is half written."""
    for path in (folder / "results").rglob("*.json"):
        json.loads(path.read_text())


def _outcome(folder: Path) -> dict[str, Any]:
    """Every record and baseline, without times; the names of other files."""
    found: dict[str, Any] = {}
    for path in sorted((folder / "results").rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir() or path.name == ".lock" or "benchmarks" in name or path.suffix in (".html", ".log"):
            continue
        found[name] = None
        if path.suffix == ".json":
            data = json.loads(path.read_text())
            if isinstance(data, dict) and "fingerprint" in data:
                data = {key: value for key, value in data.items() if key not in _TIMES}
                for key in ("continued", "waited_seconds"):
                    data["training"].pop(key, None)
                found[name] = data
        elif path.suffix == ".pt":
            import torch

            found[name] = str(torch.load(path, weights_only=True))
        elif path.suffix == ".csv":
            found[name] = path.read_text()
    return found


def _killed(commands: Sequence[Sequence[str]], more: str = "") -> Kill:
    """Commands that run one after the other in a folder with the suite."""

    def kill(draw: random.Random, seconds: float, kept: Path) -> Counter[str]:
        import mlbench.runner
        import mlbench.training.experiment  # noqa: F401 -- for the processes that are forked from this one

        found: Counter[str] = Counter()
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as scratch:
            whole = _folder(Path(scratch) / "whole", more)
            before = time.monotonic()
            for words in commands:
                assert _ends(_command(whole, words), 600) == 0, (whole / "log.txt").read_text()
            longest = time.monotonic() - before
            expected = _outcome(whole)
            number = 0
            while time.monotonic() - start < seconds:
                folder = _folder(Path(scratch) / str(number), more)
                try:
                    for words in commands:
                        found["killed"] += _until_done(folder, words, draw, longest)
                    difference = _difference(expected, _outcome(folder))
                    assert not difference, difference
                    found["read"] += 1
                except AssertionError as error:
                    found["faults"] += 1
                    place = kept / f"killed-{commands[0][0]}-{number}"
                    shutil.copytree(folder, place, dirs_exist_ok=True)
                    (place / "fault.txt").write_text(str(error))
                    print(f"fault: {place}: {str(error)[:300]}", flush=True)
                shutil.rmtree(folder)
                number += 1
        return found

    return kill


def _folder(folder: Path, more: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "suite.yaml").write_text(SUITE + more)
    os.environ["MLBENCH_CACHE"] = str(folder.parent / "cache")
    return folder


def _difference(expected: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """The first difference, "" for none."""
    if expected.keys() != found.keys():
        return f"other files: {sorted(expected.keys() ^ found.keys())}"
    for name, value in expected.items():
        if value != found[name]:
            keys = (
                [key for key in value if value[key] != found[name].get(key)]
                if isinstance(value, dict)
                else ""
            )
            return f"{name} differs {keys}"
    return ""


_RUN = ("run", "suite.yaml", "--device", "cpu", "--no-measure")
KILLS: Mapping[str, Kill] = {
    "killed runs": _killed([_RUN]),
    "killed baselines": _killed(
        [
            _RUN,
            ("baseline", "save", "suite.yaml", "--device", "cpu"),
        ]
    ),
    "killed tunings": _killed([("tune", "suite.yaml", "--device", "cpu", "--trials", "4")], TUNE),
}
