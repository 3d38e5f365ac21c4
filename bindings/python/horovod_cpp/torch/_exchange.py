"""GradientExchange: the gradients of one optimizer, reduced once for each backward that communicates (a round).

The first rounds are negotiated. Once all ranks have had a regular one, they share an arena, laid out as gradients came on the lowest rank, and
reduce there without a message; a rank that has what no arena can hold takes them back to negotiation. So rounds of both kinds may follow each
other, within one backward too, and it does not matter which pieces of a gradient meet in which round: sums of sums are sums.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator, Sequence
from typing import Any

import torch

from .. import _core
from .._core import ReduceOp
from .._process import is_initialized, world
from ..exceptions import HorovodInternalError, MismatchError, NotInitializedError, WorldError
from ..process_sets import ProcessSet, id_of
from ._backward_end import at_end_of_backward, close
from ._gradient_arena import GradientArena, arena_door
from ._negotiated import NegotiatedRounds, backward_failed
from ._owners import owners
from ._reduction import Reduction, finish
from ._slots import Slot, SlotGroup
from ._starting import start_allreduce
from ._tensors import supported_types
from .compression import BF16Compressor, FP16Compressor, NoneCompressor

_MOST_ROUNDS_TO_OPEN = 64


class GradientExchange:
    """Of one optimizer. One thread at a time, which may be another one for each backward."""

    def __init__(
        self, number: int, op: ReduceOp, prescale: float, postscale: float, compression: Any, passes: int, sparse_as_dense: bool,
        process_set: ProcessSet,
    ) -> None:  # fmt: skip
        self._world = world()
        self._world.exchanges.add(self)
        owners.add(self)
        session = self._world.session
        crosses_wire = session.crosses_wire(_core.DeviceType.cpu)
        saves_nothing = compression in (FP16Compressor, BF16Compressor) and not crosses_wire
        self._reduction = Reduction(
            f"DistributedOptimizer {number}", op, prescale, postscale, NoneCompressor if saves_nothing else compression, sparse_as_dense,
            process_set, id_of(process_set),
        )  # fmt: skip
        self.passes_per_step = passes
        self.groups: list[SlotGroup] = []
        self._slots: dict[torch.Tensor, Slot] = {}
        self._hooks: list[Any] = []
        self._negotiated = NegotiatedRounds(self._world, self._reduction, self.groups)
        self._may_plan = session.wants_plans and not crosses_wire and not self._reduction.compresses
        self._types = frozenset(supported_types())
        self._arena: GradientArena | None = None
        self._regular_rounds = 0
        self._regular_rounds_to_open = 1  # more after each arena that was left
        self._order: list[Slot] = []  # in which gradients came, while there is no arena
        self._first_came_at = 0.0
        self._is_open = False  # a backward has reached it
        self._communicates = False
        self._has_gradients = False
        self._passes = 0  # backwards since the last step
        self._rounds = 0  # since the last step
        self._dropped_rounds = 0  # of these, up to the last one that was dropped
        self.is_discarded = False
        self._is_abandoned = False  # the last round
        self._leftovers: list[_core.Pending] = []
        self.no_sync_depth = 0

    @property
    def process_set_id(self) -> int:
        return self._reduction.set_id

    # ---- parameters --------------------------------------------------------------------------------------------------

    def add_group(self, named: Sequence[tuple[str, torch.Tensor]]) -> None:
        """Parameters whose gradients go together, in the same order on all ranks."""
        group = SlotGroup(f"{self._reduction.label}, group {len(self.groups)}")
        for name, parameter in named:
            slot = Slot(name, parameter, group)
            group.slots.append(slot)
            self._slots[parameter] = slot
            # The first runs before autograd accumulates, the second afterwards.
            hooked: Any = parameter
            self._hooks += (hooked.register_hook(self._before(slot)), hooked.register_post_accumulate_grad_hook(self._after(slot)))
        self.groups.append(group)

    def __contains__(self, parameter: torch.Tensor) -> bool:
        return parameter in self._slots

    @property
    def is_of_this_session(self) -> bool:
        return is_initialized() and world() is self._world

    def detach(self) -> None:
        """Its optimizer is gone, and backward is as without it. Waits for nobody: the garbage collector may call this."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        owners.discard(self)
        if self._arena is not None and not self._is_open:
            self._arena.let_go()
            self._arena = None

    def _check_session(self) -> None:
        if not self.is_of_this_session:
            raise NotInitializedError(
                f"rank {self._world.rank}, {self._reduction.label}: it is of the time before shutdown(): call init() and make a new one"
            )

    # ---- hooks -------------------------------------------------------------------------------------------------------

    def _before(self, slot: Slot) -> Callable[[torch.Tensor], None]:
        def hook(_: torch.Tensor) -> None:
            if slot.is_reduced:
                if not self._is_open:
                    self._begin()
                slot.put_aside_what_is_reduced()

        return hook

    def _after(self, slot: Slot) -> Callable[[torch.Tensor], None]:
        def hook(parameter: torch.Tensor) -> None:
            if not self._is_open:
                self._begin()
            slot.is_dirty = self._has_gradients = True
            if self._communicates and not slot.has_fired:
                slot.has_fired = True
                (self._arrive if self._arena is None else self._arena.take)(slot)

        return hook

    def _arrive(self, slot: Slot) -> None:
        if not self._order:
            self._first_came_at = time.perf_counter()
        self._order.append(slot)
        group = slot.group
        group.fired += 1
        if group.fired == len(group.slots):
            self._negotiated.send_early(slot)

    def _begin(self) -> None:
        self._check_session()
        self._finish_leftovers()
        self._is_open = True
        self._has_gradients = False
        self._communicates = self.no_sync_depth == 0 and (self._passes + 1) % self.passes_per_step == 0
        self._begin_round()
        at_end_of_backward(self)

    def _begin_round(self) -> None:
        if self._arena is not None:
            self._arena.begin()
        else:
            self._order = []
            self._negotiated.begin()

    # ---- the end of backward -----------------------------------------------------------------------------------------

    def closing(self, patience: float | None) -> Generator[None, None, None]:
        """The end of a round, in steps: see _backward_end."""
        # torch.autograd.grad() runs hooks, too, and is none of ours.
        self._communicates &= self._has_gradients
        self._passes += self._has_gradients
        if not self._communicates:
            self._is_open = False
            for slot in self._slots.values():
                if slot.kept is not None and slot.parameter.grad is None:
                    slot.put_back(None)
            return
        self._rounds += 1
        try:
            why_discarded = yield from self._close_round(patience)
        except MismatchError as error:
            why_discarded = MismatchError(f"{error} All ranks make their DistributedOptimizers of the same model, with the same options.")
        finally:
            self._is_open = False
        self.is_discarded = why_discarded is not None
        if why_discarded is not None:
            self._dropped_rounds = self._rounds
            self._clear_gradients()
            raise why_discarded

    def _close_round(self, patience: float | None) -> Generator[None, None, HorovodInternalError | None]:
        """Why the step is dropped."""
        if self._arena is not None:
            try:
                self._arena.close(self._backward_number, needs_negotiation=len(self._slots) != self._arena.size)
            except BaseException:
                self.is_discarded = True  # by all ranks
                raise
            yield
            return (yield from self._end_planned(self._arena, patience))
        backward_s = time.perf_counter() - self._first_came_at if self._order else 0.0
        end = yield from self._negotiated.close(self._can_plan(), self._backward_number, patience)
        self._regular_rounds = self._regular_rounds + 1 if end.is_regular else 0
        if self._regular_rounds >= self._regular_rounds_to_open:
            self._regular_rounds = 0
            yield
            yield from self._open_arena(backward_s, patience)
        return end.why_discarded

    @property
    def _backward_number(self) -> int:
        """Of the last round, in this step."""
        return self._rounds - self._dropped_rounds

    def _end_planned(self, arena: GradientArena, patience: float | None) -> Generator[None, None, HorovodInternalError | None]:
        """Of a round that this rank has closed: its outcome, and the negotiated round that may follow. Why the step is dropped."""
        try:
            outcome = yield from arena.outcome(patience)
        except MismatchError as error:
            return error  # on all ranks
        except WorldError as error:
            if self._world.is_lost():
                raise
            raise WorldError(
                f"{error}. This rank waits for its gradients: take the same number of steps, and of backwards a step, on every rank, or call "
                "join() where there is no more data"
            ) from None
        finally:
            if arena.is_over:
                self._arena = None
        if outcome.leaves:
            self._regular_rounds_to_open = min(2 * self._regular_rounds_to_open, _MOST_ROUNDS_TO_OPEN)
        if outcome.is_dropped:
            return backward_failed(self._world.rank)
        if not (outcome.leaves or outcome.has_more):
            return None
        self._negotiated.begin()
        end = yield from self._negotiated.close(self._can_plan(), self._backward_number, patience)
        return end.why_discarded

    def _clear_gradients(self) -> None:
        for slot in self._slots.values():
            slot.is_dirty = slot.is_reduced = False
            slot.kept = None
            if slot.parameter.grad is not None or slot.has_fired:
                slot.parameter.grad = torch.zeros_like(slot.parameter, requires_grad=False)

    def abandon(self) -> None:
        """The backward of this rank has thrown: takes part in what the others wait for, and waits for nobody."""
        self._is_open = False
        self.is_discarded = True
        if self._communicates:
            self._rounds += 1
            if self._arena is not None:
                self._arena.close_failed(self._backward_number)
                self._is_abandoned = True
            else:
                self._leftovers += self._negotiated.abandon(self._backward_number)
                self._regular_rounds = 0  # on all ranks
            self._dropped_rounds = self._rounds
        for slot in self._slots.values():
            slot.parameter.grad = None
            slot.kept = slot.sent = None
            slot.is_dirty = slot.is_reduced = False

    def _finish_leftovers(self) -> None:
        """Of a round that was abandoned, or whose wait was interrupted."""
        leftovers, self._leftovers = self._leftovers, []
        for pending in leftovers:
            pending.join()
        abandoned, self._is_abandoned = self._is_abandoned, False
        if self._arena is not None and self._arena.is_closed:
            why_discarded = finish(self._end_planned(self._arena, None))
            if why_discarded is not None and not abandoned:
                self.is_discarded = True
                self._dropped_rounds = self._rounds

    # ---- the arena ---------------------------------------------------------------------------------------------------

    def _can_plan(self) -> bool:
        return (
            self._may_plan
            and any(parameter.numel() for parameter in self._slots)
            and all(
                parameter.device.type == "cpu" and parameter.layout is torch.strided and parameter.dtype in self._types
                for parameter in self._slots
            )
        )

    def _open_arena(self, backward_s: float, patience: float | None) -> Generator[None, None, None]:
        slots, reduction = list(self._slots.values()), self._reduction
        door = arena_door(self._world.session, reduction, slots, self._order, backward_s)
        while not door.advance(patience):
            yield
        arena = door.take()
        if arena is None:
            self._may_plan = False  # what is missing does not come back
            if reduction.process_set.rank() == 0:
                warnings.warn(f"gradients are negotiated in every step, which is slower: {door.why}", RuntimeWarning, stacklevel=2)
        else:
            self._arena = GradientArena(arena, slots, reduction.sparse_as_dense)

    def withdraw(self) -> _core.Arena | None:
        """This rank has no more data (join): what is to be withdrawn once all ranks know."""
        self._finish_leftovers()
        arena, self._arena = self._arena, None
        return None if arena is None else arena.let_go()

    def end_join(self) -> None:
        """All ranks have. Of the last rounds they have seen different ones."""
        self._regular_rounds = 0
        self._regular_rounds_to_open = 1

    # ---- steps -------------------------------------------------------------------------------------------------------

    def complete(self) -> None:
        """Reduces what no backward has: what was added without communication, or, on a rank without data, nothing."""
        self._check_session()
        if self._is_open:
            raise ValueError(
                f"rank {self._world.rank}, {self._reduction.label}: step() or synchronize() while a backward of its model runs: call it when "
                "backward() has returned"
            )
        self._finish_leftovers()
        if self.is_discarded:
            return
        if self._rounds and not any(slot.is_dirty for slot in self._slots.values()):
            return
        self._is_open = self._communicates = self._has_gradients = True
        self._begin_round()
        close([self])

    def end_step(self) -> None:
        self._passes = self._rounds = self._dropped_rounds = 0
        self.is_discarded = False

    def forget(self) -> None:
        """Gradients were zeroed."""
        self.is_discarded = False
        for slot in self._slots.values():
            slot.is_dirty = slot.is_reduced = False
            slot.kept = None

    def average(self, loss: Any) -> Any:
        """Of a closure's result, over ranks."""
        value = torch.as_tensor(loss).detach().clone()
        start_allreduce(
            [value], True, False, f"{self._reduction.label}: loss", ReduceOp.average, 1.0, 1.0, self._reduction.process_set
        ).wait()
        return value if isinstance(loss, torch.Tensor) else value.item()
