"""How values of different ranks become one."""

from __future__ import annotations

import warnings

from ._core import ReduceOp

Average = ReduceOp.average
Sum = ReduceOp.sum
Adasum = ReduceOp.adasum
Min = ReduceOp.min
Max = ReduceOp.max
Product = ReduceOp.product


def chosen_op(op: ReduceOp | None, average: bool | None) -> ReduceOp:
    """The reduction that a call asks for: `op`, or Horovod's old argument `average`; Average without either."""
    if average is None and type(op) is ReduceOp:
        return op
    if average is not None:
        if op is not None:
            raise ValueError("pass op or average, not both: op=Average is average=True, op=Sum is average=False")
        if isinstance(average, str):
            raise ValueError(f"average={average!r}: expected True or False; pass a name as name={average!r}")
        warnings.warn("average is deprecated: pass op=Average or op=Sum", DeprecationWarning, stacklevel=4)
        return Average if average else Sum
    if op is None:
        return Average
    try:
        return ReduceOp(op)
    except ValueError:
        raise ValueError(f"op={op!r}: expected Average, Sum, Min, Max, Product or Adasum") from None
