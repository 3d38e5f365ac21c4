"""Mistakes of Horovod's users after which the job goes on: each raises an error that says what to do. test_mistakes_of_jobs.py has those that end it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import mistake_cases as cases
from conftest import Ranks


@pytest.mark.parametrize(
    "case",
    [
        cases.calls,
        cases.process_sets,
        cases.starts,
        cases.optimizers,
        cases.two_over_one_model,
        cases.options_that_differ,
        cases.a_step_inside_a_backward,
        cases.on_a_join,
        cases.averages_of_halves,
    ],
    ids=lambda case: case.__name__,
)
def test_mistake(ranks: Ranks, case: Callable[[], None]) -> None:
    ranks(2, case, timeout_s=60)


@pytest.mark.parametrize("is_negotiated", [False, True])
def test_another_number_of_backwards(ranks: Ranks, is_negotiated: bool) -> None:
    ranks(2, cases.another_number_of_backwards, is_negotiated, timeout_s=60)


def test_timelines(ranks: Ranks, tmp_path: Path) -> None:
    ranks(2, cases.timelines, str(tmp_path / "timeline.json"))
