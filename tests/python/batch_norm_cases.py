"""What each rank does and checks in test_torch_batch_norm.py: its part of a batch through SyncBatchNorm, the whole through torch's BatchNorm."""

from __future__ import annotations

import copy
import functools
from typing import Any

import pytest
import torch
from torch import nn

import horovod_cpp.torch as hvd

PLAIN = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
CHANNELS = 3


def rows_of(split: str) -> list[int]:
    """How many samples each rank has."""
    return {"even": [4] * hvd.size(), "uneven": [2 + 3 * r for r in range(hvd.size())], "one empty": [0] + [5] * (hvd.size() - 1)}[split]


def whole_batch(dimensions: int, rows: list[int], dtype: torch.dtype, step: int, offset: float = 3.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(step)
    shape = (sum(rows), CHANNELS, 2, 3, 4)[:dimensions]
    return (torch.randn(shape, generator=generator, dtype=torch.float64) * 2 + offset).to(dtype)


def own_part(whole: torch.Tensor, rows: list[int]) -> torch.Tensor:
    start = sum(rows[: hvd.rank()])
    return whole[start : start + rows[hvd.rank()]]


def layers(dimensions: int, dtype: torch.dtype, **options: Any) -> tuple[hvd.SyncBatchNorm, nn.Module]:
    """Ours and torch's, with the same parameters."""
    plain = PLAIN[dimensions](CHANNELS, dtype=dtype, **options)
    ours = hvd.SyncBatchNorm(CHANNELS, dtype=dtype, **options)
    with torch.no_grad():
        for number, parameter in enumerate(plain.parameters()):
            parameter.copy_(torch.linspace(0.5, 2, CHANNELS) * (number + 1))
    ours.load_state_dict(plain.state_dict())
    return ours, plain


def normalizes(
    dimensions: int, split: str, dtype: torch.dtype = torch.float64, offset: float = 3.0, tolerance: float | None = None, **options: Any
) -> None:
    """Some steps of training, then evaluation. offset: the mean of the values, whose spread is 2."""
    check = functools.partial(torch.testing.assert_close, atol=tolerance, rtol=tolerance)
    rows = rows_of(split)
    ours, plain = layers(dimensions, dtype, **options)
    for step in range(3):
        whole = whole_batch(dimensions, rows, dtype, step, offset).requires_grad_()
        part = own_part(whole.detach(), rows).clone().requires_grad_()
        # Something whose gradient differs from element to element.
        results = [layer(values) for layer, values in ((ours, part), (plain, whole))]
        factors = torch.linspace(-1, 1, whole.numel()).reshape(whole.shape).to(dtype)
        (results[0] * own_part(factors, rows) + results[0] ** 2 / 7).sum().backward()
        (results[1] * factors + results[1] ** 2 / 7).sum().backward()
        check(results[0], own_part(results[1], rows))
        assert part.grad is not None and whole.grad is not None
        check(part.grad, own_part(whole.grad, rows))
        for mine, expected in zip(ours.parameters(), plain.parameters()):
            assert mine.grad is not None
            check(hvd.allreduce(mine.grad, op=hvd.Sum), expected.grad)
        ours.zero_grad()
        plain.zero_grad()
    for name, expected in plain.state_dict().items():
        check(ours.state_dict()[name], expected)
    state = hvd.allgather_object([value.float().numpy().tobytes() for value in ours.state_dict().values()])
    assert all(one == state[0] for one in state), "the ranks' bits differ"
    alone = whole_batch(dimensions, rows, dtype, 9)
    check(ours.eval()(alone), plain.eval()(alone))


def normalizes_halves() -> None:
    """Statistics in 32 bits, and results like the whole batch's to the last bit or so."""
    for dtype, tolerance in ((torch.float16, 2e-3), (torch.bfloat16, 2e-2)):
        ours, plain = layers(4, torch.float32)
        whole = whole_batch(4, rows_of("uneven"), dtype, 1)
        part = own_part(whole, rows_of("uneven")).clone().requires_grad_()
        result = ours(part)
        assert result.dtype == dtype
        torch.testing.assert_close(result.float(), own_part(plain(whole.float()), rows_of("uneven")), atol=tolerance, rtol=tolerance)
        result.sum().backward()
        assert part.grad is not None and part.grad.dtype == dtype and ours.weight.grad.dtype == torch.float32


def keeps_memory_format() -> None:
    ours, plain = layers(4, torch.float32)
    whole = whole_batch(4, rows_of("even"), torch.float32, 1)
    part = own_part(whole, rows_of("even")).to(memory_format=torch.channels_last)
    result = ours(part)
    assert result.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(result, own_part(plain(whole), rows_of("even")))


def evaluates_alone() -> None:
    """Nobody waits for ranks that do not evaluate."""
    for track in (True, False):
        ours, plain = layers(3, torch.float64, track_running_stats=track)
        if hvd.rank() == 0:
            values = whole_batch(3, [5], torch.float64, 2)
            torch.testing.assert_close(ours.eval()(values), plain.eval()(values))
    hvd.barrier()


def trains_a_model() -> None:
    """Under DistributedOptimizer, like one process with the whole batch."""

    def net(norm: nn.Module) -> nn.Module:
        torch.manual_seed(3)
        return nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 1), norm, nn.ReLU(), nn.Flatten(), nn.Linear(CHANNELS * 6, 2)).double()

    ours, plain = (net(layer) for layer in layers(4, torch.float64))
    rows = rows_of("even")
    optimizer = hvd.DistributedOptimizer(torch.optim.SGD(ours.parameters(), lr=0.1), ours.named_parameters())
    reference = torch.optim.SGD(plain.parameters(), lr=0.1)
    for step in range(3):
        whole = whole_batch(4, rows, torch.float64, step)
        for model, values, stepper in ((ours, own_part(whole, rows), optimizer), (plain, whole, reference)):
            stepper.zero_grad()
            model(values).square().mean().backward()
            stepper.step()
    for (name, mine), expected in zip(ours.state_dict().items(), plain.state_dict().values()):
        torch.testing.assert_close(mine, expected, msg=lambda text, name=name: f"{name}: {text}")


def in_a_process_set() -> None:
    last_two = hvd.add_process_set([hvd.size() - 2, hvd.size() - 1])
    if last_two.included():
        layer = copy.deepcopy(hvd.SyncBatchNorm(CHANNELS, process_set=last_two, dtype=torch.float64))
        whole = whole_batch(2, [3, 3], torch.float64, 1)
        start = 3 * last_two.rank()
        expected = nn.BatchNorm1d(CHANNELS, dtype=torch.float64)(whole)
        torch.testing.assert_close(layer(whole[start : start + 3]), expected[start : start + 3])
    hvd.remove_process_set(last_two)


def with_a_rank_that_joined() -> None:
    ours, plain = layers(2, torch.float64)
    whole = whole_batch(2, [4] * (hvd.size() - 1), torch.float64, 1).requires_grad_()
    if hvd.rank() < hvd.size() - 1:
        start = 4 * hvd.rank()
        part = whole.detach()[start : start + 4].clone().requires_grad_()
        expected = plain(whole)
        expected.pow(3).sum().backward()
        result = ours(part)
        result.pow(3).sum().backward()
        torch.testing.assert_close(result, expected[start : start + 4])
        assert whole.grad is not None
        torch.testing.assert_close(part.grad, whole.grad[start : start + 4])
    hvd.join()


def mistakes() -> None:
    layer = hvd.SyncBatchNorm(CHANNELS)
    with pytest.raises(ValueError, match=r"expected \[N, 3, ...\], got \[4, 5\]"):
        layer(torch.ones(4, 5))
    with pytest.raises(ValueError, match="1 values a channel on all"):
        layer(torch.ones(1 if hvd.rank() == 0 else 0, CHANNELS))
    assert int(layer.num_batches_tracked) == 0
