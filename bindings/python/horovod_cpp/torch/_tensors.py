"""What the collectives must know of torch's tensors."""

from __future__ import annotations

import math

import torch

from .._core import DataType, GatheredMemory
from .._frontend import Facts
from .._world import Shape

# Some types are younger than the oldest torch 2.
_TYPES: dict[torch.dtype, DataType] = {
    getattr(torch, name): DataType[core_name]
    for name, core_name in {
        "uint8": "uint8",
        "int8": "int8",
        "uint16": "uint16",
        "int16": "int16",
        "uint32": "uint32",
        "int32": "int32",
        "uint64": "uint64",
        "int64": "int64",
        "float16": "float16",
        "bfloat16": "bfloat16",
        "float32": "float32",
        "float64": "float64",
        "bool": "bool",
        "float8_e4m3fn": "float8_e4m3",
        "float8_e5m2": "float8_e5m2",
    }.items()
    if hasattr(torch, name)
}


def supported_types() -> list[torch.dtype]:
    """The types of tensors that can be communicated."""
    return list(_TYPES)


class TorchTensors:
    """A Frontend. Values only: autograd is seen to elsewhere."""

    def facts(self, tensor: torch.Tensor) -> Facts:
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(f"expected a torch.Tensor, got {type(tensor).__name__}: torch.as_tensor() makes one")
        dtype = _TYPES.get(tensor.dtype)
        if dtype is not None and tensor.is_cpu and tensor.layout is torch.strided:
            return Facts(dtype, tensor.shape)
        if tensor.layout != torch.strided:
            raise ValueError("the tensor is sparse: only dense tensors can be communicated here; pass tensor.to_dense()")
        if dtype is None:
            remedy = " (pass torch.view_as_real of it)" if tensor.dtype.is_complex else ""
            known = ", ".join(str(one).removeprefix("torch.") for one in _TYPES)
            raise ValueError(f"tensors of type {tensor.dtype} cannot be communicated{remedy}; the types are {known}")
        raise ValueError(f"a tensor on device {tensor.device} cannot be communicated yet: pass tensor.cpu()")

    def check_writable(self, tensor: torch.Tensor) -> None:
        if 0 in tensor.stride() and tensor.numel() and any(stride == 0 and size > 1 for stride, size in zip(tensor.stride(), tensor.shape)):
            raise ValueError("an expanded tensor cannot be written in place: pass .contiguous()")

    def contiguous(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.is_contiguous() and not tensor.is_neg() and not tensor.is_conj():
            return tensor
        return torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device).copy_(tensor.detach())

    def address(self, tensor: torch.Tensor) -> int:
        return tensor.data_ptr()

    def empty(self, shape: Shape, like: torch.Tensor) -> torch.Tensor:
        return torch.empty(shape, dtype=like.dtype, device=like.device)

    def over(self, memory: GatheredMemory, shape: Shape, like: torch.Tensor) -> torch.Tensor:
        if math.prod(shape) == 0:
            return self.empty(shape, like)
        return torch.frombuffer(memory, dtype=like.dtype).reshape(shape)

    def assign(self, target: torch.Tensor, source: torch.Tensor) -> None:
        with torch.no_grad():
            target.copy_(source)

    def written(self, tensor: torch.Tensor) -> None:
        # So that autograd refuses a backward that needed the old values.
        if not tensor.is_inference():
            torch.autograd.graph.increment_version(tensor)
