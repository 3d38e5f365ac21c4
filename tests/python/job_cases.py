"""What each rank does in test_mistakes_of_jobs.py, by horovod_cpp.run(): mistakes that a session does not survive, or that are made before there is one."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import pytest
import torch

import horovod_cpp.torch as hvd
from optimizer_cases import batches, check_same, loss_of, model, sgd


def _train(steps: int) -> Any:
    net = model()
    optimizer = hvd.DistributedOptimizer(sgd(net.parameters()), net.named_parameters())
    for step in batches(steps):
        optimizer.zero_grad()
        loss_of(net, step[hvd.rank()]).backward()
        optimizer.step()
    return optimizer


def fewer_steps() -> list[str]:
    """Rank 0 ends before the others, in steps that are negotiated and in the steady state: what the others hear."""
    said = []
    for steps in (0, 1, 4):
        hvd.init()
        if hvd.rank() == 0:
            optimizer = _train(steps)
            hvd.shutdown()
            del optimizer
        else:
            with pytest.raises(hvd.WorldError) as raised:
                _train(steps + 1)
            said.append(str(raised.value))
            hvd.shutdown()
    return said


def a_call_on_some_ranks() -> str:
    """What ends a wait that would last for ever."""
    hvd.init()
    with pytest.raises(hvd.WorldError) as raised:
        if hvd.rank() == 0:
            hvd.allreduce(torch.ones(1), name="a metric")
        else:
            hvd.broadcast_object()
    return str(raised.value)


def a_backward_on_some_ranks() -> str:
    hvd.init()
    with pytest.raises(hvd.WorldError) as raised:
        optimizer = _train(4 if hvd.rank() == 0 else 3)
        hvd.barrier()
        del optimizer
    return str(raised.value)


def an_optimizer_of_before() -> None:
    """After shutdown() it says so. After init() a new one over the same model trains, whether the old one is there or not."""
    net = model()
    hvd.init()
    step = batches(1)[0][hvd.rank()]
    for _ in range(2):
        optimizer = hvd.DistributedOptimizer(sgd(net.parameters()), net.named_parameters())
        for _ in range(3):
            optimizer.zero_grad()
            loss_of(net, step).backward()
            optimizer.step()
        check_same(net, net)
        hvd.shutdown()
        for _ in range(2):
            with pytest.raises(hvd.NotInitializedError, match=r"of the time before shutdown\(\): call init\(\) and make a new one"):
                loss_of(net, step).backward()
            with pytest.raises(hvd.NotInitializedError, match="make a new one"):
                optimizer.step()
            hvd.init()


def too_large_an_allgather() -> str:
    """On rank 0, which has memory for half of the result."""
    hvd.init()
    part = torch.ones(64 << 20, dtype=torch.uint8)
    before = resource.getrlimit(resource.RLIMIT_AS)
    if hvd.rank() == 0:
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + part.numel(), before[1]))
    with pytest.raises(hvd.HorovodInternalError) as raised:
        hvd.allgather(part, name="everything")
    resource.setrlimit(resource.RLIMIT_AS, before)
    return str(raised.value)


def init_with_some_ranks() -> None:
    rank = int(os.environ["HVD_RANK"])
    attempts: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"comm": 5}, TypeError, "expected None, all ranks as .*, or an MPI communicator"),
        ({"process_sets": hvd.ProcessSet([0])}, TypeError, "expected a list of ProcessSets"),
        ({"comm": [0]}, ValueError, r"call init\(\) on every rank, then add_process_set\(ranks\)"),
    ]
    for arguments, kind, words in attempts:
        with pytest.raises(kind, match=words):
            hvd.init(**arguments)
    hvd.init(comm=[1, 0], process_sets=[hvd.ProcessSet([0])])
    assert hvd.rank() == rank and hvd.size() == 2


def before_init() -> None:
    net, ones = model(), torch.ones(1)
    calls: list[Any] = [
        hvd.size,
        hvd.barrier,
        hvd.join,
        lambda: hvd.allreduce(ones),
        lambda: hvd.allgather(ones),
        lambda: hvd.broadcast_object(1),
        lambda: hvd.broadcast_parameters(net.state_dict(), 0),
        lambda: hvd.broadcast_optimizer_state(sgd(net.parameters()), 0),
        lambda: hvd.DistributedOptimizer(sgd(net.parameters())),
        lambda: hvd.add_process_set([0]),
        lambda: hvd.start_timeline("timeline.json"),
    ]
    for call in calls:
        with pytest.raises(hvd.NotInitializedError, match=r"call init\(\) first"):
            call()


def without_shared_memory() -> float:
    """On one rank, as in a container whose /dev/shm is full."""
    if os.environ["HVD_RANK"] == "1":
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    hvd.init()
    return float(hvd.allreduce(torch.ones(1), op=hvd.Sum))


def without_descriptors() -> None:
    if os.environ["HVD_RANK"] == "1":
        resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))
    with pytest.raises(hvd.WorldError, match="this process may have 8 open files; raise ulimit -n"):
        hvd.init()
