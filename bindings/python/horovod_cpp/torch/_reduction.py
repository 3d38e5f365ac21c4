"""Reduction: what all gradients of a DistributedOptimizer have in common."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from .. import _core
from .._core import ReduceOp
from ..process_sets import ProcessSet
from .compression import NoneCompressor


@dataclass(frozen=True)
class Reduction:
    label: str  # of the optimizer; part of the names of its operations
    op: ReduceOp
    prescale: float
    postscale: float
    compression: Any
    sparse_as_dense: bool
    process_set: ProcessSet
    set_id: int  # of process_set, also once it is removed

    @property
    def compresses(self) -> bool:
        return self.compression is not NoneCompressor


_Result = TypeVar("_Result")


def finish(steps: Generator[None, None, _Result]) -> _Result:
    """Takes all of them."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _Result = end.value
            return result


def until_done(pending: _core.Pending, patience: float | None) -> Iterator[None]:
    """Yields after `patience` seconds without an end, again and again (None: never). Raises the operation's failure."""
    while not pending.join(patience):
        yield
    pending.wait()
