"""SyncBatchNorm on 2 and 3 ranks against torch's BatchNorm on the whole batch in one process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import batch_norm_cases as cases
from conftest import Ranks

pytestmark = pytest.mark.parametrize("count", [2, 3])


@pytest.mark.parametrize("split", ["even", "uneven", "one empty"])
@pytest.mark.parametrize("dimensions", [2, 3, 4, 5])
def test_shapes(ranks: Ranks, count: int, dimensions: int, split: str) -> None:
    ranks(count, cases.normalizes, dimensions, split)


@pytest.mark.parametrize(
    "options",
    [
        {"momentum": None},
        {"momentum": 0.3, "eps": 0.01},
        {"affine": False},
        {"track_running_stats": False},
        {"dtype": torch.float32},
        {"dtype": torch.float32, "offset": 300.0, "tolerance": 1e-4},
    ],
    ids=str,
)
def test_options(ranks: Ranks, count: int, options: dict[str, Any]) -> None:
    ranks(count, cases.normalizes, 4, "uneven", **options)


@pytest.mark.parametrize(
    "case",
    [
        cases.normalizes_halves,
        cases.keeps_memory_format,
        cases.evaluates_alone,
        cases.trains_a_model,
        cases.in_a_process_set,
        cases.with_a_rank_that_joined,
        cases.mistakes,
    ],
    ids=lambda case: case.__name__,
)
def test_batch_norm(ranks: Ranks, count: int, case: Callable[[], None]) -> None:
    ranks(count, case)
