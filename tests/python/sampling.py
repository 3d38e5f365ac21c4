"""Which tests ctest runs: all on one and two ranks, of those on three, which share two cores, one in HVD_TEST_SAMPLE. HVD_TEST_ROUNDS=full runs all.

Which ones depends on HVD_TEST_SEED, which is chosen here if it is not set, and told at the end.
"""

from __future__ import annotations

import os
import random

import pytest


class Sampling:
    """A plugin of pytest."""

    def __init__(self, one_in: int) -> None:
        self._one_in = one_in
        self._seed = os.environ.get("HVD_TEST_SEED") or str(random.SystemRandom().randrange(1 << 32))
        self._told = ""

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        on_three = [item for item in items if getattr(item, "callspec", None) and item.callspec.params.get("count") == 3]
        left_out = set(on_three) - set(random.Random(self._seed).sample(on_three, -(-len(on_three) // self._one_in)))
        self._told = f"{len(left_out)} of {len(on_three)} tests on three ranks left out; the same again: HVD_TEST_SEED={self._seed}"
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.write_line(self._told)


def wanted() -> Sampling | None:
    one_in = int(os.environ.get("HVD_TEST_SAMPLE", "1"))
    return Sampling(one_in) if one_in > 1 and os.environ.get("HVD_TEST_ROUNDS") != "full" else None
