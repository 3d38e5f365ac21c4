"""Every operation × type × form × shape × layout × process set, on 2 and 3 ranks, against the reference."""

from __future__ import annotations

import pytest

import numpy_cases
import reference
from conftest import Ranks

pytestmark = pytest.mark.parametrize("count", [2, 3])
EVERY_TYPE = pytest.mark.parametrize("dtype", reference.TYPES)
REDUCTIONS = pytest.mark.parametrize(
    ("dtype", "op"),
    [(dtype, op) for dtype in reference.TYPES for op in numpy_cases.OPS if op != "adasum" and (dtype, op) != ("bool", "average")],
)


@REDUCTIONS
def test_allreduce(ranks: Ranks, count: int, dtype: str, op: str) -> None:
    ranks(count, numpy_cases.allreduce, dtype, op)


@REDUCTIONS
def test_grouped_allreduce(ranks: Ranks, count: int, dtype: str, op: str) -> None:
    ranks(count, numpy_cases.grouped_allreduce, dtype, op)


@REDUCTIONS
def test_reducescatter(ranks: Ranks, count: int, dtype: str, op: str) -> None:
    ranks(count, numpy_cases.reducescatter, dtype, op)


@pytest.mark.parametrize("dtype", [name for name in reference.TYPES if reference.is_floating(name)])
def test_prescale_and_postscale(ranks: Ranks, count: int, dtype: str) -> None:
    ranks(count, numpy_cases.scales, dtype)


@EVERY_TYPE
def test_broadcast(ranks: Ranks, count: int, dtype: str) -> None:
    ranks(count, numpy_cases.broadcast, dtype)


@EVERY_TYPE
def test_allgather(ranks: Ranks, count: int, dtype: str) -> None:
    ranks(count, numpy_cases.allgather, dtype)


@EVERY_TYPE
def test_alltoall(ranks: Ranks, count: int, dtype: str) -> None:
    ranks(count, numpy_cases.alltoall, dtype)


@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_arrays_that_speak_dlpack(ranks: Ranks, count: int, dtype: str) -> None:
    ranks(count, numpy_cases.dlpack, dtype)
