"""Sparse gradients of one round: the rows of all ranks, put together."""

from __future__ import annotations

import torch

from .._core import ReduceOp
from .._handle import Handle
from ..process_sets import ProcessSet
from ._slots import Slot
from ._starting import Gathered, start_allgather


class SparseRound:
    """One round; all ranks send the same slots in the same order."""

    def __init__(self, label: str, op: ReduceOp, scale: float, process_set: ProcessSet) -> None:
        self._label = label
        self._factor = scale / process_set.size() if op == ReduceOp.average else scale
        self._process_set = process_set
        self._sent: list[tuple[Slot, Handle[Gathered], Handle[Gathered]]] = []

    def send(self, slot: Slot) -> None:
        """A rank without a gradient sends no rows."""
        parameter = slot.parameter
        gradient = None if slot.is_reduced else parameter.grad
        if gradient is None:
            indices = torch.empty((0, 1), dtype=torch.int64)
            values = torch.empty((0, *parameter.shape[1:]), dtype=parameter.dtype)
        else:
            parameter.grad = None
            coalesced = gradient.detach().coalesce()
            indices, values = coalesced.indices().t().contiguous(), coalesced.values()
        name = f"{self._label}: {slot.name}"
        self._sent.append(
            (
                slot,
                start_allgather([indices], False, f"{name}, rows", self._process_set),
                start_allgather([values], False, f"{name}, values", self._process_set),
            )
        )

    def finish(self) -> None:
        for slot, indices, values in self._sent:
            ((all_indices, _),) = indices.wait()
            ((all_values, _),) = values.wait()
            if self._factor != 1.0:
                all_values = all_values * self._factor
            reduced = torch.sparse_coo_tensor(all_indices.t(), all_values, slot.shape, check_invariants=False)
            slot.put_aside_what_is_reduced()
            slot.put_back(reduced.coalesce())
