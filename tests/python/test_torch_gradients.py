"""Gradients through the operations, against autograd on one process: the loss is the sum of the ranks' losses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import horovod_cpp.torch as hvd
from conftest import Ranks

Tensor = torch.Tensor
Tensors = list[Tensor]


def _inputs(shapes: list[tuple[int, ...]], salt: int) -> Tensors:
    """Every rank's, the same on every rank."""
    generator = torch.Generator().manual_seed(salt)
    return [torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes]


def _weights(outputs: Tensors, salt: int) -> Tensors:
    return [weights.detach() for weights in _inputs([tuple(output.shape) for output in outputs], salt)]


def compare(shapes: list[tuple[int, ...]], ours: Callable[[Tensor], Tensor], plain: Callable[[Tensors], Tensors]) -> None:
    """`plain` gives every rank's output from every rank's input."""
    me = hvd.rank()
    reference = _inputs(shapes, 1)
    outputs = plain(reference)
    weights = _weights(outputs, 2)
    sum((output * weight).pow(2).sum() for output, weight in zip(outputs, weights)).backward()

    mine = _inputs(shapes, 1)[me]
    output = ours(mine)
    torch.testing.assert_close(output, outputs[me])
    (output * weights[me]).pow(2).sum().backward()
    expected = reference[me].grad
    torch.testing.assert_close(mine.grad, torch.zeros_like(mine) if expected is None else expected)


def _same(n: int, shape: tuple[int, ...] = (4, 3)) -> list[tuple[int, ...]]:
    return [shape] * n


def allreduce() -> None:
    n = hvd.size()
    for shape in ((4, 3), (), (0, 2)):
        compare(_same(n, shape), lambda x: hvd.allreduce(x), lambda xs: [sum(xs) / n] * n)
        compare(_same(n, shape), lambda x: hvd.allreduce(x, op=hvd.Sum, name="named"), lambda xs: [sum(xs)] * n)
    compare(_same(n), lambda x: hvd.allreduce(x, op=hvd.Sum, prescale_factor=0.5, postscale_factor=3.0), lambda xs: [sum(xs) * 1.5] * n)
    compare(_same(n), lambda x: hvd.grouped_allreduce([x, 2 * x])[1], lambda xs: [2 * sum(xs) / n] * n)
    compare(_same(n), lambda x: sum(hvd.grouped_allreduce([x, x * x], op=hvd.Sum)), lambda xs: [sum(x + x * x for x in xs)] * n)


def allgather() -> None:
    n = hvd.size()
    ragged = [(rank + 1, 2) for rank in range(n)]
    compare(ragged, lambda x: hvd.allgather(x), lambda xs: [torch.cat(xs)] * n)
    compare(_same(n, ()), lambda x: hvd.allgather(x), lambda xs: [torch.stack(xs)] * n)
    compare(ragged, lambda x: hvd.grouped_allgather([x, x.sin()])[1], lambda xs: [torch.cat([x.sin() for x in xs])] * n)


def broadcast() -> None:
    n = hvd.size()
    for root in range(n):
        compare(_same(n), lambda x: hvd.broadcast(x, root), lambda xs: [xs[root]] * n)


def alltoall() -> None:
    n = hvd.size()
    splits = [[s + r for r in range(n)] for s in range(n)]

    def plain(xs: Tensors) -> Tensors:
        parts = [x.split(splits[s]) for s, x in enumerate(xs)]
        return [torch.cat([parts[s][r] for s in range(n)]) for r in range(n)]

    compare([(sum(splits[s]), 2) for s in range(n)], lambda x: hvd.alltoall(x, torch.tensor(splits[hvd.rank()]))[0], plain)
    compare(_same(n, (n, 2)), lambda x: hvd.alltoall(x), lambda xs: [torch.stack([x[r] for x in xs]) for r in range(n)])


def reducescatter() -> None:
    n = hvd.size()
    for rows in (2 * n, 2 * n + 1):
        for op, factor in ((hvd.Sum, 1.0), (hvd.Average, 1 / n)):

            def plain(xs: Tensors, factor: float = factor) -> Tensors:
                return list((sum(xs) * factor).tensor_split(n))

            compare(_same(n, (rows, 2)), lambda x, op=op: hvd.reducescatter(x, op=op), plain)
            compare(_same(n, (rows, 2)), lambda x, op=op: hvd.grouped_reducescatter([x, x * x], op=op)[0], plain)


def second_order() -> None:
    n = hvd.size()

    def square_of_gradient(f: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def g(x: Tensor) -> Tensor:
            (gradient,) = torch.autograd.grad(f(x).pow(3).sum(), x, create_graph=True)
            return gradient

        return g

    def plain(xs: Tensors) -> Tensors:
        gradients = torch.autograd.grad(sum((sum(xs) / n).pow(3).sum() for _ in range(n)), xs, create_graph=True)
        return list(gradients)

    compare(_same(n), square_of_gradient(hvd.allreduce), plain)


def refused() -> None:
    x = torch.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="has no gradient"):
        hvd.allreduce(x, op=hvd.Max).sum().backward()


def in_set() -> None:
    pair = hvd.add_process_set([0, hvd.size() - 1])
    if pair.included():
        x = torch.full((2,), float(hvd.rank()), requires_grad=True)
        (hvd.allreduce(x, process_set=pair) * (hvd.rank() + 1)).sum().backward()
        assert x.grad is not None and x.grad.tolist() == [(1 + hvd.size()) / 2] * 2
    hvd.remove_process_set(pair)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("case", [allreduce, allgather, broadcast, alltoall, reducescatter, second_order, refused, in_set])
def test_gradient(ranks: Ranks, count: int, case: Callable[[], None]) -> None:
    ranks(count, case)
