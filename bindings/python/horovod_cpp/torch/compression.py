"""Fewer bytes on the wire: what a tensor is cast to before it is reduced, and back.

Compression is for what crosses a wire. DistributedOptimizer leaves gradients as they are where ranks share memory: there is nothing to save.
Functions that take `compression` always cast.
"""

from __future__ import annotations

from typing import Any

import torch


class Compressor:
    """Your own: a class with these two, as static methods or on an object."""

    @staticmethod
    def compress(tensor: torch.Tensor) -> tuple[torch.Tensor, Any]:
        """What is reduced, and what decompress() needs to know."""
        raise NotImplementedError

    @staticmethod
    def decompress(tensor: torch.Tensor, ctx: Any) -> torch.Tensor:
        """Of the reduced tensor."""
        raise NotImplementedError


class NoneCompressor(Compressor):
    """Leaves tensors as they are."""

    @staticmethod
    def compress(tensor: torch.Tensor) -> tuple[torch.Tensor, Any]:
        return tensor, None

    @staticmethod
    def decompress(tensor: torch.Tensor, ctx: Any) -> torch.Tensor:
        return tensor


def _cast(tensor: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.dtype]:
    is_wider = tensor.dtype in (torch.float32, torch.float64)
    return (tensor.to(dtype) if is_wider else tensor), tensor.dtype


class FP16Compressor(Compressor):
    """float32 and float64 as float16: 11 significant bits, up to 65504. Sums of many ranks can overflow; see gradient_predivide_factor."""

    @staticmethod
    def compress(tensor: torch.Tensor) -> tuple[torch.Tensor, Any]:
        return _cast(tensor, torch.float16)

    @staticmethod
    def decompress(tensor: torch.Tensor, ctx: Any) -> torch.Tensor:
        return tensor.to(ctx)


class BF16Compressor(Compressor):
    """float32 and float64 as bfloat16: the range of float32, 8 significant bits."""

    @staticmethod
    def compress(tensor: torch.Tensor) -> tuple[torch.Tensor, Any]:
        return _cast(tensor, torch.bfloat16)

    @staticmethod
    def decompress(tensor: torch.Tensor, ctx: Any) -> torch.Tensor:
        return tensor.to(ctx)


class Compression:
    """The ones that come with us."""

    none = NoneCompressor
    fp16 = FP16Compressor
    bf16 = BF16Compressor
