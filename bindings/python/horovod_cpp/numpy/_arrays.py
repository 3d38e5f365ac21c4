"""What the collectives must know of NumPy arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import DataType, GatheredMemory
from .._frontend import Facts
from .._world import Shape

Array = NDArray[Any]

_TYPES: dict[np.dtype[Any], DataType] = {
    np.dtype(name): DataType[name]
    for name in (
        "uint8",
        "int8",
        "uint16",
        "int16",
        "uint32",
        "int32",
        "uint64",
        "int64",
        "float16",
        "float32",
        "float64",
        "bool",
    )  # fmt: skip
}

# NumPy has no 16-bit or 8-bit floating types besides float16; who installs ml_dtypes has.
try:
    import ml_dtypes
except ImportError:
    pass
else:
    _TYPES[np.dtype(ml_dtypes.bfloat16)] = DataType.bfloat16
    _TYPES[np.dtype(ml_dtypes.float8_e4m3fn)] = DataType.float8_e4m3
    _TYPES[np.dtype(ml_dtypes.float8_e5m2)] = DataType.float8_e5m2


def supported_types() -> list[np.dtype[Any]]:
    """The types of arrays that can be communicated."""
    return list(_TYPES)


def _through_dlpack(array: Any) -> Array | str:
    """The same memory, or why not."""
    if not hasattr(array, "__dlpack__"):
        return ""
    try:
        return np.from_dlpack(array)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        return f", which DLPack cannot hand over ({error})"


def view_of(array: Any) -> Any:
    """What DLPack gives of an array of another framework: the same memory. Anything else is returned as it is."""
    if isinstance(array, np.ndarray):
        return array
    view = _through_dlpack(array)
    return array if isinstance(view, str) else view


class NumpyArrays:
    """A Frontend."""

    def facts(self, array: Array) -> Facts:
        if not isinstance(array, np.ndarray):
            remedy = _through_dlpack(array) or ": np.asarray() makes one"
            raise TypeError(f"expected a NumPy array, got {type(array).__name__}{remedy}")
        dtype = _TYPES.get(array.dtype)
        if dtype is None:
            dtype = _TYPES.get(array.dtype.newbyteorder("="))
        if dtype is None:
            known = ", ".join(str(one) for one in _TYPES)
            remedy = ": pass array.view of its real type" if array.dtype.kind == "c" else ""
            raise ValueError(f"arrays of type {array.dtype} cannot be communicated{remedy}; the types are {known}")
        return Facts(dtype, array.shape)

    def check_writable(self, array: Array) -> None:
        if not array.flags.writeable:
            raise ValueError("the array is read-only and cannot be written in place: pass a copy, or use the function without '_'")
        if any(stride == 0 and size > 1 for stride, size in zip(array.strides, array.shape)) and array.size:
            raise ValueError("elements of the array share memory, so it cannot be written in place: pass a copy")

    def contiguous(self, array: Array) -> Array:
        if array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative:
            return array
        return array.astype(array.dtype.newbyteorder("="), order="C", copy=True)

    def address(self, array: Array) -> int:
        return int(array.__array_interface__["data"][0])

    def empty(self, shape: Shape, like: Array) -> Array:
        return np.empty(shape, like.dtype.newbyteorder("="))

    def over(self, memory: GatheredMemory, shape: Shape, like: Array) -> Array:
        if math.prod(shape) == 0:
            return self.empty(shape, like)
        return np.ndarray(shape, like.dtype, buffer=memoryview(memory))

    def assign(self, target: Array, source: Array) -> None:
        target[...] = source

    def written(self, array: Array) -> None:
        pass
