"""Equal starts: parameters, optimizers' state and objects of one rank for all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from ..numpy.objects import allgather_object as allgather_object
from ..numpy.objects import broadcast_object as broadcast_object
from ..process_sets import ProcessSet, global_process_set
from ._agreement import check_same
from ._checks import check_optimizer, pairs_of
from .gathers import broadcast_async_


def broadcast_parameters(
    params: Mapping[str, Any] | Iterable[tuple[str, Any]], root_rank: int, process_set: ProcessSet = global_process_set
) -> None:
    """Everybody's tensors get rank `root_rank`'s values, in place.

    params: model.state_dict(), or pairs of a name and a tensor (model.named_parameters()): the same names, shapes and types on all ranks.
    What is no tensor is left out. Raises ValueError for something else, e.g. model.parameters(), which has no names.
    """
    caller = "broadcast_parameters"
    remedy = "pass one of the two; broadcast_optimizer_state() is for optimizers, broadcast_object() for anything else"
    pairs = pairs_of(f"{caller}: expected model.state_dict() or model.named_parameters()", params, remedy)
    tensors = [(name, tensor) for name, tensor in pairs if isinstance(tensor, torch.Tensor)]
    lines = sorted(f"'{name}' {_shape_and_type(tensor)}" for name, tensor in tensors)
    check_same(caller, lines, "Build the same model on every rank.", process_set)
    handles = [broadcast_async_(tensor.detach(), root_rank, f"{caller}: {name}", process_set) for name, tensor in tensors]
    for handle in handles:
        handle.wait()


def broadcast_optimizer_state(
    optimizer: torch.optim.Optimizer, root_rank: int, model: torch.nn.Module | None = None, process_set: ProcessSet = global_process_set
) -> None:
    """Everybody's optimizer gets rank `root_rank`'s state (momenta, step counts) and options (learning rates). No rank takes a step for it.

    Also if this rank's has no state yet, or more than the root's. Parameters are not touched: broadcast_parameters() does that. model: for
    Horovod's scripts; not needed.
    """
    from .._process import rank

    is_root = rank() == root_rank
    tensors: list[torch.Tensor] = []

    def take(value: Any) -> Any:
        """The state without its tensors, which go as they are."""
        if isinstance(value, torch.Tensor):
            tensors.append(value)
            return _Tensor(tuple(value.shape), value.dtype, value.device.type)
        if isinstance(value, dict):
            return {key: take(entry) for key, entry in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(take(entry) for entry in value)
        return value

    def give(value: Any) -> Any:
        if isinstance(value, _Tensor):
            tensors.append(torch.empty(value.shape, dtype=value.dtype))
            return tensors[-1]
        if isinstance(value, dict):
            return {key: give(entry) for key, entry in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(give(entry) for entry in value)
        return value

    name = "broadcast_optimizer_state"
    check_optimizer(name, optimizer)
    groups = [
        f"group {number}, parameter {place}, {_shape_and_type(parameter)}"
        for number, group in enumerate(optimizer.param_groups)
        for place, parameter in enumerate(group["params"])
    ]
    remedy = "Make the same optimizer of the same model on every rank."
    check_same(name, [f"a torch.optim.{type(optimizer).__name__}", *groups], remedy, process_set)
    state = broadcast_object(take(optimizer.state_dict()) if is_root else None, root_rank, name, process_set)
    if not is_root:
        state = give(state)
    handles = [
        broadcast_async_(tensor.detach(), root_rank, f"{name}: tensor {number}", process_set) for number, tensor in enumerate(tensors)
    ]
    for handle in handles:
        handle.wait()
    if not is_root:
        optimizer.load_state_dict(state)


class _Tensor:
    """In the place of one."""

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, device: str) -> None:
        self.shape, self.dtype, self.device = shape, dtype, device


def _shape_and_type(tensor: torch.Tensor) -> str:
    return f"{list(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
