"""The end of a backward: where gradients that are on their way are waited for.

Exchanges that a backward reaches meet here, because ranks may reach them in different orders, or one of them not at all: they close in steps,
taking turns, and none waits for long while another one has not ended. A backward inside another one (re-entrant checkpointing) hands over to
the outer one. One that throws never calls its callbacks; torch lets go of them before the exception is caught, and that says it.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Generator, Sequence
from typing import Protocol

import torch

_PATIENCE_S = 0.002


class Closes(Protocol):
    """An exchange."""

    def closing(self, patience: float | None) -> Generator[None, None, None]:
        """One step after another. A step waits `patience` seconds at most (None: until it is over). Raises what is to be raised."""

    def abandon(self) -> None:
        """Backward has failed. Must not wait."""


def close(exchanges: Sequence[Closes]) -> None:
    closings = [exchange.closing(None if len(exchanges) == 1 else _PATIENCE_S) for exchange in exchanges]
    failures: list[Exception] = []
    open_ = closings
    try:
        while open_:
            open_ = [one for one in open_ if _advance(one, failures)]
    except BaseException:  # ctrl-C: nobody is to wait for what has not begun to close
        for exchange, closing in zip(exchanges, closings):
            if inspect.getgeneratorstate(closing) == inspect.GEN_CREATED:
                exchange.abandon()
        raise
    if failures:
        raise failures[0]


def _advance(closing: Generator[None, None, None], failures: list[Exception]) -> bool:
    """Whether there is more to do."""
    try:
        next(closing)
    except StopIteration:
        return False
    except Exception as failure:
        failures.append(failure)
        return False
    return True


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
