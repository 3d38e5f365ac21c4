"""What each rank does and checks in test_mistakes.py: mistakes after which the job goes on, each with what is said to it."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import horovod_cpp.torch as hvd
from optimizer_cases import batches, check_same, loss_of, model, sgd

Mistakes = list[tuple[Callable[[], Any], type[Exception], str]]


def _are_told(mistakes: Mistakes) -> None:
    for call, kind, words in mistakes:
        with pytest.raises(kind, match=words) as raised:
            call()
        assert raised.type is kind, raised.value
    assert hvd.allreduce(torch.ones(1), op=hvd.Sum).item() == hvd.size(), "the job goes on"


def calls() -> None:
    ones, values = torch.ones(3), np.ones(3)
    name_as_average: Any = "loss"
    _are_told(
        [
            (lambda: hvd.allreduce(values), TypeError, r"expected a torch.Tensor, got ndarray: torch.as_tensor\(\) makes one"),
            (lambda: hvd.allreduce(0.5), TypeError, "got float: torch.as_tensor"),
            (lambda: hvd.allreduce(0.5, compression=hvd.Compression.fp16), TypeError, "got float: torch.as_tensor"),
            (lambda: hvd.allreduce(ones, compression="fp16"), TypeError, "expected Compression.none, Compression.fp16"),
            (lambda: hvd.allreduce(ones, name_as_average), ValueError, "pass a name as name='loss'"),
            (lambda: hvd.allreduce(ones, name=5), TypeError, "expected a string as name"),
            (lambda: hvd.allreduce(ones, op="sum"), ValueError, "expected Average, Sum, Min, Max, Product or Adasum"),
            (lambda: hvd.allreduce(ones, average=True, op=hvd.Sum), ValueError, "pass op or average, not both"),
            (lambda: hvd.allreduce(ones.to_sparse()), ValueError, r"the tensor is sparse.*pass tensor.to_dense\(\)"),
            (lambda: hvd.allreduce(ones.to("meta")), ValueError, r"device meta cannot be communicated yet: pass tensor.cpu\(\)"),
            (lambda: hvd.allreduce(ones.to(torch.complex64)), ValueError, "pass torch.view_as_real of it"),
            (lambda: hvd.allreduce(ones.bool()), ValueError, "the average of bool is not defined; use sum and divide"),
            (lambda: hvd.allreduce(ones, prescale_factor=float("nan")), ValueError, "must be finite numbers"),
            (lambda: hvd.allreduce(ones.int(), op=hvd.Sum, prescale_factor=0.5), ValueError, "scale factors need a floating type"),
            (lambda: hvd.allreduce(ones.int(), op=hvd.Adasum), hvd.UnavailableError, "has no allreduce of int32 with adasum"),
            (lambda: hvd.allreduce_(torch.ones(1).expand(3)), ValueError, r"cannot be written in place: pass .contiguous\(\)"),
            (lambda: hvd.broadcast(ones, hvd.size()), ValueError, r"root rank 2: expected 0 to 1"),
            (lambda: hvd.broadcast(ones, None), TypeError, "a rank as root; got .*root_rank=None"),
            (lambda: hvd.broadcast_object(1, hvd.size()), ValueError, r"root rank 2: expected 0 to 1"),
            (lambda: hvd.alltoall(ones), ValueError, "cannot be divided evenly among 2 ranks: pass splits"),
            (lambda: hvd.alltoall(ones, [5, 1]), ValueError, "expected 2 numbers, none negative, that add up to the 3 rows"),
            (lambda: hvd.reducescatter(ones[0]), ValueError, "a 0-d tensor cannot be scattered: it needs a first dimension"),
            (lambda: hvd.sparse_allreduce_async(ones), ValueError, "expected a sparse COO tensor and Sum or Average"),
            (lambda: hvd.synchronize(17), TypeError, "expected what an …_async function has returned, got int"),
            (lambda: hvd.poll(17), TypeError, "expected what an …_async function has returned, got int"),
            (lambda: hvd.mpi_threads_supported(), ValueError, "start it with mpirun, or ask mpi_enabled"),
            (lambda: hvd.start_timeline("/nowhere/timeline.json"), ValueError, "Name a file in a folder that exists"),
        ]
    )


def process_sets() -> None:
    ones, size = torch.ones(3), hvd.size()
    first, removed = hvd.add_process_set([0]), hvd.add_process_set(range(size))
    hvd.remove_process_set(removed)
    mistakes: Mistakes = [
        (lambda: hvd.allreduce(ones, process_set=[0, 1]), TypeError, r"add_process_set\(ranks\) makes one"),
        (lambda: hvd.allreduce(ones, process_set=removed), ValueError, r"was not added, or was removed: pass it to init"),
        (lambda: hvd.allreduce(ones, process_set=hvd.ProcessSet([0])), ValueError, r"pass it to init\(process_sets=…\) or add_process_set"),
        (lambda: hvd.add_process_set(3), TypeError, r"expected several ranks, as \[0, 1\]"),
        (lambda: hvd.add_process_set([]), ValueError, "a process set needs at least one rank"),
        (lambda: hvd.add_process_set([0, 0]), ValueError, "expected ascending, each once"),
        (lambda: hvd.add_process_set([0, size]), ValueError, "expected 0 to 1"),
        (lambda: hvd.add_process_set([hvd.rank()]), hvd.MismatchError, "Submit the same .* on every rank"),
        (lambda: hvd.remove_process_set([0]), TypeError, r"add_process_set\(ranks\) makes one"),
    ]
    if not first.included():
        net = model()
        mistakes += [
            (lambda: hvd.allreduce(ones, process_set=first), ValueError, "this rank is not a member; the members are rank 0"),
            (lambda: first.rank(), ValueError, r"is no member of .*: ask included\(\) first"),
            (lambda: hvd.DistributedOptimizer(sgd(net.parameters()), process_set=first), ValueError, "make it on members only"),
        ]
    _are_told(mistakes)
    hvd.remove_process_set(first)


def starts() -> None:
    rank, size = hvd.rank(), hvd.size()
    net, optimizer = model(), sgd(model().parameters())
    wider, longer = nn.Linear(2, 3 + rank), nn.Sequential(*[nn.Linear(2, 2) for _ in range(1 + rank)])
    other = (torch.optim.SGD if rank else torch.optim.Adam)(net.parameters(), lr=0.1)
    ways = r"expected model.state_dict\(\) or model.named_parameters\(\), got .*: pass one of the two"
    _are_told(
        [
            (lambda: hvd.broadcast_parameters(net.parameters(), 0), ValueError, ways),
            (lambda: hvd.broadcast_parameters(nn.Linear(2, 2), 0), ValueError, ways),
            (lambda: hvd.broadcast_parameters(optimizer, 0), ValueError, r"broadcast_optimizer_state\(\) is for optimizers"),
            (lambda: hvd.broadcast_parameters(net.state_dict(), size), ValueError, "root rank 2: expected 0 to 1"),
            (
                lambda: hvd.broadcast_parameters(wider.state_dict(), 0),
                hvd.MismatchError,
                r"rank 0 has 'bias' \[3\] float32, rank 1 'bias' \[4\]",
            ),
            (
                lambda: hvd.broadcast_parameters(longer.state_dict(), 0),
                hvd.MismatchError,
                "has nothing.*Build the same model on every rank",
            ),
            (lambda: hvd.broadcast_optimizer_state(net, 0), TypeError, "expected a torch.optim.Optimizer, got Sequential: pass one"),
            (lambda: hvd.broadcast_optimizer_state(optimizer, size), ValueError, "root rank 2: expected 0 to 1"),
            (
                lambda: hvd.broadcast_optimizer_state(other, 0),
                hvd.MismatchError,
                "torch.optim.Adam, rank 1 a torch.optim.SGD.*Make the same",
            ),
            (lambda: hvd.broadcast_optimizer_state(sgd(longer.parameters()), 0), hvd.MismatchError, "of the same model on every rank"),
        ]
    )


def optimizers() -> None:
    net = model()
    named = list(net.named_parameters())
    complex_numbers = torch.ones(2, dtype=torch.complex64, requires_grad=True)
    wrapped = hvd.DistributedOptimizer(sgd(model().parameters()))

    def wrap(given: Any = None, **options: Any) -> Callable[[], Any]:
        return lambda: hvd.DistributedOptimizer(sgd(net.parameters()) if given is None else given, **options)

    _are_told(
        [
            (wrap(net), TypeError, r"got Sequential: pass one, as torch.optim.SGD\(model.parameters\(\), lr=0.1\)"),
            (wrap(wrapped), ValueError, "this optimizer is one already: use it as it is"),
            (wrap(named_parameters=net.parameters()), ValueError, r"got generator: pass model.named_parameters\(\)"),
            (wrap(named_parameters=net[0]), ValueError, r"got Linear: pass model.named_parameters\(\)"),
            (wrap(named_parameters=named[:2]), ValueError, r"pass model.named_parameters\(\) of all models"),
            (wrap(compression="fp16"), TypeError, "expected Compression.none, Compression.fp16"),
            (wrap(compression=None), TypeError, "expected Compression.none, Compression.fp16"),
            (wrap(op=hvd.Sum, gradient_predivide_factor=2.0), ValueError, "leave it out, or pass op=Average"),
            (wrap(gradient_predivide_factor=float("nan")), ValueError, "expected a number above 0"),
            (wrap(process_set=[0, 1]), TypeError, r"add_process_set\(ranks\) makes one"),
            (
                wrap(sgd(nn.Linear(2, 2, device="meta").parameters())),
                ValueError,
                r"'group 0, parameter 0': .*device meta .*pass tensor.cpu\(\)",
            ),
            (wrap(sgd([complex_numbers])), ValueError, "pass torch.view_as_real of it"),
        ]
    )


def two_over_one_model() -> None:
    """Refused while the first lives, whichever way it is asked for; afterwards the second trains."""
    net, reference = model(), model()
    first: Any = hvd.DistributedOptimizer(sgd(net.parameters()), net.named_parameters())
    first.refers_to_itself = first
    scheduler = torch.optim.lr_scheduler.StepLR(first, 1)
    other: Any = hvd.DistributedOptimizer(sgd(model().parameters()))
    words = "parameter '.*' belongs to another DistributedOptimizer: use that one, or del it first"
    _are_told(
        [
            (lambda: hvd.DistributedOptimizer(sgd(net.parameters()), net.named_parameters()), ValueError, words),
            (lambda: other.add_param_group({"params": net[0].weight}), ValueError, words),
        ]
    )
    assert len(other.param_groups) == 1
    steps = batches(6)
    loss_of(net, steps[0][hvd.rank()]).backward()
    first.zero_grad()
    del first, scheduler
    second: Any = hvd.DistributedOptimizer(sgd(net.parameters()), net.named_parameters())
    plain = sgd(reference.parameters())
    for step in steps[1:]:
        second.zero_grad()
        loss_of(net, step[hvd.rank()]).backward()
        second.step()
        plain.zero_grad()
        (sum(loss_of(reference, batch) for batch in step) / hvd.size()).backward()
        plain.step()
        check_same(net, reference)
    del second
    gc.collect()
    if hvd.rank() == 0:
        loss_of(net, steps[0][0]).backward()  # a plain backward, which nobody else has to take part in


def options_that_differ() -> None:
    rank = hvd.rank()
    width = nn.Linear(2, 3 + rank)
    remedy = "All ranks make their DistributedOptimizers of the same model, with the same options"
    for net, options, words in (
        (width, {}, r"ranks disagree on shape: rank 0 has \[3"),
        (model(), {"op": hvd.Sum if rank else hvd.Average}, "rank 0 has average; rank 1 has sum"),
        (model(), {"gradient_predivide_factor": 1.0 + rank}, "ranks disagree on prescale factor"),
        (model(), {"num_groups": 1 + rank}, "ranks disagree on group"),
    ):
        optimizer: Any = hvd.DistributedOptimizer(sgd(net.parameters()), net.named_parameters(), **options)
        inputs = torch.ones(2, next(net.parameters()).shape[1], dtype=next(net.parameters()).dtype)
        before = [parameter.detach().clone() for parameter in net.parameters()]
        with pytest.raises(hvd.MismatchError, match=f"{words}.*{remedy}"):
            net(inputs).sum().backward()
        optimizer.step()
        assert all(torch.equal(*pair) for pair in zip(before, net.parameters()))


class _Doubled(hvd.Compressor):
    """With it each round is negotiated."""

    @staticmethod
    def compress(tensor: torch.Tensor) -> tuple[torch.Tensor, Any]:
        return tensor * 2, None

    @staticmethod
    def decompress(tensor: torch.Tensor, ctx: Any) -> torch.Tensor:
        return tensor / 2


def another_number_of_backwards(is_negotiated: bool) -> None:
    """Rank 0 takes one more in a step: told on all ranks as soon as they are at different ones, and training goes on."""
    net = model()
    compression = _Doubled if is_negotiated else hvd.Compression.none
    optimizer = hvd.DistributedOptimizer(sgd(net.parameters()), net.named_parameters(), compression=compression)
    said = ""
    for number, step in enumerate(batches(6)):
        optimizer.zero_grad()
        try:
            for _ in range(2 if (number, hvd.rank()) == (3, 0) else 1):
                loss_of(net, step[hvd.rank()]).backward()
            optimizer.step()
        except hvd.MismatchError as error:
            said = str(error)
            break
    assert "Take the same number of backwards a step on every rank, and restart from a checkpoint" in said
    optimizer.step()
    hvd.broadcast_parameters(net.state_dict(), root_rank=0)
    hvd.broadcast_optimizer_state(optimizer, root_rank=0)
    for step in batches(3):
        optimizer.zero_grad()
        loss_of(net, step[hvd.rank()]).backward()
        optimizer.step()
    weights = hvd.allgather_object([parameter.tolist() for parameter in net.parameters()])
    assert all(theirs == weights[0] for theirs in weights)


def a_step_inside_a_backward() -> None:
    net = model()
    optimizer = hvd.DistributedOptimizer(sgd(net.parameters()), net.named_parameters())
    step = batches(1)[0]
    for call in (optimizer.step, optimizer.synchronize):
        hook = net[0].bias.register_post_accumulate_grad_hook(lambda _, call=call: call())
        with pytest.raises(ValueError, match=r"while a backward of its model runs: call it when backward\(\) has returned"):
            loss_of(net, step[hvd.rank()]).backward()
        hook.remove()
        optimizer.step()


def on_a_join() -> None:
    if hvd.rank() > 0:
        ones = torch.ones(2)
        _are_told_alone(
            [
                (lambda: hvd.allreduce(ones, op=hvd.Max), "zeros mean nothing to max: use sum or average, or do not join"),
                (lambda: hvd.broadcast(ones, 0), "it is the root. Choose a root that has not joined"),
                (lambda: hvd.alltoall(ones), "its rows would be lost. Take part in it on every rank"),
            ]
        )
    hvd.join()


def _are_told_alone(mistakes: list[tuple[Callable[[], Any], str]]) -> None:
    for call, words in mistakes:
        with pytest.raises(hvd.MismatchError, match=words):
            call()


def timelines(file: str) -> None:
    hvd.start_timeline(file)
    _are_told([(lambda: hvd.start_timeline(file), ValueError, "already; stop it first")])
    hvd.stop_timeline()
    hvd.stop_timeline()
    with open(f"{file}.rank{hvd.rank()}", encoding="utf-8") as written:
        assert any(event["name"].startswith("process_name") for event in json.load(written))


def averages_of_halves() -> None:
    """Sums are made in 32 bits: nothing overflows on the way to an average, and sums in bfloat16 have the range of float32."""
    halves = torch.full((2,), 60000.0, dtype=torch.float16)
    assert hvd.allreduce(halves).tolist() == [60000.0] * 2
    assert hvd.allreduce(halves.to(torch.bfloat16), op=hvd.Sum).isfinite().all()
    weight = nn.Parameter(torch.ones(2, dtype=torch.float16))
    optimizer = hvd.DistributedOptimizer(torch.optim.SGD([weight], lr=0.1))
    for _ in range(3):
        optimizer.zero_grad()
        (weight * torch.tensor([60000.0, 1.0], dtype=torch.float16)).sum().backward()
        assert weight.grad is not None and weight.grad.tolist() == [60000.0, 1.0]
        optimizer.step()
