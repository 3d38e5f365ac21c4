"""GradientExchange: rounds of reductions, one for each backward that communicates.

A round: a hook submits each gradient as soon as it is complete, out of p.grad. At the end of backward the ranks tell each other which
gradients they have (the facts); who lacks one that another rank has takes part with zeros; what nobody has is left alone. If the backward of
a rank has failed, it says so there, all ranks complete what they have begun, and drop the step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from .. import _core
from .._core import OpKind, ReduceOp
from .._process import world
from ..exceptions import StepDiscarded
from ..process_sets import ProcessSet, id_of
from ._backward_end import at_end_of_backward, close
from ._slots import Slot, SlotGroup
from ._sparse_round import SparseRound
from ._starting import start_allreduce
from ._tensors import TorchTensors
from .compression import BF16Compressor, FP16Compressor, NoneCompressor

_FACTS = 3  # of a group: whether it has dense gradients, whether those come in more than one piece, whether it has sparse ones


class GradientExchange:
    """Of one optimizer. One thread at a time, which may be another one for each backward."""

    def __init__(
        self, number: int, op: ReduceOp, prescale: float, postscale: float, compression: Any, passes: int, sparse_as_dense: bool,
        process_set: ProcessSet,
    ) -> None:  # fmt: skip
        self._world = world()
        self._submit_one = self._world.session.submit
        self._label = f"DistributedOptimizer {number}"
        self._op, self._prescale, self._postscale = op, prescale, postscale
        saves_nothing = compression in (FP16Compressor, BF16Compressor) and not self._world.session.crosses_wire(_core.DeviceType.cpu)
        self._compression = NoneCompressor if saves_nothing else compression
        self._set = id_of(process_set)
        self._process_set = process_set
        self._sparse_as_dense = sparse_as_dense
        self._frontend = TorchTensors()
        self.passes_per_step = passes
        self.groups: list[SlotGroup] = []
        self._slots: dict[torch.Tensor, Slot] = {}
        self._hooks: list[Any] = []
        self._is_open = False  # a backward has reached it
        self._communicates = False
        self._has_gradients = False
        self._passes = 0  # backwards since the last step
        self._rounds = 0  # since the last step
        self.is_discarded = False
        self._facts: torch.Tensor | None = None
        self._facts_pending: _core.Pending | None = None
        self._leftovers: list[_core.Pending] = []
        self.no_sync_depth = 0

    # ---- parameters --------------------------------------------------------------------------------------------------

    def add_group(self, named: Sequence[tuple[str, torch.Tensor]]) -> None:
        """Parameters whose gradients go together, in the same order on all ranks."""
        group = SlotGroup(f"{self._label}, group {len(self.groups)}")
        for name, parameter in named:
            slot = Slot(name, parameter, group)
            group.slots.append(slot)
            self._slots[parameter] = slot
            # The first runs before autograd accumulates, the second afterwards.
            hooked: Any = parameter
            self._hooks.append(hooked.register_hook(self._before(slot)))
            self._hooks.append(hooked.register_post_accumulate_grad_hook(self._after(slot)))
        self.groups.append(group)

    def knows(self, parameter: torch.Tensor) -> bool:
        return parameter in self._slots

    def remove_hooks(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

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
                group = slot.group
                group.fired += 1
                if group.fired == len(group.slots):
                    self._send_early(slot, group)

        return hook

    def _begin(self) -> None:
        self._is_open = True
        self._has_gradients = False
        self._finish_leftovers()
        self._communicates = self.no_sync_depth == 0 and (self._passes + 1) % self.passes_per_step == 0
        for group in self.groups:
            group.begin()
        at_end_of_backward(self)

    # ---- sending -----------------------------------------------------------------------------------------------------

    def _index(self, slot: Slot, dtype: torch.dtype, piece: int) -> int:
        index = slot.indices.get((dtype, piece))
        if index is None:
            facts = self._frontend.facts(torch.empty(0, dtype=dtype))
            group = slot.group
            is_group = len(group.slots) > 1
            index = self._world.declare(
                f"{self._label}: {slot.name}{', more' if piece else ''}", OpKind.allreduce, self._set, facts.dtype, slot.shape,
                op=self._op, prescale=self._prescale, postscale=self._postscale,
                group=f"{group.label}{', more' if piece else ''}" if is_group else "", group_size=len(group.slots) if is_group else 0,
            )  # fmt: skip
            slot.indices[dtype, piece] = index
        return index

    def _take_gradient(self, slot: Slot) -> torch.Tensor:
        """What is sent, as plain memory; p.grad is left without."""
        parameter = slot.parameter
        slot.put_aside_what_is_reduced()
        gradient = parameter.grad
        if gradient is None:
            gradient = torch.zeros_like(parameter, memory_format=torch.contiguous_format, requires_grad=False)
        else:
            parameter.grad = None
            if gradient.requires_grad:
                gradient = gradient.detach().clone()
            if gradient.layout is not torch.strided:
                gradient = gradient.to_dense()
        if self._compression is not NoneCompressor:
            gradient, slot.context = self._compression.compress(gradient)
        return self._frontend.contiguous(gradient)

    def _waits_for_facts(self, group: SlotGroup) -> bool:
        """A sparse gradient is sent in the form that the other ranks' have."""
        return not self._sparse_as_dense and any(
            slot.parameter.grad is not None and slot.parameter.grad.layout is not torch.strided for slot in group.slots
        )

    def _send_early(self, slot: Slot, group: SlotGroup) -> None:
        """From a hook: the caller's time counts. What most gradients are takes no detour."""
        gradient = slot.parameter.grad
        if (
            slot.index >= 0
            and gradient is not None
            and gradient.layout is torch.strided
            and gradient.dtype is slot.dtype
            and gradient.is_contiguous()
            and not gradient.requires_grad
            and not gradient.is_neg()
            and not slot.is_reduced
        ):
            slot.parameter.grad = None
            slot.sent = gradient
            address = gradient.data_ptr()
            group.pending = [self._submit_one(slot.index, address, address, gradient)]
        elif not self._waits_for_facts(group):
            self._send(group)
            if len(group.slots) == 1 and self._compression is NoneCompressor:
                slot.index = slot.indices.get((slot.dtype, 0), -1)

    def _send(self, group: SlotGroup) -> None:
        for slot in group.slots:
            slot.sent = self._take_gradient(slot)
        if len(group.slots) == 1:
            tensor = group.slots[0].sent
            assert tensor is not None
            address = tensor.data_ptr()
            group.pending = [self._submit_one(self._index(group.slots[0], tensor.dtype, 0), address, address, tensor)]
        else:
            group.pending = self._submit(group, [slot.sent for slot in group.slots if slot.sent is not None], 0)

    def _submit(self, group: SlotGroup, tensors: list[torch.Tensor], piece: int) -> list[_core.Pending]:
        addresses = [tensor.data_ptr() for tensor in tensors]
        indices = [self._index(slot, tensor.dtype, piece) for slot, tensor in zip(group.slots, tensors)]
        return self._world.session.submit_many(indices, addresses, addresses, tensors)

    # ---- the end of backward -----------------------------------------------------------------------------------------

    def tell_facts(self) -> None:
        # torch.autograd.grad() runs hooks, too, and is none of ours.
        self._communicates &= self._has_gradients
        if not self._communicates:
            return
        facts: list[bool] = []
        for group in self.groups:
            has_dense, has_more, has_sparse = group.is_sent, False, False
            for slot in group.slots:
                gradient = slot.parameter.grad
                if group.is_sent:
                    has_more |= gradient is not None
                elif slot.is_dirty and gradient is not None:
                    is_sparse = gradient.layout != torch.strided and not self._sparse_as_dense
                    has_dense |= not is_sparse
                    has_sparse |= is_sparse
            facts += (has_dense, has_more, has_sparse)
        self._submit_facts([*facts, False])

    def _submit_facts(self, facts: list[bool]) -> None:
        """Whether it is so on any rank: the sum of bool, to which a rank that has joined adds nothing."""
        tensor = self._facts = torch.tensor(facts)
        index = self._world.declare(
            f"{self._label}: which gradients there are", OpKind.allreduce, self._set, _core.DataType.bool, (len(facts),), op=ReduceOp.sum
        )
        self._facts_pending = self._world.session.submit(index, tensor.data_ptr(), tensor.data_ptr(), tensor)

    def send_the_rest(self) -> None:
        if not self._communicates:
            return
        assert self._facts_pending is not None and self._facts is not None
        self._facts_pending.wait()
        facts = self._facts.tolist()
        self.is_discarded = facts[-1]
        self._sparse = SparseRound(self._label, self._op, self._prescale * self._postscale, self._process_set)
        self._more: list[tuple[SlotGroup, list[torch.Tensor], list[_core.Pending]]] = []
        for number, group in enumerate(self.groups):
            has_dense, has_more, has_sparse = facts[_FACTS * number : _FACTS * (number + 1)]
            if not group.is_sent and (has_dense or self.is_discarded):
                self._send(group)
            if self.is_discarded:
                continue
            if has_more:
                self._send_more(group)
            if has_sparse and not has_dense:
                for slot in group.slots:
                    self._sparse.send(slot)

    def _send_more(self, group: SlotGroup) -> None:
        """What came after the first piece, on any rank."""
        contexts = [slot.context for slot in group.slots]
        tensors = [self._take_gradient(slot) for slot in group.slots]
        for slot, context in zip(group.slots, contexts):
            slot.context = context
        self._more.append((group, tensors, self._submit(group, tensors, 1)))

    def finish(self) -> Exception | None:
        self._is_open = False
        self._passes += self._has_gradients
        if not self._communicates:
            for slot in self._slots.values():
                if slot.kept is not None and slot.parameter.grad is None:
                    slot.put_back(None)
            return None
        self._rounds += 1
        self._sparse.finish()
        for group in self.groups:
            for pending in group.pending:
                pending.wait()
            for slot in group.slots:
                self._result(slot, slot.sent)
                slot.sent = None
        for group, tensors, pending_pieces in self._more:
            for slot, tensor, pending in zip(group.slots, tensors, pending_pieces):
                pending.wait()
                slot.put_aside_what_is_reduced()
                self._result(slot, tensor)
        if not self.is_discarded:
            return None
        self._clear_gradients()
        return StepDiscarded(
            f"rank {self._world.rank}: the backward of another rank failed, which raises its own error; this step is dropped on all ranks: "
            "gradients are zeros, step() does nothing, go on with the next batch"
        )

    def _result(self, slot: Slot, sent: torch.Tensor | None) -> None:
        if sent is None:
            if slot.kept is not None:
                slot.put_back(None)
            return
        reduced = sent if self._compression is NoneCompressor else self._compression.decompress(sent, slot.context)
        slot.put_back(reduced)

    def _clear_gradients(self) -> None:
        for slot in self._slots.values():
            slot.is_dirty = slot.is_reduced = False
            if slot.parameter.grad is not None:
                slot.parameter.grad = torch.zeros_like(slot.parameter.grad)

    def abandon(self) -> None:
        """The backward of this rank has thrown: takes part in what the others wait for, and waits for nobody."""
        self._is_open = False
        self.is_discarded = True
        if self._communicates:
            self._submit_facts([False] * (_FACTS * len(self.groups)) + [True])
            assert self._facts_pending is not None
            self._leftovers.append(self._facts_pending)
            for group in self.groups:
                if not group.is_sent:
                    self._send(group)
                self._leftovers += group.pending
            self._rounds += 1
        for slot in self._slots.values():
            slot.parameter.grad = None
            slot.kept = slot.sent = None
            slot.is_dirty = slot.is_reduced = False

    def _finish_leftovers(self) -> None:
        leftovers, self._leftovers = self._leftovers, []
        for pending in leftovers:
            pending.join()

    # ---- steps -------------------------------------------------------------------------------------------------------

    def complete(self) -> None:
        """Reduces what no backward has: what was added without communication, or, on a rank without data, nothing."""
        self._finish_leftovers()
        if self.is_discarded:
            return
        if self._rounds and not any(slot.is_dirty for slot in self._slots.values()):
            return
        self._is_open = self._communicates = self._has_gradients = True
        for group in self.groups:
            group.begin()
        close([self])

    def end_step(self) -> None:
        self._passes = self._rounds = 0
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
        start_allreduce([value], True, False, f"{self._label}: loss", ReduceOp.average, 1.0, 1.0, self._process_set).wait()
        return value if isinstance(loss, torch.Tensor) else value.item()
