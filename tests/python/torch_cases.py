"""What each rank does and checks in test_torch_operations.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

import horovod_cpp.torch as hvd
import reference
from numpy_cases import OPS, inputs, members_of, sets
from reference import Array

SHAPES = reference.SHAPES


def tensor_of(array: Array) -> torch.Tensor:
    name = array.dtype.name
    if name in reference.SMALL_FLOATS:
        return torch.tensor(array.astype(np.float32)).to(getattr(torch, name))
    return torch.from_numpy(np.array(array))


def array_of(tensor: torch.Tensor) -> Array:
    name = str(tensor.dtype).removeprefix("torch.")
    if name in reference.SMALL_FLOATS:
        return np.asarray(tensor.to(torch.float32).numpy().astype(reference.dtype_of(name)))
    return tensor.numpy()


def check(got: torch.Tensor, expected: Array, dtype: str, what: str, atol: float = 0.0) -> None:
    assert not got.requires_grad
    reference.check(array_of(got), expected, dtype, what, atol)


def layouts(tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    yield "contiguous", tensor.clone()
    if tensor.dim() == 1:
        wide = torch.zeros(2 * tensor.numel(), dtype=tensor.dtype)
        wide[::2] = tensor
        yield "strided", wide[::2]
    if tensor.dim() == 2:
        yield "transposed", tensor.t().clone(memory_format=torch.contiguous_format).t()


def allreduce(dtype: str, op: str) -> None:
    atol = 1e-12 if op == "adasum" else 0.0  # what should cancel may not quite
    for process_set in sets():
        keywords: dict[str, Any] = {"op": OPS[op], "process_set": process_set}
        for shape_name, shape in SHAPES.items():
            mine, arrays = inputs(dtype, shape, process_set)
            expected = reference.reduce(op, arrays, dtype)
            for layout, tensor in layouts(tensor_of(mine)):
                what = f"{shape_name}, {layout}"
                check(hvd.allreduce(tensor, **keywords), expected, dtype, what, atol)
                check(hvd.synchronize(hvd.allreduce_async(tensor, name=f"{dtype} {op}", **keywords)), expected, dtype, what, atol)
                reference.check(array_of(tensor), mine, dtype, "the input was changed")
                version = tensor._version
                assert hvd.allreduce_(tensor, **keywords) is tensor and tensor._version > version
                check(tensor, expected, dtype, f"in place, {what}", atol)
        cases = [inputs(dtype, shape, process_set, "group") for shape in SHAPES.values()]
        for turn in range(4):
            tensors = [tensor_of(mine) for mine, _ in cases]
            results = [
                lambda: hvd.grouped_allreduce(tensors, **keywords),
                lambda: hvd.synchronize(hvd.grouped_allreduce_async(tensors, name=f"group {dtype}", **keywords)),
                lambda: hvd.grouped_allreduce_(tensors, **keywords),
                lambda: hvd.synchronize(hvd.grouped_allreduce_async_(tensors, **keywords)),
            ][turn]()
            for got, (_, arrays), tensor in zip(results, cases, tensors):
                assert (got is tensor) == (turn >= 2)
                check(got, reference.reduce(op, arrays, dtype), dtype, f"group, turn {turn}", atol)


def reducescatter(dtype: str, op: str) -> None:
    for process_set in sets():
        keywords: dict[str, Any] = {"op": OPS[op], "process_set": process_set}
        for shape in ((7,), (6, 5), (0, 3)):
            mine, arrays = inputs(dtype, shape, process_set)
            expected = reference.reduce(op, arrays, dtype)[reference.reducescatter_rows(shape[0], process_set.size())[process_set.rank()]]
            for layout, tensor in layouts(tensor_of(mine)):
                check(hvd.reducescatter(tensor, **keywords), expected, dtype, layout)
                check(hvd.synchronize(hvd.reducescatter_async(tensor, **keywords)), expected, dtype, layout)
                for one in hvd.grouped_reducescatter([tensor, tensor], **keywords):
                    check(one, expected, dtype, layout)
                for one in hvd.synchronize(hvd.grouped_reducescatter_async([tensor, tensor], **keywords)):
                    check(one, expected, dtype, layout)


def moving(dtype: str) -> None:
    """broadcast, allgather and alltoall."""
    for process_set in sets():
        members = members_of(process_set)
        me = process_set.rank()
        for shape_name, shape in SHAPES.items():
            mine, arrays = inputs(dtype, shape, process_set)
            gathered = np.concatenate([array.reshape(1) if array.ndim == 0 else array for array in arrays])
            for layout, tensor in layouts(tensor_of(mine)):
                what = f"{shape_name}, {layout}"
                check(hvd.allgather(tensor, process_set=process_set), gathered, dtype, what)
                check(hvd.synchronize(hvd.allgather_async(tensor, process_set=process_set)), gathered, dtype, what)
                for one in hvd.grouped_allgather([tensor, tensor], process_set=process_set):
                    check(one, gathered, dtype, what)
                for position, root in enumerate(members):
                    check(hvd.broadcast(tensor, root, process_set=process_set), arrays[position], dtype, what)
                    got = hvd.synchronize(hvd.broadcast_async(tensor, root, process_set=process_set))
                    check(got, arrays[position], dtype, what)
                assert hvd.broadcast_(tensor, members[-1], process_set=process_set) is tensor
                check(tensor, arrays[-1], dtype, what)
        splits = [[sender + receiver for receiver in range(len(members))] for sender in range(len(members))]
        arrays = [reference.values(dtype, (sum(splits[s]), 2), rank) for s, rank in enumerate(members)]
        parts = [np.split(array, np.cumsum(splits[s])[:-1]) for s, array in enumerate(arrays)]
        got, received = hvd.alltoall(tensor_of(arrays[me]), splits=torch.tensor(splits[me]), process_set=process_set)
        check(got, np.concatenate([parts[s][me] for s in range(len(members))]), dtype, "alltoall")
        assert received.dtype == torch.int32 and received.tolist() == [splits[s][me] for s in range(len(members))]
        even = [reference.values(dtype, (2 * len(members),), rank) for rank in members]
        got = hvd.alltoall(tensor_of(even[me]), process_set=process_set)
        check(got, np.concatenate([array[2 * me : 2 * me + 2] for array in even]), dtype, "even")


def sparse() -> None:
    n, me = hvd.size(), hvd.rank()
    dense = [torch.zeros(6, 2).index_fill_(0, torch.tensor([rank, 5]), rank + 1.0) for rank in range(n)]
    for op, factor in ((hvd.Sum, 1.0), (hvd.Average, 1 / n)):
        got = hvd.synchronize(hvd.sparse_allreduce_async(dense[me].to_sparse(1), "rows", op))
        assert got.is_sparse
        torch.testing.assert_close(got.to_dense(), sum(dense) * factor)


def compressed() -> None:
    n, me = hvd.size(), hvd.rank()
    tensor = torch.full((5,), float(me))
    for compression in (hvd.Compression.none, hvd.Compression.fp16, hvd.Compression.bf16):
        got = hvd.allreduce(tensor, compression=compression)
        assert got.dtype == torch.float32 and got.tolist() == [(n - 1) / 2] * 5


def objects() -> None:
    n, me = hvd.size(), hvd.rank()
    assert hvd.allgather_object({"rank": me, "pad": "x" * 1000 * me}) == [{"rank": r, "pad": "x" * 1000 * r} for r in range(n)]
    mine = ["from", me]
    got = hvd.broadcast_object(mine, n - 1)
    assert got == ["from", n - 1] and (got is mine) == (me == n - 1)
