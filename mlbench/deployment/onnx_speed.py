"""Speed of model files in ONNX Runtime, measured in a separate process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlbench.errors import ExportError, first_line

__all__ = ["onnx_rounds"]


def onnx_rounds(
    files: Sequence[Path],
    image_size: int,
    *,
    batch_size: int = 32,
    rounds: int = 7,
    seconds: float = 0.2,
    threads: int | None = None,
) -> list[list[float]]:
    """Images per second of each file, on the CPU, for each round. The files alternate, so that other load on
    the machine slows all of them.

    seconds: least time of a file in a round. threads: None for all cores. Raises ExportError when the process
    fails, for example for lack of memory.
    """
    task = {
        "files": [str(file) for file in files],
        "shape": [batch_size, 3, image_size, image_size],
        "rounds": rounds,
        "seconds": seconds,
        "threads": threads,
    }
    try:
        process = subprocess.run(
            # -P: modules in the user's working folder must not replace Python's.
            [sys.executable, "-P", "-m", "mlbench.deployment.onnx_speed"],
            input=json.dumps(task),
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise ExportError(f"the speed of the model files cannot be measured: {first_line(error)}") from None
    if process.returncode:
        reason = (process.stderr.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        raise ExportError(f"the speed of the model files cannot be measured: {reason}")
    found: list[list[float]] = json.loads(process.stdout.splitlines()[-1])
    return found


def _measure(task: dict[str, Any]) -> list[list[float]]:
    import numpy as np

    from mlbench.deployment.onnx_session import OnnxSession

    sessions = [OnnxSession(Path(file), task["threads"]) for file in task["files"]]
    images = np.random.default_rng(0).integers(0, 256, task["shape"], np.uint8)

    def once(session: OnnxSession) -> float:
        start = time.perf_counter()
        session.embed(images)
        return time.perf_counter() - start

    batches = []
    for session in sessions:
        once(session)
        batches.append(1 + int(task["seconds"] / once(session)))
    found: list[list[float]] = [[] for _ in sessions]
    for _ in range(task["rounds"]):
        for at, session in enumerate(sessions):
            took = sum(once(session) for _ in range(batches[at]))
            found[at].append(len(images) * batches[at] / took)
    return found


if __name__ == "__main__":
    print(json.dumps(_measure(json.load(sys.stdin))))
