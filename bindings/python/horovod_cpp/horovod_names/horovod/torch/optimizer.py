"""The optimizer that averages gradients."""

from horovod_cpp.torch.optimizer import DistributedOptimizer

__all__ = ["DistributedOptimizer"]
