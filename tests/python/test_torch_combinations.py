"""DistributedOptimizer with AMP, torch.compile, schedulers, DataLoader and what else PyTorch's users combine it with."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import combination_cases as cases
from conftest import Ranks

pytestmark = pytest.mark.parametrize("count", [2, 3])


@pytest.mark.parametrize(
    "case",
    [
        cases.autocast,
        cases.compiled,
        cases.schedulers,
        cases.fused_and_foreach,
        cases.saved_and_loaded,
        cases.tied_weights,
        cases.copied_models,
    ],
    ids=lambda case: case.__name__,
)
def test_combination(ranks: Ranks, count: int, case: Callable[[], None]) -> None:
    ranks(count, case)


@pytest.mark.skipif(not hasattr(torch.amp, "GradScaler"), reason="this torch has no GradScaler on the CPU")
@pytest.mark.parametrize("clips", [False, True])
def test_grad_scaler(ranks: Ranks, count: int, clips: bool) -> None:
    ranks(count, cases.grad_scaler, clips)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_data_loader(ranks: Ranks, count: int, context: str) -> None:
    ranks(count, cases.data_loader, context)
