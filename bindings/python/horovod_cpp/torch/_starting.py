"""Operations on tensors as handles, without autograd: what the public functions and autograd's own are made of."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .._collectives import Collectives, Spec
from .._core import OpKind, ReduceOp
from .._handle import Handle
from ..process_sets import ProcessSet
from ._tensors import TorchTensors

collectives: Collectives[torch.Tensor] = Collectives(TorchTensors())

Tensors = Sequence[torch.Tensor]
Gathered = list[tuple[torch.Tensor, list[int]]]


def start_allreduce(
    tensors: Tensors, is_in_place: bool, is_group: bool, name: str | None, op: ReduceOp, prescale: float, postscale: float,
    process_set: ProcessSet,
) -> Handle[list[torch.Tensor]]:  # fmt: skip
    return collectives.reduce(Spec(OpKind.allreduce, name, process_set, op, prescale, postscale), tensors, is_in_place, is_group)


def start_broadcast(
    tensor: torch.Tensor, is_in_place: bool, root: int, name: str | None, process_set: ProcessSet
) -> Handle[list[torch.Tensor]]:
    return collectives.reduce(Spec(OpKind.broadcast, name, process_set, root=root), [tensor], is_in_place, False)


def start_allgather(tensors: Tensors, is_group: bool, name: str | None, process_set: ProcessSet) -> Handle[Gathered]:
    return collectives.gather(Spec(OpKind.allgather, name, process_set), tensors, [None] * len(tensors), is_group)


def start_alltoall(tensor: torch.Tensor, splits: Sequence[int] | None, name: str | None, process_set: ProcessSet) -> Handle[Gathered]:
    return collectives.gather(Spec(OpKind.alltoall, name, process_set), [tensor], [splits], False)


def start_reducescatter(
    tensors: Tensors, is_group: bool, name: str | None, op: ReduceOp, prescale: float, postscale: float, process_set: ProcessSet
) -> Handle[list[torch.Tensor]]:
    return collectives.reducescatter(Spec(OpKind.reducescatter, name, process_set, op, prescale, postscale), tensors, is_group)
