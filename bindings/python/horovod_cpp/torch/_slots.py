"""Slots: the parameters of a DistributedOptimizer, each with what is on its way for it, and groups of them that are reduced together."""

from __future__ import annotations

from typing import Any

import torch

from .. import _core


class Slot:
    """One parameter. In a round of reductions its gradient is taken out of p.grad, so that whatever autograd adds then is apart."""

    __slots__ = (
        "address",
        "context",
        "dtype",
        "group",
        "has_fired",
        "index",
        "indices",
        "is_dirty",
        "is_lent",
        "is_put",
        "is_reduced",
        "kept",
        "name",
        "number",
        "parameter",
        "sent",
        "view",
    )

    def __init__(self, name: str, parameter: torch.Tensor, group: SlotGroup) -> None:
        self.name = name
        self.parameter = parameter
        self.group = group
        self.dtype = parameter.dtype
        self.index = -1  # what a gradient that is dense, alone and of that type is submitted by, once declared
        self.indices: dict[tuple[torch.dtype, int], int] = {}  # what it is submitted by, for a type and a piece
        self.has_fired = False  # a gradient was accumulated in this round
        self.is_dirty = False  # p.grad has what no other rank knows of
        self.is_reduced = False  # p.grad has what all ranks have
        self.kept: torch.Tensor | None = None  # reduced before, taken out of p.grad
        self.sent: torch.Tensor | None = None  # memory that is being reduced
        self.context: Any = None  # of compression
        self.number = -1  # in the arena
        self.view: torch.Tensor | None = None  # its place there
        self.address = 0  # of that place
        self.is_put = False  # this rank's gradient is there
        self.is_lent = False  # … or what was in p.grad without a backward

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.parameter.shape)

    def put_aside_what_is_reduced(self) -> None:
        """From now on p.grad is what is added to it."""
        gradient = self.parameter.grad
        if self.is_reduced and gradient is not None:
            self.kept = gradient
            self.parameter.grad = None
        self.is_reduced = False

    def put_back(self, reduced: torch.Tensor | None) -> None:
        """p.grad is what was kept, if anything, plus `reduced`."""
        kept, self.kept = self.kept, None
        if kept is None or reduced is None:
            total = reduced if kept is None else kept
        elif kept.layout != torch.strided and reduced.layout == torch.strided:
            total = reduced.add_(kept)
        else:
            total = kept.add_(reduced)
        self.parameter.grad = total
        self.is_reduced = self.parameter.grad is not None
        self.is_dirty = False


class SlotGroup:
    """Slots whose gradients are submitted in one call, as soon as the last of them is complete. Most have one."""

    __slots__ = ("fired", "label", "pending", "slots")

    def __init__(self, label: str) -> None:
        self.label = label
        self.slots: list[Slot] = []
        self.fired = 0
        self.pending: list[_core.Pending] = []

    @property
    def is_sent(self) -> bool:
        return bool(self.pending)

    def begin(self) -> None:
        self.fired = 0
        self.pending = []
        for slot in self.slots:
            slot.has_fired = False
            slot.sent = slot.context = None
