"""The machine: devices, library versions, folders, threads. Found without importing torch."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mlbench.errors import DeviceError, first_line

__all__ = [
    "LIBRARIES",
    "Device",
    "cache_dir",
    "check_torch",
    "data_root",
    "devices",
    "environment",
    "find_device",
    "library_versions",
    "threads",
    "usable_cores",
]

#: Libraries whose version can change a result.
LIBRARIES = (
    "torch",
    "torchvision",
    "timm",
    "open-clip-torch",
    "pytorch-metric-learning",
    "lightning-fabric",
    "numba",
    "numpy",
    "pillow",
)


@dataclass(frozen=True, slots=True)
class Device:
    """A device by its torch name ("cpu", "cuda:0", "mps") and its product name."""

    name: str
    product: str

    @property
    def kind(self) -> str:
        """ "cpu", "cuda" or "mps"."""
        return self.name.partition(":")[0]


@cache
def devices() -> tuple[Device, ...]:
    """Every device of this machine, the preferred one first. Asks the drivers, as torch is slow to import."""
    found = [Device(f"cuda:{index}", product) for index, product in enumerate(_cuda_products())]
    if sys.platform == "darwin" and platform.machine() == "arm64":
        found.append(Device("mps", _cpu_product()))
    return (*found, Device("cpu", _cpu_product()))


def find_device(wanted: str) -> Device:
    """The device by "auto", "cpu", "cuda", "cuda:1" or "mps"; auto is the first GPU with CUDA, else the CPU.
    Raises DeviceError."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", wanted):
        raise DeviceError(f"unknown device {wanted!r}; expected auto, cpu, cuda, cuda:1 or mps")
    here = devices()
    for device in here:
        # MPS only by its name, as mlbench is not tested on it.
        if wanted in (device.name, device.kind) or (wanted == "auto" and device.kind != "mps"):
            return device
    names = ", ".join(device.name for device in here)
    raise DeviceError(f"no device {wanted!r} on this machine (found: {names}); use --device auto or cpu")


def check_torch(device: Device) -> None:
    """Raise DeviceError when torch cannot be imported, or cannot use the device."""
    try:
        import torch
    except (ImportError, OSError) as error:  # a shared library is missing or does not fit
        raise DeviceError(f"torch cannot be imported: {first_line(error)}") from None
    usable: dict[str, Callable[[], bool]] = {
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
        "cpu": lambda: True,
    }
    if not usable[device.kind]():
        raise DeviceError(
            f"{device.name} ({device.product}) is present, but torch {torch.__version__} cannot use it; "
            "install a torch build for it, or use --device cpu"
        )


def data_root(suite: Path) -> Path:
    """Folder in which relative data paths of a suite start: MLBENCH_DATA, else the suite's own folder."""
    named = os.environ.get("MLBENCH_DATA")
    return Path(named).expanduser() if named else suite.resolve().parent


def cache_dir() -> Path:
    """Folder for data that can be computed again: MLBENCH_CACHE, else the user's cache folder."""
    named = os.environ.get("MLBENCH_CACHE")
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base) / "mlbench"
    try:
        return Path.home() / ".cache" / "mlbench"
    except RuntimeError:  # a user without a home, as in some containers
        return Path(tempfile.gettempdir()) / "mlbench"


def usable_cores() -> int:
    """Cores that this process may use, which in a container can be fewer than the machine has; at most 16."""
    affinity = getattr(os, "sched_getaffinity", None)
    return min(len(affinity(0)) if affinity else os.cpu_count() or 1, 16)


def threads() -> int:
    """Threads of torch on the CPU: OMP_NUM_THREADS, else one for each usable physical core.

    Sums are split among threads, so their number can change the last digits of a result.
    """
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if first.isdigit() and int(first) > 0:
        return int(first)
    return _physical_cores() or usable_cores()


@cache
def _physical_cores() -> int:
    """Physical cores that this process may use; 0 where the system does not report them."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = set()
    for number in affinity(0) if affinity else ():
        siblings = Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list")
        try:
            cores.add(siblings.read_text())
        except OSError:
            return 0
    return len(cores)


def library_versions() -> dict[str, str]:
    """Versions of `LIBRARIES` from the installed packages' metadata, and of mlbench itself."""
    return {name: _version(name) for name in ("mlbench", *LIBRARIES)}


def environment(device: Device, threads: int) -> dict[str, object]:
    """Description of the machine for a record."""
    return {
        "device": device.name,
        "device_product": device.product,
        "cpu": _cpu_product(),
        "cores": os.cpu_count(),
        "threads": threads,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "libraries": library_versions(),
    }


@cache
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _cuda_products() -> list[str]:
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return []
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return []
    products = []
    for index in range(count.value):
        text = ctypes.create_string_buffer(256)
        driver.cuDeviceGetName(text, len(text), index)
        products.append(text.value.decode(errors="replace"))
    return products


@cache
def _cpu_product() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
