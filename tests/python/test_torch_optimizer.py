"""DistributedOptimizer on 2 and 3 ranks against plain training on one process; equal starts; mistakes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import backward_cases
import optimizer_cases as cases
from conftest import Ranks

pytestmark = pytest.mark.parametrize("count", [2, 3])


@pytest.mark.parametrize(
    "case",
    [
        cases.trains,
        cases.trains_with_options,
        backward_cases.unused_parameters,
        backward_cases.a_rank_without_data,
        backward_cases.a_backward_that_fails,
        backward_cases.two_optimizers_in_any_order,
        backward_cases.gradients_alone,
        cases.closures,
        cases.in_process_set,
        cases.parameters_added,
        cases.state_is_broadcast,
        cases.joins,
        cases.mistakes,
    ],
    ids=lambda case: case.__name__,
)
def test_optimizer(ranks: Ranks, count: int, case: Callable[[], None]) -> None:
    ranks(count, case)


@pytest.mark.parametrize("how", ["passes", "short", "two losses", "sum of two losses", "no_sync"])
def test_accumulation(ranks: Ranks, count: int, how: str) -> None:
    ranks(count, backward_cases.accumulates, how)


@pytest.mark.parametrize("compression", ["none", "bf16"])
def test_adasum(ranks: Ranks, count: int, compression: str) -> None:
    ranks(count, cases.adasum, compression)


@pytest.mark.parametrize("by_hand", [False, True])
def test_clipping(ranks: Ranks, count: int, by_hand: bool) -> None:
    ranks(count, cases.clips, by_hand)


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointing(ranks: Ranks, count: int, use_reentrant: bool) -> None:
    ranks(count, backward_cases.checkpointed, use_reentrant)


@pytest.mark.parametrize("as_dense", [False, True])
def test_sparse_gradients(ranks: Ranks, count: int, as_dense: bool) -> None:
    ranks(count, cases.sparse, as_dense)
