"""The operations as autograd sees them: the gradient of each is another operation between the ranks, in which all of them take part.

The loss that is differentiated is the sum of all ranks' losses: a gradient says how that changes with this rank's input. So the gradient of
a sum over ranks is the sum of the ranks' gradients, and that of an average their average.
"""

# mypy: disable-error-code="no-untyped-call, misc"

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .._core import ReduceOp
from ..process_sets import ProcessSet
from ._starting import start_allgather, start_allreduce, start_alltoall, start_broadcast, start_reducescatter


def _of(name: str | None) -> str | None:
    """Backward may run while an operation of the name is forward again."""
    return f"{name}, gradient" if name else None


def _check_linear(op: ReduceOp, what: str) -> None:
    if op not in (ReduceOp.average, ReduceOp.sum):
        raise RuntimeError(f"{what} with op={op.name} has no gradient: differentiate Sum or Average, or pass tensor.detach()")


class Allreduce(torch.autograd.Function):
    """One tensor, or a group."""

    @staticmethod
    def forward(
        ctx: Any, is_group: bool, name: str | None, op: ReduceOp, prescale: float, postscale: float, process_set: ProcessSet,
        *tensors: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:  # fmt: skip
        ctx.arguments = (is_group, _of(name), op, prescale, postscale, process_set)
        return tuple(start_allreduce(tensors, False, is_group, name, op, prescale, postscale, process_set).wait())

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        is_group, name, op, prescale, postscale, process_set = ctx.arguments
        _check_linear(op, "allreduce")
        return None, None, None, None, None, None, *Allreduce.apply(is_group, name, op, prescale, postscale, process_set, *gradients)


class Allgather(torch.autograd.Function):
    """One tensor, or a group."""

    @staticmethod
    def forward(ctx: Any, is_group: bool, name: str | None, process_set: ProcessSet, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        gathered = start_allgather(tensors, is_group, name, process_set).wait()
        me = process_set.rank()
        ctx.arguments = (is_group, _of(name), process_set)
        ctx.places = [(sum(rows[:me]), rows[me], tensor.shape) for (_, rows), tensor in zip(gathered, tensors)]
        return tuple(result for result, _ in gathered)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        is_group, name, process_set = ctx.arguments
        sums = Allreduce.apply(is_group, name, ReduceOp.sum, 1.0, 1.0, process_set, *gradients)
        own = [total.narrow(0, start, rows).reshape(shape) for total, (start, rows, shape) in zip(sums, ctx.places)]
        return None, None, None, *own


class Broadcast(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, root: int, name: str | None, process_set: ProcessSet, tensor: torch.Tensor) -> torch.Tensor:
        ctx.arguments = (root, _of(name), process_set)
        return start_broadcast(tensor, False, root, name, process_set).wait()[0]

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        root, name, process_set = ctx.arguments
        (total,) = Allreduce.apply(False, name, ReduceOp.sum, 1.0, 1.0, process_set, *gradients)
        ranks = process_set.ranks
        is_root = ranks[process_set.rank()] == root
        return None, None, None, total if is_root else torch.zeros_like(total)


class Alltoall(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, splits: list[int] | None, name: str | None, process_set: ProcessSet, tensor: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        ((result, received),) = start_alltoall(tensor, splits, name, process_set).wait()
        ctx.arguments = (received, _of(name), process_set)
        ctx.shape = tensor.shape
        counts = torch.tensor(received, dtype=torch.int32)
        ctx.mark_non_differentiable(counts)
        return result, counts

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        returned, _ = Alltoall.apply(*ctx.arguments, gradients[0])
        return None, None, None, returned.reshape(ctx.shape)


class Reducescatter(torch.autograd.Function):
    """One tensor, or a group."""

    @staticmethod
    def forward(
        ctx: Any, is_group: bool, name: str | None, op: ReduceOp, prescale: float, postscale: float, process_set: ProcessSet,
        *tensors: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:  # fmt: skip
        ctx.arguments = (is_group, _of(name), op, prescale * postscale, process_set)
        return tuple(start_reducescatter(tensors, is_group, name, op, prescale, postscale, process_set).wait())

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        is_group, name, op, scale, process_set = ctx.arguments
        _check_linear(op, "reducescatter")
        factor = scale / process_set.size() if op == ReduceOp.average else scale
        whole = Allgather.apply(is_group, name, process_set, *gradients)
        return None, None, None, None, None, None, *(gradient * factor for gradient in whole)


# ---- typed doors --------------------------------------------------------------------------------------------------------


def allreduced(
    tensors: Sequence[torch.Tensor], is_group: bool, name: str | None, op: ReduceOp, prescale: float, postscale: float,
    process_set: ProcessSet,
) -> Sequence[torch.Tensor]:  # fmt: skip
    results: Sequence[torch.Tensor] = Allreduce.apply(is_group, name, op, prescale, postscale, process_set, *tensors)
    return results


def reducescattered(
    tensors: Sequence[torch.Tensor], is_group: bool, name: str | None, op: ReduceOp, prescale: float, postscale: float,
    process_set: ProcessSet,
) -> Sequence[torch.Tensor]:  # fmt: skip
    results: Sequence[torch.Tensor] = Reducescatter.apply(is_group, name, op, prescale, postscale, process_set, *tensors)
    return results


def allgathered(tensors: Sequence[torch.Tensor], is_group: bool, name: str | None, process_set: ProcessSet) -> Sequence[torch.Tensor]:
    results: Sequence[torch.Tensor] = Allgather.apply(is_group, name, process_set, *tensors)
    return results


def broadcasted(tensor: torch.Tensor, root: int, name: str | None, process_set: ProcessSet) -> torch.Tensor:
    result: torch.Tensor = Broadcast.apply(root, name, process_set, tensor)
    return result


def exchanged(
    tensor: torch.Tensor, splits: list[int] | None, name: str | None, process_set: ProcessSet
) -> tuple[torch.Tensor, torch.Tensor]:
    """alltoall: the result, and the rows from each member as int32."""
    result, received = Alltoall.apply(splits, name, process_set, tensor)
    return result, received
