"""Every error mlbench raises on purpose.

    MlbenchError
    ├── SuiteError         a suite file is wrong: names file, line and key
    ├── ComponentError     a component is unknown, ambiguous, or its plugin is broken
    │   └── PluginError    a component's code fails or breaks its contract while a case runs
    ├── OptionError        an option of a component is unknown, of the wrong type, or out of range
    ├── DataError          images are missing, unreadable, or too few for the splits
    ├── WeightsError       pretrained weights cannot be loaded, or do not fit the model
    ├── DeviceError        the requested device or precision is not available
    ├── ThresholdError     no threshold meets the threshold policy
    ├── ClaimError         the records at hand cannot answer a claim
    ├── TrainingError      training cannot continue (a loss that is not finite, labels out of range)
    ├── StoreError         records, caches or model files cannot be read or written
    ├── ExportError        a model cannot be exported
    └── TrackerError       a tracker cannot be used: a library, an account or a folder is missing

A message is one line and says what is wrong, where, what was expected and what to do. The command
line prints it without a traceback; anything that is not an MlbenchError is a bug and shows one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

__all__ = [
    "ClaimError",
    "ComponentError",
    "DataError",
    "DeviceError",
    "ExportError",
    "MlbenchError",
    "OptionError",
    "PluginError",
    "StoreError",
    "SuiteError",
    "ThresholdError",
    "TrackerError",
    "TrainingError",
    "WeightsError",
    "close_match",
    "first_few",
    "first_line",
    "hint",
]


#: Characters that end a line or move a terminal's cursor.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class MlbenchError(Exception):
    """Root of all errors that mlbench raises on purpose. Their text is one line: control characters in it, as
    from names of files and keys, are escaped."""

    def __str__(self) -> str:
        return _CONTROL.sub(lambda found: repr(found[0])[1:-1], super().__str__())


class SuiteError(MlbenchError):
    """A suite file is wrong."""


class ComponentError(MlbenchError):
    """A component is unknown, registered twice, or its plugin cannot be loaded."""


class PluginError(ComponentError):
    """A component's code fails, or what it gives breaks the contract of its kind. Only the cases that need
    the component fail."""


class OptionError(MlbenchError):
    """An option of a component is unknown, of the wrong type, or out of range.

    option: the option's name, by which the error is located in the suite file.
    """

    def __init__(self, message: str, option: str = "") -> None:
        super().__init__(message)
        self.option = option


class DataError(MlbenchError):
    """Images are missing, unreadable, or too few for the splits."""


class WeightsError(MlbenchError):
    """Pretrained weights cannot be loaded, or do not fit the model."""


class DeviceError(MlbenchError):
    """The requested device or precision is not available on this machine."""


class ThresholdError(MlbenchError):
    """No threshold meets the threshold policy."""


class ClaimError(MlbenchError):
    """The records at hand cannot answer a claim, for the reason that it states."""


class TrainingError(MlbenchError):
    """Training cannot continue."""


class StoreError(MlbenchError):
    """Records, caches or model files cannot be read or written."""


class ExportError(MlbenchError):
    """A model cannot be exported."""


class TrackerError(MlbenchError):
    """A tracker cannot be used: a library, an account or a folder is missing. Nothing has run yet."""


def first_line(error: BaseException) -> str:
    """Type and first line of a foreign error, for a message of one line."""
    try:
        text = str(error)
    except Exception:  # foreign code may raise there too
        text = "its message cannot be read"
    return " ".join([f"{type(error).__name__}:", *text.strip().splitlines()[:1]])


def first_few(names: Sequence[str], show: int) -> str:
    """At most `show` names and the number of the others: "a, b, c, and 4 more"."""
    more = f", and {len(names) - show} more" if len(names) > show else ""
    return ", ".join(names[:show]) + more


def close_match(word: str, candidates: Iterable[str]) -> str:
    """The candidate with the most similar spelling; "" when none is similar."""
    lower = {candidate.lower(): candidate for candidate in candidates}
    near = difflib.get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
    return lower[near[0]] if near else ""


def hint(word: str, candidates: Iterable[str], *, show: int = 12) -> str:
    """Advice on a wrong name: the most similar of the valid `candidates`, else their list, cut after
    `show`."""
    names = sorted(set(candidates))
    near = close_match(word, names)
    if near:
        return f"did you mean {near!r}?"
    if not names:
        return "none is available"
    return f"choose from: {first_few(names, show)}"
