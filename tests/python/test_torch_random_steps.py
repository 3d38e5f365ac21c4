"""DistributedOptimizer in random programs, in the steady state and out of it."""

from __future__ import annotations

import os
import random

import pytest

import random_steps
from conftest import Ranks

_FULL = os.environ.get("HVD_TEST_ROUNDS") == "full"
_FIRST = int(os.environ.get("HVD_TEST_SEED") or random.SystemRandom().randrange(10**9))


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("number", range(100 if _FULL else 5))
def test_random_steps(ranks: Ranks, count: int, number: int) -> None:
    options = {"num_groups": 3} if number % 3 == 2 else {"sparse_as_dense": True} if number % 3 == 1 else {}
    counts = ranks(count, random_steps.runs, _FIRST + number, 40, timeout_s=120, **options)
    assert all(one == counts[0] for one in counts)
    assert counts[0]["arena"], counts
