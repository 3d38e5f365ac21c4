"""World: one session, with what Python remembers of it. Ends with the session."""

from __future__ import annotations

import heapq
import threading
import weakref
from collections.abc import Sequence
from typing import Protocol

from . import _core
from ._core import DataType, DeviceType, OpKind, ReduceOp
from .exceptions import HorovodInternalError

Shape = tuple[int, ...]


class OperationNumbers:
    """Numbers for operations that the program did not name.

    All ranks run the same program and so take and return numbers in the same order: the lowest free one is the same everywhere. A number
    whose operation nobody has waited for may be taken again; then that operation is waited for first.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: list[int] = []
        self._count = 0
        self._unfinished: dict[int, Sequence[_core.Pending]] = {}

    def take(self) -> int:
        """Sleeps only if the last operation of this number is not done."""
        with self._lock:
            if self._free:
                number = heapq.heappop(self._free)
            else:
                number = self._count
                self._count += 1
            before = self._unfinished.pop(number, ())
        for pending in before:
            pending.join()
        return number

    def give_back(self, number: int, pending: Sequence[_core.Pending] = ()) -> None:
        """`pending`: what may still go on under this number."""
        with self._lock:
            if pending:
                self._unfinished[number] = pending
            heapq.heappush(self._free, number)


class Joins(Protocol):
    """What has to know that this rank has no more data (join): a framework's gradients."""

    @property
    def process_set_id(self) -> int: ...
    def withdraw(self) -> _core.Arena | None:
        """Before: what nobody is to wait for this rank in."""

    def end_join(self) -> None:
        """After: all ranks have joined."""


class World:
    """What operations need besides their tensors. Any thread."""

    def __init__(self, session: _core.Session) -> None:
        self.session = session
        self.rank = session.rank
        self.size = session.size
        self._declared: dict[tuple[object, ...], int] = {}
        self._numbers: dict[tuple[OpKind, int], OperationNumbers] = {}
        self._optimizers: dict[int, int] = {}
        self.exchanges: weakref.WeakSet[Joins] = weakref.WeakSet()

    def numbers(self, kind: OpKind, process_set: int) -> OperationNumbers:
        """Of the unnamed operations of this kind in this process set."""
        return self._numbers.setdefault((kind, process_set), OperationNumbers())

    def declare(
        self,
        name: str,
        kind: OpKind,
        process_set: int,
        dtype: DataType = DataType.uint8,
        shape: Shape = (),
        device: DeviceType = DeviceType.cpu,
        device_index: int = 0,
        op: ReduceOp = ReduceOp.sum,
        prescale: float = 1.0,
        postscale: float = 1.0,
        root: int = 0,
        group: str = "",
        group_size: int = 0,
    ) -> int:
        """The number that this operation is submitted by. Raises ValueError if it makes no sense on this rank."""
        key = (name, kind, process_set, dtype, shape, device, device_index, op, prescale, postscale, root, group, group_size)
        index = self._declared.get(key)
        if index is None:
            try:
                index = self.session.declare(
                    name, kind, dtype, shape, device, device_index, op, prescale, postscale, root, process_set, group, group_size
                )
            except TypeError:
                raise TypeError(
                    f"rank {self.rank}, {kind.name} {name!r}: expected a string as name, numbers as scale factors and a rank as root; got "
                    f"prescale_factor={prescale!r}, postscale_factor={postscale!r}, root_rank={root!r}"
                ) from None
            self._declared[key] = index
        return index

    def optimizer_number(self, process_set: int) -> int:
        """0 for the first DistributedOptimizer of this process set, 1 for the next."""
        number = self._optimizers.get(process_set, 0)
        self._optimizers[process_set] = number + 1
        return number

    def members(self, process_set: int) -> list[int]:
        """Ascending ranks of the job. Raises ValueError if there is no such set."""
        ranks = self.session.process_set(process_set)
        if ranks is None:
            raise ValueError(f"rank {self.rank}: there is no process set {process_set}; it was removed, or is of a session before this one")
        return ranks

    def is_lost(self) -> bool:
        """A rank or a connection was: nothing goes on."""
        try:
            self.session.check()
        except HorovodInternalError:
            return True
        return False

    def synchronous(self, pending: _core.Pending) -> int:
        """Waits; the result of an operation without tensors."""
        pending.wait()
        return pending.result[0] if pending.result else 0
