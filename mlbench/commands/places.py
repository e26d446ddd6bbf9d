"""Where the cases of a run are trained: on which devices, and how many at once."""

from __future__ import annotations

import os
from collections.abc import Callable

import click

from mlbench.environment import find_device, threads

__all__ = ["places"]


def places(
    device: str, devices: str | None, jobs: int | None, note: Callable[[str], None]
) -> tuple[str, tuple[str, ...]]:
    """The device of a plan, and one device for each of the processes that train cases at once; none for one
    process.

    device, devices, jobs: as on the command line. On the CPU the threads are shared out to the processes,
    by OMP_NUM_THREADS of this process. note: prints a line. Raises DeviceError, and UsageError for devices of
    several products, whose results and speeds could not be compared.
    """
    if devices is not None and device != "auto":
        raise click.UsageError("--device and --devices contradict each other")
    names = [device] if devices is None else list(dict.fromkeys(filter(None, devices.split(","))))
    if not names:
        raise click.BadParameter("expected names of devices, such as cuda:0,cuda:1", param_hint="--devices")
    found = [find_device(name) for name in names]
    products = sorted({f"{each.kind} {each.product}" for each in found})
    if len(products) > 1:
        raise click.UsageError(
            f"--devices: {' and '.join(products)} are different products, on which results and speeds "
            "cannot be compared; run each on its own"
        )
    count = jobs or len(found)
    if count < len(found):
        raise click.UsageError(f"--jobs {count} leaves some of {len(found)} devices idle; name fewer devices")
    if count == 1:
        return found[0].name, ()
    if found[0].kind == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        each = max(1, threads() // count)
        os.environ["OMP_NUM_THREADS"] = str(each)
        some = f"{each} thread{'s' if each > 1 else ''}"
        note(f"{some} for each of {count} jobs; set OMP_NUM_THREADS for another number")
    return found[0].name, tuple(found[at % len(found)].name for at in range(count))
