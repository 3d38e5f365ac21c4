"""The operations, for any framework: what horovod_cpp.numpy and horovod_cpp.torch give names and signatures to.

Every function starts one operation, or a group of them (executed when all are ready on all ranks; refused together), and returns a Handle
with the results in the order of the arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple

from . import _core
from ._core import DeviceType, OpKind, ReduceOp
from ._frontend import A, Facts, Frontend
from ._handle import Handle
from ._process import world
from ._world import World
from .process_sets import ProcessSet, global_process_set, id_of


class Spec(NamedTuple):
    """What is the same for all arrays of a call."""

    kind: OpKind
    name: str | None
    process_set: ProcessSet
    op: ReduceOp = ReduceOp.sum
    prescale: float = 1.0
    postscale: float = 1.0
    root: int = 0


class _Call:
    """A call on its way: names, and declarations."""

    def __init__(self, spec: Spec, count: int, is_group: bool) -> None:
        self.spec = spec
        self.world: World = world()
        self.set = id_of(spec.process_set)
        self.count = count
        self.is_group = is_group
        self.members = self.world.members(self.set) if self.set else None
        self.numbers = None if spec.name else self.world.numbers(spec.kind, self.set)
        self.number = self.numbers.take() if self.numbers else -1

    @property
    def member_count(self) -> int:
        return self.world.size if self.members is None else len(self.members)

    def member_rank(self) -> int:
        """-1 for a rank that is no member, which the core refuses."""
        if self.members is None:
            return self.world.rank
        return self.members.index(self.world.rank) if self.world.rank in self.members else -1

    def name(self, number: int) -> str:
        base = self.spec.name or f"unnamed {self.spec.kind.name} {self.number}"
        return f"{base}, {number} of {self.count}" if self.is_group else base

    def where(self, number: int) -> str:
        """How messages begin."""
        return f"rank {self.world.rank}, {self.spec.kind.name} '{self.name(number)}'"

    def declare(self, number: int, facts: Facts, op: ReduceOp) -> int:
        group = f"group {self.name(0)}" if self.is_group else ""
        spec = self.spec
        return self.world.declare(
            self.name(number), spec.kind, self.set, facts.dtype, facts.shape, facts.device, facts.device_index, op,
            spec.prescale, spec.postscale, spec.root, group, self.count if self.is_group else 0,
        )  # fmt: skip

    def handle(self, pending: list[_core.Pending], finish: Callable[[], Any]) -> Handle[Any]:
        return Handle(pending, finish, self.numbers, self.number)

    def give_up(self) -> None:
        if self.numbers is not None:
            self.numbers.give_back(self.number)


@dataclass
class _Piece(Generic[A]):
    """One array of a call: what the core reads and writes, and what becomes of it."""

    index: int
    source: A
    target: A
    result: A  # where it differs from target, target is copied to it
    facts: Facts
    divisor: int


class Collectives(Generic[A]):
    """The operations on one framework's arrays. Has no state of its own."""

    def __init__(self, frontend: Frontend[A]) -> None:
        self._frontend = frontend

    # ---- results of the arrays' own shape ----------------------------------------------------------------------------

    def reduce(self, spec: Spec, arrays: Sequence[A], is_in_place: bool, is_group: bool) -> Handle[list[A]]:
        """allreduce and broadcast."""
        if not arrays:
            return Handle((), lambda: [])
        call = _Call(spec, len(arrays), is_group)
        try:
            pieces = [self._same_shape(call, number, array, is_in_place) for number, array in enumerate(arrays)]
            pending = self._submit(call, pieces)
        except BaseException:
            call.give_up()
            raise
        return call.handle(pending, lambda: [self._finish(piece) for piece in pieces])

    def _same_shape(self, call: _Call, number: int, array: A, is_in_place: bool) -> _Piece[A]:
        frontend = self._frontend
        facts = self._facts(call, number, array)
        if is_in_place:
            self._explain(call, number, frontend.check_writable, array)
        source = frontend.contiguous(array)
        if is_in_place or source is not array:
            target = source
        else:
            target = frontend.empty(facts.shape, array)
        op, divisor = self._effective(call, number, facts)
        index = call.declare(number, facts, op)
        return _Piece(index, source, target, array if is_in_place else target, facts, divisor)

    # ---- reducescatter -----------------------------------------------------------------------------------------------

    def reducescatter(self, spec: Spec, arrays: Sequence[A], is_group: bool) -> Handle[list[A]]:
        """Rows are divided evenly; if they cannot be, the first ranks get one more."""
        if not arrays:
            return Handle((), lambda: [])
        call = _Call(spec, len(arrays), is_group)
        try:
            pieces = [self._scattered(call, number, array) for number, array in enumerate(arrays)]
            pending = self._submit(call, pieces)
        except BaseException:
            call.give_up()
            raise
        return call.handle(pending, lambda: [self._finish(piece) for piece in pieces])

    def _scattered(self, call: _Call, number: int, array: A) -> _Piece[A]:
        frontend = self._frontend
        facts = self._facts(call, number, array)
        op, divisor = self._effective(call, number, facts)
        index = call.declare(number, facts, op)
        rows = _core.reducescatter_rows(facts.shape[0], call.member_count)[call.member_rank()]
        target = frontend.empty((rows, *facts.shape[1:]), array)
        return _Piece(index, frontend.contiguous(array), target, target, facts, divisor)

    # ---- results whose size the ranks agree on -----------------------------------------------------------------------

    def gather(
        self, spec: Spec, arrays: Sequence[A], splits: Sequence[Sequence[int] | None], is_group: bool
    ) -> Handle[list[tuple[A, list[int]]]]:
        """allgather and alltoall: results, each with the rows that came from every member. `splits` are for alltoall."""
        if not arrays:
            return Handle((), lambda: [])
        frontend = self._frontend
        call = _Call(spec, len(arrays), is_group)
        try:
            sources = [frontend.contiguous(array) for array in arrays]
            rows = [self._row_facts(call, number, array) for number, array in enumerate(arrays)]
            extents = [self._extents(call, number, array, splits[number]) for number, array in enumerate(arrays)]
            indices = [call.declare(number, row, ReduceOp.sum) for number, row in enumerate(rows)]
            addresses = [frontend.address(source) if _count(self._frontend.facts(source)) else 0 for source in sources]
            row_bytes = [_count(row) * _core.size_in_bytes(row.dtype) for row in rows]
            session = call.world.session
            if is_group:
                pending = session.submit_gather_many(indices, addresses, extents, row_bytes, sources)
            else:
                pending = [session.submit_gather(indices[0], addresses[0], extents[0], row_bytes[0], sources[0])]
        except BaseException:
            call.give_up()
            raise

        def finish() -> list[tuple[A, list[int]]]:
            results = []
            for one, row, source in zip(pending, rows, sources):
                received = one.result
                results.append((frontend.over(one.gathered, (sum(received), *row.shape), source), received))
            return results

        return call.handle(pending, finish)

    def _row_facts(self, call: _Call, number: int, array: A) -> Facts:
        facts = self._facts(call, number, array)
        if facts.device != DeviceType.cpu:
            raise ValueError(f"{call.where(number)}: expected memory of the CPU, got {facts.device.name}: copy it to the CPU first")
        return facts._replace(shape=facts.shape[1:])

    def _extents(self, call: _Call, number: int, array: A, splits: Sequence[int] | None) -> list[int]:
        shape = self._frontend.facts(array).shape
        rows = shape[0] if shape else 1
        if call.spec.kind == OpKind.allgather:
            return [rows]
        if splits is None:
            if rows % call.member_count:
                raise ValueError(
                    f"{call.where(number)}: shape {list(shape)}: its {rows} rows cannot be divided evenly among {call.member_count} "
                    "ranks: pass splits"
                )
            return [rows // call.member_count] * call.member_count
        if len(splits) != call.member_count or min(splits, default=0) < 0 or sum(splits) != rows:
            raise ValueError(
                f"{call.where(number)}: splits {list(splits)}: expected {call.member_count} numbers, none negative, that add up to the "
                f"{rows} rows of shape {list(shape)}"
            )
        return list(splits)

    # ---- common ------------------------------------------------------------------------------------------------------

    def _facts(self, call: _Call, number: int, array: A) -> Facts:
        try:
            return self._frontend.facts(array)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{call.where(number)}: {error}") from None

    def _explain(self, call: _Call, number: int, check: Callable[[A], None], array: A) -> None:
        try:
            check(array)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{call.where(number)}: {error}") from None

    def _effective(self, call: _Call, number: int, facts: Facts) -> tuple[ReduceOp, int]:
        """The core's operation, and what this side divides by: the core averages no integers."""
        op = call.spec.op
        if op != ReduceOp.average or not _core.is_integer(facts.dtype):
            return op, 1
        if facts.device != DeviceType.cpu:
            raise ValueError(f"{call.where(number)}: the average of integers is computed on the CPU only: use Sum and divide")
        return ReduceOp.sum, call.member_count

    def _submit(self, call: _Call, pieces: list[_Piece[A]]) -> list[_core.Pending]:
        frontend = self._frontend
        session = call.world.session
        sources = [frontend.address(piece.source) for piece in pieces]
        targets = [frontend.address(piece.target) for piece in pieces]
        keep = [(piece.source, piece.target) for piece in pieces]
        if call.is_group:
            return session.submit_many([piece.index for piece in pieces], sources, targets, keep)
        return [session.submit(pieces[0].index, sources[0], targets[0], keep[0])]

    def _finish(self, piece: _Piece[A]) -> A:
        frontend = self._frontend
        if piece.divisor > 1:
            target = frontend.facts(piece.target)
            _core.divide_in_place(frontend.address(piece.target), _count(target), target.dtype, piece.divisor)
        if piece.result is not piece.target:
            frontend.assign(piece.result, piece.target)
        elif piece.result is piece.source:
            frontend.written(piece.result)
        return piece.result


def _count(facts: Facts) -> int:
    """Elements."""
    count = 1
    for dimension in facts.shape:
        count *= dimension
    return count


def run_bare(kind: OpKind, process_set: ProcessSet, name: str | None = None) -> int:
    """barrier: waits; the operation's result."""
    return _run_bare(Spec(kind, name, process_set), [])


def run_join() -> int:
    """Waits until all ranks have joined; the last of them. Arenas are withdrawn when all know of it: before, who goes on would seem to be first."""
    exchanges = [exchange for exchange in world().exchanges if exchange.process_set_id == 0]
    arenas = [arena for exchange in exchanges if (arena := exchange.withdraw()) is not None]
    last = _run_bare(Spec(OpKind.join, None, global_process_set), arenas)
    for exchange in exchanges:
        exchange.end_join()
    return last


def _run_bare(spec: Spec, withdrawn: list[_core.Arena]) -> int:
    call = _Call(spec, 1, False)
    index = call.world.declare(call.name(0), spec.kind, call.set)
    pending = call.world.session.submit_bare(index, withdrawn)
    handle = call.handle([pending], lambda: pending.result[0] if pending.result else 0)
    return int(handle.wait())
