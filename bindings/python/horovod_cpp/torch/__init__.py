"""Data-parallel training with PyTorch. Three lines change in a script:

::

    import horovod_cpp.torch as hvd

    hvd.init()                                                                     # 1
    optimizer = hvd.DistributedOptimizer(optimizer, model.named_parameters())      # 2
    hvd.broadcast_parameters(model.state_dict(), root_rank=0)                      # 3

and each rank trains on its own part of the data. Names, arguments and defaults are those of horovod.torch.
"""

from importlib.util import find_spec as _find_spec

if _find_spec("torch") is None:
    raise ImportError("horovod_cpp.torch needs PyTorch, which is not installed here: pip install torch")

from .._common import *  # noqa: F403
from .._common import __all__ as _common
from ._tensors import supported_types
from .compression import Compression, Compressor
from .functions import allgather_object, broadcast_object, broadcast_optimizer_state, broadcast_parameters
from .gathers import (
    allgather,
    allgather_async,
    alltoall,
    alltoall_async,
    barrier,
    broadcast,
    broadcast_,
    broadcast_async,
    broadcast_async_,
    grouped_allgather,
    grouped_allgather_async,
    join,
    poll,
    sparse_allreduce_async,
    synchronize,
)
from .optimizer import DistributedOptimizer
from .reductions import (
    allreduce,
    allreduce_,
    allreduce_async,
    allreduce_async_,
    grouped_allreduce,
    grouped_allreduce_,
    grouped_allreduce_async,
    grouped_allreduce_async_,
    grouped_reducescatter,
    grouped_reducescatter_async,
    reducescatter,
    reducescatter_async,
)
from .sync_batch_norm import SyncBatchNorm

__all__ = [
    *_common,
    "Compression",
    "Compressor",
    "DistributedOptimizer",
    "SyncBatchNorm",
    "allgather",
    "allgather_async",
    "allgather_object",
    "allreduce",
    "allreduce_",
    "allreduce_async",
    "allreduce_async_",
    "alltoall",
    "alltoall_async",
    "barrier",
    "broadcast",
    "broadcast_",
    "broadcast_async",
    "broadcast_async_",
    "broadcast_object",
    "broadcast_optimizer_state",
    "broadcast_parameters",
    "grouped_allgather",
    "grouped_allgather_async",
    "grouped_allreduce",
    "grouped_allreduce_",
    "grouped_allreduce_async",
    "grouped_allreduce_async_",
    "grouped_reducescatter",
    "grouped_reducescatter_async",
    "join",
    "poll",
    "reducescatter",
    "reducescatter_async",
    "sparse_allreduce_async",
    "supported_types",
    "synchronize",
]
