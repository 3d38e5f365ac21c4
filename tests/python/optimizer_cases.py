"""What each rank does and checks in test_torch_optimizer.py: training with DistributedOptimizer against plain training on one process, on the
batches of all ranks. In float64, where the order of sums hardly shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import nn

import horovod_cpp.torch as hvd

Batch = tuple[torch.Tensor, torch.Tensor]


def model(salt: int = 0) -> nn.Sequential:
    torch.manual_seed(salt)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()


def batches(steps: int) -> list[list[Batch]]:
    """[step][rank]: the same on every rank."""
    generator = torch.Generator().manual_seed(7)

    def one() -> Batch:
        x, y = (torch.randn(4, width, generator=generator, dtype=torch.float64) for width in (5, 3))
        return x, y

    return [[one() for _ in range(hvd.size())] for _ in range(steps)]


def loss_of(net: nn.Module, batch: Batch) -> torch.Tensor:
    return nn.functional.mse_loss(net(batch[0]), batch[1])


def sgd(parameters: Iterable[torch.Tensor]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


def check_same(net: nn.Module, reference: nn.Module) -> None:
    for (name, mine), expected in zip(net.named_parameters(), reference.parameters()):
        torch.testing.assert_close(mine, expected, msg=lambda text, name=name: f"{name}: {text}")
    everywhere = hvd.allgather_object([parameter.detach().numpy().tobytes() for parameter in net.parameters()])
    assert all(one == everywhere[0] for one in everywhere), "the ranks' bits differ"


def plain_step(net: nn.Module, optimizer: torch.optim.Optimizer, losses: list[torch.Tensor]) -> None:
    optimizer.zero_grad()
    (sum(losses) / hvd.size()).backward()  # type: ignore[union-attr]
    optimizer.step()


def trains(make: Callable[[Iterable[torch.Tensor]], torch.optim.Optimizer] = sgd, **options: Any) -> None:
    net, reference = model(), model()
    optimizer = hvd.DistributedOptimizer(make(net.parameters()), net.named_parameters(), **options)
    plain = make(reference.parameters())
    for step in batches(4):
        optimizer.zero_grad()
        loss_of(net, step[hvd.rank()]).backward()
        optimizer.step()
        plain_step(reference, plain, [loss_of(reference, batch) for batch in step])
        check_same(net, reference)
    assert isinstance(optimizer, type(plain))


def trains_with_options() -> None:
    trains(lambda p: torch.optim.Adam(p, lr=0.01))
    trains(lambda p: torch.optim.AdamW(p, lr=0.01, foreach=True))
    trains(num_groups=2)
    trains(gradient_predivide_factor=4.0)
    trains(op=hvd.Average, sparse_as_dense=True)


def trains_in_groups() -> None:
    net, reference = model(), model()
    parameters = list(net.parameters())
    optimizer = hvd.DistributedOptimizer(sgd(parameters), net.named_parameters(), groups=[parameters[:2], [parameters[3]]])
    plain = sgd(reference.parameters())
    for step in batches(3):
        optimizer.zero_grad()
        loss_of(net, step[hvd.rank()]).backward()
        optimizer.step()
        plain_step(reference, plain, [loss_of(reference, batch) for batch in step])
        check_same(net, reference)


def sums() -> None:
    net, reference = model(), model()
    optimizer = hvd.DistributedOptimizer(sgd(net.parameters()), net.named_parameters(), op=hvd.Sum)
    plain = sgd(reference.parameters())
    for step in batches(3):
        optimizer.zero_grad()
        loss_of(net, step[hvd.rank()]).backward()
        optimizer.step()
        plain.zero_grad()
        sum(loss_of(reference, batch) for batch in step).backward()  # type: ignore[union-attr]
        plain.step()
        check_same(net, reference)


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


def clips(by_hand: bool) -> None:
    net, reference = model(), model()
    optimizer = hvd.DistributedOptimizer(sgd(net.parameters()), net.named_parameters())
    plain = sgd(reference.parameters())
    for step in batches(3):
        optimizer.zero_grad()
        loss_of(net, step[hvd.rank()]).backward()
        if by_hand:
            optimizer.synchronize()
        nn.utils.clip_grad_norm_(net.parameters(), 0.1)
        if by_hand:
            with optimizer.skip_synchronize():
                optimizer.step()
        else:
            optimizer.step()
        plain.zero_grad()
        (sum(loss_of(reference, batch) for batch in step) / hvd.size()).backward()
        nn.utils.clip_grad_norm_(reference.parameters(), 0.1)
        plain.step()
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


class _Fails(torch.autograd.Function):
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
                hidden = _Fails.apply(hidden)
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


def closures() -> None:
    net, reference = model(), model()

    def lbfgs(parameters: Iterable[torch.Tensor]) -> torch.optim.Optimizer:
        return torch.optim.LBFGS(parameters, max_iter=5)

    optimizer = hvd.DistributedOptimizer(lbfgs(net.parameters()), net.named_parameters())
    plain = lbfgs(reference.parameters())
    for step in batches(2):

        def ours(step: list[Batch] = step) -> torch.Tensor:
            optimizer.zero_grad()
            loss = loss_of(net, step[hvd.rank()])
            loss.backward()
            return loss

        def theirs(step: list[Batch] = step) -> torch.Tensor:
            plain.zero_grad()
            loss = sum(loss_of(reference, batch) for batch in step) / hvd.size()
            loss.backward()
            return loss

        optimizer.step(ours)
        plain.step(theirs)
        check_same(net, reference)


def sparse(as_dense: bool) -> None:
    torch.manual_seed(3)
    net, reference = (nn.Embedding(10, 4, sparse=True).double() for _ in range(2))
    reference.load_state_dict(net.state_dict())
    optimizer = hvd.DistributedOptimizer(torch.optim.SGD(net.parameters(), lr=0.1), net.named_parameters(), sparse_as_dense=as_dense)
    plain = torch.optim.SGD(reference.parameters(), lr=0.1)
    for turn in range(3):
        rows = [torch.tensor([rank, rank + turn, 9]) for rank in range(hvd.size())]
        optimizer.zero_grad()
        net(rows[hvd.rank()]).pow(2).sum().backward()
        assert net.weight.grad is not None and net.weight.grad.is_sparse != as_dense
        optimizer.step()
        plain_step(reference, plain, [reference(one).pow(2).sum() for one in rows])
        check_same(net, reference)


def in_process_set() -> None:
    """Two sets train alone; one of them has a single member."""
    mine = [hvd.add_process_set([0]), hvd.add_process_set(range(1, hvd.size()))]
    group = mine[0] if hvd.rank() == 0 else mine[1]
    net, reference = model(), model()
    optimizer = hvd.DistributedOptimizer(sgd(net.parameters()), net.named_parameters(), process_set=group)
    plain = sgd(reference.parameters())
    for step in batches(3):
        optimizer.zero_grad()
        loss_of(net, step[hvd.rank()]).backward()
        optimizer.step()
        plain.zero_grad()
        (sum(loss_of(reference, step[rank]) for rank in group.ranks or []) / group.size()).backward()
        plain.step()
        for parameter, expected in zip(net.parameters(), reference.parameters()):
            torch.testing.assert_close(parameter, expected)
    for one in mine:
        hvd.remove_process_set(one)


def parameters_added() -> None:
    net, more = model(1), model(2)
    reference, more_reference = model(1), model(2)
    optimizer = hvd.DistributedOptimizer(sgd(net.parameters()), net.named_parameters())
    plain = sgd(reference.parameters())
    for number, step in enumerate(batches(4)):
        if number == 2:
            optimizer.add_param_group({"params": list(more.parameters()), "lr": 0.05})
            plain.add_param_group({"params": list(more_reference.parameters()), "lr": 0.05})
        optimizer.zero_grad()
        (loss_of(net, step[hvd.rank()]) + loss_of(more, step[hvd.rank()])).backward()
        optimizer.step()
        plain_step(reference, plain, [loss_of(reference, batch) + loss_of(more_reference, batch) for batch in step])
        check_same(net, reference)
        if number >= 2:
            check_same(more, more_reference)
        else:
            more.zero_grad()


def state_is_broadcast() -> None:
    net = model(hvd.rank())
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1 * (hvd.rank() + 1))
    if hvd.rank() == 1:
        for step in batches(2):
            loss_of(net, step[1]).backward()
            optimizer.step()
    hvd.broadcast_parameters(net.state_dict(), root_rank=1)
    before = [parameter.detach().clone() for parameter in net.parameters()]
    hvd.broadcast_optimizer_state(optimizer, root_rank=1)
    for parameter, value in zip(net.parameters(), before):
        torch.testing.assert_close(parameter.detach(), value)
    assert optimizer.param_groups[0]["lr"] == 0.2
    states = hvd.allgather_object(
        [[name, value.tolist()] for state in optimizer.state_dict()["state"].values() for name, value in sorted(state.items())]
    )
    assert states[0] and all(state == states[0] for state in states)


def mistakes() -> None:
    net = model()
    names = list(net.named_parameters())
    for named, keywords, words in (
        ([("same", parameter) for _, parameter in names], {}, "come twice: same"),
        (names[:2], {}, "2 of the optimizer's 4 parameters are not in it"),
        (list(net.parameters()), {}, "pairs of a name and a parameter"),
        (names, {"op": hvd.Max}, "expected Average or Sum"),
        (names, {"backward_passes_per_step": 0}, "at least 1"),
        (names, {"gradient_predivide_factor": 2.0, "op": hvd.Sum}, "op=Average only"),
        (names, {"groups": [[torch.ones(1)]]}, "lists of the optimizer's parameters"),
        (names, {"groups": [[names[0][1]], [names[0][1]]]}, "is in two of them"),
        (names, {"groups": [[names[0][1]]], "num_groups": 1}, "not both"),
    ):
        with pytest.raises(ValueError, match=words):
            hvd.DistributedOptimizer(sgd(net.parameters()), named, **keywords)
    with pytest.raises(hvd.UnavailableError, match="Adasum"):
        hvd.DistributedOptimizer(sgd(net.parameters()), names, op=hvd.Adasum)
