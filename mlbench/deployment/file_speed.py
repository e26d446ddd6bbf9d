"""Speed of model files, each in the runtime of its format, measured in a separate process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlbench.deployment.formats import open_model
from mlbench.deployment.model_file import Session
from mlbench.errors import ExportError, MlbenchError, first_line

__all__ = ["file_rounds"]


def file_rounds(
    files: Sequence[Path],
    image_size: int,
    *,
    batch_size: int = 32,
    rounds: int = 7,
    seconds: float = 0.2,
    threads: int | None = None,
) -> list[list[float] | str]:
    """Images per second of each file, on the CPU, for each round; of a file that cannot be run, the reason.
    The files alternate, so that other load on the machine slows all of them.

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
            [sys.executable, "-P", "-m", "mlbench.deployment.file_speed"],
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
    found: list[list[float] | str] = json.loads(process.stdout.splitlines()[-1])
    return found


def _measure(task: dict[str, Any]) -> list[list[float] | str]:
    import numpy as np

    images = np.random.default_rng(0).integers(0, 256, task["shape"], np.uint8)

    def once(session: Session) -> float:
        start = time.perf_counter()
        session.embed(images)
        return time.perf_counter() - start

    found: list[list[float] | str] = []
    timed: list[tuple[Session, int, list[float]]] = []
    for file in map(Path, task["files"]):
        try:
            session = open_model(file, task["threads"])
            once(session)
            batches = 1 + int(task["seconds"] / once(session))
        except MlbenchError as error:
            found.append(f"the speed of {file.name} cannot be measured: {error}")
            continue
        rounds: list[float] = []
        found.append(rounds)
        timed.append((session, batches, rounds))
    for _ in range(task["rounds"]):
        for session, batches, rounds in timed:
            took = sum(once(session) for _ in range(batches))
            rounds.append(len(images) * batches / took)
    return found


if __name__ == "__main__":
    print(json.dumps(_measure(json.load(sys.stdin))))
