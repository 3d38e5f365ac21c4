"""Operations on NumPy arrays between the ranks.

Arrays: any strides and byte order, also 0-d and empty; bool, integers of 8 to 64 bits, float16, float32, float64, and with ml_dtypes
installed bfloat16, float8_e4m3fn and float8_e5m2. All ranks pass the same shape, type and options; otherwise every rank gets a MismatchError
that names array, ranks and values. The first dimension may differ in allgather and alltoall. An array of another framework that speaks DLPack
and lies in the CPU's memory is used where it lies, also in place; new arrays are NumPy's. What is no array (a number, a list) is made one where
the function returns a new array.

The average of integers is rounded towards zero; that of bool is refused (use Max, any rank, or Min, all ranks). prescale_factor and
postscale_factor are for floating types: each rank's values are multiplied by the first, the result by the second. 16-bit and 8-bit floating
types are added in 32 bits and rounded once.

Names: operations may be submitted in any order, ranks find each other's by name. Unnamed ones are numbered, so all ranks must call those in
the same order. A name may be used again once its operation was waited for. Each process set has names of its own.

…_async functions return a Handle for poll() and synchronize(); an array in place is certain to be written only then, and must be left alone
before. Any function from any thread. Errors: horovod_cpp.exceptions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from .._collectives import Collectives, Spec, run_bare, run_join
from .._core import OpKind, ReduceOp
from .._handle import Handle, checked
from ..ops import chosen_op
from ..process_sets import ProcessSet, global_process_set
from ._arrays import Array, NumpyArrays, view_of

A = TypeVar("A")  # an array of NumPy, or of another framework

_collectives = Collectives(NumpyArrays())


def _new(array: ArrayLike) -> Array:
    view = view_of(array)
    return view if isinstance(view, np.ndarray) or hasattr(view, "__dlpack__") else np.asarray(view)


def _in_place(spec: Spec, arrays: Sequence[A], is_group: bool) -> Handle[list[A]]:
    given = list(arrays)
    return _collectives.reduce(spec, [view_of(array) for array in given], True, is_group).then(lambda _: given)


def _reduction(
    kind: OpKind, average: bool | None, name: str | None, op: ReduceOp | None, prescale: float, postscale: float, process_set: ProcessSet
) -> Spec:
    return Spec(kind, name, process_set, chosen_op(op, average), prescale, postscale)


def _only(handle: Handle[list[Array]]) -> Handle[Array]:
    return handle.then(lambda results: results[0])


def allreduce_async(
    array: ArrayLike, average: bool | None = None, name: str | None = None, op: ReduceOp | None = None,
    prescale_factor: float = 1.0, postscale_factor: float = 1.0, process_set: ProcessSet = global_process_set,
) -> Handle[Array]:  # fmt: skip
    """Starts allreduce()."""
    spec = _reduction(OpKind.allreduce, average, name, op, prescale_factor, postscale_factor, process_set)
    return _only(_collectives.reduce(spec, [_new(array)], False, False))


def allreduce(
    array: ArrayLike, average: bool | None = None, name: str | None = None, op: ReduceOp | None = None,
    prescale_factor: float = 1.0, postscale_factor: float = 1.0, process_set: ProcessSet = global_process_set,
) -> Array:  # fmt: skip
    """A new array of the same shape and type: op (Average by default) over the ranks' arrays, the same bits on every rank."""
    return allreduce_async(array, average, name, op, prescale_factor, postscale_factor, process_set).wait()


def allreduce_async_(
    array: A, average: bool | None = None, name: str | None = None, op: ReduceOp | None = None,
    prescale_factor: float = 1.0, postscale_factor: float = 1.0, process_set: ProcessSet = global_process_set,
) -> Handle[A]:  # fmt: skip
    """Starts allreduce_()."""
    spec = _reduction(OpKind.allreduce, average, name, op, prescale_factor, postscale_factor, process_set)
    return _in_place(spec, [array], False).then(lambda results: results[0])


def allreduce_(
    array: A, average: bool | None = None, name: str | None = None, op: ReduceOp | None = None,
    prescale_factor: float = 1.0, postscale_factor: float = 1.0, process_set: ProcessSet = global_process_set,
) -> A:  # fmt: skip
    """allreduce() in place; returns `array`."""
    return allreduce_async_(array, average, name, op, prescale_factor, postscale_factor, process_set).wait()


def grouped_allreduce_async(
    arrays: Sequence[ArrayLike], average: bool | None = None, name: str | None = None, op: ReduceOp | None = None,
    prescale_factor: float = 1.0, postscale_factor: float = 1.0, process_set: ProcessSet = global_process_set,
) -> Handle[list[Array]]:  # fmt: skip
    """Starts grouped_allreduce()."""
    spec = _reduction(OpKind.allreduce, average, name, op, prescale_factor, postscale_factor, process_set)
    return _collectives.reduce(spec, [_new(array) for array in arrays], False, True)


def grouped_allreduce(
    arrays: Sequence[ArrayLike], average: bool | None = None, name: str | None = None, op: ReduceOp | None = None,
    prescale_factor: float = 1.0, postscale_factor: float = 1.0, process_set: ProcessSet = global_process_set,
) -> list[Array]:  # fmt: skip
    """allreduce() of several arrays, executed together or not at all. Shapes and types may be mixed."""
    return grouped_allreduce_async(arrays, average, name, op, prescale_factor, postscale_factor, process_set).wait()


def grouped_allreduce_async_(
    arrays: Sequence[A], average: bool | None = None, name: str | None = None, op: ReduceOp | None = None,
    prescale_factor: float = 1.0, postscale_factor: float = 1.0, process_set: ProcessSet = global_process_set,
) -> Handle[list[A]]:  # fmt: skip
    """Starts grouped_allreduce_()."""
    spec = _reduction(OpKind.allreduce, average, name, op, prescale_factor, postscale_factor, process_set)
    return _in_place(spec, arrays, True)


def grouped_allreduce_(
    arrays: Sequence[A], average: bool | None = None, name: str | None = None, op: ReduceOp | None = None,
    prescale_factor: float = 1.0, postscale_factor: float = 1.0, process_set: ProcessSet = global_process_set,
) -> list[A]:  # fmt: skip
    """grouped_allreduce() in place; returns the arrays."""
    return grouped_allreduce_async_(arrays, average, name, op, prescale_factor, postscale_factor, process_set).wait()


def allgather_async(array: ArrayLike, name: str | None = None, process_set: ProcessSet = global_process_set) -> Handle[Array]:
    """Starts allgather()."""
    gathered = _collectives.gather(Spec(OpKind.allgather, name, process_set), [_new(array)], [None], False)
    return gathered.then(lambda results: results[0][0])


def allgather(array: ArrayLike, name: str | None = None, process_set: ProcessSet = global_process_set) -> Array:
    """The arrays of all ranks, concatenated along the first dimension, in which they may differ. A 0-d array counts as one row."""
    return allgather_async(array, name, process_set).wait()


def grouped_allgather_async(
    arrays: Sequence[ArrayLike], name: str | None = None, process_set: ProcessSet = global_process_set
) -> Handle[list[Array]]:
    """Starts grouped_allgather()."""
    spec = Spec(OpKind.allgather, name, process_set)
    gathered = _collectives.gather(spec, [_new(array) for array in arrays], [None] * len(arrays), True)
    return gathered.then(lambda results: [result for result, _ in results])


def grouped_allgather(arrays: Sequence[ArrayLike], name: str | None = None, process_set: ProcessSet = global_process_set) -> list[Array]:
    """allgather() of several arrays, executed together or not at all."""
    return grouped_allgather_async(arrays, name, process_set).wait()


def broadcast_async(
    array: ArrayLike, root_rank: int, name: str | None = None, process_set: ProcessSet = global_process_set
) -> Handle[Array]:
    """Starts broadcast()."""
    spec = Spec(OpKind.broadcast, name, process_set, root=root_rank)
    return _only(_collectives.reduce(spec, [_new(array)], False, False))


def broadcast(array: ArrayLike, root_rank: int, name: str | None = None, process_set: ProcessSet = global_process_set) -> Array:
    """A new array with the values of rank `root_rank` (a rank of the job, also in a process set). All pass the same shape and type."""
    return broadcast_async(array, root_rank, name, process_set).wait()


def broadcast_async_(array: A, root_rank: int, name: str | None = None, process_set: ProcessSet = global_process_set) -> Handle[A]:
    """Starts broadcast_()."""
    return _in_place(Spec(OpKind.broadcast, name, process_set, root=root_rank), [array], False).then(lambda results: results[0])


def broadcast_(array: A, root_rank: int, name: str | None = None, process_set: ProcessSet = global_process_set) -> A:
    """broadcast() in place; returns `array`."""
    return broadcast_async_(array, root_rank, name, process_set).wait()


def alltoall_async(
    array: ArrayLike, splits: ArrayLike | None = None, name: str | None = None, process_set: ProcessSet = global_process_set
) -> Handle[Any]:
    """Starts alltoall()."""
    counts = None if splits is None else [int(rows) for rows in np.asarray(splits)]
    gathered = _collectives.gather(Spec(OpKind.alltoall, name, process_set), [_new(array)], [counts], False)
    if counts is None:
        return gathered.then(lambda results: results[0][0])
    return gathered.then(lambda results: (results[0][0], np.array(results[0][1], np.int32)))


def alltoall(
    array: ArrayLike, splits: ArrayLike | None = None, name: str | None = None, process_set: ProcessSet = global_process_set
) -> Any:
    """Sends splits[r] rows to member r of the process set, one part after another; what all members sent here, in their order.

    With splits returns (array, received_splits), whose second element is int32: the rows from each member. Without splits the rows are
    divided evenly, ValueError if they cannot be, and only the array is returned.
    """
    return alltoall_async(array, splits, name, process_set).wait()


def reducescatter_async(
    array: ArrayLike, op: ReduceOp | None = None, name: str | None = None, prescale_factor: float = 1.0, postscale_factor: float = 1.0,
    process_set: ProcessSet = global_process_set,
) -> Handle[Array]:  # fmt: skip
    """Starts reducescatter()."""
    spec = _reduction(OpKind.reducescatter, None, name, op, prescale_factor, postscale_factor, process_set)
    return _only(_collectives.reducescatter(spec, [_new(array)], False))


def reducescatter(
    array: ArrayLike, op: ReduceOp | None = None, name: str | None = None, prescale_factor: float = 1.0, postscale_factor: float = 1.0,
    process_set: ProcessSet = global_process_set,
) -> Array:  # fmt: skip
    """This rank's rows of what allreduce() returns. Rows are divided evenly; if they cannot be, the first ranks get one more. At least 1-d."""
    return reducescatter_async(array, op, name, prescale_factor, postscale_factor, process_set).wait()


def grouped_reducescatter_async(
    arrays: Sequence[ArrayLike], op: ReduceOp | None = None, name: str | None = None, prescale_factor: float = 1.0,
    postscale_factor: float = 1.0, process_set: ProcessSet = global_process_set,
) -> Handle[list[Array]]:  # fmt: skip
    """Starts grouped_reducescatter()."""
    spec = _reduction(OpKind.reducescatter, None, name, op, prescale_factor, postscale_factor, process_set)
    return _collectives.reducescatter(spec, [_new(array) for array in arrays], True)


def grouped_reducescatter(
    arrays: Sequence[ArrayLike], op: ReduceOp | None = None, name: str | None = None, prescale_factor: float = 1.0,
    postscale_factor: float = 1.0, process_set: ProcessSet = global_process_set,
) -> list[Array]:  # fmt: skip
    """reducescatter() of several arrays, executed together or not at all."""
    return grouped_reducescatter_async(arrays, op, name, prescale_factor, postscale_factor, process_set).wait()


def barrier(process_set: ProcessSet = global_process_set) -> None:
    """Returns when every member of the process set has called it."""
    run_bare(OpKind.barrier, process_set)


def join() -> int:
    """For a rank whose data has run out before the others': returns when all ranks have called it, with the last of them.

    Until then this rank contributes zeros to the others' sums and averages, no rows to their allgathers, and takes part in barriers and, but
    as root, in broadcasts. Min, Max, Product, Adasum and alltoall are refused meanwhile: MismatchError on the ranks that call them.
    """
    return run_join()


def poll(handle: Handle[Any]) -> bool:
    """True if synchronize() would not sleep."""
    return checked(handle).poll()


def synchronize(handle: Handle[Any]) -> Any:
    """Waits for an …_async function and returns what the function without it returns."""
    return checked(handle).wait()
