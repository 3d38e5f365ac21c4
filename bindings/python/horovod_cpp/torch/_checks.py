"""Arguments that several functions take: the mistakes that can be told at the call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from .compression import NoneCompressor


def check_optimizer(caller: str, optimizer: Any) -> None:
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(
            f"{caller}: expected a torch.optim.Optimizer, got {type(optimizer).__name__}: pass one, as torch.optim.SGD(model.parameters(), lr=0.1)"
        )


def pairs_of(what: str, given: Any, remedy: str) -> list[tuple[str, Any]]:
    """Names and what they name. Raises ValueError for anything else."""
    if isinstance(given, Mapping):
        given = given.items()
    pairs = list(given) if isinstance(given, Iterable) else [given]
    if any(not isinstance(pair, tuple) or len(pair) != 2 for pair in pairs):
        raise ValueError(f"{what}, got {type(given).__name__}: {remedy}")
    return pairs


def check_compression(compression: Any) -> None:
    if compression is not NoneCompressor and not all(callable(getattr(compression, name, None)) for name in ("compress", "decompress")):
        raise TypeError(
            f"compression={compression!r}: expected Compression.none, Compression.fp16 or Compression.bf16, or a Compressor of your own"
        )
