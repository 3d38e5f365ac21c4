"""NegotiatedRounds: rounds of reductions whose operations the ranks agree on one by one. They do in any order and with any gradients.

A hook submits each gradient as soon as it is complete, out of p.grad. At the end of backward the ranks tell each other which gradients they
have (the facts); who lacks one that another rank has takes part with zeros; what nobody has is left alone. If the backward of a rank has
failed, it says so there, all ranks complete what they have begun, and drop the step.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import torch

from .. import _core
from .._core import OpKind, ReduceOp
from .._world import World
from ..exceptions import HorovodInternalError, MismatchError, StepDiscarded
from ._reduction import Reduction, until_done
from ._slots import Slot, SlotGroup
from ._sparse_round import SparseRound
from ._tensors import TorchTensors

_FACTS = 3  # of a slot: whether it has a dense gradient, whether that comes in more than one piece, whether it has a sparse one


def _about(number: int) -> tuple[int, int, int]:
    """How many ranks, and their numbers and squares, once added up."""
    bounded = min(number, 255)
    return 1, bounded, bounded**2


def _by_slot(facts: list[int]) -> list[tuple[int, ...]]:
    return list(zip(*(iter(facts),) * _FACTS))


@dataclass(frozen=True)
class RoundEnd:
    why_discarded: HorovodInternalError | None  # to be raised by all ranks
    is_regular: bool  # an arena could have held it


def backward_failed(rank: int) -> StepDiscarded:
    return StepDiscarded(
        f"rank {rank}: the backward of another rank failed, which raises its own error; this step is dropped on all ranks: gradients are "
        "zeros, step() does nothing, go on with the next batch"
    )


class NegotiatedRounds:
    """`groups` may grow between rounds."""

    def __init__(self, world: World, reduction: Reduction, groups: list[SlotGroup]) -> None:
        self._world = world
        self._submit_one = world.session.submit
        self._reduction = reduction
        self._groups = groups
        self._frontend = TorchTensors()

    def begin(self) -> None:
        for group in self._groups:
            group.begin()

    # ---- sending -----------------------------------------------------------------------------------------------------

    def _index(self, slot: Slot, dtype: torch.dtype, piece: int) -> int:
        index = slot.indices.get((dtype, piece))
        if index is None:
            facts = self._frontend.facts(torch.empty(0, dtype=dtype))
            group, reduction = slot.group, self._reduction
            is_group = len(group.slots) > 1
            index = self._world.declare(
                f"{reduction.label}: {slot.name}{', more' if piece else ''}", OpKind.allreduce, reduction.set_id, facts.dtype, slot.shape,
                op=reduction.op, prescale=reduction.prescale, postscale=reduction.postscale,
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
        if self._reduction.compresses:
            gradient, slot.context = self._reduction.compression.compress(gradient)
        try:
            self._frontend.facts(gradient)
        except ValueError as error:
            raise ValueError(f"rank {self._world.rank}, {self._reduction.label}: the gradient of '{slot.name}': {error}") from None
        return self._frontend.contiguous(gradient)

    def _waits_for_facts(self, group: SlotGroup) -> bool:
        """A sparse gradient is sent in the form that the other ranks' have."""
        return not self._reduction.sparse_as_dense and any(
            slot.parameter.grad is not None and slot.parameter.grad.layout is not torch.strided for slot in group.slots
        )

    def send_early(self, slot: Slot) -> None:
        """From a hook, for the last slot of a group: the caller's time counts. What most gradients are takes no detour."""
        group, gradient = slot.group, slot.parameter.grad
        if (
            slot.index >= 0
            and gradient is not None
            and gradient.layout is torch.strided
            and gradient.dtype is slot.dtype
            and gradient.is_cpu
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
            if len(group.slots) == 1 and not self._reduction.compresses:
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

    def _own_facts(self) -> list[int]:
        facts: list[int] = []
        for group in self._groups:
            for slot in group.slots:
                gradient = slot.parameter.grad
                if group.is_sent:
                    facts += (True, gradient is not None, False)
                elif slot.is_dirty and gradient is not None:
                    is_sparse = gradient.layout != torch.strided and not self._reduction.sparse_as_dense
                    facts += (not is_sparse, False, is_sparse)
                else:
                    facts += (False, False, False)
        return facts

    def _submit_facts(self, facts: list[int]) -> tuple[torch.Tensor, _core.Pending]:
        """How many ranks it is so on: a rank that has joined adds nothing."""
        tensor = torch.tensor(facts, dtype=torch.int32)
        index = self._world.declare(
            f"{self._reduction.label}: which gradients there are", OpKind.allreduce, self._reduction.set_id, _core.DataType.int32,
            (len(facts),), op=ReduceOp.sum,
        )  # fmt: skip
        return tensor, self._world.session.submit(index, tensor.data_ptr(), tensor.data_ptr(), tensor)

    def close(self, can_plan: bool, number: int, patience: float | None) -> Generator[None, None, RoundEnd]:
        """Afterwards p.grad of every slot that some rank had a gradient for is reduced, unless the round is discarded.

        number: of this backward in its step, from 1.
        """
        facts, told = self._submit_facts([*self._own_facts(), False, can_plan, *_about(number)])
        yield
        yield from until_done(told, patience)
        *of_groups, failed, ranks_that_can_plan, ranks, numbers, squares = facts.tolist()
        if failed:
            self._send_all()
        else:
            sparse, more = self._send_the_rest(of_groups)
        yield
        for group in self._groups:
            for pending in group.pending:
                yield from until_done(pending, patience)
            for slot in group.slots:
                self._result(slot, slot.sent)
                slot.sent = None
        if not failed:
            sparse.finish()
            for group, tensors, pending_pieces in more:
                for slot, tensor, pending in zip(group.slots, tensors, pending_pieces):
                    yield from until_done(pending, patience)
                    slot.put_aside_what_is_reduced()
                    self._result(slot, tensor)
        is_irregular = any(has_more or has_sparse for _, has_more, has_sparse in _by_slot(of_groups))
        can_all_plan = ranks_that_can_plan == self._reduction.process_set.size()
        why: HorovodInternalError | None = None
        if failed:
            why = backward_failed(self._world.rank)
        elif ranks * squares != numbers**2:  # their variance is not 0
            why = MismatchError(
                f"rank {self._world.rank}, {self._reduction.label}: this was its backward number {number} since the last step(), but other "
                "ranks are at another one, so steps are mixed up and parameters may differ. Take the same number of backwards a step on "
                "every rank, and restart from a checkpoint. This step is dropped on all of them."
            )
        return RoundEnd(why, can_all_plan and not is_irregular)

    def _send_all(self) -> None:
        for group in self._groups:
            if not group.is_sent:
                self._send(group)

    def _send_the_rest(self, facts: list[int]) -> tuple[SparseRound, list[tuple[SlotGroup, list[torch.Tensor], list[_core.Pending]]]]:
        reduction = self._reduction
        sparse = SparseRound(reduction.label, reduction.op, reduction.prescale * reduction.postscale, reduction.process_set)
        more = []
        of_slots = iter(_by_slot(facts))
        for group in self._groups:
            told = [next(of_slots) for _ in group.slots]
            if any(has_dense for has_dense, _, _ in told):
                if not group.is_sent:
                    self._send(group)
                if any(has_more for _, has_more, _ in told):
                    more.append(self._send_more(group))
            else:
                for slot, (_, _, has_sparse) in zip(group.slots, told):
                    if has_sparse:
                        sparse.send(slot)
        return sparse, more

    def _send_more(self, group: SlotGroup) -> tuple[SlotGroup, list[torch.Tensor], list[_core.Pending]]:
        """What came after the first piece, on any rank."""
        contexts = [slot.context for slot in group.slots]
        tensors = [self._take_gradient(slot) for slot in group.slots]
        for slot, context in zip(group.slots, contexts):
            slot.context = context
        return group, tensors, self._submit(group, tensors, 1)

    def _result(self, slot: Slot, sent: torch.Tensor | None) -> None:
        if sent is None:
            if slot.kept is not None:
                slot.put_back(None)
            return
        reduced = self._reduction.compression.decompress(sent, slot.context) if self._reduction.compresses else sent
        slot.put_back(reduced)

    def abandon(self, number: int) -> list[_core.Pending]:
        """The backward of this rank has failed: what it still takes part in. Waits for nobody."""
        _, told = self._submit_facts([0] * (_FACTS * sum(len(group.slots) for group in self._groups)) + [True, False, *_about(number)])
        self._send_all()
        return [told, *(pending for group in self._groups for pending in group.pending)]
