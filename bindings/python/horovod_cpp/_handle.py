"""Handle: an operation that goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from . import _core
from ._world import OperationNumbers
from .exceptions import HorovodInternalError

R = TypeVar("R")
S = TypeVar("S")


class Handle(Generic[R]):
    """What the …_async functions return. The arrays it works on stay alive until it is done; one that is dropped goes on unheard.

    A result in place is certain to be there only after wait(). One thread at a time.
    """

    __slots__ = ("_pending", "_finish", "_numbers", "_number", "_result", "_is_finished")

    def __init__(
        self, pending: Sequence[_core.Pending], finish: Callable[[], R], numbers: OperationNumbers | None = None, number: int = -1
    ) -> None:
        self._pending = pending
        self._finish: Callable[[], R] | None = finish
        self._numbers = numbers
        self._number = number
        self._is_finished = False

    def poll(self) -> bool:
        """True if wait() would not sleep."""
        return self._is_finished or all(one.done() for one in self._pending)

    def wait(self) -> R:
        """Sleeps until the operation is done and returns its result; again, the same. Raises what exceptions.py lists.

        A signal handler that raises (ctrl-C) ends the wait within 0.1 s; the operation goes on and may be waited for again.
        """
        if not self._is_finished:
            failure: HorovodInternalError | None = None
            for one in self._pending:
                try:
                    one.wait()
                except HorovodInternalError as error:
                    failure = failure or error
            self._return_number()
            if failure is not None:
                raise failure
            assert self._finish is not None
            self._result = self._finish()
            self._finish = None
            self._is_finished = True
        return self._result

    def then(self, next_step: Callable[[R], S]) -> Handle[S]:
        """A handle of the same operation, whose result is `next_step` of it. It takes the place of this one."""
        finish = self._finish
        assert finish is not None
        successor: Handle[S] = Handle(self._pending, lambda: next_step(finish()), self._numbers, self._number)
        self._numbers = None
        return successor

    def _return_number(self) -> None:
        if self._numbers is not None:
            self._numbers.give_back(self._number, () if all(one.done() for one in self._pending) else self._pending)
            self._numbers = None

    def __del__(self) -> None:
        self._return_number()


def checked(handle: Any) -> Handle[Any]:
    if not isinstance(handle, Handle):
        raise TypeError(f"expected what an …_async function has returned, got {type(handle).__name__}")
    return handle
