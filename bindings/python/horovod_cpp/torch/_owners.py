"""Whose gradients a parameter's are: those of one DistributedOptimizer, as long as that lives."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from typing import Protocol

import torch


class Owner(Protocol):
    """An exchange."""

    def __contains__(self, parameter: torch.Tensor) -> bool: ...
    @property
    def is_of_this_session(self) -> bool: ...
    def detach(self) -> None: ...


owners: weakref.WeakSet[Owner] = weakref.WeakSet()


def _first_owned(named: Sequence[tuple[str, torch.Tensor]]) -> str | None:
    """Owners of the time before shutdown() are detached."""
    for owner in list(owners):
        name = next((name for name, parameter in named if parameter in owner), None)
        if name is not None and owner.is_of_this_session:
            return name
        if name is not None:
            owner.detach()
    return None


def check_are_free(named: Sequence[tuple[str, torch.Tensor]]) -> None:
    """Raises ValueError if a parameter has an optimizer already."""
    if _first_owned(named) is None:
        return
    gc.collect()  # that optimizer may be garbage that a cycle keeps
    name = _first_owned(named)
    if name is not None:
        raise ValueError(
            f"DistributedOptimizer: parameter '{name}' belongs to another DistributedOptimizer: use that one, or del it first, with what holds "
            "it (a scheduler)"
        )
