"""allreduce and reducescatter of tensors.

Tensors: dense, on the CPU, any strides, also 0-d and empty; bool, integers of 8 to 64 bits, float16, bfloat16, float32, float64, float8_e4m3fn,
float8_e5m2. All ranks pass the same shape, type and options; otherwise every rank gets a MismatchError that names tensor, ranks and values.
The average of integers is rounded towards zero; that of bool is refused (use Max, any rank, or Min, all ranks). prescale_factor and
postscale_factor are for floating types: each rank's values are multiplied by the first, the result by the second.

Names: operations may be submitted in any order, ranks find each other's by name. Unnamed ones are numbered, so all ranks must call those in
the same order. A name may be used again once its operation was waited for. Each process set has names of its own.

Autograd: the functions without _async and without a final _ are differentiable, for Sum and Average; the loss is the sum of the ranks'
losses. The others are about values; in place counts as a modification. …_async functions return a Handle for poll() and synchronize().
Errors: horovod_cpp.exceptions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .._core import ReduceOp
from .._handle import Handle
from ..ops import Average, chosen_op
from ..process_sets import ProcessSet, global_process_set
from ._checks import check_compression
from ._gradients import allreduced, reducescattered
from ._starting import start_allreduce, start_reducescatter
from .compression import Compression

Tensor = torch.Tensor


def _only(handle: Handle[list[Tensor]]) -> Handle[Tensor]:
    return handle.then(lambda results: results[0])


def _pack(tensors: Sequence[Tensor], compression: Any) -> list[tuple[Tensor, Any]]:
    """What is reduced, with what decompress() needs to know. What is no tensor is refused later."""
    check_compression(compression)
    return [compression.compress(tensor) if isinstance(tensor, Tensor) else (tensor, None) for tensor in tensors]


def allreduce_async(
    tensor: Tensor, average: bool | None = None, name: str | None = None, op: ReduceOp | None = None,
    prescale_factor: float = 1.0, postscale_factor: float = 1.0, process_set: ProcessSet = global_process_set,
) -> Handle[Tensor]:  # fmt: skip
    """Starts allreduce() of values."""
    return _only(start_allreduce([tensor], False, False, name, chosen_op(op, average), prescale_factor, postscale_factor, process_set))


def allreduce(
    tensor: Tensor, average: bool | None = None, name: str | None = None, compression: Any = Compression.none, op: ReduceOp | None = None,
    prescale_factor: float = 1.0, postscale_factor: float = 1.0, process_set: ProcessSet = global_process_set,
) -> Tensor:  # fmt: skip
    """A new tensor of the same shape and type: op (Average by default) over the ranks' tensors, the same bits on every rank."""
    ((compressed, context),) = _pack([tensor], compression)
    chosen = chosen_op(op, average)
    (reduced,) = allreduced([compressed], False, name, chosen, prescale_factor, postscale_factor, process_set)
    result: Tensor = compression.decompress(reduced, context)
    return result


def allreduce_async_(
    tensor: Tensor, average: bool | None = None, name: str | None = None, op: ReduceOp | None = None,
    prescale_factor: float = 1.0, postscale_factor: float = 1.0, process_set: ProcessSet = global_process_set,
) -> Handle[Tensor]:  # fmt: skip
    """Starts allreduce_(). Leave the tensor alone until it was waited for."""
    return _only(start_allreduce([tensor], True, False, name, chosen_op(op, average), prescale_factor, postscale_factor, process_set))


def allreduce_(
    tensor: Tensor, average: bool | None = None, name: str | None = None, op: ReduceOp | None = None,
    prescale_factor: float = 1.0, postscale_factor: float = 1.0, process_set: ProcessSet = global_process_set,
) -> Tensor:  # fmt: skip
    """allreduce() of values in place; returns `tensor`."""
    return allreduce_async_(tensor, average, name, op, prescale_factor, postscale_factor, process_set).wait()


def grouped_allreduce_async(
    tensors: Sequence[Tensor], average: bool | None = None, name: str | None = None, op: ReduceOp | None = None,
    prescale_factor: float = 1.0, postscale_factor: float = 1.0, process_set: ProcessSet = global_process_set,
) -> Handle[list[Tensor]]:  # fmt: skip
    """Starts grouped_allreduce() of values."""
    return start_allreduce(tensors, False, True, name, chosen_op(op, average), prescale_factor, postscale_factor, process_set)


def grouped_allreduce(
    tensors: Sequence[Tensor], average: bool | None = None, name: str | None = None, compression: Any = Compression.none,
    op: ReduceOp | None = None, prescale_factor: float = 1.0, postscale_factor: float = 1.0,
    process_set: ProcessSet = global_process_set,
) -> list[Tensor]:  # fmt: skip
    """allreduce() of several tensors, executed together or not at all. Shapes and types may be mixed."""
    pairs = _pack(tensors, compression)
    compressed = [tensor for tensor, _ in pairs]
    chosen = chosen_op(op, average)
    reduced = allreduced(compressed, True, name, chosen, prescale_factor, postscale_factor, process_set)
    return [compression.decompress(tensor, context) for tensor, (_, context) in zip(reduced, pairs)]


def grouped_allreduce_async_(
    tensors: Sequence[Tensor], average: bool | None = None, name: str | None = None, op: ReduceOp | None = None,
    prescale_factor: float = 1.0, postscale_factor: float = 1.0, process_set: ProcessSet = global_process_set,
) -> Handle[list[Tensor]]:  # fmt: skip
    """Starts grouped_allreduce_(). Leave the tensors alone until they were waited for."""
    return start_allreduce(tensors, True, True, name, chosen_op(op, average), prescale_factor, postscale_factor, process_set)


def grouped_allreduce_(
    tensors: Sequence[Tensor], average: bool | None = None, name: str | None = None, op: ReduceOp | None = None,
    prescale_factor: float = 1.0, postscale_factor: float = 1.0, process_set: ProcessSet = global_process_set,
) -> list[Tensor]:  # fmt: skip
    """grouped_allreduce() of values in place; returns the tensors."""
    return grouped_allreduce_async_(tensors, average, name, op, prescale_factor, postscale_factor, process_set).wait()


def reducescatter_async(
    tensor: Tensor, name: str | None = None, op: ReduceOp = Average, process_set: ProcessSet = global_process_set,
    prescale_factor: float = 1.0, postscale_factor: float = 1.0,
) -> Handle[Tensor]:  # fmt: skip
    """Starts reducescatter() of values."""
    return _only(start_reducescatter([tensor], False, name, chosen_op(op, None), prescale_factor, postscale_factor, process_set))


def reducescatter(
    tensor: Tensor, name: str | None = None, compression: Any = Compression.none, op: ReduceOp = Average,
    process_set: ProcessSet = global_process_set, prescale_factor: float = 1.0, postscale_factor: float = 1.0,
) -> Tensor:  # fmt: skip
    """This rank's rows of what allreduce() returns. Rows are divided evenly; if they cannot be, the first ranks get one more. At least 1-d.

    The gradient is the mathematical one: Horovod's is larger by the number of ranks.
    """
    ((compressed, context),) = _pack([tensor], compression)
    chosen = chosen_op(op, None)
    (part,) = reducescattered([compressed], False, name, chosen, prescale_factor, postscale_factor, process_set)
    result: Tensor = compression.decompress(part, context)
    return result


def grouped_reducescatter_async(
    tensors: Sequence[Tensor], name: str | None = None, op: ReduceOp = Average, process_set: ProcessSet = global_process_set,
    prescale_factor: float = 1.0, postscale_factor: float = 1.0,
) -> Handle[list[Tensor]]:  # fmt: skip
    """Starts grouped_reducescatter() of values."""
    return start_reducescatter(tensors, True, name, chosen_op(op, None), prescale_factor, postscale_factor, process_set)


def grouped_reducescatter(
    tensors: Sequence[Tensor], name: str | None = None, compression: Any = Compression.none, op: ReduceOp = Average,
    process_set: ProcessSet = global_process_set, prescale_factor: float = 1.0, postscale_factor: float = 1.0,
) -> list[Tensor]:  # fmt: skip
    """reducescatter() of several tensors, executed together or not at all."""
    pairs = _pack(tensors, compression)
    compressed = [tensor for tensor, _ in pairs]
    chosen = chosen_op(op, None)
    parts = reducescattered(compressed, True, name, chosen, prescale_factor, postscale_factor, process_set)
    return [compression.decompress(part, context) for part, (_, context) in zip(parts, pairs)]
