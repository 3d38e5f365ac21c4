"""Every operation × type × form on tensors, on 2 and 3 ranks, against the reference."""

from __future__ import annotations

import pytest
import torch

import reference
import torch_cases
from conftest import Ranks

pytestmark = pytest.mark.parametrize("count", [2, 3])
TYPES = [name for name in reference.TYPES if hasattr(torch, name)]  # torch 2.1 has uint8 of the unsigned ones
REDUCTIONS = [(dtype, op) for dtype in TYPES for op in ("sum", "average", "min", "max", "product") if (dtype, op) != ("bool", "average")]
ADASUMS = [(dtype, "adasum") for dtype in TYPES if reference.is_floating(dtype)]


@pytest.mark.parametrize(("dtype", "op"), REDUCTIONS + ADASUMS)
def test_allreduce(ranks: Ranks, count: int, dtype: str, op: str) -> None:
    ranks(count, torch_cases.allreduce, dtype, op)


@pytest.mark.parametrize(("dtype", "op"), REDUCTIONS)
def test_reducescatter(ranks: Ranks, count: int, dtype: str, op: str) -> None:
    ranks(count, torch_cases.reducescatter, dtype, op)


@pytest.mark.parametrize("dtype", TYPES)
def test_broadcast_allgather_alltoall(ranks: Ranks, count: int, dtype: str) -> None:
    ranks(count, torch_cases.moving, dtype)


def test_sparse_allreduce(ranks: Ranks, count: int) -> None:
    ranks(count, torch_cases.sparse)


def test_compression(ranks: Ranks, count: int) -> None:
    ranks(count, torch_cases.compressed)


def test_objects(ranks: Ranks, count: int) -> None:
    ranks(count, torch_cases.objects)
