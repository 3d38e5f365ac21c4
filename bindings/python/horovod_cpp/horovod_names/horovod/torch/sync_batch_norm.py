"""Batch normalization over the batches of all ranks."""

from horovod_cpp.torch.sync_batch_norm import SyncBatchNorm

__all__ = ["SyncBatchNorm"]
