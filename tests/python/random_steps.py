"""Steps of a random program with DistributedOptimizer, in test_torch_random_steps.py, against sums that need no autograd.

A backward adds a known tensor to the gradient of each parameter it uses, so what p.grad must be is a sum of those. Everything is drawn from
one seed, the same on all ranks: which parameters a backward uses on which rank, once, twice or sparse; whether it communicates, or fails; how
gradients are zeroed; which of them somebody keeps.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import horovod_cpp.torch as hvd
from backward_cases import Fails

_SHAPES: list[tuple[int, ...]] = [(3, 4), (70_000,), (), (0, 2), (5, 2), (2, 3, 2), (9,)]
_FLOATS = [torch.float64, torch.float32, torch.float64, torch.float64, torch.float64, torch.float32, torch.float64]
_BY_HAND = 5


@dataclass
class _Use:
    """How a backward of one rank uses one parameter: a gradient of `scale` everywhere, or in row 1."""

    how: str  # once, twice, sparse
    scale: int

    def loss(self, parameter: torch.Tensor) -> torch.Tensor:
        if self.how == "sparse":
            return torch.nn.functional.embedding(torch.tensor([1, 1]), parameter, sparse=True).sum() * (self.scale / 2)
        if self.how == "twice":
            first, second = (
                checkpoint(lambda p, part=part: (p * part).sum(), parameter, use_reentrant=True) for part in (1, self.scale - 1)
            )
            return first + second
        return (parameter * self.scale).sum()

    def gradient(self, parameter: torch.Tensor) -> torch.Tensor:
        whole = torch.zeros_like(parameter.detach())
        if self.how == "sparse":
            whole[1] = self.scale
        else:
            whole += self.scale
        return whole


@dataclass
class _Program:
    """What has happened to each parameter's gradient on all ranks: what is reduced, and what each rank has added since."""

    reduced: list[torch.Tensor | None]
    local: list[list[torch.Tensor | None]]  # [rank]
    kept: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)

    def add(self, rank: int, index: int, gradient: torch.Tensor) -> None:
        before = self.local[rank][index]
        self.local[rank][index] = gradient if before is None else before + gradient

    def reduce(self) -> None:
        for index in range(len(self.reduced)):
            pieces = [of_rank[index] for of_rank in self.local if of_rank[index] is not None]
            if not pieces:
                continue
            average = sum(pieces) / len(self.local)
            before = self.reduced[index]
            self.reduced[index] = average if before is None else before + average
            for of_rank in self.local:
                of_rank[index] = None

    def zero(self, to_none: bool) -> None:
        for index, value in enumerate(self.reduced):
            has_grad = value is not None
            self.reduced[index] = torch.zeros_like(value) if has_grad and not to_none else None
            for of_rank in self.local:
                of_rank[index] = None


def _draw_uses(random_: random.Random, shapes: list[tuple[int, ...]]) -> list[_Use | None]:
    uses: list[_Use | None] = []
    mood = random_.choice(["all", "all", "all", "some", "odd"])
    for shape in shapes:
        if mood == "some" and random_.random() < 0.4:
            uses.append(None)
        else:
            hows = ["once"]
            if mood == "odd":
                hows += ["twice"] + ["sparse"] * (len(shape) == 2 and shape[0] > 1)
            uses.append(_Use(random_.choice(hows), random_.randrange(2, 9, 2)))
    return uses


def runs(seed: int, steps: int, **options: Any) -> dict[str, int]:
    """How often an arena was there, and was not, at the end of a step."""
    random_ = random.Random(seed)
    me, size = hvd.rank(), hvd.size()
    parameters = [torch.nn.Parameter(torch.zeros(shape, dtype=dtype)) for shape, dtype in zip(_SHAPES, _FLOATS)]
    optimizer = hvd.DistributedOptimizer(torch.optim.SGD(parameters, lr=1.0), **options)
    program = _Program([None] * len(parameters), [[None] * len(parameters) for _ in range(size)])
    counts = {"arena": 0, "negotiated": 0, "dropped": 0}

    for step in range(steps):
        where = f"seed {seed}, step {step}"
        zeroing = random_.choice(["none", "none", "none", "zeros", "model", "not at all"])
        if zeroing == "model":
            for parameter in parameters:
                parameter.grad = None
        elif zeroing != "not at all":
            optimizer.zero_grad(set_to_none=zeroing == "none")
        if zeroing != "not at all":
            program.zero(zeroing != "zeros")
        is_by_hand = zeroing == "none" and random_.random() < 0.2
        if is_by_hand:  # p.grad from no backward, of a parameter that rank 0 uses, and rank 1 does not
            for rank in range(size):
                program.add(rank, _BY_HAND, torch.full_like(parameters[_BY_HAND].detach(), rank + 1.0))
            parameters[_BY_HAND].grad = program.local[me][_BY_HAND].clone()
        is_calm = not is_by_hand and random_.random() < 0.6
        passes = 1 if is_calm else random_.randrange(1, 4)
        failing = -1 if is_calm or random_.random() < 0.7 else random_.randrange(size)
        for number in range(passes):
            is_local = not is_calm and number + 1 < passes and random_.random() < 0.5
            uses_of_ranks = [_draw_uses(random_, _SHAPES) if not is_calm else [_Use("once", 2)] * len(_SHAPES) for _ in range(size)]
            for uses in uses_of_ranks:  # a backward that reaches nothing is none
                uses[1] = uses[1] or _Use("once", 4)
            if is_by_hand:
                uses_of_ranks[0][_BY_HAND], uses_of_ranks[1][_BY_HAND] = _Use("once", 4), None
            if failing >= 0 and number + 1 == passes:
                # Backward goes from the last to the first: some gradients have come when it fails.
                failure = Fails.apply(parameters[0]).sum() if me == failing else 0.0
                loss = failure + sum(use.loss(parameter) for use, parameter in zip(uses_of_ranks[me], parameters) if use)
                with pytest.raises(ArithmeticError if me == failing else hvd.StepDiscarded):
                    loss.backward()  # type: ignore[union-attr]
                break
            loss = sum(use.loss(parameter) for use, parameter in zip(uses_of_ranks[me], parameters) if use)
            if is_local:
                with optimizer.no_sync():
                    loss.backward()  # type: ignore[union-attr]
            else:
                loss.backward()  # type: ignore[union-attr]
            for rank, uses in enumerate(uses_of_ranks):
                for index, use in enumerate(uses):
                    if use:
                        program.add(rank, index, use.gradient(parameters[index]))
            if not is_local:
                program.reduce()
        if failing >= 0:
            counts["dropped"] += 1
            optimizer.step()
            optimizer.zero_grad()
            program.zero(to_none=True)
            continue
        optimizer.synchronize()
        program.reduce()
        for index, (parameter, expected) in enumerate(zip(parameters, program.reduced)):
            if expected is None:
                assert parameter.grad is None or not parameter.grad.any(), f"{where}: parameter {index} has a gradient"
                continue
            assert parameter.grad is not None, f"{where}: parameter {index} has no gradient"
            torch.testing.assert_close(
                parameter.grad.to_dense(), expected, msg=lambda text, i=index, w=where: f"{w}: parameter {i}: {text}"
            )
        for held, copy in program.kept:
            torch.testing.assert_close(held.to_dense(), copy, rtol=0, atol=0, msg=lambda text, w=where: f"{w}, kept: {text}")
        # Who zeroes in place, or adds, changes what is kept: that is his doing.
        for parameter in parameters:
            if random_.random() < 0.1 and parameter.grad is not None:
                parameter.grad.data = parameter.grad.data.clone()  # other memory for the same tensor
        keeps = random_.random() < 0.4
        kept = [p.grad for p in parameters if random_.random() < 0.4]
        program.kept = [(grad, grad.detach().clone().to_dense()) for grad in kept if keeps and grad is not None]
        optimizer.step()
        if keeps:
            optimizer.zero_grad()
            program.zero(to_none=True)
        del kept
        counts["arena" if optimizer._hvd_exchange._arena is not None else "negotiated"] += 1
    return counts
