"""What each rank does and checks in test_torch_optimizer.py about backwards that are not one whole backward a step on every rank."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import horovod_cpp.torch as hvd
from optimizer_cases import Batch, batches, check_same, loss_of, model, plain_step, sgd


def accumulates(how: str) -> None:
    """Two backwards a step, in each way of doing that."""
    net, reference = model(), model()
    passes = 2 if how in ("passes", "short") else 1
    op = hvd.Sum if how == "sum of two losses" else hvd.Average
    optimizer = hvd.DistributedOptimizer(sgd(net.parameters()), net.named_parameters(), backward_passes_per_step=passes, op=op)
    plain = sgd(reference.parameters())
    every = batches(6)
    for first, second in zip(every[::2], every[1::2]):
        optimizer.zero_grad()
        mine = [first[hvd.rank()], second[hvd.rank()]]
        if how == "short":
            mine, second = mine[:1], []
        if how == "no_sync":
            with optimizer.no_sync():
                loss_of(net, mine[0]).backward()
            loss_of(net, mine[1]).backward()
        else:
            for batch in mine:
                loss_of(net, batch).backward()
        optimizer.step()
        losses = [loss_of(reference, batch) for batch in first + second]
        plain_step(reference, plain, losses if op == hvd.Average else [loss * hvd.size() for loss in losses])
        check_same(net, reference)


def unused_parameters() -> None:
    """The last rank does not use the second branch; nobody uses the third."""
    branches, reference = nn.ModuleList([model(1), model(2), model(3)]), nn.ModuleList([model(1), model(2), model(3)])
    optimizer = hvd.DistributedOptimizer(sgd(branches.parameters()), branches.named_parameters())
    plain = sgd(reference.parameters())

    def loss(nets: nn.ModuleList, step: list[Batch], rank: int) -> torch.Tensor:
        total = loss_of(nets[0], step[rank])
        return total if rank == hvd.size() - 1 else total + loss_of(nets[1], step[rank])

    for step in batches(3):
        optimizer.zero_grad()
        loss(branches, step, hvd.rank()).backward()
        assert all(parameter.grad is None for parameter in branches[2].parameters())
        optimizer.step()
        plain_step(reference, plain, [loss(reference, step, rank) for rank in range(hvd.size())])
        check_same(branches, reference)


def a_rank_without_data() -> None:
    net, reference = model(), model()
    optimizer = hvd.DistributedOptimizer(sgd(net.parameters()), net.named_parameters())
    plain = sgd(reference.parameters())
    for step in batches(3):
        optimizer.zero_grad()
        if hvd.rank() != 0:
            loss_of(net, step[hvd.rank()]).backward()
        optimizer.step()
        plain_step(reference, plain, [loss_of(reference, batch) for batch in step[1:]])
        check_same(net, reference)


class Fails(torch.autograd.Function):
    """Throws in backward."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        raise ArithmeticError("on purpose")


def a_backward_that_fails() -> None:
    net, reference = model(), model()
    optimizer = hvd.DistributedOptimizer(sgd(net.parameters()), net.named_parameters())
    plain = sgd(reference.parameters())
    steps = batches(4)
    for number, step in enumerate(steps):
        optimizer.zero_grad()
        if number == 1:
            x, y = step[hvd.rank()]
            hidden = net[1](net[0](x))
            if hvd.rank() == 0:
                hidden = Fails.apply(hidden)
            loss = nn.functional.mse_loss(net[2](hidden), y)
            with pytest.raises(ArithmeticError if hvd.rank() == 0 else hvd.StepDiscarded):
                loss.backward()
            optimizer.step()
        else:
            loss_of(net, step[hvd.rank()]).backward()
            optimizer.step()
            plain_step(reference, plain, [loss_of(reference, batch) for batch in step])
        check_same(net, reference)


def two_optimizers_in_any_order() -> None:
    """One backward reaches both; the ranks reach them in different orders."""
    nets = [model(1), model(2)]
    reference = [model(1), model(2)]
    optimizers = [hvd.DistributedOptimizer(sgd(net.parameters()), net.named_parameters()) for net in nets]
    plain = [sgd(net.parameters()) for net in reference]
    for step in batches(3):
        for optimizer in optimizers:
            optimizer.zero_grad()
        order = nets if hvd.rank() % 2 else nets[::-1]
        sum(loss_of(net, step[hvd.rank()]) for net in order).backward()  # type: ignore[union-attr]
        for optimizer in optimizers:
            optimizer.step()
        for net, own, expected in zip(reference, plain, nets):
            plain_step(net, own, [loss_of(net, batch) for batch in step])
            check_same(expected, net)


def checkpointed(use_reentrant: bool) -> None:
    from torch.utils.checkpoint import checkpoint

    net, reference = model(), model()
    optimizer = hvd.DistributedOptimizer(sgd(net.parameters()), net.named_parameters())
    plain = sgd(reference.parameters())
    for step in batches(3):
        optimizer.zero_grad()
        x, y = step[hvd.rank()]
        x = x.clone().requires_grad_()
        out = checkpoint(net, x, use_reentrant=use_reentrant)
        # The first layer is used a second time, outside of the checkpoint: its gradient comes in two pieces.
        loss = nn.functional.mse_loss(out, y) + net[0](x).pow(2).mean()
        loss.backward()
        optimizer.step()
        plain_step(reference, plain, [loss_of(reference, batch) + reference[0](batch[0]).pow(2).mean() for batch in step])
        check_same(net, reference)


def gradients_alone() -> None:
    """torch.autograd.grad() is left alone, also between a backward and its step."""
    net, reference = model(), model()
    optimizer = hvd.DistributedOptimizer(sgd(net.parameters()), net.named_parameters())
    plain = sgd(reference.parameters())
    for step in batches(3):
        optimizer.zero_grad()
        loss_of(net, step[hvd.rank()]).backward()
        before = [parameter.grad.clone() for parameter in net.parameters() if parameter.grad is not None]
        if hvd.rank() == 0:
            torch.autograd.grad(loss_of(net, step[0]), list(net.parameters()))
        for parameter, gradient in zip(net.parameters(), before):
            torch.testing.assert_close(parameter.grad, gradient)
        optimizer.step()
        plain_step(reference, plain, [loss_of(reference, batch) for batch in step])
        check_same(net, reference)
