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
import reference

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


def plain_step(net: nn.Module, optimizer: torch.optim.Optimizer, losses: list[torch.Tensor], op: Any = hvd.Average) -> None:
    optimizer.zero_grad()
    total: Any = sum(losses)
    (total / hvd.size() if op == hvd.Average else total).backward()
    optimizer.step()


def trains(
    make: Callable[[Iterable[torch.Tensor]], torch.optim.Optimizer] = sgd, groups: list[list[int]] | None = None, **options: Any
) -> None:
    """groups: numbers of parameters."""
    net, reference = model(), model()
    parameters = list(net.parameters())
    if groups is not None:
        options["groups"] = [[parameters[number] for number in group] for group in groups]
    optimizer = hvd.DistributedOptimizer(make(parameters), net.named_parameters(), **options)
    plain = make(reference.parameters())
    for step in batches(4):
        optimizer.zero_grad()
        loss_of(net, step[hvd.rank()]).backward()
        optimizer.step()
        plain_step(reference, plain, [loss_of(reference, batch) for batch in step], options.get("op", hvd.Average))
        check_same(net, reference)
    assert isinstance(optimizer, type(plain))


def trains_with_options() -> None:
    trains(lambda p: torch.optim.Adam(p, lr=0.01))
    trains(lambda p: torch.optim.AdamW(p, lr=0.01, foreach=True))
    trains(num_groups=2)
    trains(groups=[[0, 1], [3]])
    trains(gradient_predivide_factor=4.0)
    trains(op=hvd.Average, sparse_as_dense=True)
    trains(op=hvd.Sum)


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


def joins() -> None:
    """Rank r has data for r + 1 steps: the average is over all ranks, and who has joined adds zeros."""
    net, reference = model(), model()
    optimizer = hvd.DistributedOptimizer(sgd(net.parameters()), net.named_parameters())
    plain = sgd(reference.parameters())
    steps = batches(hvd.size())
    for number in range(hvd.rank() + 1):
        optimizer.zero_grad()
        loss_of(net, steps[number][hvd.rank()]).backward()
        optimizer.step()
        plain.zero_grad()
        for rank in range(number, hvd.size()):
            (loss_of(reference, steps[number][rank]) / hvd.size()).backward()
        plain.step()
        for mine, right in zip(net.parameters(), reference.parameters()):
            torch.testing.assert_close(mine, right)
    assert hvd.join() == hvd.size() - 1


def adasum(compression: str) -> None:
    """Each rank's own step, with its own momentum; then the changes' Adasum."""
    net, references = model(), [model() for _ in range(hvd.size())]
    optimizer = hvd.DistributedOptimizer(
        sgd(net.parameters()), net.named_parameters(), op=hvd.Adasum, compression=getattr(hvd.Compression, compression)
    )
    optimizers = [sgd(reference.parameters()) for reference in references]
    for step in batches(4):
        optimizer.zero_grad()
        loss_of(net, step[hvd.rank()]).backward()
        optimizer.synchronize()
        with optimizer.skip_synchronize():
            optimizer.step()
        before = [parameter.detach().clone() for parameter in references[0].parameters()]
        for one, its_optimizer, batch in zip(references, optimizers, step):
            its_optimizer.zero_grad()
            loss_of(one, batch).backward()
            its_optimizer.step()
        with torch.no_grad():
            for start, *ranks in zip(before, *(one.parameters() for one in references)):
                change = reference.adasum([(parameter - start).numpy() for parameter in ranks])
                for parameter in ranks:
                    parameter.copy_(start + torch.from_numpy(change))
        tolerance = {"rtol": 1e-2, "atol": 1e-3} if compression == "bf16" else {"rtol": 1e-10, "atol": 1e-12}
        for mine, expected in zip(net.parameters(), references[0].parameters()):
            torch.testing.assert_close(mine, expected, **tolerance)
    everywhere = hvd.allgather_object([parameter.detach().numpy().tobytes() for parameter in net.parameters()])
    assert all(one == everywhere[0] for one in everywhere), "the ranks' bits differ"


def mistakes() -> None:
    net = model()
    names = list(net.named_parameters())
    for named, keywords, words in (
        ([("same", parameter) for _, parameter in names], {}, "come twice: same"),
        (names[:2], {}, "2 of the optimizer's 4 parameters are not in it"),
        (list(net.parameters()), {}, "pairs of a name and a parameter"),
        (names, {"op": hvd.Max}, "expected Average, Sum or Adasum"),
        (names, {"backward_passes_per_step": 0}, "at least 1"),
        (names, {"gradient_predivide_factor": 2.0, "op": hvd.Sum}, "op=Average only"),
        (names, {"groups": [[torch.ones(1)]]}, "lists of the optimizer's parameters"),
        (names, {"groups": [[names[0][1]], [names[0][1]]]}, "is in two of them"),
        (names, {"groups": [[names[0][1]]], "num_groups": 1}, "not both"),
    ):
        with pytest.raises(ValueError, match=words):
            hvd.DistributedOptimizer(sgd(net.parameters()), named, **keywords)
