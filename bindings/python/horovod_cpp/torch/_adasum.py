"""DistributedOptimizer(op=Adasum): each rank takes a step of its own, and the ranks' changes of the weights are put together by Adasum.

Gradients stay this rank's own: Adasum is of what the optimizer makes of them, momentum and all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from .._core import ReduceOp
from .._process import world
from ..process_sets import ProcessSet, id_of
from ._parameters import Named
from ._starting import start_allreduce


class AdasumOptimizer(torch.optim.Optimizer):
    """What is put in front of the wrapped optimizer's class."""

    _hvd_named: Named
    _hvd_label: str
    _hvd_compression: Any
    _hvd_process_set: ProcessSet

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """The wrapped optimizer's step on this rank's gradients; afterwards the weights are the same on all ranks. All ranks call it."""
        parameters = [parameter for _, parameter in self._hvd_named]
        before = [parameter.detach().clone() for parameter in parameters]
        result = super().step(closure)
        with torch.no_grad():
            changes = [parameter.detach() - start for parameter, start in zip(parameters, before)]
            packed = [self._hvd_compression.compress(change) for change in changes]
            tensors = [tensor.contiguous() for tensor, _ in packed]
            start_allreduce(
                tensors, True, True, f"{self._hvd_label}: changes", ReduceOp.adasum, 1.0, 1.0, self._hvd_process_set
            ).wait()  # fmt: skip
            for parameter, start, tensor, (_, context) in zip(parameters, before, tensors, packed):
                parameter.copy_(start + self._hvd_compression.decompress(tensor, context))
        return result

    def synchronize(self) -> None:
        """There is nothing to wait for: gradients are this rank's own."""

    @contextmanager
    def skip_synchronize(self) -> Iterator[None]:
        """For scripts that have it; does nothing."""
        yield

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Backwards only ever add to p.grad here."""
        yield

    def set_backward_passes_per_step(self, passes: int) -> None:
        """Ranks meet in step(), however many backwards there were."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Its changes are put together too. On all ranks alike, between two steps."""
        super().add_param_group(param_group)
        place = len(self.param_groups) - 1
        for number, parameter in enumerate(self.param_groups[place]["params"]):
            if parameter.requires_grad:
                self._hvd_named.append((f"group {place}, parameter {number}", parameter))


def take_over(wrapped: Any, named: Named, compression: Any, process_set: ProcessSet) -> None:
    """`wrapped`: of a class with AdasumOptimizer in front."""
    number = world().optimizer_number(id_of(process_set))
    wrapped.__dict__.update(
        _hvd_named=list(named), _hvd_label=f"DistributedOptimizer {number}", _hvd_compression=compression, _hvd_process_set=process_set
    )
