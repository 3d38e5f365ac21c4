"""The end of a backward: where gradients that are on their way are waited for.

Exchanges that a backward reaches meet here, because ranks may reach them in different orders: they close in steps, all of them together, so
that none waits for what another one does later. A backward inside another one (re-entrant checkpointing) hands over to the outer one. One
that throws never calls its callbacks; torch lets go of them before the exception is caught, and that says it.
"""

from __future__ import annotations

import weakref
from typing import Protocol

import torch


class Closes(Protocol):
    """An exchange. Each step may wait for what all ranks do in the steps before."""

    def tell_facts(self) -> None: ...
    def send_the_rest(self) -> None: ...
    def finish(self) -> Exception | None:
        """What is to be raised, when all have finished."""

    def abandon(self) -> None:
        """Backward has failed. Must not wait."""


def close(exchanges: list[Closes]) -> None:
    for exchange in exchanges:
        exchange.tell_facts()
    for exchange in exchanges:
        exchange.send_the_rest()
    failures = [exchange.finish() for exchange in exchanges]
    for failure in failures:
        if failure is not None:
            raise failure


class _BackwardEnd:
    def __init__(self, task: int) -> None:
        self.exchanges: list[Closes] = []
        self.task = task
        self.has_run = False

    def __call__(self) -> None:
        self.has_run = True
        _ends.pop(self.task, None)
        outer = _current_task()
        if outer in (-1, self.task):
            close(self.exchanges)
            return
        for exchange in self.exchanges:
            at_end_of_backward(exchange)

    def __del__(self) -> None:
        if not self.has_run:
            _ends.pop(self.task, None)
            for exchange in self.exchanges:
                exchange.abandon()


# Not owned: the death of one is news.
_ends: weakref.WeakValueDictionary[int, _BackwardEnd] = weakref.WeakValueDictionary()


def _current_task() -> int:
    return torch._C._current_graph_task_id()


def at_end_of_backward(exchange: Closes) -> None:
    """Called from a hook: once for each exchange and backward."""
    task = _current_task()
    end = _ends.get(task)
    if end is None:
        end = _BackwardEnd(task)
        _ends[task] = end
        torch.autograd.Variable._execution_engine.queue_callback(end)
    if exchange not in end.exchanges:
        end.exchanges.append(exchange)
