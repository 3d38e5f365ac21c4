"""SyncBatchNorm: batch normalization over what all ranks feed in at the same time, for batches too small to speak for themselves.

Each forward in training sums counts, values and squares of all ranks in one exchange, and each backward two sums a channel in another; both in
float64, so that a batch in parts is normalized like the whole. Ranks may bring batches of different sizes, also empty ones.
"""

# mypy: disable-error-code="no-untyped-call, misc"

from __future__ import annotations

from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from .._core import ReduceOp
from ..process_sets import ProcessSet, global_process_set
from ._starting import start_allreduce

Tensor = torch.Tensor


def _sum_of_ranks(parts: list[Tensor], name: str, process_set: ProcessSet) -> Tensor:
    (total,) = start_allreduce([torch.cat(parts)], True, False, f"SyncBatchNorm, {name}", ReduceOp.sum, 1.0, 1.0, process_set).wait()
    return total


def _statistics(values: Tensor, dimensions: list[int], process_set: ProcessSet) -> tuple[float, Tensor, Tensor]:
    """How many values a channel has on all ranks, their mean, and their mean square distance from it; the latter two in float64."""
    channels = values.shape[1]
    count = values.numel() // channels
    if count:
        variance, mean = (one.double() for one in torch.var_mean(values, dimensions, correction=0))
        sums = [mean * count, (variance + mean * mean) * count]
    else:
        sums = [torch.zeros(2 * channels, dtype=torch.float64, device=values.device)]
    # First: a rank that has joined adds nothing to the count either.
    sums.insert(0, torch.tensor([count], dtype=torch.float64, device=values.device))
    total = _sum_of_ranks(sums, "statistics", process_set)
    everywhere = float(total[0])
    if everywhere <= 1:
        raise ValueError(
            f"SyncBatchNorm: {int(everywhere)} values a channel on all {process_set.size()} ranks together: training needs at least 2"
        )
    mean, square = (total[1:] / everywhere).split(channels)
    return everywhere, mean, (square - mean * mean).clamp_(min=0)


class _Normalize(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, values: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, process_set: ProcessSet
    ) -> tuple[Tensor, Tensor, Tensor, float]:
        """The result; mean and variance of the whole batch, and its values a channel."""
        accurate = values if values.dtype in (torch.float32, torch.float64) else values.float()
        dimensions = [0, *range(2, values.dim())]
        count, mean, variance = _statistics(accurate, dimensions, process_set)
        inverse = torch.rsqrt(variance + eps).to(accurate.dtype)
        shape = [1, -1, *[1] * (values.dim() - 2)]
        result = (accurate - mean.to(accurate.dtype).view(shape)).mul_((inverse if weight is None else inverse * weight).view(shape))
        if bias is not None:
            result.add_(bias.view(shape))
        ctx.save_for_backward(values, weight, mean.to(accurate.dtype), inverse)
        ctx.facts = (dimensions, shape, count, process_set)
        ctx.mark_non_differentiable(mean, variance)
        return result.to(values.dtype), mean, variance, count

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        values, weight, mean, inverse = ctx.saved_tensors
        dimensions, shape, count, process_set = ctx.facts
        gradient = gradient.to(mean.dtype)
        normal = (values.to(mean.dtype) - mean.view(shape)).mul_(inverse.view(shape))
        bias_gradient = gradient.sum(dimensions)
        weight_gradient = (gradient * normal).sum(dimensions)
        result = None
        if ctx.needs_input_grad[0]:
            total = _sum_of_ranks([bias_gradient.double(), weight_gradient.double()], "gradient", process_set) / count
            along_ones, along_normal = (one.to(mean.dtype).view(shape) for one in total.split(len(mean)))
            result = (gradient - along_ones).sub_(normal.mul_(along_normal))
            result = result.mul_((inverse if weight is None else inverse * weight).view(shape)).to(values.dtype)
        return (
            result,
            weight_gradient.to(weight.dtype) if weight is not None and ctx.needs_input_grad[1] else None,
            bias_gradient.to(weight.dtype) if weight is not None and ctx.needs_input_grad[2] else None,
            None,
            None,
        )


class SyncBatchNorm(_BatchNorm):
    """torch.nn.BatchNorm1d, 2d and 3d over the batches of all ranks, with the same arguments, parameters and state_dict.

    Takes [N, C, ...] of any floating type, N different on every rank if need be, 0 included. In training all ranks (of process_set) call it,
    and its backward, equally often and in the same order; running statistics and results are those of one process with the whole batch.
    Gradients of weight and bias are this rank's part: DistributedOptimizer reduces them with the others. In eval mode nothing is exchanged, so
    that a rank may evaluate alone: without running statistics it normalizes by its own batch.
    Raises ValueError for an input without channels or with another number of them, and, in training, for fewer than 2 values a channel.
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True, track_running_stats: bool = True,
        device: Any = None, dtype: Any = None, *, process_set: ProcessSet = global_process_set,
    ) -> None:  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)
        self.process_set = process_set

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2 or input.shape[1] != self.num_features:
            raise ValueError(f"SyncBatchNorm: expected [N, {self.num_features}, ...], got {list(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        if not self.training or self.process_set.size() == 1:
            return super().forward(input)
        result, mean, variance, count = _Normalize.apply(input, self.weight, self.bias, self.eps, self.process_set)
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            with torch.no_grad():
                self.num_batches_tracked.add_(1)
                share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
                self.running_var.lerp_((variance * (count / (count - 1))).to(self.running_var.dtype), share)
        normalized: Tensor = result
        return normalized
