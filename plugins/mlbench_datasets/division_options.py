"""Options of data sets that mlbench divides into splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from mlbench.plugin import DatasetOptions, OptionError
from mlbench_datasets.partition import MIN_CLASSES, Divided, partition

__all__ = ["DivideOptions", "DivisionOptions", "Share"]

#: A share of classes or images.
Share = Annotated[float, Field(gt=0, lt=1)]


class DivisionOptions(DatasetOptions):
    """Where the images are, and the shares of calibration and test; training has the rest.

    Raises OptionError where the shares leave nothing for training."""

    path: str
    """Folder of the images."""
    calibration: Share = 0.2
    """Share of the classes, or of the images of each class, in calibration, where thresholds are fitted."""
    test: Share = 0.3
    """Share of the classes, or of the images of each class, in test."""
    seed: int = 0
    """Seed of the division into splits."""

    @property
    def uses_test_share(self) -> bool:
        """Whether the test split is divided off; False where the user names it."""
        return True

    @property
    def calibration_of_rest(self) -> float:
        """Share of calibration in what test leaves."""
        return self.calibration / (1 - self.test)

    def partition(self, names: Sequence[str], minimum: int = MIN_CLASSES) -> tuple[set[str], ...]:
        """Class names divided into train, calibration and test, at least `minimum` names in each."""
        shares = {"calibration": self.calibration, "test": self.test}
        return partition(names, **shares, seed=self.seed, minimum=minimum)

    @model_validator(mode="after")
    def _leave_something_for_training(self) -> Self:
        if self.uses_test_share and self.calibration + self.test >= 1:
            raise OptionError(
                f"calibration {self.calibration:g} and test {self.test:g} leave nothing for training; they "
                "are shares of the classes, or of the images of each class, and must add up to less than 1",
                "test" if self.test >= self.calibration else "calibration",
            )
        return self


class DivideOptions(DivisionOptions):
    """The same, with a choice of what is divided."""

    divide: Divided | None = None
    """What to divide: classes, so that test has new ones, or the images of each class (closed set, see
    `evaluation.gallery`). Default: classes; but images where the test images that the suite names have
    classes of training."""
