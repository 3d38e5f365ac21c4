"""ranks(n, case, *args): the results of case(*args) on n ranks that have called init()."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import sampling
from rank_pool import RankPool


def pytest_configure(config: pytest.Config) -> None:
    if plugin := sampling.wanted():
        config.pluginmanager.register(plugin)


Ranks = Callable[..., list[Any]]


@pytest.fixture(scope="session")
def _pools() -> Iterator[dict[int, RankPool]]:
    pools: dict[int, RankPool] = {}
    yield pools
    for pool in pools.values():
        if pool.is_whole:
            pool.close()


@pytest.fixture
def ranks(_pools: dict[int, RankPool]) -> Ranks:
    def call(count: int, case: Callable[..., Any], *args: Any, timeout_s: float = 300, **kwargs: Any) -> list[Any]:
        if count not in _pools or not _pools[count].is_whole:
            _pools[count] = RankPool(count, {})
        return _pools[count].call(case, args, kwargs, timeout_s)

    return call
