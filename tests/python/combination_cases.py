"""What each rank does and checks in test_torch_combinations.py: DistributedOptimizer together with what PyTorch's users combine it with, against
the same on one process with the batches of all ranks.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import horovod_cpp.torch as hvd
from optimizer_cases import Batch, batches, check_same, loss_of, model, plain_step, sgd, trains

Make = Callable[[Iterable[torch.Tensor]], torch.optim.Optimizer]


def _pair(make: Make = sgd) -> tuple[nn.Module, Any, nn.Module, torch.optim.Optimizer]:
    net, reference = model(), model()
    return net, hvd.DistributedOptimizer(make(net.parameters()), net.named_parameters()), reference, make(reference.parameters())


def _mine(step: list[Batch]) -> Batch:
    return step[hvd.rank()]


def autocast() -> None:
    """Forward in bfloat16: gradients of float32 parameters, the same as without ranks but for the order of a sum."""
    net, reference = model().float(), model().float()
    optimizer = hvd.DistributedOptimizer(sgd(net.parameters()), net.named_parameters())
    plain = sgd(reference.parameters())

    def loss(network: nn.Module, batch: Batch) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return nn.functional.mse_loss(network(batch[0].float()).float(), batch[1].float())

    for step in batches(4):
        optimizer.zero_grad()
        loss(net, _mine(step)).backward()
        optimizer.step()
        plain.zero_grad()
        for batch in step:  # each alone, as on its rank
            (loss(reference, batch) / hvd.size()).backward()
        plain.step()
        for mine, expected in zip(net.parameters(), reference.parameters()):
            torch.testing.assert_close(mine, expected, rtol=1e-2, atol=1e-3)
    everywhere = hvd.allgather_object([parameter.detach().numpy().tobytes() for parameter in net.parameters()])
    assert all(one == everywhere[0] for one in everywhere)


def grad_scaler(clips: bool) -> None:
    """An infinite gradient on one rank is infinite on all of them: all skip the step, and all halve the scale."""
    net, optimizer, reference, plain = _pair()
    scaler, plain_scaler = (torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2) for _ in range(2))
    for number, step in enumerate(batches(6)):
        factor = float("inf") if number == 3 else 1.0
        optimizer.zero_grad()
        scaler.scale(loss_of(net, _mine(step)) * (factor if hvd.rank() == 1 else 1.0)).backward()
        if clips:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(net.parameters(), 0.1)
        scaler.step(optimizer)
        scaler.update()
        plain.zero_grad()
        losses = [loss_of(reference, batch) * (factor if rank == 1 else 1.0) for rank, batch in enumerate(step)]
        plain_scaler.scale(sum(losses) / hvd.size()).backward()
        if clips:
            plain_scaler.unscale_(plain)
            nn.utils.clip_grad_norm_(reference.parameters(), 0.1)
        plain_scaler.step(plain)
        plain_scaler.update()
        check_same(net, reference)
        assert scaler.get_scale() == plain_scaler.get_scale()


def compiled() -> None:
    net, optimizer, reference, plain = _pair()
    fast = torch.compile(net, backend="aot_eager")
    for step in batches(4):
        optimizer.zero_grad()
        loss_of(fast, _mine(step)).backward()
        optimizer.step()
        plain_step(reference, plain, [loss_of(reference, batch) for batch in step])
        check_same(net, reference)


def _step_lr(optimizer: torch.optim.Optimizer) -> Any:
    return torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)


def _one_cycle(optimizer: torch.optim.Optimizer) -> Any:
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=8)


def schedulers() -> None:
    """Made before the wrapper, or after it."""
    for make_scheduler in (_step_lr, _one_cycle):
        for wraps_first in (True, False):
            net, reference = model(), model()
            inner = sgd(net.parameters())
            early = None if wraps_first else make_scheduler(inner)
            optimizer = hvd.DistributedOptimizer(inner, net.named_parameters())
            scheduler = early or make_scheduler(optimizer)
            plain = sgd(reference.parameters())
            plain_scheduler = make_scheduler(plain)
            for step in batches(5):
                optimizer.zero_grad()
                loss_of(net, _mine(step)).backward()
                optimizer.step()
                scheduler.step()
                plain_step(reference, plain, [loss_of(reference, batch) for batch in step])
                plain_scheduler.step()
                check_same(net, reference)
                assert optimizer.param_groups[0]["lr"] == plain.param_groups[0]["lr"]


def _has_fused_on_cpu() -> bool:
    try:
        torch.optim.Adam([torch.zeros(1)], fused=True)
    except RuntimeError:
        return False
    return True


def fused_and_foreach() -> None:
    if _has_fused_on_cpu():  # newer than torch 2.1
        trains(lambda p: torch.optim.Adam(p, lr=0.01, fused=True))
        trains(lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, fused=True))
    trains(lambda p: torch.optim.RMSprop(p, lr=0.01, foreach=True))
    trains(lambda p: torch.optim.Adagrad(p, lr=0.1))


class Rows(Dataset[torch.Tensor]):
    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((5,), float(index), dtype=torch.float64)


def data_loader(context: str) -> None:
    """Workers that are forked, or spawned, while gradients are reduced; a worker that is alive keeps nobody from ending."""
    net, optimizer, reference, plain = _pair()
    sampler = torch.utils.data.distributed.DistributedSampler(Rows(8 * hvd.size()), hvd.size(), hvd.rank(), shuffle=False)
    loader = DataLoader(Rows(8 * hvd.size()), batch_size=4, sampler=sampler, num_workers=2, multiprocessing_context=context)
    for _ in range(2):
        for number, rows in enumerate(loader):
            optimizer.zero_grad()
            net(rows).pow(2).mean().backward()
            optimizer.step()
            plain.zero_grad()
            for rank in range(hvd.size()):
                indices = [(4 * number + i) * hvd.size() + rank for i in range(4)]
                theirs = torch.stack([Rows(10**6)[index] for index in indices])
                (reference(theirs).pow(2).mean() / hvd.size()).backward()
            plain.step()
            check_same(net, reference)


def saved_and_loaded() -> None:
    """The state goes through a file, a pickle and a copy, and into a new optimizer."""
    ways: list[Callable[[Any], Any]] = [copy.deepcopy, lambda state: pickle.loads(pickle.dumps(state)), _through_file]
    for way in ways:
        net, optimizer, reference, plain = _pair(lambda p: torch.optim.Adam(p, lr=0.01))
        steps = batches(6)
        for number, step in enumerate(steps):
            if number == 3:
                saved, weights = way(optimizer.state_dict()), way(net.state_dict())
                net = model(5)
                net.load_state_dict(weights)
                optimizer = hvd.DistributedOptimizer(torch.optim.Adam(net.parameters(), lr=0.5), net.named_parameters())
                optimizer.load_state_dict(saved)
            optimizer.zero_grad()
            loss_of(net, _mine(step)).backward()
            optimizer.step()
            plain_step(reference, plain, [loss_of(reference, batch) for batch in step])
            check_same(net, reference)
        assert optimizer.param_groups[0]["lr"] == 0.01


def _through_file(state: Any) -> Any:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


class _Tied(nn.Module):
    """One weight looks words up and scores them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.table = nn.Embedding(6, 3).double()
        self.scores = nn.Linear(3, 6, bias=False).double()
        self.scores.weight = self.table.weight

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.scores(self.table(words))
        return scores


def tied_weights() -> None:
    net, reference = _Tied(), _Tied()
    optimizer = hvd.DistributedOptimizer(sgd(net.parameters()), net.named_parameters())
    plain = sgd(reference.parameters())

    def loss(network: nn.Module, rank: int, step: int) -> torch.Tensor:
        words = torch.tensor([rank, step, (rank + step) % 6])
        return nn.functional.cross_entropy(network(words), words.flip(0))

    for step in range(4):
        optimizer.zero_grad()
        loss(net, hvd.rank(), step).backward()
        optimizer.step()
        plain_step(reference, plain, [loss(reference, rank, step) for rank in range(hvd.size())])
        check_same(net, reference)


def copied_models() -> None:
    """A copy of a model (for an average of weights, say) is no part of the training, and may have an optimizer of its own."""
    net, optimizer, reference, plain = _pair()
    for number, step in enumerate(batches(4)):
        optimizer.zero_grad()
        loss_of(net, _mine(step)).backward()
        if number == 2:
            twin = copy.deepcopy(net)
            loss_of(twin, _mine(step)).backward()  # reaches no optimizer
        optimizer.step()
        plain_step(reference, plain, [loss_of(reference, batch) for batch in step])
        check_same(net, reference)
