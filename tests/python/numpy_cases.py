"""What each rank does and checks in test_numpy_operations.py: every form of an operation on every shape and layout, for one type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import horovod_cpp.numpy as hvd
import reference
from reference import Array

OPS = {"sum": hvd.Sum, "average": hvd.Average, "min": hvd.Min, "max": hvd.Max, "product": hvd.Product, "adasum": hvd.Adasum}
_pairs: list[hvd.ProcessSet] = []


def sets() -> Iterator[hvd.ProcessSet]:
    """All ranks, and the set of the last two (made once a job), if this rank is a member."""
    yield hvd.global_process_set
    if not _pairs:
        _pairs.append(hvd.add_process_set([hvd.size() - 2, hvd.size() - 1]))
    pair = _pairs[0]
    if pair.included():
        yield pair


def layouts(array: Array) -> Iterator[tuple[str, Array]]:
    """The same values, laid out in different ways."""
    yield "contiguous", array.copy()
    if array.ndim == 1:
        wide = np.zeros(2 * array.size, array.dtype)
        wide[::2] = array
        yield "strided", wide[::2]
        yield "reversed", array[::-1].copy()[::-1]
    if array.ndim == 2:
        yield "transposed", array.T.copy().T
        framed = np.zeros((array.shape[0], array.shape[1] + 3), array.dtype)
        framed[:, 1:-2] = array
        yield "framed", framed[:, 1:-2]


def members_of(process_set: hvd.ProcessSet) -> list[int]:
    return process_set.ranks or []


def inputs(dtype: str, shape: tuple[int, ...], process_set: hvd.ProcessSet, salt: str = "") -> tuple[Array, list[Array]]:
    """This rank's array, and those of all members."""
    arrays = [reference.values(dtype, shape, rank, salt) for rank in members_of(process_set)]
    return arrays[process_set.rank()], arrays


def allreduce(dtype: str, op: str) -> None:
    for process_set in sets():
        for shape_name, shape in reference.SHAPES.items():
            mine, arrays = inputs(dtype, shape, process_set)
            expected = reference.reduce(op, arrays, dtype)
            for layout, array in layouts(mine):
                what = f"{shape_name}, {layout}, {process_set}"
                keywords: dict[str, Any] = {"op": OPS[op], "process_set": process_set}
                for got in (
                    hvd.allreduce(array, **keywords),
                    hvd.synchronize(hvd.allreduce_async(array, name=f"named {dtype} {op} {shape_name}", **keywords)),
                ):
                    reference.check(got, expected, dtype, what)
                    assert not np.shares_memory(got, array)
                np.testing.assert_array_equal(array.astype(np.float64), mine.astype(np.float64), err_msg="the input was changed")
                in_place = hvd.allreduce_(array, **keywords)
                assert in_place is array
                reference.check(array, expected, dtype, f"in place, {what}")
            (_, array), *_ = layouts(mine)
            handle = hvd.allreduce_async_(array, op=OPS[op], process_set=process_set)
            assert hvd.synchronize(handle) is array and hvd.poll(handle) and hvd.synchronize(handle) is array
            reference.check(array, expected, dtype, f"asynchronous in place, {shape_name}")


def grouped_allreduce(dtype: str, op: str) -> None:
    for process_set in sets():
        cases = [inputs(dtype, shape, process_set, "group") for shape in reference.SHAPES.values()]
        expected = [reference.reduce(op, arrays, dtype) for _, arrays in cases]
        for turn in range(4):
            arrays = [mine.copy() for mine, _ in cases]
            keywords: dict[str, Any] = {"op": OPS[op], "process_set": process_set}
            results = [
                lambda: hvd.grouped_allreduce(arrays, **keywords),
                lambda: hvd.synchronize(hvd.grouped_allreduce_async(arrays, name=f"group {dtype}", **keywords)),
                lambda: hvd.grouped_allreduce_(arrays, **keywords),
                lambda: hvd.synchronize(hvd.grouped_allreduce_async_(arrays, **keywords)),
            ][turn]()
            for got, want, array in zip(results, expected, arrays):
                assert (got is array) == (turn >= 2)
                reference.check(got, want, dtype, f"turn {turn}")


def scales(dtype: str) -> None:
    for op in ("sum", "average"):
        mine, arrays = inputs(dtype, (9,), hvd.global_process_set)
        got = hvd.allreduce(mine, op=OPS[op], prescale_factor=0.5, postscale_factor=4.0)
        reference.check(got, reference.reduce(op, arrays, dtype, 0.5, 4.0), dtype, op)
        part = hvd.reducescatter(mine, op=OPS[op], prescale_factor=0.5, postscale_factor=4.0)
        rows = reference.reducescatter_rows(9, hvd.size())[hvd.rank()]
        reference.check(part, reference.reduce(op, arrays, dtype, 0.5, 4.0)[rows], dtype, op)


def broadcast(dtype: str) -> None:
    for process_set in sets():
        for shape_name, shape in reference.SHAPES.items():
            for root in members_of(process_set):
                mine, arrays = inputs(dtype, shape, process_set)
                expected = arrays[members_of(process_set).index(root)]
                for layout, array in layouts(mine):
                    what = f"{shape_name}, {layout}, root {root}"
                    reference.check(hvd.broadcast(array, root, process_set=process_set), expected, dtype, what)
                    got = hvd.synchronize(hvd.broadcast_async(array, root, process_set=process_set))
                    reference.check(got, expected, dtype, what)
                    assert hvd.broadcast_(array, root, process_set=process_set) is array
                    reference.check(array, expected, dtype, f"in place, {what}")
                    array[...] = mine
                    assert hvd.synchronize(hvd.broadcast_async_(array, root, process_set=process_set)) is array
                    reference.check(array, expected, dtype, f"asynchronous in place, {what}")


def allgather(dtype: str) -> None:
    for process_set in sets():
        members = members_of(process_set)
        # Ranks have different numbers of rows; one has none.
        ragged = [reference.values(dtype, (2 * position, 3), rank) for position, rank in enumerate(members)]
        for arrays in (ragged, *([reference.values(dtype, shape, rank) for rank in members] for shape in reference.SHAPES.values())):
            expected = np.concatenate([array.reshape(1) if array.ndim == 0 else array for array in arrays])
            for layout, array in layouts(arrays[process_set.rank()]):
                reference.check(hvd.allgather(array, process_set=process_set), expected, dtype, layout)
                got = hvd.synchronize(hvd.allgather_async(array, process_set=process_set))
                reference.check(got, expected, dtype, layout)
        grouped = [ragged, [reference.values(dtype, (), rank) for rank in members]]
        mine = [arrays[process_set.rank()] for arrays in grouped]
        for results in (
            hvd.grouped_allgather(mine, process_set=process_set),
            hvd.synchronize(hvd.grouped_allgather_async(mine, process_set=process_set)),
        ):
            reference.check(results[0], np.concatenate(ragged), dtype, "grouped")
            reference.check(results[1], np.stack(grouped[1]), dtype, "grouped")


def alltoall(dtype: str) -> None:
    for process_set in sets():
        members = members_of(process_set)
        me = process_set.rank()
        # Member s sends s + r rows to member r: none from the first to itself.
        splits = [[sender + receiver for receiver in range(len(members))] for sender in range(len(members))]
        arrays = [reference.values(dtype, (sum(splits[s]), 2), rank) for s, rank in enumerate(members)]
        parts = [np.split(array, np.cumsum(splits[s])[:-1]) for s, array in enumerate(arrays)]
        expected = np.concatenate([parts[s][me] for s in range(len(members))])
        for layout, array in layouts(arrays[me]):
            for got, received in (
                hvd.alltoall(array, splits[me], process_set=process_set),
                hvd.synchronize(hvd.alltoall_async(array, np.array(splits[me]), process_set=process_set)),
            ):
                reference.check(got, expected, dtype, layout)
                assert received.tolist() == [splits[s][me] for s in range(len(members))]
        even = [reference.values(dtype, (2 * len(members),), rank) for rank in members]
        got = hvd.alltoall(even[me], process_set=process_set)
        reference.check(got, np.concatenate([array[2 * me : 2 * me + 2] for array in even]), dtype, "even")


def reducescatter(dtype: str, op: str) -> None:
    for process_set in sets():
        rows = reference.reducescatter_rows
        for shape in ((7,), (6, 5), (1, 2), (0, 3)):
            mine, arrays = inputs(dtype, shape, process_set)
            expected = reference.reduce(op, arrays, dtype)[rows(shape[0], process_set.size())[process_set.rank()]]
            for layout, array in layouts(mine):
                keywords: dict[str, Any] = {"op": OPS[op], "process_set": process_set}
                reference.check(hvd.reducescatter(array, **keywords), expected, dtype, layout)
                reference.check(hvd.synchronize(hvd.reducescatter_async(array, **keywords)), expected, dtype, layout)
                for got in (
                    hvd.grouped_reducescatter([array, array], **keywords),
                    hvd.synchronize(hvd.grouped_reducescatter_async([array, array], **keywords)),
                ):
                    for one in got:
                        reference.check(one, expected, dtype, f"grouped, {layout}")


class Foreign:
    """An array of a framework that nobody knows here."""

    def __init__(self, array: Array) -> None:
        self.array = array

    def __dlpack__(self, **keywords: Any) -> Any:
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


class Elsewhere(Foreign):
    """In the memory of a device."""

    def __dlpack_device__(self) -> Any:
        return (2, 0)

    def __dlpack__(self, **keywords: Any) -> Any:
        raise BufferError("not on the CPU")


def dlpack(dtype: str) -> None:
    for process_set in sets():
        mine, arrays = inputs(dtype, (5, 3), process_set)
        expected = reference.reduce("sum", arrays, dtype)
        options: dict[str, Any] = {"op": hvd.Sum, "process_set": process_set}
        reference.check(hvd.allreduce(Foreign(mine.copy()), name="dlpack", **options), expected, dtype, "new")
        foreign = Foreign(mine.copy())
        assert hvd.allreduce_(foreign, name="dlpack", **options) is foreign
        reference.check(foreign.array, expected, dtype, "in place")
        group = [Foreign(mine.copy()), mine.copy()]
        one, other = hvd.grouped_allreduce_(group, name="dlpack", **options)
        assert one is group[0] and other is group[1]
        reference.check(group[0].array, expected, dtype, "in a group")
        root = members_of(process_set)[0]
        foreign = Foreign(mine.copy())
        assert hvd.broadcast_(foreign, root, name="dlpack", process_set=process_set) is foreign
        reference.check(foreign.array, arrays[0], dtype, "broadcast")
        for function in (hvd.allreduce, hvd.allreduce_):
            try:
                function(Elsewhere(mine))
            except TypeError as error:
                assert "expected a NumPy array, got Elsewhere, which DLPack cannot hand over (not on the CPU)" in str(error), error
            else:
                raise AssertionError("accepted")
