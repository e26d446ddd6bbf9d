"""Tries to break mlbench: make torture, or python tests/torture [PART...] [--seed 0] [--minutes 20].

Files that mlbench reads are mutated, and commands are killed at random moments. A table tells what was tried.
Every input that gave a traceback, a hang or a wrong record is kept in a folder, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from kills import KILLS
from readers import READERS

#: Seconds that one input may take, and bytes of address space of this process.
PATIENCE, MEMORY = 10, 12 << 30


class HangError(BaseException):
    """An input took too long."""


@contextlib.contextmanager
def patience() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise HangError(f"longer than {PATIENCE} s")

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)


def try_reader(name: str, seed: int, seconds: float, most: int, kept: Path) -> Counter[str]:
    """Give a reader mutated files until time or number is up. Returns what came of them."""
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        mutated, read, refusals = READERS[name](Path(scratch))
        start = time.monotonic()
        for number in range(most):
            if time.monotonic() - start > seconds:
                break
            draw = random.Random(f"{seed} {name} {number}")
            file = mutated(draw)
            try:
                quiet = io.StringIO()
                with patience(), contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
                    read(file)
                found["read"] += 1
            except refusals as error:
                text = str(error)
                if "\n" in text.strip():
                    fault(kept, name, number, file, f"a refusal of several lines: {text!r}", found)
                else:
                    found["refused"] += 1
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                fault(kept, name, number, file, "".join(traceback.format_exception(error)), found)
    return found


def fault(kept: Path, part: str, number: int, file: Path, text: str, found: Counter[str]) -> None:
    """Count a fault, and keep its input with the error."""
    found["faults"] += 1
    place = kept / f"{part}-{number}{file.suffix}"
    place.write_bytes(file.read_bytes())
    place.with_suffix(f"{file.suffix}.txt").write_text(text)
    print(f"fault: {place}: {text.strip().splitlines()[-1][:200]}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parts = [*READERS, *KILLS]
    parser.add_argument("part", nargs="*", choices=[[], *parts], help=f"of {', '.join(parts)}; default all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--most", type=int, default=10_000, help="inputs of a part")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "mlbench-torture")
    chosen = parser.parse_args()
    names = chosen.part or parts
    chosen.keep.mkdir(parents=True, exist_ok=True)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    warnings.simplefilter("ignore")
    print(
        f"{'part':22}{'tried':>8}{'read':>8}{'refused':>9}{'killed':>8}{'faults':>8}{'seconds':>9}",
        flush=True,
    )
    faults, end = 0, time.monotonic() + 60 * chosen.minutes
    for number, name in enumerate(names):
        start = time.monotonic()
        seconds = max(1.0, (end - start) / (len(names) - number))
        if name in READERS:
            found = try_reader(name, chosen.seed, seconds, chosen.most, chosen.keep)
        else:
            found = KILLS[name](random.Random(f"{chosen.seed} {name}"), seconds, chosen.keep)
        faults += found["faults"]
        tried = found["read"] + found["refused"] + found["faults"] + found["killed"]
        print(
            f"{name:22}{tried:8,}{found['read']:8,}{found['refused']:9,}{found['killed']:8,}{found['faults']:8,}"
            f"{time.monotonic() - start:9.0f}",
            flush=True,
        )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
