"""Python objects between the ranks, pickled.

Unpickling runs what the bytes say, so they must come from a rank of this job: ranks prove that they belong to it when they connect. Over TCP
tensors, and so these bytes, are in the clear unless ``HVD_ENCRYPT=1``: set it where others can write to the network.
"""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np

from .._process import rank
from ..process_sets import ProcessSet, global_process_set
from .collectives import allgather, broadcast_


def broadcast_object(obj: Any = None, root_rank: int = 0, name: str | None = None, process_set: ProcessSet = global_process_set) -> Any:
    """The object of rank `root_rank`; there it is returned as it is, the other ranks' are ignored. Collective."""
    is_root = rank() == root_rank
    content = np.frombuffer(pickle.dumps(obj), np.uint8) if is_root else np.empty(0, np.uint8)
    count = np.array([content.size], np.int64)
    broadcast_(count, root_rank, f"{name}, size" if name else None, process_set)
    if not is_root:
        content = np.empty(int(count[0]), np.uint8)
    received = content if content.flags.writeable else content.copy()
    broadcast_(received, root_rank, f"{name}, content" if name else None, process_set)
    return obj if is_root else pickle.loads(received.tobytes())


def allgather_object(obj: Any, name: str | None = None, process_set: ProcessSet = global_process_set) -> list[Any]:
    """The objects of all members of the process set, in their order. Collective."""
    content = np.frombuffer(pickle.dumps(obj), np.uint8)
    sizes = allgather(np.array([content.size], np.int64), f"{name}, sizes" if name else None, process_set)
    contents = allgather(content, f"{name}, contents" if name else None, process_set)
    ends = np.cumsum(sizes)
    return [pickle.loads(contents[end - size : end].tobytes()) for size, end in zip(sizes, ends)]
