"""The first step of training: what losses and distiller return is checked once, before any update."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from mlbench.errors import PluginError, TrainingError
from mlbench.planning.plan import Case
from mlbench.planning.spec import Part
from mlbench.training.contract_checks import shown
from mlbench.training.objective import Objective, Term

__all__ = ["FirstStep"]


_SCALAR = "a scalar: a float tensor of shape ()"


@dataclass(frozen=True)
class _Returned:
    """What a loss or distiller returned: a scalar. finite: whether all embeddings that it got were finite.
    Both stay on the device, because reading them waits for it. role: of the scalar, in words."""

    part: Part
    value: torch.Tensor
    finite: torch.Tensor
    role: str = ""


class FirstStep:
    """Checks on the first step of a case. They are hooks of the losses and the distiller, so that later steps
    have none of their cost."""

    def __init__(self, case: Case, objective: Objective) -> None:
        self._case = case
        self._objective = objective
        self._returned: list[_Returned] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Raises PluginError in the block for a loss or a distance that is no scalar or has no gradient."""
        parts = self._case.spec.parts
        hooks: list[tuple[Any, Callable[..., None]]] = []
        for term in self._objective.terms:
            assert isinstance(term, Term)
            # A sampler computes the scalar from the logits of the loss.
            returner = term.part if term.centres is None else parts["sampler"]
            hooks.append((term, self._of_scalar(returner, term.part)))
            hooks.append((term.regularisers, self._of_regularisers(term.part)))
        if self._objective.distiller is not None:
            hooks.append((self._objective.distiller, self._of_scalar(parts["distiller"], parts["distiller"])))
        handles = [module.register_forward_hook(hook) for module, hook in hooks]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _of_regularisers(self, part: Part) -> Callable[..., None]:
        def check(module: Any, given: tuple[Any, ...], found: Any) -> None:
            if not isinstance(found, Mapping):
                raise part.mistake(
                    f"regularisers returned {shown(found)}; expected a mapping of names to scalars"
                )
            for name, value in found.items():
                if not _is_scalar(value):
                    raise part.mistake(f"its regulariser {name!r} is {shown(value)}; expected {_SCALAR}")
                finite = torch.isfinite(given[0].detach()).all()
                self._returned.append(_Returned(part, value.detach(), finite, f" as {name!r}"))

        return check

    def _of_scalar(self, part: Part, blamed: Part) -> Callable[..., None]:
        """part: what returns the scalar. blamed: what makes it, where it is not finite."""

        def check(module: Any, given: tuple[Any, ...], value: Any) -> None:
            if not _is_scalar(value):
                raise part.mistake(f"it returned {shown(value)}; expected {_SCALAR}")
            if not value.requires_grad and given[0].requires_grad:
                raise part.mistake("the scalar that it returned has no gradient, so nothing would be trained")
            finite = torch.isfinite(given[0].detach()).all()
            self._returned.append(_Returned(blamed, value.detach(), finite))

        return check

    def explain(self) -> None:
        """Raise the error for a first loss that is not finite: nothing was updated before, so it is not the
        learning rate's fault. Returns where none of its parts is to blame."""
        spec = self._case.spec
        # Mixed precision overflows at numbers that float32 represents.
        advice = "" if spec.precision == "fp32" else f" (precision {spec.precision}; try fp32)"
        for each in self._returned:
            if not each.finite:
                model = " and ".join(str(spec.parts[section]) for section in ("backbone", "neck"))
                raise TrainingError(
                    f"the embeddings are not finite at step 1, before any update of the weights{advice}; "
                    f"they come from {model}"
                )
            if not torch.isfinite(each.value):
                gave = f"{each.part} returned {each.value.item()}{each.role}"
                raise PluginError(
                    f"{gave} at step 1, on finite embeddings and before any update of the weights{advice}; "
                    "expected a finite number"
                )


def _is_scalar(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.ndim == 0 and value.is_floating_point()
