"""allgather, broadcast, alltoall of tensors, sparse_allreduce, and what is no operation on tensors: barrier, join, poll, synchronize.

What is said in reductions.py holds here too. The first dimension may differ in allgather and alltoall. All synchronous functions without a
final _ are differentiable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from .._collectives import run_bare, run_join
from .._core import OpKind, ReduceOp
from .._handle import Handle, checked
from ..ops import Average, Sum, chosen_op
from ..process_sets import ProcessSet, global_process_set
from ._gradients import allgathered, broadcasted, exchanged
from ._starting import start_allgather, start_alltoall, start_broadcast

Tensor = torch.Tensor


def allgather_async(tensor: Tensor, name: str | None = None, process_set: ProcessSet = global_process_set) -> Handle[Tensor]:
    """Starts allgather() of values."""
    return start_allgather([tensor], False, name, process_set).then(lambda results: results[0][0])


def allgather(tensor: Tensor, name: str | None = None, process_set: ProcessSet = global_process_set) -> Tensor:
    """The tensors of all ranks, concatenated along the first dimension, in which they may differ. A 0-d tensor counts as one row."""
    (result,) = allgathered([tensor], False, name, process_set)
    return result


def grouped_allgather_async(
    tensors: Sequence[Tensor], name: str | None = None, process_set: ProcessSet = global_process_set
) -> Handle[list[Tensor]]:
    """Starts grouped_allgather() of values."""
    return start_allgather(tensors, True, name, process_set).then(lambda results: [result for result, _ in results])


def grouped_allgather(tensors: Sequence[Tensor], name: str | None = None, process_set: ProcessSet = global_process_set) -> list[Tensor]:
    """allgather() of several tensors, executed together or not at all."""
    return list(allgathered(tensors, True, name, process_set))


def broadcast_async(
    tensor: Tensor, root_rank: int, name: str | None = None, process_set: ProcessSet = global_process_set
) -> Handle[Tensor]:
    """Starts broadcast() of values."""
    return start_broadcast(tensor, False, root_rank, name, process_set).then(lambda results: results[0])


def broadcast(tensor: Tensor, root_rank: int, name: str | None = None, process_set: ProcessSet = global_process_set) -> Tensor:
    """A new tensor with the values of rank `root_rank` (a rank of the job, also in a process set). All pass the same shape and type."""
    return broadcasted(tensor, root_rank, name, process_set)


def broadcast_async_(
    tensor: Tensor, root_rank: int, name: str | None = None, process_set: ProcessSet = global_process_set
) -> Handle[Tensor]:
    """Starts broadcast_(). Leave the tensor alone until it was waited for."""
    return start_broadcast(tensor, True, root_rank, name, process_set).then(lambda results: results[0])


def broadcast_(tensor: Tensor, root_rank: int, name: str | None = None, process_set: ProcessSet = global_process_set) -> Tensor:
    """broadcast() of values in place; returns `tensor`."""
    return broadcast_async_(tensor, root_rank, name, process_set).wait()


def _counts(splits: Tensor | Sequence[int] | None) -> list[int] | None:
    return None if splits is None else [int(rows) for rows in splits]


def alltoall_async(
    tensor: Tensor, splits: Tensor | Sequence[int] | None = None, name: str | None = None, process_set: ProcessSet = global_process_set
) -> Handle[Any]:
    """Starts alltoall() of values."""
    handle = start_alltoall(tensor, _counts(splits), name, process_set)
    if splits is None:
        return handle.then(lambda results: results[0][0])
    return handle.then(lambda results: (results[0][0], torch.tensor(results[0][1], dtype=torch.int32)))


def alltoall(
    tensor: Tensor, splits: Tensor | Sequence[int] | None = None, name: str | None = None, process_set: ProcessSet = global_process_set
) -> Any:
    """Sends splits[r] rows to member r of the process set, one part after another; what all members sent here, in their order.

    With splits returns (tensor, received_splits), whose second element is int32: the rows from each member. Without splits the rows are
    divided evenly, ValueError if they cannot be, and only the tensor is returned.
    """
    result, received = exchanged(tensor, _counts(splits), name, process_set)
    return result if splits is None else (result, received)


def sparse_allreduce_async(
    tensor: Tensor, name: str | None = None, op: ReduceOp = Average, process_set: ProcessSet = global_process_set
) -> Callable[[], Tensor]:
    """Starts the Sum or Average of sparse COO tensors of one shape; ranks may have different rows. Returns what waits for the result.

    The result is sparse, with the rows of all ranks, not coalesced. ValueError for other tensors and ops.
    """
    if not tensor.is_sparse or chosen_op(op, None) not in (Average, Sum):
        raise ValueError(f"sparse_allreduce_async: expected a sparse COO tensor and Sum or Average, got layout {tensor.layout}, op {op!r}")
    coalesced = tensor.detach().coalesce()
    indices = allgather_async(coalesced.indices().t().contiguous(), f"{name}, indices" if name else None, process_set)
    values = allgather_async(coalesced.values(), f"{name}, values" if name else None, process_set)

    def wait() -> Tensor:
        all_values = values.wait()
        if op == Average:
            all_values = all_values / process_set.size()
        return torch.sparse_coo_tensor(indices.wait().t(), all_values, tensor.shape, check_invariants=False)

    return wait


def barrier(process_set: ProcessSet = global_process_set) -> None:
    """Returns when every member of the process set has called it."""
    run_bare(OpKind.barrier, process_set)


def join(device: int = -1) -> int:
    """For a rank whose data has run out before the others': returns when all ranks have called it, with the last of them.

    device: for Horovod's scripts; not needed. Until then this rank contributes zeros to the others' sums and averages, no rows to their
    allgathers, and takes part in barriers and, but as root, in broadcasts. Min, Max, Product, Adasum and alltoall are refused meanwhile.
    """
    return run_join()


def poll(handle: Handle[Any]) -> bool:
    """True if synchronize() would not sleep."""
    return checked(handle).poll()


def synchronize(handle: Any) -> Any:
    """Waits for an …_async function and returns what the function without it returns. Raises what horovod_cpp.exceptions lists."""
    return handle() if callable(handle) else checked(handle).wait()
