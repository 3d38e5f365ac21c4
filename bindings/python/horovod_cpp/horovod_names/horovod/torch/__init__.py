"""horovod.torch: horovod_cpp.torch."""

from __future__ import annotations

import importlib
from typing import Any

from horovod_cpp.torch import *  # noqa: F403
from horovod_cpp.torch import __all__ as _ours

from .. import run as run
from . import compression, functions, mpi_ops, optimizer, sync_batch_norm

__all__ = ["compression", "functions", "mpi_ops", "optimizer", "sync_batch_norm", *_ours]


def __getattr__(name: str) -> Any:
    if name == "elastic":
        try:
            return importlib.import_module(".elastic", __name__)
        except ImportError as error:
            raise AttributeError(str(error)) from error
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
