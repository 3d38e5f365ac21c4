"""Equal starts: parameters, optimizers' state and objects of one rank for all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from ..exceptions import MismatchError
from ..numpy.objects import allgather_object as allgather_object
from ..numpy.objects import broadcast_object as broadcast_object
from ..process_sets import ProcessSet, global_process_set
from .gathers import broadcast_async_


def broadcast_parameters(
    params: Mapping[str, Any] | Iterable[tuple[str, Any]], root_rank: int, process_set: ProcessSet = global_process_set
) -> None:
    """Everybody's tensors get rank `root_rank`'s values, in place.

    params: model.state_dict(), or pairs of a name and a tensor (model.named_parameters()): the same names, shapes and types on all ranks.
    What is no tensor is left out. Raises ValueError for something else, e.g. model.parameters(), which has no names.
    """
    pairs = list(params.items()) if isinstance(params, Mapping) else list(params)
    if any(not isinstance(pair, tuple) or len(pair) != 2 for pair in pairs):
        raise ValueError("broadcast_parameters: expected model.state_dict() or model.named_parameters(), got tensors without names")
    handles = [
        broadcast_async_(tensor.detach(), root_rank, f"broadcast_parameters: {name}", process_set)
        for name, tensor in pairs
        if isinstance(tensor, torch.Tensor)
    ]
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
    _check_same_groups(optimizer, name, process_set)
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


def _check_same_groups(optimizer: torch.optim.Optimizer, name: str, process_set: ProcessSet) -> None:
    """On every rank alike, before anything has changed."""
    groups = allgather_object(
        [[tuple(parameter.shape) for parameter in group["params"]] for group in optimizer.param_groups], f"{name}: groups", process_set
    )
    for position, theirs in enumerate(groups):
        if theirs != groups[0]:
            raise MismatchError(
                f"broadcast_optimizer_state: member 0 of the process set has parameters of shapes {groups[0]} in its groups, member {position} "
                f"{theirs}: all ranks make the optimizer of the same model in the same way"
            )
