"""GradientArena: the steady state of an exchange. Gradients lie in memory that the ranks of a host share; each becomes p.grad where it lies.

A round (an epoch, docs/protocol.md) needs no message: every rank writes its gradients, and says with its last word of the round whether its
backward has failed, whether it has more pieces, and whether it needs negotiation. All ranks read the same outcome.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence

import torch

from .. import _core
from ..exceptions import HorovodInternalError
from ._reduction import Reduction
from ._slots import Slot
from ._tensors import TorchTensors


def arena_door(
    session: _core.Session, reduction: Reduction, slots: Sequence[Slot], came: Sequence[Slot], backward_s: float
) -> _core.ArenaDoor:
    """came: slots in the order in which their gradients did, in a backward that took so long."""
    numbers = {slot: number for number, slot in enumerate(slots)}
    order = list(dict.fromkeys(numbers[slot] for slot in came))
    order += [number for number in reversed(range(len(slots))) if number not in set(order)]
    frontend = TorchTensors()
    return _core.ArenaDoor(
        session, reduction.set_id, f" of {reduction.label}", [slot.name for slot in slots],
        [frontend.facts(torch.empty(0, dtype=slot.dtype)).dtype for slot in slots], [slot.parameter.numel() for slot in slots],
        order, backward_s, reduction.op, reduction.prescale, reduction.postscale,
    )  # fmt: skip


_STRIDED = torch.strided


class GradientArena:
    """`slots`: the gradients of `arena`, in its order."""

    def __init__(self, arena: _core.Arena, slots: Sequence[Slot], sparse_as_dense: bool) -> None:
        self._arena = arena
        self._put = arena.put
        self._slots = list(slots)
        self._sparse_as_dense = sparse_as_dense
        self._leaves = False
        self.is_closed = False  # and the outcome is not known yet
        self.is_over = False  # after an outcome
        for number, slot in enumerate(self._slots):
            slot.number = number
            self._set_view(slot)

    @property
    def size(self) -> int:
        """How many gradients have a place."""
        return len(self._slots)

    def _set_view(self, slot: Slot) -> None:
        """Alone in its storage, and no view in autograd's sense: who saves, copies or shares p.grad does so with this gradient only."""
        shape = slot.parameter.shape
        tensor = torch.empty(0, dtype=slot.dtype)
        size = slot.parameter.numel() * tensor.element_size()
        if size:
            memory = torch.frombuffer(self._arena, dtype=torch.uint8, offset=self._arena.begin_bytes(slot.number), count=size)
            slot.view = tensor.set_(memory.untyped_storage(), 0, shape, torch.empty(shape, device="meta").stride())
        else:
            slot.view = tensor.reshape(shape)
        slot.address = slot.view.data_ptr()

    def _check_view(self, slot: Slot) -> None:
        """p.grad was slot.view: p.grad.data = …, or a model that moved, has given that tensor other memory."""
        if slot.view is not None and slot.view.data_ptr() != slot.address:
            self._set_view(slot)

    def begin(self) -> None:
        self._leaves = False
        for slot in self._slots:
            slot.has_fired = slot.is_put = slot.is_lent = False

    # ---- writing -----------------------------------------------------------------------------------------------------

    def take(self, slot: Slot) -> None:
        """From a hook: what is in p.grad goes into the arena. What cannot stays there, and is negotiated after this round.

        The caller's time counts. What most gradients are takes no detour.
        """
        parameter, view = slot.parameter, slot.view
        gradient = parameter.grad
        if (
            gradient is not None
            and view is not None
            and gradient is not view
            and slot.kept is None
            and gradient.dtype is slot.dtype
            and gradient.is_cpu
            and gradient.layout is _STRIDED
            and gradient.is_contiguous()
            and not gradient.is_neg()
            and sys.getrefcount(slot.view) == 3  # the slot, here, and the argument
            and view.data_ptr() == slot.address
        ):
            parameter.grad = None
            slot.is_put = True
            self._put(slot.number, gradient.data_ptr())
        else:
            self._take_any(slot)

    def _take_any(self, slot: Slot) -> None:
        self._check_view(slot)
        parameter = slot.parameter
        gradient = parameter.grad
        if gradient is None:
            return
        if gradient.layout is not torch.strided and self._sparse_as_dense:
            gradient = gradient.detach().to_dense()
        if slot.view is None or gradient.layout is not torch.strided or gradient.dtype is not slot.dtype or not gradient.is_cpu:
            self._leaves = True
            return
        parameter.grad = None
        slot.is_put = True
        if gradient is slot.view:
            self._put(slot.number, 0)
            return
        self._make_writable(slot)
        if gradient.is_contiguous() and not gradient.is_neg():
            self._put(slot.number, gradient.data_ptr())
        else:
            slot.view.copy_(gradient.detach())
            self._put(slot.number, 0)

    def _make_writable(self, slot: Slot) -> None:
        """What others hold of this memory becomes theirs."""
        if slot.kept is not None and slot.kept is slot.view:
            slot.kept = slot.kept.clone()
        if sys.getrefcount(slot.view) > 2:  # the slot, and the argument
            held = slot.view
            assert held is not None
            self._set_view(slot)
            held.data = held.clone()

    def _fill(self) -> bool:
        """Writes what no hook has; whether there are pieces for another round."""
        has_more = False
        for slot in self._slots:
            gradient = slot.parameter.grad
            if slot.is_put:
                has_more |= gradient is not None
                continue
            if gradient is not None and slot.is_dirty:
                self.take(slot)
                if slot.is_put:
                    continue
                gradient = None
            self._fill_slot(slot, gradient)
        return has_more

    def _fill_slot(self, slot: Slot, gradient: torch.Tensor | None) -> None:
        """`gradient`: what is in p.grad and came from no backward."""
        self._check_view(slot)
        if gradient is not None and gradient is slot.view:
            gradient = slot.parameter.grad = gradient.clone()
        self._make_writable(slot)
        assert slot.view is not None
        # What was written into p.grad by hand is added up if another rank has a gradient.
        slot.is_lent = gradient is not None and not slot.is_reduced and gradient.layout is torch.strided and gradient.dtype is slot.dtype
        if gradient is not None and slot.is_lent:
            slot.view.copy_(gradient.detach())
        else:
            slot.view.zero_()

    # ---- the end of a round ------------------------------------------------------------------------------------------

    def close(self, number: int, needs_negotiation: bool) -> None:
        """number: of this backward in its step, from 1."""
        try:
            has_more = self._fill()
        except BaseException:
            self.close_failed(number)  # so that nobody waits for this rank
            raise
        self._arena.close(leaves=self._leaves or needs_negotiation, has_more=has_more, count=number - 1)
        self.is_closed = True

    def close_failed(self, number: int) -> None:
        """The backward of this rank has failed: it adds whatever lies in the arena, and nobody takes the sums. Waits for nobody."""
        for slot in self._slots:
            if not slot.is_put:
                self._make_writable(slot)
        self._arena.close(is_void=True, count=number - 1)
        self.is_closed = True

    def outcome(self, patience: float | None) -> Generator[None, None, _core.EpochOutcome]:
        """Afterwards a new round may begin, unless this one was the last (is_over). Raises why the round failed."""
        try:
            while (outcome := self._arena.wait(patience)) is None:
                yield
        except HorovodInternalError:
            self._end()
            raise
        self.is_closed = False
        if not outcome.is_dropped:
            self._take_over()
        self._arena.begin_epoch()
        if outcome.leaves or outcome.is_gone:
            self._end()
        return outcome

    def _take_over(self) -> None:
        for slot, is_used in zip(self._slots, self._arena.used_somewhere()):
            if not is_used:
                if slot.kept is not None and slot.parameter.grad is None:
                    slot.put_back(None)
                continue
            if slot.is_put and slot.kept is None and slot.parameter.grad is None:
                slot.parameter.grad = slot.view
                slot.is_reduced, slot.is_dirty = True, False
                continue
            slot.put_aside_what_is_reduced()
            if slot.is_lent:
                slot.parameter.grad = None  # it is in the sum
            piece = slot.parameter.grad
            if piece is not None and not slot.is_dirty:
                slot.kept, piece = piece, None
            slot.put_back(slot.view)
            if piece is not None:
                slot.put_aside_what_is_reduced()
                slot.parameter.grad = piece
                slot.is_dirty = True

    def let_go(self) -> _core.Arena:
        """This rank has no more data: what is to be withdrawn."""
        self._end()
        return self._arena

    def _end(self) -> None:
        """Nobody may see what lies in the arena: a rank that was given up may still write there."""
        self.is_closed = False
        self.is_over = True
        for slot in self._slots:
            if slot.parameter.grad is not None and slot.parameter.grad is slot.view:
                slot.parameter.grad = slot.parameter.grad.clone()
            self._make_writable(slot)
            slot.view = None
