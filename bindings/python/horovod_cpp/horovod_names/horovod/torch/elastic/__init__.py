"""horovod.torch.elastic: horovod_cpp.torch.elastic, where the package has it."""

from __future__ import annotations

import importlib
from typing import Any

try:
    _ours = importlib.import_module("horovod_cpp.torch.elastic")
except ModuleNotFoundError as error:
    raise ImportError(
        "horovod.torch.elastic: this horovod_cpp has no elastic training from Python yet; the C++ API has it (hvd::run_elastic)"
    ) from error


def __getattr__(name: str) -> Any:
    return getattr(_ours, name)
