"""What the operations must give: plain NumPy on one process, from the arrays of all ranks. Sums are made as the core says it makes them:
floating types of 16 and 8 bits in float32 and rounded once, integers wrap, averages of integers are rounded towards zero.
"""

from __future__ import annotations

import zlib
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

NATIVE = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64", "bool"]
SMALL_FLOATS = {
    "bfloat16": ml_dtypes.bfloat16,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e5m2": ml_dtypes.float8_e5m2,
}
TYPES = [*NATIVE, *SMALL_FLOATS]
SHAPES: dict[str, tuple[int, ...]] = {"vector": (17,), "matrix": (6, 5), "0-d": (), "empty": (0, 3)}


def dtype_of(name: str) -> np.dtype[Any]:
    return np.dtype(SMALL_FLOATS.get(name, name))


def is_floating(name: str) -> bool:
    return "float" in name


def is_small(name: str) -> bool:
    return name == "float16" or name in SMALL_FLOATS


def values(dtype: str, shape: tuple[int, ...], rank: int, salt: str = "") -> Array:
    """Small whole numbers, different on every rank: sums and products of a few are exact in every type, but for float8."""
    generator = np.random.default_rng(zlib.crc32(f"{dtype} {shape} {rank} {salt}".encode()))
    if dtype == "bool":
        return generator.integers(0, 2, shape).astype(bool)
    low = 0 if dtype.startswith("uint") else -4
    return generator.integers(low, 5, shape).astype(dtype_of(dtype))


def reduce(op: str, arrays: list[Array], dtype: str, prescale: float = 1.0, postscale: float = 1.0) -> Array:
    wide = [array.astype(np.float32) for array in arrays] if is_small(dtype) else arrays
    if op == "adasum":
        return np.asarray(prescale * postscale * adasum([array.astype(np.float64) for array in arrays])).astype(dtype_of(dtype))
    if op in ("sum", "average"):
        if dtype == "bool":
            out = np.logical_or.reduce(wide)
        else:
            out = wide[0].copy()
            for array in wide[1:]:
                out = (out + array).astype(wide[0].dtype)
    else:
        ufunc = {"min": np.minimum, "max": np.maximum, "product": np.multiply}[op]
        out = wide[0].copy()
        for array in wide[1:]:
            out = ufunc(out, array).astype(wide[0].dtype)
    if is_floating(dtype):
        factor = prescale * postscale / (len(arrays) if op == "average" else 1)
        out = (out * np.asarray(factor, out.dtype)).astype(out.dtype)
    elif op == "average":
        out = _divide(out, len(arrays)).astype(out.dtype)
    return np.asarray(out).astype(dtype_of(dtype))


def adasum(arrays: list[Array]) -> Array:
    """As arXiv 2006.02924 defines it for two, then for neighbours, and for what comes of them; who is left over waits for the next turn."""

    def of_two(a: Array, b: Array) -> Array:
        product, of_a, of_b = np.sum(a * b), np.sum(a * a), np.sum(b * b)
        result: Array = (1 - product / (2 * of_a) if of_a else 1) * a + (1 - product / (2 * of_b) if of_b else 1) * b
        return result

    while len(arrays) > 1:
        arrays = [of_two(*arrays[i : i + 2]) if i + 1 < len(arrays) else arrays[i] for i in range(0, len(arrays), 2)]
    return arrays[0]


def _divide(whole: Array, divisor: int) -> Array:
    """Towards zero."""
    magnitude = np.abs(whole.astype(np.int64)) // divisor
    return magnitude * np.sign(whole.astype(np.int64))


def reducescatter_rows(rows: int, ranks: int) -> list[slice]:
    counts = [rows // ranks + (1 if rank < rows % ranks else 0) for rank in range(ranks)]
    ends = np.cumsum(counts)
    return [slice(int(end) - count, int(end)) for count, end in zip(counts, ends)]


def check(got: Array, expected: Array, dtype: str, what: str, atol: float = 0.0) -> None:
    assert got.shape == expected.shape, f"{what}: shape {got.shape}, expected {expected.shape}"
    assert got.dtype == expected.dtype, f"{what}: type {got.dtype}, expected {expected.dtype}"
    a, b = got.astype(np.float64), expected.astype(np.float64)
    tolerance = {"float8_e4m3fn": 0.0701, "float8_e5m2": 0.13, "float16": 2e-3, "bfloat16": 1e-2, "float32": 1e-6}.get(dtype, 1e-12)
    np.testing.assert_allclose(a, b, rtol=tolerance if is_floating(dtype) else 0, atol=atol, err_msg=what)
